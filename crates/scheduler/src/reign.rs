//! The core's face: one call for everything that happens, one deadline. A reign holds all state of one leadership
//! and is dropped whole when it ends; numbers of writes and reads go on, so that nothing late is mistaken.

use crate::chores::Chores;
use crate::config::Config;
use crate::desk::{Asked, Desk, Unit};
use crate::key::{JobKey, NodeKey, RevocationKey};
use crate::looks::Looks;
use crate::preempt;
use crate::quota::Planned;
use crate::recover::Recovery;
use crate::share::Shares;
use crate::state::{GrantId, InLine, Job, JobNo, Node, NodeNo, RevNo, Revocation, Served, Slot};
use crate::{Action, Actions, Answer, CallId, Event, Request, Revision, StepDown};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;
use types::{Code, Epoch, Generation, JobId, Millis, Problem};

/// The coordinator's pure core. See the crate's words for the contract with its shell.
///
/// Time handed in must not go backwards within a reign; if it does, nothing is lost but patience.
#[derive(Debug, Default)]
pub struct Core {
    reign: Option<Reign>,
    last_id: u64,
    /// The highest revision that the store has shown in a generation.
    heard: Option<(Generation, Revision)>,
    config: Config,
}

/// One event's surroundings: when it is, and where actions go.
pub(crate) struct Turn<'a> {
    pub(crate) now: Millis,
    pub(crate) actions: &'a mut Actions,
}

/// What a request comes to.
pub(crate) enum Step {
    /// Answered from what is stored.
    Answer(Result<Answer, Problem>),
    /// To be tried again when the record is free.
    Wait(Slot),
    /// To be answered when these are stored.
    Write(Vec<Unit>),
    /// Its answer is promised elsewhere.
    Held,
}

/// All state of one leadership.
#[derive(Debug)]
pub(crate) struct Reign {
    pub(crate) epoch: Epoch,
    pub(crate) generation: Generation,
    pub(crate) phase: Phase,
    pub(crate) desk: Desk,
    pub(crate) jobs: BTreeMap<JobNo, Job>,
    pub(crate) job_names: BTreeMap<JobKey, JobNo>,
    pub(crate) nodes: BTreeMap<NodeNo, Node>,
    pub(crate) node_names: BTreeMap<NodeKey, NodeNo>,
    pub(crate) revocations: BTreeMap<RevNo, Revocation>,
    /// Those of them that are not closed.
    pub(crate) going: BTreeSet<RevNo>,
    pub(crate) revocation_names: BTreeMap<RevocationKey, RevNo>,
    /// Shards that are being changed by a revocation.
    pub(crate) revoking: BTreeMap<Slot, RevNo>,
    pub(crate) last_no: u32,
    /// Running jobs in the order in which they are served.
    pub(crate) line: BTreeSet<InLine>,
    /// Jobs whose records let shards change: those in line and the paused ones.
    pub(crate) open: BTreeSet<JobNo>,
    pub(crate) looks: Looks,
    /// What is to be done to shard records once they are free.
    pub(crate) chores: BTreeMap<Slot, Chores>,
    /// Chores that are being written.
    pub(crate) doing: BTreeMap<Slot, Chores>,
    /// No chores before: the store did not take a write.
    pub(crate) chores_hold: Option<Millis>,
    /// Rises whenever work may have come for a hungry node.
    pub(crate) work: u64,
    /// How many nodes and devices served, and when that was counted.
    pub(crate) served: Option<Served>,
    pub(crate) config: Config,
    /// When the reign began.
    pub(crate) began: Millis,
    /// Jobs by name alone: names are issued, and unique among tenants.
    pub(crate) job_ids: BTreeMap<JobId, JobNo>,
    pub(crate) shares: Shares,
    pub(crate) planned: Planned,
    /// Grants that were asked back for something more urgent.
    pub(crate) preempted: BTreeMap<GrantId, preempt::Asked>,
    /// When an agent was last heard.
    pub(crate) heard: Millis,
    /// When lapsed grants were last looked for.
    pub(crate) buried: Option<Millis>,
    /// When the tail was last looked at.
    pub(crate) reclaimed: Option<Millis>,
    /// Nodes that asked in vain and for which the tail was not looked at since: each once, so at most as many as there are.
    pub(crate) unhelped: VecDeque<NodeNo>,
    /// The store's last word where it refused to take writes.
    pub(crate) store_trouble: Option<(Code, String)>,
    pub(crate) store_failures: u32,
    /// Changes that broke an invariant and were not written. Zero, or there is a bug.
    pub(crate) violations: BTreeMap<crate::invariants::Invariant, u64>,
    /// Of those I6: counted by whoever looks for orphans, who only reads.
    pub(crate) orphans_named: AtomicU64,
    /// Changes that the store is known to have taken, as the audit trail counts them.
    pub(crate) applied: u64,
    /// Set when the reign is over.
    pub(crate) over: Option<StepDown>,
}

/// How far a reign has come.
#[derive(Debug)]
pub(crate) enum Phase {
    Recovering(Recovery),
    Leading,
    /// Of a mirror: every change up to this revision is in.
    Following {
        at: Revision,
    },
}

impl Core {
    /// A core that does not lead.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A core that does not lead, with a policy of its own.
    #[must_use]
    pub fn with_config(config: Config) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Takes one event and appends what is to be done, in order.
    pub fn handle(&mut self, now: Millis, event: Event, actions: &mut Actions) {
        let mut turn = Turn { now, actions };
        match event {
            Event::Led { epoch, generation } => self.begin(&mut turn, epoch, generation),
            Event::Lost => self.end(&mut turn, StepDown::EpochEnded),
            Event::Call { call, .. } if self.reign.is_none() => turn.answer(call, Err(no_leader())),
            Event::Call { .. }
            | Event::Read { .. }
            | Event::Written { .. }
            | Event::CancelMarked { .. }
            | Event::RevocationMarked { .. }
            | Event::ManifestWritten { .. }
            | Event::Tick => self.pass(&mut turn, event),
        }
    }

    /// When the core wants a [`Event::Tick`]; `None` while it only waits for others.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.reign.as_ref().and_then(Reign::next_deadline)
    }

    /// The reign under which calls are answered; `None` while standing by or recovering.
    #[must_use]
    pub fn leads(&self) -> Option<Epoch> {
        self.leading().map(|reign| reign.epoch)
    }

    /// The revision up to which the stored state is shown, be it by a leader or by a mirror; `None` before it is read.
    #[must_use]
    pub fn shows(&self) -> Option<Revision> {
        let reign = self.reign.as_ref()?;
        match reign.phase {
            Phase::Recovering(_) => None,
            Phase::Leading => Some(reign.desk.heard),
            Phase::Following { at } => Some(at),
        }
    }

    pub(crate) fn leading(&self) -> Option<&Reign> {
        self.reign
            .as_ref()
            .filter(|reign| matches!(reign.phase, Phase::Leading))
    }

    /// The state that may be looked at.
    pub(crate) fn shown(&self) -> Option<&Reign> {
        self.reign.as_ref().filter(|_| self.shows().is_some())
    }

    /// A core that holds the state of a mirror. It takes no events.
    pub(crate) const fn of_mirror(reign: Reign, config: Config) -> Self {
        Self {
            reign: Some(reign),
            last_id: 0,
            heard: None,
            config,
        }
    }

    pub(crate) const fn mirrored(&mut self) -> Option<&mut Reign> {
        self.reign.as_mut()
    }

    fn begin(&mut self, turn: &mut Turn<'_>, epoch: Epoch, generation: Generation) {
        if self.reign.is_some() {
            self.end(turn, StepDown::EpochEnded);
        }
        let mut reign = Reign::new(epoch, generation, self.last_id, self.config.clone());
        reign.began = turn.now;
        reign.heard = turn.now;
        let before = self.heard.filter(|(of, _)| *of == generation);
        reign.desk.heard = before.map_or(Revision(0), |(_, revision)| revision);
        reign.read_first_page(turn);
        self.reign = Some(reign);
    }

    fn pass(&mut self, turn: &mut Turn<'_>, event: Event) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        reign.take(turn, event);
        if let Some(reason) = reign.over.take() {
            return self.end(turn, reason);
        }
        reign.desk.cut(reign.epoch, turn.actions);
    }

    fn end(&mut self, turn: &mut Turn<'_>, reason: StepDown) {
        let Some(mut reign) = self.reign.take() else {
            return;
        };
        self.last_id = reign.desk.last_id();
        self.heard = Some((reign.generation, reign.desk.heard));
        for call in reign.unanswered() {
            turn.answer(call, Err(no_leader()));
        }
        turn.actions.push(Action::StepDown {
            epoch: reign.epoch,
            reason,
        });
    }
}

fn no_leader() -> Problem {
    Problem::new(
        Code::NotLeader,
        "answer a call while another leads or state is read",
    )
}

impl Turn<'_> {
    pub(crate) fn answer(&mut self, call: CallId, answer: Result<Answer, Problem>) {
        self.actions.push(Action::Answer { call, answer });
    }
}

impl Step {
    /// A refusal with its particulars.
    pub(crate) fn refuse(code: Code, message: impl Into<String>) -> Self {
        Self::Answer(Err(Problem::new(code, message)))
    }
}

/// Times that one call is tried again after its write was refused: each means that the record moved in between,
/// which a single leader sees only after an unknown outcome or a change of the job.
const TRIES_MAX: u8 = 8;

impl Reign {
    pub(crate) fn new(epoch: Epoch, generation: Generation, last_id: u64, config: Config) -> Self {
        Self {
            epoch,
            generation,
            phase: Phase::Recovering(Recovery::default()),
            desk: Desk::new(last_id),
            jobs: BTreeMap::new(),
            job_names: BTreeMap::new(),
            nodes: BTreeMap::new(),
            node_names: BTreeMap::new(),
            revocations: BTreeMap::new(),
            going: BTreeSet::new(),
            revocation_names: BTreeMap::new(),
            revoking: BTreeMap::new(),
            last_no: 0,
            line: BTreeSet::new(),
            open: BTreeSet::new(),
            looks: Looks::default(),
            chores: BTreeMap::new(),
            doing: BTreeMap::new(),
            chores_hold: None,
            work: 0,
            served: None,
            config,
            began: Millis(0),
            job_ids: BTreeMap::new(),
            shares: Shares::default(),
            planned: Planned::default(),
            preempted: BTreeMap::new(),
            heard: Millis(0),
            buried: None,
            reclaimed: None,
            unhelped: VecDeque::new(),
            store_trouble: None,
            store_failures: 0,
            violations: BTreeMap::new(),
            orphans_named: AtomicU64::new(0),
            applied: 0,
            over: None,
        }
    }

    fn take(&mut self, turn: &mut Turn<'_>, event: Event) {
        match event {
            Event::Read { id, outcome } => self.read_back(turn, id, outcome),
            Event::Written { id, outcome } => self.written(turn, id, outcome),
            Event::Call {
                call,
                caller,
                at,
                request,
            } => {
                let asked = Asked {
                    call,
                    caller,
                    at,
                    request,
                    tries: 0,
                };
                self.call(turn, asked);
            }
            Event::CancelMarked { job, outcome } => self.cancel_marked(turn, &job, outcome),
            Event::RevocationMarked {
                revocation,
                outcome,
            } => self.revocation_marked(turn, &revocation, outcome),
            Event::ManifestWritten { job, outcome, at } => {
                self.manifest_written(turn, &job, outcome, at);
            }
            Event::Tick => self.tick(turn),
            Event::Led { .. } | Event::Lost => {}
        }
    }

    /// Handles a call, now or again.
    pub(crate) fn call(&mut self, turn: &mut Turn<'_>, mut asked: Asked) {
        if !matches!(self.phase, Phase::Leading) {
            return turn.answer(asked.call, Err(no_leader()));
        }
        if asked.tries > TRIES_MAX {
            return turn.answer(asked.call, Err(overloaded()));
        }
        asked.tries += 1;
        match self.step(turn, &asked) {
            Step::Answer(answer) => turn.answer(asked.call, answer),
            Step::Write(units) => self.desk.stage(units, Some(asked)),
            Step::Held => {}
            Step::Wait(slot) => {
                // Waiting is no failed try: the record was merely busy.
                asked.tries -= 1;
                if let Err(asked) = self.desk.wait(slot, asked) {
                    turn.answer(asked.call, Err(overloaded()));
                }
            }
        }
    }

    fn step(&mut self, turn: &mut Turn<'_>, asked: &Asked) -> Step {
        match asked.request.as_ref() {
            Request::Submit(submission) => self.submit(asked, submission),
            Request::Cancel { job, reason } => self.cancel(turn, asked, job, reason),
            Request::Pause { job } => self.pause(asked, job),
            Request::Resume { job } => self.resume(asked, job),
            Request::SetRank {
                job,
                lane,
                priority,
                deadline,
            } => self.set_rank(asked, job, (*lane, *priority, *deadline)),
            Request::Revoke(wish) => self.revoke(turn, asked, wish),
            Request::SetDuty { node, duty } => self.set_duty(asked, node, *duty),
            Request::Join(info) => self.join(turn.now, asked, info),
            Request::Pull(pull) => self.pull(turn.now, asked, pull),
            Request::Beat(beat) => self.beat(turn.now, asked, beat),
            Request::Commit(commit) => self.commit(asked, commit),
            Request::Leave { node, session } => self.leave(asked, node, *session),
        }
    }

    fn tick(&mut self, turn: &mut Turn<'_>) {
        if let Phase::Recovering(_) = self.phase {
            return self.read_again(turn);
        }
        self.repeat_groups(turn);
        self.repeat_manifests(turn);
        if self.chores_hold.is_some_and(|until| until <= turn.now) {
            self.chores_hold = None;
            self.store_trouble = self
                .store_trouble
                .take()
                .filter(|_| !self.desk.groups.is_empty());
            self.all_chores();
            self.go_on_revoking(None);
            self.publish_what_is_done(turn);
        }
    }

    fn next_deadline(&self) -> Option<Millis> {
        let recovery = match &self.phase {
            Phase::Recovering(recovery) => recovery.again_at(),
            Phase::Leading | Phase::Following { .. } => None,
        };
        let deadlines = [
            recovery,
            self.groups_deadline(),
            self.manifests_deadline(),
            self.chores_hold,
        ];
        deadlines.into_iter().flatten().min()
    }

    fn unanswered(&mut self) -> Vec<CallId> {
        let mut calls = self.desk.unanswered();
        for cancelling in self
            .jobs
            .values_mut()
            .filter_map(|job| job.cancelling.take())
        {
            let asked = cancelling.asked.into_iter().chain(cancelling.closing);
            calls.extend(asked.map(|asked| asked.call));
            calls.extend(cancelling.also);
        }
        for entry in self.revocations.values_mut() {
            calls.append(&mut entry.calls);
        }
        for node in self.nodes.values_mut() {
            calls.extend(node.pulling.take().into_iter().flat_map(|(_, calls)| calls));
        }
        calls
    }

    pub(crate) fn job_no(&self, key: &JobKey) -> Option<JobNo> {
        self.job_names.get(key).copied()
    }

    pub(crate) fn next_no(&mut self) -> u32 {
        self.last_no += 1;
        self.last_no
    }

    /// The latest revision of a job's records, for watchers.
    pub(crate) fn seen(&mut self, job: JobNo, revision: Revision) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.seen = job.seen.max(revision);
        }
    }
}

pub(crate) fn overloaded() -> Problem {
    Problem::new(Code::Overloaded, "change a record that many calls wait for")
}
