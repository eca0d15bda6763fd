//! The world: everything that exists in one run, and the loop that lets one thing happen after the other. Nothing in it knows
//! the true time but the world itself.

use types::{DeviceKind, Generation, Millis, NodeId, Stage};

use crate::agenda::{Agenda, Happening, Message, Timer, Who};
use crate::agent::Agent;
use crate::bench::Bench;
use crate::clock::Clock;
use crate::coordinator::Coordinator;
use crate::depot::Depot;
use crate::dice::Dice;
use crate::links::Links;
use crate::log::Log;
use crate::mix::{Large, Mix};
use crate::operators::Operators;
use crate::oracle::Oracle;
use crate::report::Tally;
use crate::shelf::Shelf;
use crate::truth::{GENERATION, JobTruth, MEMORY_MOST, tenant};

/// The world of one run.
pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) dice: Dice,
    pub(crate) mix: Mix,
    pub(crate) log: Log,
    pub(crate) agenda: Agenda,
    pub(crate) links: Links,
    pub(crate) shelf: Shelf,
    pub(crate) depot: Depot,
    pub(crate) coordinators: Vec<Coordinator>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) operators: Operators,
    pub(crate) truths: Vec<JobTruth>,
    pub(crate) oracle: Oracle,
    pub(crate) tally: Tally,
    /// The generation that the store is in.
    pub(crate) generation: Generation,
    /// Calls of agents and operators so far.
    pub(crate) calls: u64,
    /// Lives of agents so far.
    pub(crate) nonces: u64,
    pub(crate) kills: u32,
    pub(crate) calm: bool,
    pub(crate) ended: bool,
}

/// Things that may happen in one run: many times what the longest has needed, so that a loop is found and not waited for.
const HAPPENINGS_MAX: u64 = 2_000_000;

/// How much later the first node comes where others are to have its work first.
const LATE: Millis = Millis(60_000);

impl World {
    pub(crate) fn new(mut dice: Dice, calm: bool, keep_log: bool) -> Self {
        let mix = if calm {
            Mix::calm()
        } else {
            Mix::drawn(&mut dice)
        };
        let coordinators = (0..mix.coordinators)
            .map(|_| Coordinator::new(clock(&mix, &mut dice), mix.policy(), mix.orphan_age))
            .collect();
        let mut agents: Vec<Agent> = (0..mix.agents)
            .map(|at| agent(at, &mix, &mut dice))
            .collect();
        if mix.copied {
            agents.push(agent(0, &mix, &mut dice));
        }
        let truths = (0..mix.jobs)
            .map(|number| JobTruth::drawn(number, &mix, &mut dice))
            .collect();
        let mut world = Self {
            now: Millis(0),
            dice,
            log: Log::new(keep_log),
            agenda: Agenda::default(),
            links: Links::default(),
            shelf: Shelf::default(),
            depot: Depot::default(),
            coordinators,
            agents,
            operators: Operators::default(),
            truths,
            oracle: Oracle::default(),
            tally: Tally::default(),
            generation: GENERATION,
            calls: 0,
            nonces: 0,
            kills: 0,
            calm: false,
            ended: false,
            mix,
        };
        world.log.line(Millis(0), format_args!("{:?}", world.mix));
        world.set_out();
        world
    }

    fn set_out(&mut self) {
        for who in 0..self.coordinators.len() {
            self.start(Who::Coordinator(who));
        }
        for who in 0..self.agents.len() {
            self.start(Who::Agent(who));
        }
        self.plan_operation(Millis(2_000));
        self.plan_fault();
        self.agenda.plan(self.mix.safety, Happening::Calm);
    }

    fn start(&mut self, who: Who) {
        let late = self.mix.large == Some(Large::Scattered) && who == Who::Agent(0);
        let from = if late { LATE } else { Millis(0) };
        let at = from + Millis(self.dice.between(1, 2_000));
        let (life, timer) = (0, Timer::Start);
        self.agenda.plan(at, Happening::Timer { who, life, timer });
    }

    /// Runs until everything has ended, or a promise did not hold.
    pub(crate) fn run(&mut self) {
        while !self.ended && self.oracle.violation.is_none() {
            let Some((at, what)) = self.agenda.next() else {
                return self.violated("I15", String::from("nothing is left to happen"));
            };
            self.now = self.now.max(at);
            self.tally.events += 1;
            if self.tally.events > HAPPENINGS_MAX {
                return self.violated("I15", String::from("it never ends"));
            }
            self.happen(what);
        }
        for who in 0..self.coordinators.len() {
            self.judge_core(who);
        }
        self.judge_trail();
    }

    fn happen(&mut self, what: Happening) {
        if let Some(until) = self.whose(&what).and_then(|who| self.frozen_until(who)) {
            return self.agenda.plan(until, what);
        }
        match what {
            Happening::Arrives { from, to, message } => self.arrives(from, to, message),
            Happening::Timer { who, life, timer } => self.timed(who, life, timer),
            Happening::Store { who, life, no, ask } => self.store_reached(who, life, no, ask),
            Happening::StoreBack {
                who,
                life,
                no,
                back,
            } => {
                if self.lives(Who::Coordinator(who), life) {
                    self.store_answered(who, no, back);
                }
            }
            Happening::Lands { id, again } => self.late_landed(id, again),
            Happening::Depot { who, life, no, ask } => self.depot_reached(who, life, no, ask),
            Happening::DepotBack {
                who,
                life,
                no,
                back,
            } => match who {
                Who::Coordinator(at) if self.lives(who, life) => {
                    self.storage_answered(at, no, back);
                }
                Who::Agent(at) if self.lives(who, life) => self.put_answered(at, no, &back),
                Who::Coordinator(_) | Who::Agent(_) | Who::Client | Who::Store | Who::Storage => {}
            },
            Happening::Operate => self.operate(),
            Happening::Fault => self.fault(),
            Happening::StoreLost if self.calm => {}
            Happening::StoreLost => _ = self.restore(),
            Happening::Relief(relief) => self.relieve(relief),
            Happening::Calm => {
                self.be_calm();
                self.agenda.plan(self.now + Millis(1), Happening::Operate);
            }
        }
    }

    /// The process that must be awake for this to happen.
    fn whose(&self, what: &Happening) -> Option<Who> {
        match what {
            Happening::Arrives { to, .. } => Some(*to),
            Happening::Timer { who, timer, .. } => match timer {
                // A machine starts again whatever its old process was doing.
                Timer::Start => None,
                Timer::Wake
                | Timer::Lead
                | Timer::Sweep
                | Timer::Overdue(_)
                | Timer::Loaded(..)
                | Timer::SlotReady(..)
                | Timer::TrackEnded(_)
                | Timer::Killed(_)
                | Timer::Sung(..)
                | Timer::Prepared(_)
                | Timer::PutPart(_) => Some(*who),
            },
            Happening::StoreBack { who, .. } => Some(Who::Coordinator(*who)),
            Happening::DepotBack { who, .. } => Some(*who),
            Happening::Store { .. }
            | Happening::Lands { .. }
            | Happening::Depot { .. }
            | Happening::Operate
            | Happening::Fault
            | Happening::StoreLost
            | Happening::Relief(_)
            | Happening::Calm => None,
        }
    }

    /// The key of a job by its name alone: names are unique among tenants.
    pub(crate) fn job_key(&self, job: &types::JobId) -> scheduler::JobKey {
        let truth = self.truths.iter().find(|truth| truth.key.job == *job);
        let tenant = truth.map_or_else(types::TenantId::default, |truth| truth.key.tenant.clone());
        let job = job.clone();
        scheduler::JobKey { tenant, job }
    }

    fn lives(&self, who: Who, life: u64) -> bool {
        match who {
            Who::Coordinator(at) => {
                let one = &self.coordinators[at];
                one.up && one.life == life
            }
            Who::Agent(at) => self.agents[at].up && self.agents[at].life == life,
            Who::Client | Who::Store | Who::Storage => true,
        }
    }

    fn timed(&mut self, who: Who, life: u64, timer: Timer) {
        let starts = matches!(timer, Timer::Start);
        match who {
            Who::Coordinator(at) => {
                let due = starts && !self.coordinators[at].up && self.coordinators[at].life == life;
                if due || (!starts && self.lives(who, life)) {
                    self.coordinator_timed(at, timer);
                }
            }
            Who::Agent(at) => {
                let due = starts && !self.agents[at].up && self.agents[at].life == life;
                if due || (!starts && self.lives(who, life)) {
                    self.agent_timed(at, timer);
                }
            }
            Who::Client => {
                if let Timer::Overdue(no) = timer {
                    self.operators_overdue(no);
                }
            }
            Who::Store | Who::Storage => {}
        }
    }

    fn arrives(&mut self, from: Who, to: Who, message: Message) {
        match (to, message) {
            (
                Who::Coordinator(at),
                Message::Call {
                    no,
                    caller,
                    request,
                },
            ) if self.coordinators[at].up => self.coordinator_called(at, from, no, caller, request),
            (Who::Agent(at), Message::Reply { no, answer }) if self.agents[at].up => {
                if !self.is_lost_with(at, &answer) {
                    self.agent_answered(at, no, *answer);
                }
            }
            (Who::Client, Message::Reply { no, answer }) => self.operators_answered(no, &answer),
            (_, Message::Call { .. } | Message::Reply { .. }) => {}
        }
    }
}

fn clock(mix: &Mix, dice: &mut Dice) -> Clock {
    if !mix.skewed {
        return Clock::new(Millis(0), Millis(1_000), 1_000);
    }
    let shown = Millis(dice.between(0, 3_600_000));
    Clock::new(Millis(0), shown, dice.between(500, 2_000))
}

fn agent(at: usize, mix: &Mix, dice: &mut Dice) -> Agent {
    let node = NodeId::new(format!("n{at}")).expect("a letter and a digit name a node");
    let mut stages = vec![Stage::Decode, Stage::Screen];
    // The first node runs every stage, so that there is a way to the end; others run both, the screen alone or the residual.
    let first_alone = mix.regretful || mix.large == Some(Large::Scattered);
    if at == 0 || (dice.happens(4_000) && !first_alone) {
        stages.push(Stage::Residual);
    } else if dice.happens(2_000) && !first_alone && !mix.quiet {
        stages = vec![Stage::Decode, Stage::Residual];
    }
    let devices = 1 + dice.index(2);
    let slowness = [10, 10, 20, 80];
    let bench = (0..devices)
        .map(|_| {
            let slow = dice.one_of(&slowness).unwrap_or(10);
            let slow = if mix.regretful && at == 0 { 40 } else { slow };
            let slots = 1 + u32::try_from(dice.below(3)).unwrap_or(0);
            match mix.large {
                Some(Large::Scattered) => Bench::new(10, 3),
                Some(Large::Many) | None => Bench::new(slow, slots),
            }
        })
        .collect();
    let mut agent = Agent::new(node, stages, clock(mix, dice), bench);
    // The first node meets whatever a job may ask for.
    if at == 0 {
        (agent.kind, agent.memory_bytes) = (DeviceKind::Cuda, MEMORY_MOST);
        agent.preloaded = true;
    } else if mix.demanding > 0 && dice.happens(5_000) {
        agent.kind = DeviceKind::Cuda;
        agent.memory_bytes = dice.between(1, 8) * (MEMORY_MOST / 8);
    }
    agent.older = at > 0 && dice.happens(mix.older);
    if at > 0 && mix.tenants > 1 && dice.happens(mix.owned) {
        agent.tenant = tenant(1);
    }
    agent
}
