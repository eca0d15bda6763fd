//! The cluster under test: which hosts there are, what runs on each and with what arguments, and what only this cluster knows of its
//! leaders, its storage and its builds. The programs are the product's own; only the engine is the stub.

use crate::builds::Builds;
use crate::music;
use crate::watch::{Doors, Seen, Watch};
use crate::wishes::Wishes;
use anyhow::{Context, Result};
use cluster::product::{COORDINATOR_METRICS, NODE_METRICS, Site};
use cluster::{
    Clock, Cluster, Disk, Host, Kind, Member, Process, Program, Relay, Stage, Weather, World, etcd,
    http,
};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) const ETCD: [&str; 3] = ["etcd-1", "etcd-2", "etcd-3"];
pub(crate) const COORDINATORS: [&str; 2] = ["coordinator-1", "coordinator-2"];
pub(crate) const NODES: [&str; 4] = ["node-1", "node-2", "node-3", "node-4"];
pub(crate) const STORAGE: &str = "storage";
/// The host of whoever operates the cluster; no fault is aimed at it.
pub(crate) const OPERATOR: &str = "operator";

/// Hosts with a relay before all that leaves them: each role has one that a delay can hit, and two nodes and a member stay fast.
pub(crate) const RELAYED: [&str; 5] = [
    "etcd-1",
    "coordinator-1",
    "coordinator-2",
    "node-1",
    "node-2",
];

/// How long anything may take to be there, and the first job to be published, on a machine that has other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(900);

/// Seconds between two flushes of a grant: short ones, so that faults meet many.
const FLUSH_SECS: u64 = 2;

/// What is asked about the running cluster.
pub(crate) struct Scene {
    coordinators: Doors,
    etcd: Doors,
    faults: PathBuf,
    seed: u64,
    builds: Builds,
    full: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    /// What the doors lead through.
    _ways: Vec<Relay>,
}

/// The cluster with its eyes on.
pub(crate) struct Standing {
    pub(crate) stage: Stage<Scene>,
    pub(crate) watch: Watch,
    /// Coordinators' addresses, as agents and scanctl take them.
    pub(crate) addresses: String,
}

/// Brings the cluster up in a folder and waits until each process is ready.
pub(crate) fn bring_up(folder: &Path, wishes: &Wishes, zero: Instant) -> Result<Standing> {
    let names: Vec<&str> = [&ETCD[..], &COORDINATORS, &NODES, &[STORAGE, OPERATOR]].concat();
    let world = World::make(&folder.join("logs"), &names)?;
    let builds = Builds::lay_out(&folder.join("builds"), wishes)?;
    let site = site(&world, folder)?;
    site.lay_out()?;
    music::write(&site.music(), wishes.tracks)?;
    let loopback = |port: u16| move |_: &Host| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let mut ways = Vec::new();
    let etcd = |host: &Host| SocketAddrV4::new(host.address(), etcd::PORT);
    let etcd = doors(&world, &ETCD, etcd, &mut ways)?;
    let coordinators = loopback(COORDINATOR_METRICS);
    let coordinators = doors(&world, &COORDINATORS, coordinators, &mut ways)?;
    let nodes = doors(&world, &NODES, loopback(NODE_METRICS), &mut ways)?;
    let watch = Watch::begin(&etcd, &coordinators, &nodes, zero);
    let scene = Scene {
        coordinators,
        etcd: etcd.clone(),
        faults: folder.join("faults"),
        seed: wishes.seed,
        builds: builds.clone(),
        full: Arc::clone(&watch.full),
        seen: Arc::clone(&watch.seen),
        _ways: ways,
    };
    let mut stage = Stage::new(world, scene);
    // Before anybody connects: a relay sees none of the connections that were there before it.
    RELAYED.iter().try_for_each(|host| stage.relay(host))?;
    populate(&mut stage, &site, wishes, &builds, &etcd)?;
    Ok(Standing {
        stage,
        watch,
        addresses: site.addresses(),
    })
}

/// The places of this cluster.
fn site(world: &World, folder: &Path) -> Result<Site> {
    let of = |names: &[&str]| -> Result<Vec<Ipv4Addr>> {
        let hosts = names.iter();
        hosts.map(|name| Ok(world.host(name)?.address())).collect()
    };
    Ok(Site {
        folder: folder.to_owned(),
        storage: world.host(STORAGE)?.address(),
        etcd: of(&ETCD)?,
        coordinators: of(&COORDINATORS)?,
        faults: Some(folder.join("faults")),
    })
}

/// Starts every process, what others stand on first.
fn populate(
    stage: &mut Stage<Scene>,
    site: &Site,
    wishes: &Wishes,
    builds: &Builds,
    etcd: &Doors,
) -> Result<()> {
    let crew = Crew {
        site,
        wishes,
        world: stage.world(),
        builds,
    };
    let base = crew.base()?;
    wait_for("etcd to have a leader", || leader_of(etcd))?;
    let product = crew.product()?;
    let all = base.into_iter().chain(product);
    all.for_each(|process| stage.add(process));
    Ok(())
}

/// Ways from outside to a port on each of these hosts; they end with their relays.
fn doors(
    world: &World,
    names: &[&str],
    to: impl Fn(&Host) -> SocketAddrV4,
    ways: &mut Vec<Relay>,
) -> Result<Doors> {
    let mut doors = Doors::new();
    for name in names {
        let host = world.host(name)?;
        let (relay, outside) = Relay::inward(host, to(host))?;
        ways.push(relay);
        doors.insert((*name).to_owned(), outside);
    }
    Ok(doors)
}

/// Who starts everything.
struct Crew<'a> {
    site: &'a Site,
    wishes: &'a Wishes,
    world: &'a World,
    builds: &'a Builds,
}

impl Crew<'_> {
    /// What the product stands on.
    fn base(&self) -> Result<Vec<Process>> {
        let address = |name: &&str| Ok(((*name).to_owned(), self.world.host(name)?.address()));
        let members: Vec<_> = ETCD.iter().map(address).collect::<Result<_>>()?;
        let binary = etcd::program()?;
        let mut started = Vec::new();
        for name in ETCD {
            let arguments = etcd::arguments(name, &members, &self.site.folder.join(name));
            let program = program(name, &binary, arguments).on(&Disk::new());
            started.push(self.world.host(name)?.start(program)?);
        }
        let s3 = program(STORAGE, &self.builds.s3_server, self.site.s3());
        started.push(self.world.host(STORAGE)?.start(s3)?);
        Ok(started)
    }

    fn product(&self) -> Result<Vec<Process>> {
        let mut started = Vec::new();
        let all = COORDINATORS
            .iter()
            .map(|name| (name, self.coordinator(name)));
        let all = all.chain(NODES.iter().map(|name| (name, self.node(name))));
        for (name, program) in all {
            let clock = Clock::make(&self.site.folder.join(name).join("clock"))?;
            let program = program?.by(&clock);
            started.push(self.world.host(name)?.start(program)?);
        }
        for process in &started {
            process.ready(PATIENCE)?;
        }
        Ok(started)
    }

    fn coordinator(&self, name: &str) -> Result<Program> {
        let host = self.world.host(name)?.address();
        let arguments = self.site.coordinator(name, host)?;
        Ok(program(name, &self.builds.first.coordinator, arguments))
    }

    fn node(&self, name: &str) -> Result<Program> {
        let arguments = self.site.node(name, self.wishes.decoders, FLUSH_SECS)?;
        let program = program(name, &self.builds.first.agent, arguments);
        let window = self.wishes.window_ms.to_string();
        let program = program.with("TRACKSCAN_STUB_WINDOW_MS", &window);
        Ok(program.on(&Disk::new()))
    }
}

fn program(name: &str, binary: &Path, arguments: Vec<String>) -> Program {
    Program::new(name, binary.to_owned(), &[]).given(arguments)
}

/// Looks until something is found.
pub(crate) fn wait_for<T>(what: &str, found: impl FnMut() -> Option<T>) -> Result<T> {
    cluster::wait_for(what, PATIENCE, found)
}

/// The member that leads etcd, by the newest term that any member tells of.
fn leader_of(etcd: &Doors) -> Option<String> {
    let said = etcd
        .iter()
        .filter_map(|(name, at)| Some((name, etcd::status(*at).ok()?)));
    let leading = said.filter(|(_, status)| status.leads);
    let newest = leading.max_by_key(|(_, status)| status.term);
    newest.map(|(name, _)| name.clone())
}

impl Cluster for Scene {
    fn leader(&mut self, role: &str) -> Result<Option<String>> {
        if role == "etcd" {
            return Ok(leader_of(&self.etcd));
        }
        let leads = |at: &std::net::SocketAddr| {
            let page = http::get(*at, "/metrics").unwrap_or_default();
            http::metric(&page, "scan_leads", "") == Some(1.0)
        };
        let leading = self.coordinators.iter().find(|(_, at)| leads(at));
        Ok(leading.map(|(name, _)| name.clone()))
    }

    fn builds(&self) -> Vec<String> {
        self.builds.told.clone()
    }

    fn other_build(&mut self, _: &str, current: &Path) -> Result<PathBuf> {
        self.builds.other(current)
    }

    fn storage(&mut self, weather: Weather) -> Result<()> {
        let share = |permille: u16| f64::from(permille) / 1_000.0;
        let rates = match weather {
            Weather::Fair => String::new(),
            Weather::Refuses(permille) => format!("unavailable:{}", share(permille)),
            Weather::Late(permille) => format!("lost-after:{}", share(permille)),
        };
        let text = format!("seed:{},{rates}\n", self.seed);
        // In one step, so that nobody reads half of it.
        let next = self.faults.with_extension("next");
        std::fs::write(&next, text)
            .and_then(|()| std::fs::rename(&next, &self.faults))
            .with_context(|| format!("tell `{}` how storage is", self.faults.display()))
    }

    fn store_full(&mut self, full: bool) -> Result<()> {
        self.full.store(full, Ordering::SeqCst);
        Ok(())
    }

    fn met(&mut self, kind: Kind) -> Option<u64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.met(kind)
    }
}

/// The members as the schedule sees them.
pub(crate) fn members() -> Vec<Member> {
    let member = |name: &str, role: &str| Member {
        name: name.to_owned(),
        role: role.to_owned(),
        host: name.to_owned(),
        upgradable: matches!(role, "coordinator" | "node"),
        has_disk: matches!(role, "etcd" | "node"),
        has_clock: matches!(role, "coordinator" | "node"),
    };
    let etcd = ETCD.iter().map(|name| member(name, "etcd"));
    let coordinators = COORDINATORS.iter().map(|name| member(name, "coordinator"));
    let nodes = NODES.iter().map(|name| member(name, "node"));
    let all = etcd.chain(coordinators).chain(nodes);
    all.chain([member(STORAGE, STORAGE)]).collect()
}
