//! A coordinator: the real core, and around it what its shell does: leadership by a lease, effects on store and storage,
//! answers to whoever called. It decides nothing and repeats nothing.

use std::collections::BTreeMap;
use std::rc::Rc;

use scheduler::journal::Noted;
use scheduler::{
    Action, Actions, Answer, CallId, Caller, Collector, Config, Core, Event, JobKey, Outcome,
    ReadId, ReadOutcome, Request, RevocationKey, StepDown, StorageOutcome, WriteId,
};
use types::{Code, Epoch, Generation, Millis, Problem, UnixMillis};

use crate::agenda::{Happening, Message, Timer, Who};
use crate::answers::Claim;
use crate::clock::Clock;
use crate::depot::{DepotAsk, DepotBack, PartPath};
use crate::journal::Journal;
use crate::shelf::{LEADER_LIVES, StoreAsk, StoreBack};
use crate::truth::GENERATION;
use crate::words;
use crate::world::World;

/// Time between two tries to lead, or two renewals.
const LEAD_EVERY: Millis = Millis(1_000);
/// How long store and storage are waited for.
const PATIENCE: Millis = Millis(3_000);
/// A new process needs this long to start.
const STARTS_IN: Millis = Millis(400);

/// A coordinator's process.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) frozen: Option<Millis>,
    pub(crate) clock: Clock,
    /// Of the version before.
    pub(crate) older: bool,
    /// The generation that the store was in as it began to lead.
    pub(crate) generation: Generation,
    pub(crate) core: Core,
    policy: Config,
    pub(crate) collector: Collector,
    /// Where what happens to it is written down, where somebody wants that.
    journal: Option<Journal>,
    orphan_age: Millis,
    pub(crate) reign: Option<Epoch>,
    /// When the last renewal that was answered was asked for, by its own clock.
    kept: Millis,
    calls: BTreeMap<CallId, (Who, u64, Claim)>,
    last_call: u64,
    waits: BTreeMap<u64, Wait>,
    last_ask: u64,
    wake: Option<Millis>,
}

/// What an answer is waited for.
#[derive(Clone, Debug)]
enum Wait {
    Read(ReadId),
    Write(WriteId),
    Lead { asked: Millis },
    Keep { asked: Millis },
    Mark(JobKey),
    Revoke(RevocationKey),
    Manifest(JobKey),
    Sweep,
}

impl Coordinator {
    pub(crate) fn new(clock: Clock, policy: Config, orphan_age: Millis) -> Self {
        Self {
            life: 0,
            up: false,
            frozen: None,
            clock,
            older: false,
            generation: GENERATION,
            core: Core::with_config(policy.clone()),
            policy,
            collector: Collector::new(orphan_age),
            journal: None,
            orphan_age,
            reign: None,
            kept: Millis(0),
            calls: BTreeMap::new(),
            last_call: 0,
            waits: BTreeMap::new(),
            last_ask: 0,
            wake: None,
        }
    }

    /// Writes down what happens to it from now on.
    pub(crate) fn keep_journal(&mut self) {
        let mut journal = Journal::default();
        journal.begin(&self.policy);
        self.journal = Some(journal);
    }

    /// What was written down, ending in what it knows.
    pub(crate) fn into_journal(self) -> Option<String> {
        self.journal.map(|journal| journal.end(&self.core))
    }

    /// The process is gone with all it knew.
    fn crash(&mut self) {
        self.life += 1;
        self.up = false;
        self.frozen = None;
        self.core = Core::with_config(self.policy.clone());
        if let Some(journal) = &mut self.journal {
            journal.begin(&self.policy);
        }
        self.collector = Collector::new(self.orphan_age);
        self.reign = None;
        self.calls.clear();
        self.waits.clear();
        self.wake = None;
    }
}

impl World {
    pub(crate) fn crash_coordinator(&mut self, who: usize, back_in: Millis) {
        self.judge_core(who);
        self.coordinators[who].crash();
        let at = self.now + back_in;
        self.coordinator_timer(who, at, Timer::Start);
    }

    pub(crate) fn coordinator_timer(&mut self, who: usize, at: Millis, timer: Timer) {
        let life = self.coordinators[who].life;
        let who = Who::Coordinator(who);
        self.agenda.plan(at, Happening::Timer { who, life, timer });
    }

    pub(crate) fn coordinator_timed(&mut self, who: usize, timer: Timer) {
        match timer {
            Timer::Start => {
                self.coordinators[who].up = true;
                self.coordinators[who].older = self.dice.happens(self.mix.rolled_back);
                let at = self.now + Millis(self.dice.between(1, 300));
                self.coordinator_timer(who, at, Timer::Lead);
                self.plan_sweep(who);
            }
            // An earlier deadline was planned for since, and was met.
            Timer::Wake if self.coordinators[who].wake.is_none_or(|at| at > self.now) => {}
            Timer::Wake => {
                self.coordinators[who].wake = None;
                self.tell_coordinator(who, Event::Tick);
            }
            Timer::Lead => self.lead_or_keep(who),
            Timer::Sweep => self.sweep(who),
            Timer::Overdue(no) => self.coordinator_overdue(who, no),
            Timer::Loaded(..)
            | Timer::SlotReady(..)
            | Timer::TrackEnded(_)
            | Timer::Killed(_)
            | Timer::Sung(..)
            | Timer::Prepared(_)
            | Timer::PutPart(_) => {}
        }
    }

    fn lead_or_keep(&mut self, who: usize) {
        let one = &self.coordinators[who];
        let asked = one.clock.show(self.now);
        let next = self.now + one.clock.span(LEAD_EVERY);
        match one.reign {
            None => {
                self.ask(who, Wait::Lead { asked }, StoreAsk::Lead);
            }
            Some(_) if !self.mix.stubborn && asked.since(one.kept) > LEADER_LIVES => {
                self.tell_coordinator(who, Event::Lost);
            }
            Some(epoch) => self.ask(who, Wait::Keep { asked }, StoreAsk::Keep(epoch)),
        }
        self.coordinator_timer(who, next, Timer::Lead);
    }

    /// Notes what is waited for, and until when.
    fn wait(&mut self, who: usize, wait: Wait) -> u64 {
        let one = &mut self.coordinators[who];
        one.last_ask += 1;
        let no = one.last_ask;
        one.waits.insert(no, wait);
        let at = self.now + one.clock.span(PATIENCE);
        self.coordinator_timer(who, at, Timer::Overdue(no));
        no
    }

    fn ask(&mut self, who: usize, wait: Wait, ask: StoreAsk) {
        let no = self.wait(who, wait);
        self.ask_store(who, no, ask);
    }

    fn ask_for_storage(&mut self, who: usize, wait: Wait, ask: DepotAsk) {
        let no = self.wait(who, wait);
        let life = self.coordinators[who].life;
        self.ask_depot(Who::Coordinator(who), life, no, ask);
    }

    /// No answer came in time: what was asked may have happened.
    fn coordinator_overdue(&mut self, who: usize, no: u64) {
        let Some(wait) = self.coordinators[who].waits.remove(&no) else {
            return;
        };
        let cause = || String::from("no answer in time");
        let code = Code::StorageUnavailable;
        let event = match wait {
            Wait::Lead { .. } | Wait::Keep { .. } | Wait::Sweep => return,
            Wait::Read(id) => {
                let outcome = ReadOutcome::Unavailable { cause: cause() };
                Event::Read { id, outcome }
            }
            Wait::Write(id) => {
                let outcome = Outcome::Unknown { cause: cause() };
                Event::Written { id, outcome }
            }
            Wait::Mark(job) => marked(job, Err(code)),
            Wait::Revoke(revocation) => revoked(revocation, Err(code)),
            Wait::Manifest(job) => {
                let outcome = StorageOutcome::Failed {
                    code,
                    cause: cause(),
                };
                let at = self.wall();
                Event::ManifestWritten { job, outcome, at }
            }
        };
        self.tell_coordinator(who, event);
    }

    pub(crate) fn store_answered(&mut self, who: usize, no: u64, back: StoreBack) {
        let Some(wait) = self.coordinators[who].waits.remove(&no) else {
            return;
        };
        match (back, wait) {
            (StoreBack::Read(id, outcome), _) => {
                self.tell_coordinator(who, Event::Read { id, outcome });
                self.judge_cache(who);
            }
            (StoreBack::Written(id, outcome), _) => {
                self.tell_coordinator(who, Event::Written { id, outcome });
                self.judge_cache_sometimes(who, id);
            }
            (StoreBack::Led(Some(epoch)), Wait::Lead { asked }) => self.led(who, epoch, asked),
            (StoreBack::Kept(true), Wait::Keep { asked }) => {
                let one = &mut self.coordinators[who];
                one.kept = one.kept.max(asked);
            }
            (StoreBack::Kept(false), _) if self.coordinators[who].reign.is_some() => {
                self.tell_coordinator(who, Event::Lost);
            }
            (StoreBack::Led(_) | StoreBack::Kept(_), _) => {}
        }
    }

    /// A leadership that a store made is told to whoever asked for it, on the way since before that store was lost.
    pub(crate) fn hears_of(&mut self, who: usize, epoch: Epoch) {
        let one = &self.coordinators[who];
        let (asked, life) = (one.clock.show(self.now), one.life);
        let no = self.wait(who, Wait::Lead { asked });
        let (back, at) = (StoreBack::Led(Some(epoch)), self.now + self.latency());
        let back = Happening::StoreBack {
            who,
            life,
            no,
            back,
        };
        self.agenda.plan(at, back);
    }

    fn led(&mut self, who: usize, epoch: Epoch, asked: Millis) {
        let one = &mut self.coordinators[who];
        if one.reign.is_some() {
            return;
        }
        one.reign = Some(epoch);
        one.kept = asked;
        // The shell reads it from the store that it leads.
        one.generation = self.generation;
        let generation = one.generation;
        self.tell_coordinator(who, Event::Led { epoch, generation });
    }

    pub(crate) fn storage_answered(&mut self, who: usize, no: u64, back: DepotBack) {
        if self.coordinators[who].waits.remove(&no).is_none() {
            return;
        }
        let event = match back {
            DepotBack::Part(_) => return,
            DepotBack::Listed(page) => return self.swept(who, page),
            DepotBack::Marked(job, outcome) => marked(job, outcome),
            DepotBack::Revoked(revocation, outcome) => revoked(revocation, outcome),
            DepotBack::Manifest(job, outcome) => {
                let outcome = put(outcome);
                let at = self.wall();
                Event::ManifestWritten { job, outcome, at }
            }
        };
        self.tell_coordinator(who, event);
    }

    /// Asks storage for a page of part paths.
    pub(crate) fn ask_list(&mut self, who: usize, after: Option<PartPath>) {
        self.ask_for_storage(who, Wait::Sweep, DepotAsk::List(after));
    }

    /// A call arrives.
    pub(crate) fn coordinator_called(
        &mut self,
        who: usize,
        from: Who,
        no: u64,
        caller: Caller,
        request: Box<Request>,
    ) {
        if self.is_outlived(&request) {
            return;
        }
        let one = &mut self.coordinators[who];
        one.last_call += 1;
        let call = CallId(one.last_call);
        let claim = self.claim(&caller, &request);
        let one = &mut self.coordinators[who];
        one.calls.insert(call, (from, no, claim));
        let at = self.wall();
        let event = Event::Call {
            call,
            caller,
            at,
            request,
        };
        self.tell_coordinator(who, event);
    }

    /// Tells a core what happened and carries out what it asks for, in order.
    pub(crate) fn tell_coordinator(&mut self, who: usize, event: Event) {
        self.log.line(
            self.now,
            format_args!("c{who} < {}", words::scheduler_event(&event)),
        );
        let one = &mut self.coordinators[who];
        let mut actions = Actions::new();
        let shown = one.clock.show(self.now);
        let noted = one.journal.as_ref().map(|_| Noted::new(shown, &event));
        one.core.handle(shown, event, &mut actions);
        if let (Some(journal), Some(noted)) = (&mut one.journal, noted) {
            journal.event(noted, &actions, &one.core);
        }
        self.tally.handled += 1;
        for action in actions {
            self.log.line(
                self.now,
                format_args!("c{who} > {}", words::scheduler_action(&action)),
            );
            self.carry_out(who, action);
        }
        self.plan_wake(who);
    }

    fn plan_wake(&mut self, who: usize) {
        let one = &mut self.coordinators[who];
        let Some(deadline) = one.core.next_deadline().filter(|_| one.up) else {
            return;
        };
        let at = one.clock.when(deadline).max(self.now + Millis(1));
        if one.wake.is_none_or(|wake| at < wake) {
            one.wake = Some(at);
            self.coordinator_timer(who, at, Timer::Wake);
        }
    }

    fn carry_out(&mut self, who: usize, action: Action) {
        match action {
            Action::Read { id, reading } => {
                self.ask(who, Wait::Read(id), StoreAsk::Read(id, reading, None));
            }
            Action::Write { id, txn } => {
                self.judge_size(&txn);
                let ask = StoreAsk::Write(id, txn, self.now);
                self.ask(who, Wait::Write(id), ask);
            }
            Action::Answer { call, answer } => self.reply(who, call, answer),
            Action::MarkCancelled { job, .. } => {
                self.ask_for_storage(who, Wait::Mark(job.clone()), DepotAsk::Mark(job));
            }
            Action::MarkRevoked { revocation, record } => {
                let wait = Wait::Revoke(revocation.clone());
                self.ask_for_storage(who, wait, DepotAsk::MarkRevoked(revocation, record));
            }
            Action::WriteManifest { plan } => {
                let wait = Wait::Manifest(plan.job.clone());
                self.ask_for_storage(who, wait, DepotAsk::PutManifest(Rc::new(*plan)));
            }
            Action::Audit { change, .. } => self.note_line(who, change),
            Action::Ready { .. } => self.tally.reigns += 1,
            Action::StepDown { reason, .. } => self.stepped_down(who, &reason),
        }
    }

    fn reply(&mut self, who: usize, call: CallId, answer: Result<Answer, Problem>) {
        let Some((from, no, claim)) = self.coordinators[who].calls.remove(&call) else {
            return self.violated("H6", format!("call {} of c{who} is answered twice", call.0));
        };
        // What one of an older generation says is the past's.
        let past = self.is_of_the_past(who);
        if !past {
            self.judge_answer(&claim, &answer);
        }
        if let Ok(Answer::Beaten(beaten)) = &answer
            && !past
            && self.coordinators[who].reign == self.shelf.epoch()
        {
            self.judge_renewals(beaten);
        }
        if let Ok(answer) = &answer {
            self.note_flush(answer);
        }
        let answer = Box::new(answer);
        self.send(Who::Coordinator(who), from, Message::Reply { no, answer });
    }

    fn stepped_down(&mut self, who: usize, reason: &StepDown) {
        self.judge_core(who);
        let past = self.is_of_the_past(who);
        let one = &mut self.coordinators[who];
        one.reign = None;
        let open = one.calls.len();
        if open > 0 {
            self.violated(
                "H6",
                format!("c{who} steps down with {open} calls unanswered"),
            );
        }
        // Under one of the past the store was set back, and it may find so.
        if let StepDown::Unreadable { key, cause } = reason
            && !past
        {
            self.violated("H5", format!("c{who} finds `{key}` unreadable: {cause}"));
        }
        // The process may end with its reign, or stand by for another.
        if self.dice.happens(5_000) {
            self.crash_coordinator(who, STARTS_IN);
        }
    }

    /// The wall clock, for records that are shown.
    pub(crate) fn wall(&self) -> UnixMillis {
        UnixMillis(1_700_000_000_000 + i64::try_from(self.now.0).unwrap_or(0))
    }
}

fn marked(job: JobKey, outcome: Result<(), Code>) -> Event {
    let outcome = put(outcome);
    Event::CancelMarked { job, outcome }
}

fn revoked(revocation: RevocationKey, outcome: Result<(), Code>) -> Event {
    let outcome = put(outcome);
    Event::RevocationMarked {
        revocation,
        outcome,
    }
}

fn put<T>(outcome: Result<T, Code>) -> StorageOutcome<T> {
    match outcome {
        Ok(done) => StorageOutcome::Done(done),
        Err(code) => StorageOutcome::Failed {
            code,
            cause: String::new(),
        },
    }
}
