//! The smallest shell around the real core: virtual time, and a store that applies every write after a fixed delay.
//! It counts what the core is told and how long the core takes over it; what nodes do is not its business.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use scheduler::record::{Form, ManifestName};
use scheduler::{
    Action, Actions, Answer, CallId, Caller, Config, Core, Event, ManifestPlan, Op, Outcome,
    ReadOutcome, Request, Revision, StorageOutcome, WriteId,
};
use types::{Attempt, Digest, Epoch, Generation, Millis, Problem, ShardId, UnixMillis};

/// How long a synced write takes in virtual time: a local disk's order of magnitude.
pub(crate) const WRITE_TAKES: Millis = Millis(2);

/// The generation and the epoch of the one reign here.
pub(crate) const GENERATION: Generation = Generation(1);
const EPOCH: Epoch = Epoch(1);

/// What the core was told, by kind: one event is one transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A node asks for work.
    Pull,
    /// A node says what it holds.
    Beat,
    /// A node's part is to count.
    Commit,
    /// A group of writes came back.
    Written,
    /// Joins, the submission, ticks, pages, the manifest.
    Other,
}

/// How often, and how long in the core.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Events.
    pub(crate) events: u64,
    /// Time inside the core.
    pub(crate) time: Duration,
}

/// Who asked, and about which grant where it was about one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// The number of the node.
    pub(crate) node: usize,
    /// The grant.
    pub(crate) about: Option<(ShardId, Attempt)>,
}

/// An answer, with who had asked.
pub(crate) type Answered = (Asker, Result<Answer, Problem>);

/// The core with a clock and a store.
pub(crate) struct Shell {
    /// The core itself, to be looked at.
    pub(crate) core: Core,
    /// Now, in virtual time.
    pub(crate) now: Millis,
    /// What the core was told so far.
    pub(crate) spent: BTreeMap<Kind, Spent>,
    /// Groups written.
    pub(crate) groups: u64,
    /// Records put.
    pub(crate) puts: u64,
    /// Bytes of keys and values put.
    pub(crate) put_bytes: u64,
    /// Every record as it stands, where they are kept.
    pub(crate) records: Option<BTreeMap<String, Vec<u8>>>,
    /// The manifest that was asked for.
    pub(crate) manifest: Option<Box<ManifestPlan>>,
    actions: Actions,
    write_takes: Millis,
    writes: BinaryHeap<Reverse<(Millis, WriteId)>>,
    calls: BTreeMap<CallId, Asker>,
    last_call: u64,
    revision: u64,
}

impl Shell {
    /// A core that leads over an empty store, each of whose writes takes so long.
    #[must_use]
    pub(crate) fn new(write_takes: Millis) -> Self {
        Self::with_config(write_takes, Config::default())
    }

    fn with_config(write_takes: Millis, config: Config) -> Self {
        let mut shell = Self {
            core: Core::with_config(config),
            now: Millis(0),
            spent: BTreeMap::new(),
            groups: 0,
            puts: 0,
            put_bytes: 0,
            records: None,
            manifest: None,
            actions: Actions::new(),
            write_takes,
            writes: BinaryHeap::new(),
            calls: BTreeMap::new(),
            last_call: 0,
            revision: 1,
        };
        let led = Event::Led {
            epoch: EPOCH,
            generation: GENERATION,
        };
        shell.tell(led, &mut Vec::new());
        shell
    }

    /// The same over a store that takes no time and whose records can be read: those of a coordinator on etcd.
    #[must_use]
    pub(crate) fn keeping() -> Self {
        let config = Config {
            shard_form: Form::Brief,
            ..Config::default()
        };
        Self {
            records: Some(BTreeMap::new()),
            ..Self::with_config(Millis(0), config)
        }
    }

    /// Makes a call; what the core answers at once, to whomever, is appended to `answers`.
    pub(crate) fn ask(&mut self, asker: Asker, request: Request, answers: &mut Vec<Answered>) {
        self.last_call += 1;
        let call = CallId(self.last_call);
        self.calls.insert(call, asker);
        let event = Event::Call {
            call,
            caller: Caller::default(),
            at: UnixMillis(0),
            request: Box::new(request),
        };
        self.tell(event, answers);
    }

    /// When the next write comes back.
    #[must_use]
    pub(crate) fn next_write(&self) -> Option<Millis> {
        self.writes.peek().map(|Reverse((at, _))| *at)
    }

    /// Lets the next write come back, applied.
    pub(crate) fn land(&mut self, answers: &mut Vec<Answered>) {
        if let Some(Reverse((at, id))) = self.writes.pop() {
            self.now = self.now.max(at);
            self.revision += 1;
            let revision = Revision(self.revision);
            let outcome = Outcome::Applied { revision };
            self.tell(Event::Written { id, outcome }, answers);
        }
    }

    /// Wakes the core where it asked for it.
    pub(crate) fn tick(&mut self, answers: &mut Vec<Answered>) {
        if self.core.next_deadline().is_some_and(|at| at <= self.now) {
            self.tell(Event::Tick, answers);
        }
    }

    fn tell(&mut self, event: Event, answers: &mut Vec<Answered>) {
        let kind = kind(&event);
        let mut actions = std::mem::take(&mut self.actions);
        let begun = Instant::now();
        self.core.handle(self.now, event, &mut actions);
        let spent = self.spent.entry(kind).or_default();
        spent.time += begun.elapsed();
        spent.events += 1;
        for action in actions.drain(..) {
            self.carry_out(action, answers);
        }
        self.actions = actions;
    }

    fn carry_out(&mut self, action: Action, answers: &mut Vec<Answered>) {
        match action {
            Action::Write { id, txn } => {
                self.groups += 1;
                for op in txn.ops {
                    self.count(op);
                }
                self.writes.push(Reverse((self.now + self.write_takes, id)));
            }
            Action::Answer { call, answer } => {
                answers.extend(self.calls.remove(&call).map(|asker| (asker, answer)));
            }
            Action::Read { id, .. } => {
                let outcome = ReadOutcome::Page {
                    entries: Vec::new(),
                    next: None,
                    revision: Revision(self.revision),
                };
                self.tell(Event::Read { id, outcome }, answers);
            }
            Action::WriteManifest { plan } => self.publish(plan, answers),
            Action::Audit { .. }
            | Action::Ready { .. }
            | Action::StepDown { .. }
            | Action::MarkCancelled { .. }
            | Action::MarkRevoked { .. } => {}
        }
    }

    fn count(&mut self, op: Op) {
        if let Op::Put { key, value } = &op {
            self.puts += 1;
            self.put_bytes += (key.len() + value.len()) as u64;
        }
        if let Some(records) = &mut self.records {
            match op {
                Op::Put { key, value } => _ = records.insert(key, value),
                Op::Delete { key } => _ = records.remove(&key),
            }
        }
    }

    fn publish(&mut self, plan: Box<ManifestPlan>, answers: &mut Vec<Answered>) {
        let name = ManifestName {
            version: plan.version,
            generation: plan.generation,
            sha256: Digest([1; 32]),
        };
        let job = plan.job.clone();
        self.manifest = Some(plan);
        let event = Event::ManifestWritten {
            job,
            outcome: StorageOutcome::Done(name),
            at: UnixMillis(0),
        };
        self.tell(event, answers);
    }
}

const fn kind(event: &Event) -> Kind {
    match event {
        Event::Written { .. } => Kind::Written,
        Event::Call { request, .. } => match **request {
            Request::Pull(_) => Kind::Pull,
            Request::Beat(_) => Kind::Beat,
            Request::Commit(_) => Kind::Commit,
            Request::Submit(_)
            | Request::Cancel { .. }
            | Request::Pause { .. }
            | Request::Resume { .. }
            | Request::SetRank { .. }
            | Request::Revoke(_)
            | Request::SetDuty { .. }
            | Request::Join(_)
            | Request::Leave { .. } => Kind::Other,
        },
        Event::Led { .. }
        | Event::Lost
        | Event::Read { .. }
        | Event::CancelMarked { .. }
        | Event::RevocationMarked { .. }
        | Event::ManifestWritten { .. }
        | Event::Tick => Kind::Other,
    }
}
