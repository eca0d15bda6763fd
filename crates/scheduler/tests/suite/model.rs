//! Random histories: agents that are killed, answers that are lost, doubled and late, writes whose outcome is
//! unknown and that land now, later or never, leaders that die at any moment. Every change that lands is judged by
//! the invariants (see the world's store). Then the faults stop, and every job must end with each track covered once.

mod answers;
mod calm;
mod follower;
mod judge;
mod operators;

use crate::world::agent::{Agent, BOTH, SCREEN, same};
use crate::world::{Effect, World, not_applied, unavailable, unknown};
use follower::Follower;
use proptest::prelude::*;
use scheduler::record::{Care, Form, PartKind};
use scheduler::{
    CallId, Config, Event, JobKey, Outcome, Request, StepDown, StorageOutcome, Txn, invariants,
};
use std::collections::{BTreeMap, BTreeSet};
use types::{Attempt, Code, Digest, JobId, Millis, ShardId, TrackSet};

/// One step of a history: what happens, and two numbers that choose among what there is.
type Step = (u8, u16, u16);

/// What a call was, for whoever gets its answer.
#[derive(Debug, Clone)]
enum Asked {
    Join(usize, u64),
    Pull(usize, u64),
    Beat(usize, u64),
    Commit(usize, Box<scheduler::Commit>),
    Cancel(JobKey),
    Other,
}

struct History {
    world: World,
    agents: Vec<Agent>,
    jobs: Vec<JobKey>,
    calls: BTreeMap<CallId, Asked>,
    /// Commits that were sent and not answered: re-sent unchanged.
    unanswered: Vec<(usize, scheduler::Commit)>,
    /// Writes that ended unknown and may land later.
    late: Vec<Txn>,
    /// Parts whose commit an agent heard to count.
    acknowledged: BTreeSet<(JobKey, ShardId, Attempt, Digest)>,
    cancelled: BTreeSet<JobKey>,
    /// What was asked to be revoked: whose parts, and of which numbers.
    revoked: Vec<(String, u64, u64)>,
    /// Who made each part that was ever sent, and as which of its parts.
    made: BTreeMap<Digest, (String, u64)>,
    /// The escalation part that would make each escalation shard.
    escalated: BTreeMap<(JobKey, ShardId), Digest>,
    /// The node that does not come back when the faults stop.
    away: Option<usize>,
    /// A coordinator that does not lead, and keeps a copy.
    follower: Follower,
}

impl History {
    fn new(rows: &[(u32, u32)], shard_form: Form) -> Self {
        let policy = Config {
            shard_form,
            ..Config::default()
        };
        let mut world = World::with_config(policy.clone());
        let jobs = rows.iter().enumerate();
        let jobs = jobs
            .map(|(n, (rows, tracks))| {
                // Every other job is of another tenant, on the same fleet.
                let tenant = ["default", "b"][n % 2];
                world.submit_as(tenant, &format!("j{n}"), *rows, |submission| {
                    submission.spec.plan.shard_tracks = *tracks;
                    // Some have an escalation budget, and shards that are not divided.
                    let share = "0.3".parse().ok().filter(|_| tracks % 3 == 0);
                    submission.spec.policy.max_escalation = share;
                })
            })
            .collect();
        let agents = [("a", BOTH), ("b", SCREEN), ("c", BOTH)];
        Self {
            world,
            agents: agents
                .iter()
                .map(|(name, stages)| Agent::new(name, stages))
                .collect(),
            jobs,
            calls: BTreeMap::new(),
            unanswered: Vec::new(),
            late: Vec::new(),
            acknowledged: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            revoked: Vec::new(),
            made: BTreeMap::new(),
            escalated: BTreeMap::new(),
            away: None,
            follower: Follower::new(policy),
        }
    }

    /// Steps that further the work are many, faults few; each history draws its own mix by shrinking and luck.
    fn step(&mut self, (what, a, b): Step) {
        let (a, b) = (usize::from(a), usize::from(b));
        match what % 64 {
            0..=21 => self.effect(a, b),
            22..=37 => self.receive(a, b),
            38..=42 => self.pull(a, b),
            43..=45 => self.beat(a, b),
            46..=53 => self.commit(a, b),
            54 | 55 => self.send_again(a),
            56 | 57 => self.land(a),
            58 | 59 => self
                .world
                .pass_silently(Millis([500, 2_000, 7_000, 25_000][b % 4])),
            60 => self.kill(a),
            61 if b.is_multiple_of(3) => self.depose(),
            61 => self.restart(b),
            62 => self.join(a),
            _ => self.operator(a, b),
        }
    }

    /// One effect happens, in any order, well or badly.
    fn effect(&mut self, a: usize, b: usize) {
        if self.world.effects.is_empty() {
            return;
        }
        let effect = self
            .world
            .effects
            .remove(a % self.world.effects.len())
            .expect("there is one");
        let Some(effect) = self.badly(effect, b) else {
            return;
        };
        self.world.happen(effect);
    }

    /// Lets an effect fail in one of its ways; gives it back where it is to happen as it should.
    fn badly(&mut self, effect: Effect, how: usize) -> Option<Effect> {
        match (effect, how % 24) {
            (Effect::Write(id, txn), how @ 0..=2) => {
                match how {
                    0 => drop(self.world.store.write(&txn)),
                    1 => self.late.push(txn),
                    _ => {}
                }
                self.world.feed(Event::Written {
                    id,
                    outcome: unknown(),
                });
            }
            (Effect::Write(id, _), 3) => {
                self.world.feed(Event::Written {
                    id,
                    outcome: not_applied(),
                });
            }
            (Effect::Read(id, _), 0) => self.world.feed(Event::Read {
                id,
                outcome: unavailable(),
            }),
            (Effect::Mark(job), 0) => {
                let outcome = StorageOutcome::Failed {
                    code: Code::StorageFull,
                    cause: String::new(),
                };
                self.world.feed(Event::CancelMarked { job, outcome });
            }
            (Effect::Manifest(plan), 0) => {
                let outcome = StorageOutcome::Failed {
                    code: Code::StorageFull,
                    cause: String::new(),
                };
                let (job, at) = (plan.job.clone(), types::UnixMillis(0));
                self.world.feed(Event::ManifestWritten { job, outcome, at });
            }
            (Effect::MarkRevoked(revocation), 0) => {
                let outcome = StorageOutcome::Failed {
                    code: Code::StorageFull,
                    cause: String::new(),
                };
                self.world.feed(Event::RevocationMarked {
                    revocation,
                    outcome,
                });
            }
            (effect, _) => return Some(effect),
        }
        None
    }

    /// A write that ended unknown lands now, if it still can; what it ends as nobody hears.
    fn land(&mut self, a: usize) {
        if self.late.is_empty() {
            return;
        }
        // Kept half of the time: a write may be sent on twice.
        let at = a % self.late.len();
        let txn = if a.is_multiple_of(2) {
            self.late.remove(at)
        } else {
            self.late[at].clone()
        };
        let _: Outcome = self.world.store.write(&txn);
    }

    fn call(&mut self, asked: Asked, request: Request) {
        let call = self.world.call(request);
        self.calls.insert(call, asked);
    }

    /// An operator's call about a job, made for its tenant.
    fn call_for(&mut self, job: &JobKey, asked: Asked, request: Request) {
        let call = self.world.call_as(job.tenant.as_str(), request);
        self.calls.insert(call, asked);
    }

    /// The job of that name, whosever it is.
    fn key_of(&self, name: &JobId) -> JobKey {
        let mut named = self.jobs.iter().filter(|job| job.job == *name);
        named
            .next()
            .expect("a job that is worked on exists")
            .clone()
    }

    fn join(&mut self, a: usize) {
        let at = a % self.agents.len();
        let (nonce, request) = (self.agents[at].nonce, self.agents[at].join_request());
        self.call(Asked::Join(at, nonce), request);
    }

    fn pull(&mut self, a: usize, b: usize) {
        let at = a % self.agents.len();
        if self.agents[at].session.0 == 0 {
            return self.join(a);
        }
        let agent = &mut self.agents[at];
        // A number goes on only when it was answered or given up.
        if !b.is_multiple_of(3) {
            agent.pull += 1;
        }
        let (nonce, request) = (agent.nonce, agent.pull_request(1 + (b % 12) as u32));
        self.call(Asked::Pull(at, nonce), request);
    }

    fn beat(&mut self, a: usize, b: usize) {
        let at = a % self.agents.len();
        let agent = &mut self.agents[at];
        if !b.is_multiple_of(4) {
            agent.beat += 1;
        }
        let nonce = agent.nonce;
        let Request::Beat(mut beat) = agent.beat_request(|granted| granted.tracks.clone()) else {
            return;
        };
        if b % 5 == 1 && !beat.held.is_empty() {
            let held = b % beat.held.len();
            let pending = pending(&self.unanswered, at, &agent.grants[held]);
            let granted = &mut agent.grants[held];
            // What stands in an unanswered part is in hand and cannot be given back.
            let least = pending
                .ranges()
                .last()
                .map_or(granted.range.first, |range| range.end);
            let from = least.max(granted.range.first + (b as u32 / 8) % (granted.range.len() + 2));
            // What is not divided is given back whole, before anything of it is done.
            let from = match granted.escalations_max {
                Some(_) if pending.is_empty() => granted.range.first,
                Some(_) => granted.range.end,
                None => from,
            };
            beat.held[held].yielded_at = Some(from);
            granted.tracks.remove(types::Range {
                first: from,
                end: u32::MAX,
            });
        }
        if b % 7 == 2 && !beat.held.is_empty() {
            beat.held[0].deaths = vec![scheduler::WorkerDeath {
                number: agent.beat,
                tracks: agent.grants[0].tracks.clone(),
            }];
        }
        self.call(Asked::Beat(at, nonce), Request::Beat(beat));
    }

    fn commit(&mut self, a: usize, b: usize) {
        let at = a % self.agents.len();
        let agent = &mut self.agents[at];
        if agent.grants.is_empty() {
            return;
        }
        let granted = agent.grants[b % agent.grants.len()].clone();
        let all: Vec<u32> = granted.tracks.iter().collect();
        if let Some(most) = granted.escalations_max {
            let onward = all.iter().skip(b % 3).take(most as usize % 5);
            return self.commit_whole(at, &granted, &onward.copied().collect());
        }
        let from = (b / 4) % all.len().max(1);
        let some: TrackSet = all.iter().skip(from).take(1 + b % 5).copied().collect();
        if some.is_empty() {
            return;
        }
        let root = matches!(granted.shard, ShardId::Root(_));
        let escalates = root && b % 3 == 1;
        let kind = if escalates {
            PartKind::Escalation
        } else {
            PartKind::Terminal
        };
        let Request::Commit(commit) = agent.commit_request(&granted, &some, kind) else {
            return;
        };
        self.send(at, &granted, commit);
    }

    /// All that is left of a shard that is not divided, some of it going on to the residual.
    fn commit_whole(&mut self, at: usize, granted: &scheduler::Granted, onward: &TrackSet) {
        if granted.tracks.is_empty() {
            return;
        }
        let onward = match granted.care {
            Care::Reject => &TrackSet::new(),
            Care::Normal | Care::Apart => onward,
        };
        let commit = self.agents[at].commit_whole(granted, onward);
        self.send(at, granted, commit);
    }

    fn send(&mut self, at: usize, granted: &scheduler::Granted, commit: scheduler::Commit) {
        let parts = commit.parts.iter();
        let some = parts.fold(TrackSet::new(), |all, part| all.union(&part.tracks));
        // Tracks of an unanswered part are not put into another one.
        let grants = self.agents[at].grants.iter_mut();
        for held in grants.filter(|held| same(held, granted)) {
            held.tracks = held.tracks.difference(&some);
        }
        self.note_made(at, &commit);
        self.unanswered.push((at, commit.clone()));
        self.call(
            Asked::Commit(at, Box::new(commit.clone())),
            Request::Commit(commit),
        );
    }

    /// Remembers who made the parts of a commit, and which escalation shards they would make.
    fn note_made(&mut self, at: usize, commit: &scheduler::Commit) {
        let agent = &self.agents[at];
        let first = agent.parts + 1 - commit.parts.len() as u64;
        for (number, part) in (first..).zip(&commit.parts) {
            self.made.insert(part.sha256, (agent.name.clone(), number));
            if part.kind == PartKind::Escalation {
                let shard = ShardId::Escalation {
                    root: commit.shard.root(),
                    attempt: commit.attempt,
                    first: part.tracks.first().expect("a part covers a track"),
                };
                let job = self.key_of(&commit.job);
                self.escalated.insert((job, shard), part.sha256);
            }
        }
    }

    fn send_again(&mut self, a: usize) {
        if self.unanswered.is_empty() {
            return;
        }
        let (at, commit) = self.unanswered[a % self.unanswered.len()].clone();
        self.call(
            Asked::Commit(at, Box::new(commit.clone())),
            Request::Commit(commit),
        );
    }

    fn kill(&mut self, a: usize) {
        let at = a % self.agents.len();
        self.agents[at].kill();
        self.unanswered.retain(|(of, _)| *of != at);
    }

    fn restart(&mut self, b: usize) {
        for effect in &self.world.effects {
            if let (Effect::Write(_, txn), true) = (effect, b.is_multiple_of(2)) {
                self.late.push(txn.clone());
            }
        }
        if b.is_multiple_of(3) {
            // The last writes of a killed leader land before its successor begins.
            for txn in std::mem::take(&mut self.late) {
                let _: Outcome = self.world.store.write(&txn);
            }
        }
        self.world.restart();
        self.calls.clear();
    }

    /// Another coordinator leads from now on; this one does not know yet.
    fn depose(&mut self) {
        self.world.store.new_epoch();
    }

    /// A leader that has stepped down is followed by another.
    fn follow(&mut self) {
        if self.world.core.leads().is_none() && !self.world.stepped_down.is_empty() {
            let reasons = std::mem::take(&mut self.world.stepped_down);
            assert!(
                reasons.iter().all(|reason| *reason == StepDown::EpochEnded),
                "{reasons:?}"
            );
            assert!(
                self.world.open_calls.is_empty(),
                "a step-down answers every call"
            );
            self.world.restart();
        }
    }
}

/// The tracks of a grant that stand in unanswered parts.
fn pending(
    unanswered: &[(usize, scheduler::Commit)],
    at: usize,
    granted: &scheduler::Granted,
) -> TrackSet {
    let mine = unanswered.iter().filter(|(of, commit)| {
        let of_grant = commit.shard == granted.shard && commit.attempt == granted.attempt;
        *of == at && of_grant && commit.job == granted.job.job
    });
    let parts = mine.flat_map(|(_, commit)| &commit.parts);
    parts.fold(TrackSet::new(), |all, part| all.union(&part.tracks))
}

fn run(jobs: &[(u32, u32)], steps: &[Step]) {
    let form = [Form::Long, Form::Brief][steps.len() / 4 % 2];
    let mut history = History::new(jobs, form);
    history.away = Some(steps.len() % 4).filter(|at| *at < 2);
    for step in steps {
        history.step(*step);
        history.follow();
        history.judge_totals();
        history.judge_cache();
        history.follower.hear(&history.world, *step);
    }
    history.stop_faults();
    history.judge();
    history.follower.hear_all(&history.world);
}

fn jobs() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((1u32..24, 1u32..9), 1..3)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((any::<u8>(), any::<u16>(), any::<u16>()), 0..600)
}

/// Histories in one run of the tests: about three seconds' worth. `HISTORIES=N` runs more.
fn histories() -> u32 {
    let more = std::env::var("HISTORIES").ok();
    more.and_then(|n| n.parse().ok()).unwrap_or(1_500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), ..ProptestConfig::default() })]

    #[test]
    fn no_history_loses_or_doubles_a_track(jobs in jobs(), steps in steps()) {
        run(&jobs, &steps);
    }
}

#[test]
fn the_same_history_gives_the_same_actions() {
    let steps: Vec<Step> = (0..400u16)
        .map(|n| ((n % 251) as u8, n.wrapping_mul(31), n.wrapping_mul(57)))
        .collect();
    let trace = || {
        let mut history = History::new(&[(20, 4), (7, 8)], Form::Brief);
        steps.iter().for_each(|step| history.step(*step));
        history.world.log
    };
    invariants::traces_agree(&trace(), &trace()).expect("I20 holds");
}
