//! What an agent's shell knows of the grants in hand: of which generation they are, when they were last renewed, and whether what
//! their tracks need was read. Kept beside the core ([`crate::agent`]), which decides.

use agent_core::{Event, GrantKey};
use scheduler::Answer;
use types::{Generation, Millis, ShardId};

use crate::depot::{PartPath, path_generation};
use crate::wire;
use crate::world::World;

/// What the shell knows of a grant.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) generation: Generation,
    /// Where the escalation part stands that its shard is made of.
    pub(crate) made_of: Option<PartPath>,
    /// Its rows were read.
    pub(crate) fetched: bool,
}

impl World {
    pub(crate) fn note_granted(&mut self, who: usize, asked: Millis, answer: &Answer) {
        let Answer::Pulled(pulled) = answer else {
            return;
        };
        let one = &mut self.agents[who];
        for granted in &pulled.grants {
            let made_of = granted.escalation.map(|part| PartPath {
                generation: path_generation(granted.generation),
                job: granted.job.clone(),
                shard: ShardId::Root(part.root),
                attempt: part.attempt,
                first: part.first,
                sha256: part.sha256,
            });
            let held = Held {
                generation: granted.generation,
                made_of,
                fetched: false,
            };
            let key = wire::key(granted);
            // An answer that is given again names only what still lives.
            let renewed = one.renewed.entry(key.clone()).or_insert(asked);
            *renewed = asked.max(*renewed);
            one.held.entry(key).or_insert(held);
        }
    }

    pub(crate) fn note_renewed(&mut self, who: usize, asked: Millis, answer: &Answer) {
        let one = &mut self.agents[who];
        for key in wire::renewed(answer) {
            let renewed = one.renewed.entry(key).or_insert(asked);
            *renewed = asked.max(*renewed);
        }
    }

    pub(crate) fn prepared(&mut self, who: usize, grant: GrantKey) {
        let open = self.depot.is_open(self.now) && self.fetch(who, &grant);
        let outcome = open.then_some(()).ok_or(agent_core::Unready::Later);
        self.tell_agent(who, Event::Prepared { grant, outcome });
    }

    /// Whether the rows of the escalation part are there that a grant is made of, where it is made of one.
    fn fetch(&mut self, who: usize, grant: &GrantKey) -> bool {
        let Some(held) = self.agents[who].held.get_mut(grant) else {
            return true;
        };
        let there = |path: &PartPath| self.depot.part(path).is_some();
        held.fetched = held.made_of.as_ref().is_none_or(there);
        held.fetched
    }
}
