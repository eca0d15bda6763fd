//! Nodes whose programs are not ours, or whose disks were set back: they ask for what no agent asks for. What they get is judged
//! like everything else, and nobody waits for the answer.

use std::rc::Rc;

use agent_core::{CallError, PartNo};
use scheduler::{Answer, Caller, CommitOutcome, Request};
use types::{Digest, Session};

use crate::agenda::{Message, Who};
use crate::asks;
use crate::depot::{DepotAsk, Object};
use crate::mutants::{self, ShellMutant};
use crate::struck;
use crate::truth::tenant;
use crate::world::World;

/// Chance in ten thousand that it says so as a node of another tenant.
const SPEAKS_FOR_ANOTHER: u32 = 3_000;

impl World {
    /// A part counts: where its node does not know so, it makes the rows again under another name, and commits those too.
    pub(crate) fn maybe_made_again(
        &mut self,
        who: usize,
        part: PartNo,
        session: Session,
        answer: &Result<Answer, CallError>,
    ) {
        let counted = match answer {
            Ok(Answer::Committed(committed)) => committed.outcome == CommitOutcome::Counted,
            Ok(_) | Err(_) => false,
        };
        if self.calm || !counted || !self.dice.happens(self.mix.misuse) {
            return;
        }
        let Some(mut again) = self.agents[who].parts.get(&part).cloned() else {
            return;
        };
        self.struck(struck::MADE_AGAIN);
        let objects = again.objects.iter().map(|object| renamed(object));
        again.objects = objects.collect();
        for object in &again.objects {
            self.depot.put_aside(object);
        }
        let commit = asks::commit(&self.agents[who], &again, session);
        let mut caller = self.agents[who].caller();
        if self.dice.happens(SPEAKS_FOR_ANOTHER) {
            caller.tenant = tenant(self.dice.index(2));
        }
        self.say(who, caller, Request::Commit(commit));
    }

    /// Removes what an answer calls superseded, where that bug is planted.
    pub(crate) fn clean_up(
        &mut self,
        who: usize,
        part: PartNo,
        answer: &Result<Answer, CallError>,
    ) {
        let late = match answer {
            Ok(Answer::Committed(committed)) => committed.outcome == CommitOutcome::Superseded,
            Ok(_) | Err(_) => false,
        };
        let saved = self.agents[who].parts.get(&part);
        if let Some(saved) = saved.filter(|_| late && mutants::on(ShellMutant::SupersededDeleted)) {
            let paths = saved.objects.iter().map(|object| object.path()).collect();
            let life = self.agents[who].life;
            self.ask_depot(Who::Agent(who), life, 0, DepotAsk::Delete(paths));
        }
    }

    fn say(&mut self, who: usize, caller: Caller, request: Request) {
        self.calls += 1;
        let message = Message::Call {
            no: self.calls,
            caller,
            request: Box::new(request),
        };
        let to = Who::Coordinator(self.agents[who].guess());
        self.send(Who::Agent(who), to, message);
    }
}

/// The same rows in other bytes.
fn renamed(object: &Object) -> Rc<Object> {
    Rc::new(Object {
        sha256: Digest::of(format!("{:?} again", object.sha256).as_bytes()),
        ..object.clone()
    })
}
