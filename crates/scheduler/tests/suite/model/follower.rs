//! A coordinator that does not lead, beside the history: it reads pages while the leader writes, hears transactions late and
//! several at once, loses its watch now and then, and must at each revision show what a linearizable read shows (I12).

use super::Step;
use crate::world::store::MemStore;
use crate::world::{GENERATION, World, unavailable};
use scheduler::{Config, JobView, Mirror, ReadOutcome, Reading, Revision, Want};
use types::Millis;

/// Entries of a page: few, so that the leader writes between two of them.
const PAGE: usize = 3;

#[derive(Debug)]
pub(super) struct Follower {
    mirror: Mirror,
    policy: Config,
}

impl Follower {
    pub(super) fn new(policy: Config) -> Self {
        Self {
            mirror: Mirror::new(GENERATION, policy.clone()),
            policy,
        }
    }

    /// Something comes to it, or nothing does.
    pub(super) fn hear(&mut self, world: &World, (what, a, b): Step) {
        match (a ^ b) % 16 {
            0 if what == 7 => self.mirror.begin_again(),
            0..=4 => self.go_on(world, usize::from(b % 4)),
            _ => return,
        }
        self.judge(world);
    }

    /// Everything that was stored comes to it.
    pub(super) fn hear_all(&mut self, world: &World) {
        while matches!(self.mirror.wants(), Want::Page(_) | Want::Wait(_)) {
            self.go_on(world, 1);
        }
        self.go_on(world, world.store.log.len());
        self.judge(world);
        let fresh = read(world, self.policy.clone(), self.shown());
        assert_eq!(jobs(&self.mirror), jobs(&fresh));
    }

    fn shown(&self) -> Revision {
        self.mirror.core().shows().expect("it follows")
    }

    fn go_on(&mut self, world: &World, many: usize) {
        match self.mirror.wants() {
            Want::Wait(_) => self.mirror.waited(),
            Want::Page(_) if many == 0 => self.page(world.now, unavailable()),
            Want::Page(reading) => {
                let newest = Revision(world.store.revision);
                self.page(world.now, page(&world.store, &reading, newest));
            }
            Want::Changes { after, .. } => {
                let later = world.store.log.iter().filter(|(at, _)| *at > after);
                for (revision, changes) in later.take(many) {
                    let taken = self.mirror.changed(world.now, *revision, changes.clone());
                    taken.expect("what was written can be read");
                }
            }
        }
    }

    fn page(&mut self, now: Millis, outcome: ReadOutcome) {
        let taken = self.mirror.page(now, outcome);
        taken.expect("what was written can be read");
    }

    /// I12: what it holds is what is read at the revision that it shows.
    fn judge(&self, world: &World) {
        let Some(shown) = self.mirror.core().shows() else {
            return;
        };
        let stored = world.store.all_at(shown);
        self.mirror.core().agrees_with(&stored).expect("I12 holds");
        let stored = stored.into_iter().map(|entry| (entry.key, entry.value));
        assert_eq!(self.mirror.core().records(), stored.collect());
        assert!(self.mirror.core().violations().is_empty());
        assert_eq!(self.mirror.core().leads(), None);
    }
}

/// A page as of the revision that the reading names, or the newest.
fn page(store: &MemStore, reading: &Reading, newest: Revision) -> ReadOutcome {
    let Reading::Prefix {
        prefix, after, at, ..
    } = reading
    else {
        panic!("a mirror reads a prefix: {reading:?}");
    };
    let revision = at.unwrap_or(newest);
    let mut rest = store.all_at(revision);
    rest.retain(|entry| entry.key.starts_with(prefix));
    rest.retain(|entry| after.as_ref().is_none_or(|after| entry.key > *after));
    let more = rest.len() > PAGE;
    rest.truncate(PAGE);
    let next = rest.last().filter(|_| more).map(|entry| entry.key.clone());
    ReadOutcome::Page {
        entries: rest,
        next,
        revision,
    }
}

/// A mirror that has just read all of a revision.
fn read(world: &World, policy: Config, at: Revision) -> Mirror {
    let mut mirror = Mirror::new(GENERATION, policy);
    while let Want::Page(reading) = mirror.wants() {
        let taken = mirror.page(world.now, page(&world.store, &reading, at));
        taken.expect("what was written can be read");
    }
    mirror
}

/// What is shown of all jobs and their shards, in words.
fn jobs(mirror: &Mirror) -> Vec<String> {
    let core = mirror.core();
    let one = |job: JobView<'_>| {
        let shards = core.shards(job.key).map(|shard| format!("{shard:?}"));
        let shards: Vec<String> = shards.collect();
        format!("{:?} {:?} {:?} {shards:?}", job.key, job.record, job.totals)
    };
    core.all_jobs().map(one).collect()
}
