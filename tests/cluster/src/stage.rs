//! Hands for real hosts: what each fault does to a world, its processes, relays, disks and clocks. What only the cluster under test knows,
//! it is asked for: [`Cluster`]. Driven by `run`.

use crate::disk::Disk;
use crate::fault::{Aim, Fault, Kind, Target};
use crate::links::Link;
use crate::process::Process;
use crate::relay::{Pass, Relay, Shape};
use crate::run::{Hands, NOBODY};
use crate::world::World;
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a killed process may take to be reaped on a busy machine.
const KILLED_WITHIN: Duration = Duration::from_secs(30);

/// A process that keeps ending is started no more often than this, as a service manager would.
const REVIVED_EVERY: Duration = Duration::from_secs(1);

/// How storage behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// As it should.
    Fair,
    /// So many requests of a thousand are answered with 503.
    Refuses(u16),
    /// So many requests of a thousand are done and not answered.
    Late(u16),
}

/// What only the cluster under test knows.
pub trait Cluster {
    /// The process that leads a role at this moment; none between two leaders, and then the fault hits nobody.
    ///
    /// # Errors
    /// Where it cannot be found out.
    fn leader(&mut self, role: &str) -> Result<Option<String>>;

    /// Which builds take part, for whoever reads the record.
    fn builds(&self) -> Vec<String>;

    /// The build to upgrade a process to that runs from `current`.
    ///
    /// # Errors
    /// Where there is no other.
    fn other_build(&mut self, process: &str, current: &Path) -> Result<PathBuf>;

    /// Makes storage behave so.
    ///
    /// # Errors
    /// Where it cannot be told.
    fn storage(&mut self, weather: Weather) -> Result<()>;

    /// Raises or lowers the store's alarm that it is full.
    ///
    /// # Errors
    /// Where it cannot be told.
    fn store_full(&mut self, full: bool) -> Result<()>;

    /// How much faults of a kind have met so far, over the whole run, where this cluster counts it: requests that storage refused or left without an
    /// answer, looks that found the store's alarm standing while it was wanted.
    fn met(&mut self, kind: Kind) -> Option<u64>;
}

/// A world with everything that faults may hit in it.
pub struct Stage<C> {
    // Processes and relays go before the hosts that they run on.
    processes: BTreeMap<String, Process>,
    relays: BTreeMap<String, Relay>,
    world: World,
    cluster: C,
    /// Processes that a fault has ended and will start again.
    held: BTreeSet<String>,
    /// What was counted as a fault began that lasts, by its number.
    before: BTreeMap<u32, u64>,
    revived: BTreeMap<String, (usize, Instant)>,
}

impl<C: Cluster> Stage<C> {
    /// A stage with nothing on it yet.
    #[must_use]
    pub fn new(world: World, cluster: C) -> Self {
        Self {
            processes: BTreeMap::new(),
            relays: BTreeMap::new(),
            world,
            cluster,
            held: BTreeSet::new(),
            before: BTreeMap::new(),
            revived: BTreeMap::new(),
        }
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What is asked about the cluster.
    pub fn cluster(&mut self) -> &mut C {
        &mut self.cluster
    }

    /// Puts a process under its program's name on stage: from now on it is started again whenever it ends.
    pub fn add(&mut self, process: Process) {
        let name = process.program().name.clone();
        self.processes.insert(name, process);
    }

    /// Puts a relay before all that leaves a host.
    ///
    /// # Errors
    /// As [`Relay::before`].
    pub fn relay(&mut self, host: &str) -> Result<()> {
        let relay = Relay::before(self.world.host(host)?)?;
        self.relays.insert(host.to_owned(), relay);
        Ok(())
    }

    /// A process by name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn process(&self, name: &str) -> Result<&Process> {
        let found = self.processes.get(name);
        found.with_context(|| format!("find the process `{name}`"))
    }

    /// How often processes ended by themselves and were started again.
    #[must_use]
    pub fn revived(&self) -> usize {
        self.revived.values().map(|(count, _)| count).sum()
    }

    /// Ends everything and says whether nothing lives on.
    ///
    /// # Errors
    /// As [`World::end`].
    pub fn end(self) -> Result<()> {
        drop(self.processes);
        drop(self.relays);
        self.world.end()
    }

    fn begin_process(&mut self, kind: Kind, name: &str) -> Result<()> {
        let process = self.process(name)?;
        if is_pausing(kind) {
            process.signal_tree(Signal::STOP);
            return Ok(());
        }
        if is_asking(kind) {
            process.signal(Signal::TERM);
        } else {
            process.kill(KILLED_WITHIN)?;
        }
        self.held.insert(name.to_owned());
        Ok(())
    }

    fn undo_process(&mut self, kind: Kind, name: &str) -> Result<()> {
        self.held.remove(name);
        let missing = || format!("find the process `{name}`");
        let process = self.processes.get_mut(name).with_context(missing)?;
        if is_pausing(kind) {
            process.signal_tree(Signal::CONT);
            return Ok(());
        }
        // Whoever has not obeyed SIGTERM by then is killed, as a service manager does.
        process.kill(KILLED_WITHIN)?;
        if kind == Kind::Upgrade {
            let current = &process.program().binary;
            let other = self.cluster.other_build(name, current)?;
            return process.start_other(&other);
        }
        process.start_again()
    }

    fn link(&mut self, fault: &Fault, from: &str, to: &str, ends: bool) -> Result<()> {
        if fault.kind.aim() == Aim::Relay {
            return self.through_relay(fault, from, to, ends);
        }
        let link = match (ends, fault.kind) {
            (true, _) => Link::Whole,
            (false, Kind::Loss) => Link::Lossy(permille(fault.amount)),
            (false, _) => Link::Cut,
        };
        match fault.kind == Kind::CutBothWays {
            true => self.world.link_both(from, to, link),
            false => self.world.link(from, to, link),
        }
    }

    fn through_relay(&mut self, fault: &Fault, from: &str, to: &str, ends: bool) -> Result<()> {
        let to = self.world.host(to)?.address();
        let relay = self.relays.get_mut(from);
        let relay = relay.with_context(|| format!("find the relay of the host `{from}`"))?;
        let whole = Shape::default();
        match (ends, fault.kind) {
            (true, _) => relay.shape(to, whole, whole),
            (false, Kind::Reset) => relay.reset(to),
            (false, Kind::Delay) => relay.shape(to, late(fault.amount), late(fault.amount)),
            (false, Kind::Swallow) => relay.shape(to, passing(Pass::Swallows), whole),
            (false, _) => relay.shape(to, passing(Pass::Stalls), whole),
        }
    }

    /// What counts up while a fault of this kind lasts; none where nothing does.
    fn counted(&mut self, fault: &Fault) -> Result<Option<u64>> {
        match &fault.target {
            Target::Process(name) if fault.kind == Kind::SlowSync => {
                let disk = &self.process(name)?.program().disk;
                Ok(disk.as_ref().map(Disk::syncs))
            }
            Target::Storage | Target::Store => Ok(self.cluster.met(fault.kind)),
            Target::Process(_) | Target::Leader(_) | Target::Link(..) | Target::Host(_) => Ok(None),
        }
    }

    /// How much a fault has met that is over.
    fn met(&mut self, fault: &Fault) -> Result<Option<u64>> {
        let before = self.before.remove(&fault.number);
        if let (Some(before), Some(after)) = (before, self.counted(fault)?) {
            return Ok(Some(after.saturating_sub(before)));
        }
        self.kept_back(fault)
    }

    /// Packets that a fault kept back, once its ways are whole again; none of a fault that keeps back none, or is a relay's.
    fn kept_back(&self, fault: &Fault) -> Result<Option<u64>> {
        let world = &self.world;
        match &fault.target {
            Target::Link(..) if fault.kind.aim() == Aim::Relay => Ok(None),
            Target::Link(from, to) => world.dropped_between(from, to).map(Some),
            Target::Host(host) => {
                let others = world.hosts().filter(|other| other.name() != host);
                let dropped = others.map(|other| world.dropped_between(host, other.name()));
                dropped.sum::<Result<u64>>().map(Some)
            }
            Target::Process(_) | Target::Leader(_) | Target::Storage | Target::Store => Ok(None),
        }
    }

    fn spoil(&mut self, fault: &Fault, name: &str) -> Result<()> {
        let program = self.process(name)?.program();
        let without = |what: &str| format!("`{name}` was started without a {what} of ours");
        let by = Duration::from_millis(fault.amount.unsigned_abs());
        if fault.kind == Kind::SlowSync {
            program
                .disk
                .as_ref()
                .with_context(|| without("disk"))?
                .slow(by);
            return Ok(());
        }
        let clock = program.clock.as_ref().with_context(|| without("clock"))?;
        match fault.amount < 0 {
            true => clock.behind(by),
            false => clock.ahead(by),
        }
        Ok(())
    }

    fn mend(&mut self, name: &str) -> Result<()> {
        let program = self.process(name)?.program();
        program.disk.iter().for_each(Disk::heal);
        program.clock.iter().for_each(crate::Clock::right);
        Ok(())
    }
}

impl<C: Cluster> Hands for Stage<C> {
    fn begin(&mut self, fault: &Fault) -> Result<String> {
        if let Some(before) = self.counted(fault)? {
            self.before.insert(fault.number, before);
        }
        match &fault.target {
            Target::Process(name) if is_spoiling(fault.kind) => self.spoil(fault, name)?,
            Target::Process(name) => self.begin_process(fault.kind, name)?,
            Target::Leader(role) => {
                let Some(name) = self.cluster.leader(role)? else {
                    return Ok(NOBODY.to_owned());
                };
                self.begin_process(fault.kind, &name)?;
                return Ok(name);
            }
            Target::Link(from, to) => self.link(fault, from, to, false)?,
            Target::Host(host) => self.world.isolate(host, Link::Cut)?,
            Target::Storage => self.cluster.storage(weather(fault))?,
            Target::Store => self.cluster.store_full(true)?,
        }
        Ok(fault.target.to_string())
    }

    fn undo(&mut self, fault: &Fault, hit: &str) -> Result<Option<u64>> {
        match &fault.target {
            Target::Process(name) if is_spoiling(fault.kind) => self.mend(name)?,
            Target::Leader(_) if hit == NOBODY => {}
            Target::Process(_) | Target::Leader(_) => self.undo_process(fault.kind, hit)?,
            Target::Link(from, to) => self.link(fault, from, to, true)?,
            Target::Host(host) => self.world.isolate(host, Link::Whole)?,
            Target::Storage => self.cluster.storage(Weather::Fair)?,
            Target::Store => self.cluster.store_full(false)?,
        }
        self.met(fault)
    }

    fn builds(&self) -> Vec<String> {
        self.cluster.builds()
    }

    fn tend(&mut self) {
        let now = Instant::now();
        for (name, process) in &mut self.processes {
            let last = self.revived.get(name).copied();
            let too_soon = last.is_some_and(|(_, at)| now.duration_since(at) < REVIVED_EVERY);
            if process.ended().is_none() || self.held.contains(name) || too_soon {
                continue;
            }
            // One that cannot be started now is tried again a moment later, and counts all the same.
            let _ = process.start_again();
            let before = last.map_or(0, |(count, _)| count);
            self.revived.insert(name.clone(), (before + 1, now));
        }
    }
}

fn is_pausing(kind: Kind) -> bool {
    matches!(kind, Kind::Stop | Kind::StopLeader)
}

fn is_asking(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Terminate | Kind::TerminateLeader | Kind::Upgrade
    )
}

fn is_spoiling(kind: Kind) -> bool {
    matches!(kind, Kind::SlowSync | Kind::ClockStep)
}

fn weather(fault: &Fault) -> Weather {
    match fault.kind == Kind::StorageLate {
        true => Weather::Late(permille(fault.amount)),
        false => Weather::Refuses(permille(fault.amount)),
    }
}

fn permille(amount: i64) -> u16 {
    u16::try_from(amount.clamp(0, 1_000)).unwrap_or(0)
}

/// Late by so much each way, and up to a quarter more.
fn late(amount: i64) -> Shape {
    let delay_ms = amount.unsigned_abs();
    Shape {
        delay_ms,
        jitter_ms: delay_ms / 4,
        ..Shape::default()
    }
}

fn passing(pass: Pass) -> Shape {
    Shape {
        pass,
        ..Shape::default()
    }
}
