//! A small world around the core: a store in memory, storage that remembers manifests and markers, and calls. Used
//! by every test of this crate; it decides nothing, and every change that lands is held against the invariants.

pub(crate) mod agent;
pub(crate) mod store;

use scheduler::record::{Lane, ManifestName};
use scheduler::{
    Action, Actions, AgentInfo, Answer, CallId, Caller, Change, Compare, Config, Core, Event,
    JobKey, ManifestPlan, Op, Outcome, ReadOutcome, Refusal, Request, Revision, StepDown,
    StorageOutcome, Submission,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use store::{MemStore, Txn};
use types::{
    ActorId, CatalogName, Device, DeviceKind, Digest, Generation, JobId, JobSpec, Millis, NodeId,
    Policy, Problem, Requirements, ShardPlan, Stage, Stages, TenantId, UnixMillis,
};

/// The generation of every test.
pub(crate) const GENERATION: Generation = Generation(1);

/// Something that the core asked for and that has not happened yet.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    Read(scheduler::ReadId, scheduler::Reading),
    Write(scheduler::WriteId, Txn),
    Mark(JobKey),
    MarkRevoked(scheduler::RevocationKey),
    Manifest(Box<ManifestPlan>),
}

pub(crate) struct World {
    pub(crate) core: Core,
    config: Config,
    pub(crate) store: MemStore,
    pub(crate) now: Millis,
    pub(crate) effects: VecDeque<Effect>,
    pub(crate) answers: BTreeMap<CallId, Result<Answer, Problem>>,
    pub(crate) manifests: BTreeMap<JobKey, ManifestPlan>,
    pub(crate) marked: Vec<JobKey>,
    pub(crate) stepped_down: Vec<StepDown>,
    pub(crate) ready: u32,
    pub(crate) log: Vec<String>,
    /// The audit trail: who made each change, where somebody did.
    pub(crate) trail: Vec<(Option<ActorId>, Change)>,
    /// Calls that this leader has not answered.
    pub(crate) open_calls: BTreeSet<CallId>,
    last_call: u64,
}

impl World {
    /// A world whose coordinator has just begun to lead an empty store.
    pub(crate) fn new() -> Self {
        Self::with_config(Config::default())
    }

    /// The same, under a policy of its own.
    pub(crate) fn with_config(config: Config) -> Self {
        let mut world = Self {
            core: Core::with_config(config.clone()),
            config,
            store: MemStore::default(),
            now: Millis(1_000_000),
            effects: VecDeque::new(),
            answers: BTreeMap::new(),
            manifests: BTreeMap::new(),
            marked: Vec::new(),
            stepped_down: Vec::new(),
            ready: 0,
            log: Vec::new(),
            trail: Vec::new(),
            open_calls: BTreeSet::new(),
            last_call: 0,
        };
        world.lead();
        world.settle();
        world
    }

    /// A new process: whatever the old one waited for is gone, and its epoch is over.
    pub(crate) fn restart(&mut self) {
        self.core = Core::with_config(self.config.clone());
        self.effects.clear();
        self.open_calls.clear();
        self.lead();
    }

    fn lead(&mut self) {
        let epoch = self.store.new_epoch();
        self.feed(Event::Led {
            epoch,
            generation: GENERATION,
        });
    }

    /// Gives the core one event and takes what it asks for.
    pub(crate) fn feed(&mut self, event: Event) {
        let mut actions = Actions::new();
        self.core.handle(self.now, event, &mut actions);
        for action in actions {
            if !matches!(action, Action::Audit { .. }) {
                self.log.push(line(&action));
            }
            self.take(action);
        }
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Read { id, reading } => self.effects.push_back(Effect::Read(id, reading)),
            Action::Write { id, txn } => self.effects.push_back(Effect::Write(id, txn)),
            Action::Answer { call, answer } => {
                self.open_calls.remove(&call);
                let twice = self.answers.insert(call, answer);
                assert!(twice.is_none(), "call {call:?} is answered twice");
            }
            Action::MarkCancelled { job, .. } => self.effects.push_back(Effect::Mark(job)),
            Action::MarkRevoked { revocation, .. } => {
                self.effects.push_back(Effect::MarkRevoked(revocation));
            }
            Action::WriteManifest { plan } => self.effects.push_back(Effect::Manifest(plan)),
            Action::Audit { by, change } => self.trail.push((by, change)),
            Action::Ready { .. } => self.ready += 1,
            Action::StepDown { reason, .. } => self.stepped_down.push(reason),
        }
    }

    /// Makes a call; its answer comes later, if at all.
    pub(crate) fn call(&mut self, request: Request) -> CallId {
        self.call_as("default", request)
    }

    /// Makes a call for a tenant.
    pub(crate) fn call_as(&mut self, tenant: &str, request: Request) -> CallId {
        self.last_call += 1;
        let call = CallId(self.last_call);
        self.open_calls.insert(call);
        self.feed(Event::Call {
            call,
            caller: Caller {
                tenant: TenantId::new(tenant).unwrap(),
                ..Caller::default()
            },
            at: UnixMillis(1_700_000_000_000 + self.now.0 as i64),
            request: Box::new(request),
        });
        call
    }

    /// Makes a call and lets everything happen until nothing is left to.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Answer, Problem> {
        self.ask_as("default", request)
    }

    /// The same for a tenant.
    pub(crate) fn ask_as(&mut self, tenant: &str, request: Request) -> Result<Answer, Problem> {
        let call = self.call_as(tenant, request);
        self.settle();
        self.answers
            .remove(&call)
            .unwrap_or_else(|| panic!("call {call:?} has no answer: {:#?}", self.log))
    }

    /// Lets every effect happen, in order and well.
    pub(crate) fn settle(&mut self) {
        let mut turns = 0;
        while let Some(effect) = self.effects.pop_front() {
            self.happen(effect);
            turns += 1;
            assert!(turns < 100_000, "effects never end");
        }
    }

    /// Lets one effect happen as it should.
    pub(crate) fn happen(&mut self, effect: Effect) {
        match effect {
            Effect::Read(id, reading) => {
                let outcome = self.store.read(&reading);
                self.feed(Event::Read { id, outcome });
            }
            Effect::Write(id, txn) => {
                let outcome = self.store.write(&txn);
                let over = outcome == Outcome::Refused(Refusal::Epoch);
                self.feed(Event::Written { id, outcome });
                assert!(
                    !over || self.core.leads().is_none(),
                    "a refused epoch ends the reign"
                );
            }
            Effect::Mark(job) => {
                self.marked.push(job.clone());
                self.feed(Event::CancelMarked {
                    job,
                    outcome: StorageOutcome::Done(()),
                });
            }
            Effect::MarkRevoked(revocation) => self.feed(Event::RevocationMarked {
                revocation,
                outcome: StorageOutcome::Done(()),
            }),
            Effect::Manifest(plan) => self.put_manifest(*plan),
        }
    }

    fn put_manifest(&mut self, plan: ManifestPlan) {
        scheduler::invariants::manifest_is_whole(&plan).expect("every manifest is whole");
        let name = ManifestName {
            version: plan.version,
            generation: plan.generation,
            sha256: Digest::of(format!("{plan:?}").as_bytes()),
        };
        let job = plan.job.clone();
        self.manifests.insert(job.clone(), plan);
        let at = UnixMillis(1);
        let outcome = StorageOutcome::Done(name);
        self.feed(Event::ManifestWritten { job, outcome, at });
    }

    /// Lets time pass, with a tick where the core wants one.
    pub(crate) fn pass(&mut self, span: Millis) {
        let until = self.now + span;
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.feed(Event::Tick);
            self.settle();
            if self.core.next_deadline() == Some(at) {
                break;
            }
        }
        self.now = until;
    }

    /// Lets time pass with ticks, but lets no effect happen.
    pub(crate) fn pass_silently(&mut self, span: Millis) {
        self.now = self.now + span;
        self.feed(Event::Tick);
    }

    /// Takes the first effect that is a write.
    pub(crate) fn next_write(&mut self) -> (scheduler::WriteId, Txn) {
        match self.effects.pop_front() {
            Some(Effect::Write(id, txn)) => (id, txn),
            other => panic!("expected a write, found {other:?}"),
        }
    }

    pub(crate) fn submit(&mut self, job: &str, rows: u32, shard_tracks: u32) -> JobKey {
        self.ask(submission(job, rows, shard_tracks))
            .expect("a sound job is accepted");
        key(job)
    }

    /// Submits a tenant's job, edited.
    pub(crate) fn submit_as(
        &mut self,
        tenant: &str,
        job: &str,
        rows: u32,
        edit: impl FnOnce(&mut Submission),
    ) -> JobKey {
        let Request::Submit(mut submission) = submission(job, rows, 8) else {
            panic!("a submission is one");
        };
        let tenant_id = TenantId::new(tenant).unwrap();
        submission.spec.tenant = tenant_id.clone();
        edit(&mut submission);
        self.ask_as(tenant, Request::Submit(submission))
            .expect("a sound job is accepted");
        JobKey {
            tenant: tenant_id,
            job: JobId::new(job).unwrap(),
        }
    }

    /// I17: each change has its line, but for those of earlier leaders that ended before they heard of them.
    pub(crate) fn judge_trail(&self) {
        let now = self.store.epoch;
        let changed = self.store.changed.iter();
        let earlier: BTreeSet<&Change> = changed
            .filter(|(epoch, _)| epoch.0 != now)
            .map(|(_, change)| change)
            .collect();
        let stored = self.store.changed.iter().map(|(_, change)| change);
        let trail = self.trail.iter().map(|(_, change)| change);
        let unheard =
            |change: &Change| earlier.contains(change) || self.core.is_changing(&change.key);
        scheduler::invariants::changes_are_audited(stored, trail, unheard).expect("I17 holds");
    }

    /// The lines of actions since the last look.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

pub(crate) fn key(job: &str) -> JobKey {
    JobKey {
        tenant: TenantId::default(),
        job: JobId::new(job).unwrap(),
    }
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(crate) fn spec(job: &str, rows: u32, shard_tracks: u32) -> JobSpec {
    JobSpec {
        tenant: TenantId::default(),
        actor: ActorId::default(),
        job: JobId::new(job).unwrap(),
        generation: GENERATION,
        catalog: CatalogName::new("c").unwrap(),
        list: Digest::of(b"list"),
        plan: ShardPlan { rows, shard_tracks },
        bundle: Digest::of(b"bundle"),
        policy: Policy {
            stages: Stages::Both,
            ..Policy::default()
        },
        submitted_at: UnixMillis(1),
        retry: None,
    }
}

pub(crate) fn submission(job: &str, rows: u32, shard_tracks: u32) -> Request {
    let spec = spec(job, rows, shard_tracks);
    Request::Submit(Submission {
        spec_sha256: Digest::of(format!("{spec:?}").as_bytes()),
        spec,
        lane: Lane::Batch,
        priority: 0,
        deadline: None,
        requires: Requirements::default(),
    })
}

pub(crate) fn agent_info(name: &str, nonce: u64, stages: &[Stage]) -> AgentInfo {
    AgentInfo {
        node: node(name),
        nonce,
        version: "0.1.1".into(),
        devices: vec![Device {
            kind: DeviceKind::Cpu,
            index: 0,
            name: "cpu".into(),
            memory_bytes: 1 << 30,
        }],
        stages: stages.to_vec(),
        sources: Vec::new(),
        accepts_sources: true,
        decoders: 2,
    }
}

/// An action as one line, short enough to read in a list.
pub(crate) fn line(action: &Action) -> String {
    let short = |key: &str| key.trim_start_matches("/0000000001/default/").to_string();
    match action {
        Action::Read { reading, .. } => match reading {
            scheduler::Reading::Prefix { prefix, .. } => format!("read page of {prefix}"),
            scheduler::Reading::Keys(keys) => {
                let keys: Vec<String> = keys.iter().map(|key| short(key)).collect();
                format!("read {}", keys.join(" "))
            }
        },
        Action::Write { txn, .. } => {
            let compare = |compare: &Compare| match compare {
                Compare::At { key, .. } => format!("at {}", short(key)),
                Compare::Absent { key } => format!("absent {}", short(key)),
            };
            let op = |op: &Op| match op {
                Op::Put { key, .. } => format!("put {}", short(key)),
                Op::Delete { key } => format!("delete {}", short(key)),
            };
            let compares: Vec<String> = txn.compares.iter().map(compare).collect();
            let ops: Vec<String> = txn.ops.iter().map(op).collect();
            format!("write if {} then {}", compares.join(", "), ops.join(", "))
        }
        Action::Answer { call, answer } => match answer {
            Ok(answer) => format!("answer {}: {}", call.0, summary(answer)),
            Err(problem) => format!("answer {}: {}", call.0, problem.code),
        },
        Action::MarkCancelled { job, .. } => format!("mark {job}"),
        Action::MarkRevoked { revocation, record } => {
            let jobs: Vec<String> = record.jobs.iter().map(ToString::to_string).collect();
            format!("mark revoked {revocation} in {}", jobs.join(", "))
        }
        Action::WriteManifest { plan } => {
            format!("manifest {} of {} parts", plan.job, plan.parts.len())
        }
        Action::Audit { change, .. } => format!("audit {change:?}"),
        Action::Ready { epoch } => format!("ready {epoch}"),
        Action::StepDown { reason, .. } => format!("step down: {reason:?}"),
    }
}

fn summary(answer: &Answer) -> String {
    match answer {
        Answer::Submitted { job, existing } => format!("submitted {job} existing={existing}"),
        Answer::Changed {
            job,
            state,
            existing,
        } => {
            let state = format!("{state:?}");
            let word = state
                .split(['(', ' '])
                .next()
                .unwrap_or_default()
                .to_string();
            format!("{job} {word} existing={existing}")
        }
        Answer::Revoked {
            revocation,
            jobs,
            existing,
        } => format!("revoked {revocation} in {jobs} jobs existing={existing}"),
        Answer::Done => "done".into(),
        Answer::Joined(joined) => format!("joined session {}", joined.session),
        Answer::Pulled(pulled) => {
            let grants: Vec<String> = pulled
                .grants
                .iter()
                .map(|g| format!("{}#{}{}{:?}", g.shard, g.attempt, g.range, g.care))
                .collect();
            format!("pulled {} [{}]", pulled.number, grants.join(" "))
        }
        Answer::Beaten(beaten) => {
            let orders: Vec<String> = beaten
                .orders
                .iter()
                .map(|o| format!("{}#{} {:?}", o.shard, o.attempt, o.order))
                .collect();
            format!(
                "beaten [{}] pull_now={}",
                orders.join(", "),
                beaten.pull_now
            )
        }
        Answer::Committed(committed) => format!("{:?} {:?}", committed.outcome, committed.order),
    }
}

/// Outcomes in short.
pub(crate) fn unknown() -> Outcome {
    Outcome::Unknown {
        cause: "no answer".into(),
    }
}

pub(crate) fn not_applied() -> Outcome {
    Outcome::NotApplied {
        code: types::Code::StoreUnavailable,
        cause: "connection refused".into(),
    }
}

pub(crate) fn refused(key: &str) -> Outcome {
    Outcome::Refused(Refusal::Key(key.into()))
}

pub(crate) const fn applied(revision: u64) -> Outcome {
    Outcome::Applied {
        revision: Revision(revision),
    }
}

pub(crate) fn unavailable() -> ReadOutcome {
    ReadOutcome::Unavailable {
        cause: "no answer".into(),
    }
}
