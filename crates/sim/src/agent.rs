//! A node's agent: the real core, and around it what its shell does: calls with a deadline, the session's name, what is on
//! disk. Devices are in `bench`, parts in `parts`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use agent_core::{
    Action, Actions, BeatCall, CallError, Config, Core, Event, Found, GrantKey, PartNo, PullCall,
    Token,
};
use scheduler::{Answer, Request};
use types::{
    Code, DeviceKind, Digest, Millis, NodeId, Ordinal, Problem, PullNo, Session, Stage, TenantId,
    UnixMillis,
};

use crate::agenda::{Happening, Message, Timer, Who};
use crate::bench::{Bench, Try};
use crate::clock::Clock;
use crate::depot::{DepotAsk, DepotBack};
use crate::held::Held;
use crate::parts::Saved;
use crate::truth::Row;
use crate::words;
use crate::world::World;
use crate::{asks, wire};

/// How long a call is waited for: that of the agent's shell.
const CALL_DEADLINE: Millis = Millis(5_000);
/// How long storage is waited for.
const PUT_DEADLINE: Millis = Millis(10_000);

/// An agent's process, its machine and its disk.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) node: NodeId,
    /// Whose node it is: the fleet's, or a tenant's own.
    pub(crate) tenant: TenantId,
    pub(crate) stages: Vec<Stage>,
    /// What each of its devices is.
    pub(crate) kind: DeviceKind,
    /// What each of them has.
    pub(crate) memory_bytes: u64,
    /// It has every bundle loaded before it is asked for one.
    pub(crate) preloaded: bool,
    /// Bundles that it ever said it has loaded.
    pub(crate) claimed: BTreeSet<Digest>,
    /// Of the version before.
    pub(crate) older: bool,
    pub(crate) life: u64,
    pub(crate) up: bool,
    /// It is gone for good.
    pub(crate) away: bool,
    pub(crate) frozen: Option<Millis>,
    pub(crate) clock: Clock,
    pub(crate) core: Core,
    pub(crate) nonce: u64,
    /// Since when it keeps what it has no device for.
    pub(crate) idle_since: Option<Millis>,
    /// The coordinator that is asked first.
    guess: usize,
    waits: BTreeMap<u64, Wait>,
    wake: Option<Millis>,
    pub(crate) bench: Vec<Bench>,
    pub(crate) tries: BTreeMap<Token, Try>,
    pub(crate) held: BTreeMap<GrantKey, Held>,
    /// What its last beats named in hand: which of them was the last to be heard is not known here.
    pub(crate) named: VecDeque<BTreeSet<(GrantKey, Ordinal)>>,
    /// By the agent's clock: when what granted or last renewed a grant was asked.
    pub(crate) renewed: BTreeMap<GrantKey, Millis>,
    /// With when each was made, by the agent's clock.
    pub(crate) rows: BTreeMap<(GrantKey, Ordinal), (Row, UnixMillis)>,
    /// Parts made and not forgotten; they are on disk, most of them.
    pub(crate) parts: BTreeMap<PartNo, Saved>,
}

/// Beats of which one was the last to be heard when a node falls silent: one that was answered, and those lost after it.
const BEATS_NAMED: usize = 4;

/// What an answer is waited for.
#[derive(Clone, Debug)]
enum Wait {
    Join,
    Pull(Session, PullNo, Millis),
    Beat(Session, u64, Millis),
    Commit(PartNo, Session),
    Leave,
    Put(PartNo),
}

impl Agent {
    pub(crate) fn new(node: NodeId, stages: Vec<Stage>, clock: Clock, bench: Vec<Bench>) -> Self {
        Self {
            node,
            tenant: TenantId::default(),
            stages,
            kind: DeviceKind::Cpu,
            memory_bytes: 1 << 30,
            preloaded: false,
            claimed: BTreeSet::new(),
            older: false,
            life: 0,
            up: false,
            away: false,
            frozen: None,
            clock,
            core: Core::new(Config::default()),
            nonce: 0,
            idle_since: None,
            guess: 0,
            waits: BTreeMap::new(),
            wake: None,
            bench,
            tries: BTreeMap::new(),
            held: BTreeMap::new(),
            named: VecDeque::new(),
            renewed: BTreeMap::new(),
            rows: BTreeMap::new(),
            parts: BTreeMap::new(),
        }
    }

    /// The coordinator that it asks.
    pub(crate) const fn guess(&self) -> usize {
        self.guess
    }

    pub(crate) fn shown(&self, now: Millis) -> Millis {
        self.clock.show(now)
    }

    /// What its clock shows, as its parts state it.
    pub(crate) fn wall(&self, now: Millis) -> UnixMillis {
        UnixMillis(i64::try_from(self.shown(now).0).unwrap_or(0))
    }

    fn note_named(&mut self, call: &BeatCall) {
        let of = |held: &agent_core::Held| {
            let key = held.key.clone();
            let tracks: Vec<Ordinal> = held.in_hand.iter().collect();
            tracks
                .into_iter()
                .map(move |ordinal| (key.clone(), ordinal))
        };
        self.named
            .push_back(call.held.iter().flat_map(of).collect());
        if self.named.len() > BEATS_NAMED {
            self.named.pop_front();
        }
    }
}

impl World {
    /// The process is gone with all that is not on disk; a new one starts after `back_in`.
    pub(crate) fn crash_agent(&mut self, who: usize, back_in: Millis) {
        self.accuse_held(who);
        let lost = self.dice.happens(3_000);
        let now = self.now;
        let one = &mut self.agents[who];
        one.life += 1;
        one.up = false;
        one.frozen = None;
        one.waits.clear();
        one.wake = None;
        one.tries.clear();
        one.held.clear();
        one.named.clear();
        one.renewed.clear();
        one.rows.clear();
        // A part that was just being written to disk may not be there.
        one.parts.retain(|_, part| !lost || part.is_on_disk(now));
        one.bench.iter_mut().for_each(Bench::stop);
        self.agent_timer(who, now + back_in, Timer::Start);
    }

    pub(crate) fn agent_timer(&mut self, who: usize, at: Millis, timer: Timer) {
        let life = self.agents[who].life;
        let who = Who::Agent(who);
        self.agenda.plan(at, Happening::Timer { who, life, timer });
    }

    /// A new life: what is on disk is found, the rest is new.
    fn start_agent(&mut self, who: usize) {
        self.nonces += 1;
        let nonce = self.nonces;
        let flush_every = self.mix.flush_every;
        let one = &mut self.agents[who];
        one.bench.iter_mut().for_each(|bench| bench.out = false);
        one.up = true;
        one.nonce = nonce;
        one.core = Core::new(Config {
            devices: u32::try_from(one.bench.len()).unwrap_or(1),
            flush_every,
        });
        let parts = std::mem::take(&mut one.parts);
        for (part, saved) in (0..).map(PartNo).zip(parts.into_values()) {
            let found = Found {
                grant: saved.grant.clone(),
                tracks: saved.tracks.clone(),
                part,
            };
            self.agents[who].parts.insert(part, saved);
            self.tell_agent(who, Event::Found(found));
        }
        self.tell_agent(who, Event::Tick);
    }

    pub(crate) fn agent_timed(&mut self, who: usize, timer: Timer) {
        match timer {
            Timer::Start => self.start_agent(who),
            // An earlier deadline was planned for since, and was met.
            Timer::Wake if self.agents[who].wake.is_none_or(|at| at > self.now) => {}
            Timer::Wake => {
                self.agents[who].wake = None;
                self.tell_agent(who, Event::Tick);
            }
            Timer::Overdue(no) => self.agent_overdue(who, no),
            Timer::Loaded(device, worker, bundle) => self.loaded(who, device, worker, bundle),
            Timer::SlotReady(device, worker, slot) => self.slot_ready(who, device, worker, slot),
            Timer::TrackEnded(token) => self.track_ended(who, token),
            Timer::Killed(token) => self.node_killed(who, token),
            Timer::Sung(device, worker, stage, nonce) => {
                self.sung(who, device, worker, (stage, nonce));
            }
            Timer::Prepared(grant) => self.prepared(who, grant),
            Timer::PutPart(part) => self.put_part(who, part),
            Timer::Lead | Timer::Sweep => {}
        }
    }

    /// Tells a core what happened and carries out what it asks for, in order.
    pub(crate) fn tell_agent(&mut self, who: usize, event: Event) {
        self.log.line(
            self.now,
            format_args!("a{who} < {}", words::agent_event(&event)),
        );
        let one = &mut self.agents[who];
        let mut actions = Actions::new();
        let shown = one.clock.show(self.now);
        one.core.handle(shown, event, &mut actions);
        self.tally.handled += 1;
        let life = one.life;
        for action in actions {
            self.log.line(
                self.now,
                format_args!("a{who} > {}", words::agent_action(&action)),
            );
            self.act(who, action);
            if self.agents[who].life != life {
                return;
            }
        }
        self.plan_agent_wake(who);
    }

    fn plan_agent_wake(&mut self, who: usize) {
        let one = &mut self.agents[who];
        let Some(deadline) = one.core.next_deadline().filter(|_| one.up) else {
            return;
        };
        let at = one.clock.when(deadline).max(self.now + Millis(1));
        if one.wake.is_none_or(|wake| at < wake) {
            one.wake = Some(at);
            self.agent_timer(who, at, Timer::Wake);
        }
    }

    fn act(&mut self, who: usize, action: Action) {
        match action {
            Action::Join => {
                let request = Request::Join(asks::introduction(&self.agents[who]));
                self.call_from(who, Wait::Join, request);
            }
            Action::Pull(call) => self.pull(who, &call),
            Action::Beat(call) => self.beat(who, &call),
            Action::Commit { part, session } => self.commit(who, part, session),
            Action::Leave { session } => {
                let node = self.agents[who].node.clone();
                self.call_from(who, Wait::Leave, Request::Leave { node, session });
            }
            Action::Prepare { grant } => {
                let at = self.now + Millis(self.dice.between(1, 200));
                self.agent_timer(who, at, Timer::Prepared(grant));
            }
            Action::Load { device, bundle } => self.load(who, device, bundle),
            Action::TakeOut { device, .. } => self.take_out(who, device),
            Action::Start {
                token,
                device,
                slot,
                grant,
                ordinal,
            } => self.begin(who, token, (device, slot), grant, ordinal),
            Action::Abort { token } => self.abort(who, token),
            Action::Reject {
                grant,
                ordinal,
                code,
            } => {
                let one = &mut self.agents[who];
                let made = (Row::Unscannable(code), one.wall(self.now));
                one.rows.insert((grant, ordinal), made);
            }
            Action::Sing {
                device,
                stage,
                nonce,
            } => self.sing(who, device, stage, nonce),
            Action::WritePart {
                part,
                grant,
                tracks,
                onward,
                withheld,
                borderline: _,
                device,
            } => self.write_part(who, part, grant, (&tracks, &onward, &withheld), device),
            Action::ForgetPart { part } => _ = self.agents[who].parts.remove(&part),
            Action::Forget { grant } => {
                let one = &mut self.agents[who];
                one.held.remove(&grant);
                one.renewed.remove(&grant);
                one.rows.retain(|(of, _), _| *of != grant);
            }
            Action::Exit => {
                let back_in = Millis(self.dice.between(500, 10_000));
                self.crash_agent(who, back_in);
            }
        }
    }

    // Calls.

    fn call_from(&mut self, who: usize, wait: Wait, request: Request) {
        let to = Who::Coordinator(self.agents[who].guess);
        let no = self.wait_for(who, wait, CALL_DEADLINE);
        let message = Message::Call {
            no,
            caller: self.agents[who].caller(),
            request: Box::new(request),
        };
        self.send(Who::Agent(who), to, message);
    }

    fn wait_for(&mut self, who: usize, wait: Wait, deadline: Millis) -> u64 {
        self.calls += 1;
        let no = self.calls;
        let one = &mut self.agents[who];
        one.waits.insert(no, wait);
        let at = self.now + one.clock.span(deadline);
        self.agent_timer(who, at, Timer::Overdue(no));
        no
    }

    fn pull(&mut self, who: usize, call: &PullCall) {
        let one = &self.agents[who];
        let wait = Wait::Pull(call.session, call.number, one.shown(self.now));
        let pull = asks::pull(one, call);
        self.agents[who]
            .claimed
            .extend(pull.bundles.iter().copied());
        self.call_from(who, wait, Request::Pull(pull));
    }

    fn beat(&mut self, who: usize, call: &BeatCall) {
        self.agents[who].note_named(call);
        self.judge_held(who, call);
        let one = &self.agents[who];
        let wait = Wait::Beat(call.session, call.number, one.shown(self.now));
        let request = asks::beat(one, call);
        self.call_from(who, wait, request);
    }

    fn commit(&mut self, who: usize, part: PartNo, session: Session) {
        let one = &self.agents[who];
        let Some(saved) = one.parts.get(&part) else {
            return;
        };
        self.judge_commit_time(who, &saved.grant.clone());
        let one = &self.agents[who];
        let Some(saved) = one.parts.get(&part) else {
            return;
        };
        let request = Request::Commit(asks::commit(one, saved, session));
        self.call_from(who, Wait::Commit(part, session), request);
    }

    /// Puts a part's objects, and waits for storage to say so.
    pub(crate) fn put_part(&mut self, who: usize, part: PartNo) {
        let Some(saved) = self.agents[who].parts.get(&part) else {
            return;
        };
        let objects: Vec<Rc<_>> = saved.objects.clone();
        let no = self.wait_for(who, Wait::Put(part), PUT_DEADLINE);
        let life = self.agents[who].life;
        let ask = DepotAsk::PutPart(objects);
        self.ask_depot(Who::Agent(who), life, no, ask);
    }

    pub(crate) fn put_answered(&mut self, who: usize, no: u64, back: &DepotBack) {
        let Some(Wait::Put(part)) = self.agents[who].waits.remove(&no) else {
            return;
        };
        let stored = matches!(back, DepotBack::Part(true));
        let outcome = stored.then_some(()).ok_or(Code::StorageUnavailable);
        self.tell_agent(who, Event::PartWritten { part, outcome });
    }

    fn agent_overdue(&mut self, who: usize, no: u64) {
        let Some(wait) = self.agents[who].waits.remove(&no) else {
            return;
        };
        if let Wait::Put(part) = wait {
            let outcome = Err(Code::StorageUnavailable);
            return self.tell_agent(who, Event::PartWritten { part, outcome });
        }
        self.next_guess(who);
        self.answered(who, wait, Err(CallError::Unanswered));
    }

    fn next_guess(&mut self, who: usize) {
        let coordinators = self.coordinators.len();
        let one = &mut self.agents[who];
        one.guess = (one.guess + 1) % coordinators;
    }

    pub(crate) fn agent_answered(&mut self, who: usize, no: u64, answer: Result<Answer, Problem>) {
        let Some(wait) = self.agents[who].waits.remove(&no) else {
            return;
        };
        let answer = answer.map_err(|problem| problem.code);
        if answer == Err(Code::NotLeader) {
            self.next_guess(who);
        }
        self.answered(who, wait, answer.map_err(CallError::Refused));
    }

    fn answered(&mut self, who: usize, wait: Wait, answer: Result<Answer, CallError>) {
        let event = match wait {
            Wait::Join => Event::Joined(answer.map(|answer| wire::joined(&answer))),
            Wait::Pull(session, number, asked) => {
                if let Ok(answer) = &answer {
                    self.note_granted(who, asked, answer);
                }
                let answer = answer.map(|answer| wire::pulled(&answer));
                Event::Pulled {
                    session,
                    number,
                    answer,
                }
            }
            Wait::Beat(session, number, asked) => {
                if let Ok(answer) = &answer {
                    self.note_renewed(who, asked, answer);
                }
                let answer = answer.map(|answer| wire::beaten(&answer));
                Event::Beaten {
                    session,
                    number,
                    answer,
                }
            }
            Wait::Commit(part, session) => {
                self.clean_up(who, part, &answer);
                self.maybe_made_again(who, part, session, &answer);
                let answer = answer.map(|answer| wire::committed(&answer));
                Event::Committed { part, answer }
            }
            Wait::Leave => Event::Left(answer.map(drop)),
            Wait::Put(_) => return,
        };
        self.tell_agent(who, event);
    }
}
