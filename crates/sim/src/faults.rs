//! Faults of processes, links, store, storage and devices: drawn at random times while faults strike, and all over when
//! they stop. What links, store and storage do to single requests is drawn where the request is.

use agent_core::{Death, DeviceNo};
use types::Millis;

use crate::agenda::{Happening, Who};
use crate::bench::Bench;
use crate::mix::{LinkOdds, StorageOdds, StoreOdds};
use crate::shelf::LEADER;
use crate::world::World;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    CrashAgent,
    FreezeAgent,
    CutAgent,
    CrashCoordinator,
    FreezeCoordinator,
    CutFromStore,
    CutFromStorage,
    LeaderFlap,
    /// The leader is cut from the store for longer than it leads, and does not look at its clock.
    Deposed,
    StoreDown,
    StoreFull,
    StorageDown,
    StorageFull,
    Compaction,
    KilledWorker,
    SickDevice,
    LostDevice,
    /// All devices of a node go at once.
    LostDevices,
    /// The store is lost, or comes back as it was: its records are rebuilt in a new generation.
    Restore,
}

/// Every kind, in the order in which a mix switches them.
pub(crate) const KINDS: &[Kind] = &[
    Kind::CrashAgent,
    Kind::FreezeAgent,
    Kind::CutAgent,
    Kind::CrashCoordinator,
    Kind::FreezeCoordinator,
    Kind::CutFromStore,
    Kind::CutFromStorage,
    Kind::LeaderFlap,
    Kind::Deposed,
    Kind::StoreDown,
    Kind::StoreFull,
    Kind::StorageDown,
    Kind::StorageFull,
    Kind::Compaction,
    Kind::KilledWorker,
    Kind::SickDevice,
    Kind::LostDevice,
    Kind::LostDevices,
    Kind::Restore,
];

impl Kind {
    /// Its name, for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CrashAgent => "agent crashed",
            Self::FreezeAgent => "agent frozen",
            Self::CutAgent => "agent cut off",
            Self::CrashCoordinator => "coordinator crashed",
            Self::FreezeCoordinator => "coordinator frozen",
            Self::CutFromStore => "cut from the store",
            Self::CutFromStorage => "cut from storage",
            Self::LeaderFlap => "leadership lost",
            Self::Deposed => "leader deposed",
            Self::StoreDown => "store down",
            Self::StoreFull => "store full",
            Self::StorageDown => "storage down",
            Self::StorageFull => "storage full",
            Self::Compaction => "revisions compacted",
            Self::KilledWorker => "worker killed",
            Self::SickDevice => "device sick",
            Self::LostDevice => "device gone",
            Self::LostDevices => "all devices gone",
            Self::Restore => "store restored",
        }
    }
}

/// What ends with a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Relief {
    /// A frozen process goes on with what it knew.
    Thaw {
        who: Who,
        life: u64,
        since: Millis,
        /// Its clock stood still, as in a machine that was frozen.
        clock_stood: bool,
    },
}

/// Workers that somebody outside kills in one run: below what convicts a track on purpose.
const KILLS_MAX: u32 = 5;

impl World {
    /// Plans the next fault, while faults strike.
    pub(crate) fn plan_fault(&mut self) {
        let mean = self.mix.fault_every.0;
        if mean > 0 {
            let at = self.now + Millis(self.dice.between(1, 2 * mean));
            self.agenda.plan(at, Happening::Fault);
        }
    }

    pub(crate) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let enabled = KINDS.iter().zip(&self.mix.faults);
        let kinds: Vec<Kind> = enabled.filter(|(_, on)| **on).map(|(k, _)| *k).collect();
        if let Some(kind) = self.dice.one_of(&kinds) {
            self.log.line(self.now, format_args!("fault {kind:?}"));
            if self.strike(kind) {
                self.struck(kind.name());
            }
            self.back_up();
        }
        self.plan_fault();
    }

    /// A span: mostly short, now and then longer than any deadline.
    fn span(&mut self) -> Millis {
        let most = if self.dice.happens(3_000) {
            60_000
        } else {
            6_000
        };
        Millis(self.dice.between(10, most))
    }

    /// Whether it hit anybody who is up, and anything that was not so already.
    fn strike(&mut self, kind: Kind) -> bool {
        let until = self.now + self.span();
        let agent = self.dice.index(self.agents.len());
        let coordinator = self.dice.index(self.coordinators.len());
        match kind {
            Kind::CrashAgent => {
                let back_in = self.span();
                let up = self.agents[agent].up;
                self.crash_agent(agent, back_in);
                up
            }
            Kind::FreezeAgent => self.freeze(Who::Agent(agent), until),
            Kind::CutAgent => self.cut_agent(agent, until),
            Kind::CrashCoordinator => {
                let back_in = self.span();
                let up = self.coordinators[coordinator].up;
                self.crash_coordinator(coordinator, back_in);
                up
            }
            Kind::FreezeCoordinator => self.freeze(Who::Coordinator(coordinator), until),
            Kind::CutFromStore => self.cut(Who::Coordinator(coordinator), Who::Store, until),
            Kind::CutFromStorage => {
                let sides = [Who::Coordinator(coordinator), Who::Agent(agent)];
                let side = sides[self.dice.index(2)];
                self.cut(side, Who::Storage, until)
            }
            Kind::LeaderFlap => self.shelf.epoch().is_some_and(|epoch| {
                let epoch = store_model::Revision(epoch.0);
                self.shelf.model.resign(self.now, LEADER, epoch)
            }),
            Kind::Deposed => self.depose(),
            Kind::StoreDown => longer(&mut self.shelf.down_until, until),
            Kind::StoreFull => longer(&mut self.shelf.full_until, until),
            Kind::StorageDown => longer(&mut self.depot.down_until, until),
            Kind::StorageFull => longer(&mut self.depot.full_until, until),
            Kind::Compaction => {
                let revision = self.shelf.model.revision();
                self.shelf.model.compact(revision);
                revision.0 > 0
            }
            Kind::KilledWorker => self.kill_worker(agent),
            Kind::SickDevice => {
                let now = self.now;
                let device = self
                    .unspared(agent)
                    .filter(|bench| bench.sick_from.is_none());
                device.is_some_and(|bench| {
                    bench.sick_from = Some(now);
                    true
                })
            }
            Kind::LostDevice => {
                let device = self.unspared(agent).filter(|bench| !bench.gone);
                device.is_some_and(|bench| {
                    bench.gone = true;
                    true
                })
            }
            Kind::LostDevices => self.lose_devices(agent),
            Kind::Restore => self.restore(),
        }
    }

    /// All devices of any node but the first go.
    fn lose_devices(&mut self, agent: usize) -> bool {
        let benches = self.agents[agent].bench.iter_mut();
        let mut there = benches.filter(|bench| agent != 0 && !bench.gone).peekable();
        let struck = there.peek().is_some();
        there.for_each(|bench| bench.gone = true);
        struck
    }

    /// The leader goes on alone: another leads, and it is not told.
    fn depose(&mut self) -> bool {
        let leads = self.shelf.epoch();
        let mut all = self.coordinators.iter();
        let Some(who) = all.position(|one| leads.is_some() && one.reign == leads) else {
            return false;
        };
        self.mix.stubborn = true;
        let until = self.now + Millis(self.dice.between(10_000, 60_000));
        self.cut_way(Who::Coordinator(who), Who::Store, until)
    }

    /// A device of any node but the first, which keeps sound ones, so that there is a way to the end.
    fn unspared(&mut self, agent: usize) -> Option<&mut Bench> {
        let device = self.dice.index(self.agents[agent].bench.len());
        let bench = self.agents[agent].bench.get_mut(device);
        bench.filter(|_| agent != 0)
    }

    fn kill_worker(&mut self, agent: usize) -> bool {
        let device = self.dice.index(self.agents[agent].bench.len());
        let may = self.kills < KILLS_MAX && self.agents[agent].up;
        if may {
            self.kills += 1;
            let device = DeviceNo(u32::try_from(device).unwrap_or(0));
            self.worker_dies(agent, device, Death::Killed);
        }
        may
    }

    fn freeze(&mut self, who: Who, until: Millis) -> bool {
        let clock_stood = self.dice.happens(3_000);
        let now = self.now;
        let (frozen, life, up) = match who {
            Who::Agent(at) => {
                self.accuse_held(at);
                let one = &mut self.agents[at];
                (&mut one.frozen, one.life, one.up)
            }
            Who::Coordinator(at) => {
                let one = &mut self.coordinators[at];
                (&mut one.frozen, one.life, one.up)
            }
            Who::Client | Who::Store | Who::Storage => return false,
        };
        if frozen.is_some() {
            return false;
        }
        *frozen = Some(until);
        let relief = Relief::Thaw {
            who,
            life,
            since: now,
            clock_stood,
        };
        self.agenda.plan(until, Happening::Relief(relief));
        up
    }

    pub(crate) fn relieve(&mut self, relief: Relief) {
        let Relief::Thaw {
            who,
            life,
            since,
            clock_stood,
        } = relief;
        let now = self.now;
        let (frozen, clock, lives) = match who {
            Who::Agent(at) => {
                let one = &mut self.agents[at];
                (&mut one.frozen, &mut one.clock, one.life)
            }
            Who::Coordinator(at) => {
                let one = &mut self.coordinators[at];
                (&mut one.frozen, &mut one.clock, one.life)
            }
            Who::Client | Who::Store | Who::Storage => return,
        };
        if lives != life || frozen.is_none() {
            return;
        }
        *frozen = None;
        if clock_stood {
            clock.stood_still(since, now);
        }
    }

    /// A machine goes for good.
    fn take_away(&mut self, who: usize) {
        self.accuse_held(who);
        let one = &mut self.agents[who];
        one.life += 1;
        one.up = false;
        one.away = true;
    }

    /// Until when a process takes no events.
    pub(crate) fn frozen_until(&self, who: Who) -> Option<Millis> {
        let until = match who {
            Who::Agent(at) => self.agents[at].frozen,
            Who::Coordinator(at) => self.coordinators[at].frozen,
            Who::Client | Who::Store | Who::Storage => None,
        };
        until.filter(|until| *until > self.now)
    }

    /// Cuts a link in one direction or both. Whether anything of two that are up passed it before and does not now.
    fn cut(&mut self, from: Who, to: Who, until: Millis) -> bool {
        let how = self.dice.below(3);
        let there = how != 0 && self.cut_way(from, to, until);
        let back = how != 1 && self.cut_way(to, from, until);
        there || back
    }

    /// Cuts one direction of a link; whether it was open between two that are up.
    fn cut_way(&mut self, from: Who, to: Who, until: Millis) -> bool {
        let open = self.links.passes(from, to, self.now);
        self.links.cut(from, to, until);
        open && self.is_up(from) && self.is_up(to)
    }

    /// Cuts an agent from one coordinator or all; whether that cut any.
    fn cut_agent(&mut self, agent: usize, until: Millis) -> bool {
        self.accuse_held(agent);
        let one = self.dice.index(self.coordinators.len() + 1);
        let mut any = false;
        for coordinator in 0..self.coordinators.len() {
            if one == coordinator || one == self.coordinators.len() {
                any |= self.cut(Who::Agent(agent), Who::Coordinator(coordinator), until);
            }
        }
        any
    }

    /// Whether a process runs; services always do, though they may not answer.
    fn is_up(&self, who: Who) -> bool {
        match who {
            Who::Agent(at) => self.agents[at].up,
            Who::Coordinator(at) => self.coordinators[at].up,
            Who::Client | Who::Store | Who::Storage => true,
        }
    }

    /// All faults stop: links heal, frozen processes go on, requests are answered. What is sick stays sick.
    pub(crate) fn be_calm(&mut self) {
        self.calm = true;
        self.log.line(self.now, format_args!("calm"));
        self.links.heal();
        self.mix.links = LinkOdds {
            latency_max: 20,
            ..LinkOdds::default()
        };
        self.mix.store = StoreOdds::default();
        self.mix.storage = StorageOdds::default();
        self.mix.tracks.unreachable = 0;
        self.shelf.down_until = self.now;
        self.shelf.full_until = self.now;
        self.depot.down_until = self.now;
        self.depot.full_until = self.now;
        self.agents.iter_mut().for_each(|one| one.frozen = None);
        for who in 1..self.agents.len() {
            let copy = self.agents[who].node == self.agents[0].node;
            if copy || self.dice.happens(self.mix.away) {
                self.take_away(who);
            }
        }
        self.coordinators
            .iter_mut()
            .for_each(|one| one.frozen = None);
        self.end_the_old();
    }
}

/// Lets something last until then, where it would not; whether it would not.
fn longer(until: &mut Millis, to: Millis) -> bool {
    let longer = *until < to;
    *until = to.max(*until);
    longer
}
