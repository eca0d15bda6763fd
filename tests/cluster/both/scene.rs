//! The two hosts and what runs on them: on the left etcd, an S3 server, a coordinator and an agent; on the right the other coordinator and another
//! agent. All programs are the product's own, the worker and both its engines too.

use anyhow::{Context, Result};
use cluster::product::{self, Site};
use cluster::{Operator, Process, Program, Relay, World, etcd, wait_for};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LEFT: &str = "left";
const RIGHT: &str = "right";

/// The coordinators and where each runs.
const COORDINATORS: [(&str, &str); 2] = [("coordinator-1", LEFT), ("coordinator-2", RIGHT)];
/// The agents and where each runs.
const NODES: [(&str, &str); 2] = [("node-1", LEFT), ("node-2", RIGHT)];

/// How long processes may take to be there: two busy cores start libtorch slowly.
const PATIENCE: Duration = Duration::from_secs(900);

/// How long a killed process may take to be reaped on a busy machine.
const KILLED_WITHIN: Duration = Duration::from_secs(30);

/// Decoders of a node: two nodes share two cores, and each decodes for a worker of its own.
const DECODERS: u64 = 2;

/// Seconds between two flushes of a grant, so that a kill finds work that is committed and work that is not.
const FLUSH_SECS: u64 = 1;

/// The running cluster.
pub(crate) struct Scene {
    // Processes go before the hosts that they run on.
    processes: BTreeMap<&'static str, Process>,
    world: World,
    pub(crate) operator: Operator,
    /// Names and hosts of the coordinators, by the address that they advertise.
    coordinators: BTreeMap<String, (&'static str, &'static str)>,
}

impl Scene {
    /// Brings the cluster up in a folder and waits until both nodes are ready.
    pub(crate) fn bring_up(folder: &Path) -> Result<Self> {
        let world = World::make(&folder.join("logs"), &[LEFT, RIGHT])?;
        let (left, right) = (world.host(LEFT)?.address(), world.host(RIGHT)?.address());
        let site = Site {
            folder: folder.to_owned(),
            storage: left,
            etcd: vec![left],
            coordinators: vec![left, right],
            faults: None,
        };
        site.lay_out()?;
        copy_tracks(&site.music())?;
        let crew = Crew {
            build: product::binaries()?,
            site: &site,
            world: &world,
        };
        let processes = crew.start(left)?;
        let scanctl = crew.build.join("scanctl");
        let shell = world.host(RIGHT)?.shell();
        let scene = Self {
            operator: Operator::new(shell, &scanctl, &site.addresses()),
            coordinators: coordinators(&world)?,
            processes,
            world,
        };
        wait_for("both nodes to be ready", PATIENCE, || scene.is_ready())?;
        Ok(scene)
    }

    fn is_ready(&self) -> Option<()> {
        let nodes = self.operator.try_ask(&["node", "ls"]).ok()?;
        let ready = nodes["nodes"].as_array()?.iter();
        let ready = ready.filter(|node| node["state"] == "ready").count();
        (ready == NODES.len()).then_some(())
    }

    /// The coordinator that leads at this moment: its name and host.
    pub(crate) fn leader(&self) -> Option<(&'static str, &'static str)> {
        let said = self.operator.run(&["admin", "leader", "-o", "name"]).ok()?;
        self.coordinators.get(said.trim()).copied()
    }

    /// Kills a process by SIGKILL; nobody starts it again.
    pub(crate) fn kill(&self, name: &str) -> Result<()> {
        let found = self.processes.get(name);
        let process = found.with_context(|| format!("find the process `{name}`"))?;
        process.kill(KILLED_WITHIN).map(drop)
    }

    /// Ends everything and says whether nothing lives on.
    pub(crate) fn end(self) -> Result<()> {
        drop(self.processes);
        self.world.end()
    }
}

fn coordinators(world: &World) -> Result<BTreeMap<String, (&'static str, &'static str)>> {
    let found = COORDINATORS.into_iter().map(|(name, host)| {
        let address = world.host(host)?.address();
        let address = format!("http://{address}:{}", product::GRPC_PORT);
        Ok((address, (name, host)))
    });
    found.collect()
}

/// Who starts everything.
struct Crew<'a> {
    build: PathBuf,
    site: &'a Site,
    world: &'a World,
}

impl Crew<'_> {
    /// Starts every process, what others stand on first, and waits until each is ready.
    fn start(&self, left: Ipv4Addr) -> Result<BTreeMap<&'static str, Process>> {
        let data = self.site.folder.join("etcd");
        let members = [("etcd".to_owned(), left)];
        let arguments = etcd::arguments("etcd", &members, &data);
        let etcd = Program::new("etcd", etcd::program()?, &[]).given(arguments);
        let s3 = Program::new("s3", product::s3_server(&self.build), &[]).given(self.site.s3());
        let left = self.world.host(LEFT)?;
        let mut processes = BTreeMap::from([("etcd", left.start(etcd)?), ("s3", left.start(s3)?)]);
        self.wait_for_etcd()?;
        for (name, host) in COORDINATORS.into_iter().chain(NODES) {
            let program = self.program(name, host)?;
            processes.insert(name, self.world.host(host)?.start(program)?);
        }
        for (name, _) in COORDINATORS.into_iter().chain(NODES) {
            processes[name].ready(PATIENCE)?;
        }
        Ok(processes)
    }

    fn wait_for_etcd(&self) -> Result<()> {
        let host = self.world.host(LEFT)?;
        let inside = SocketAddrV4::new(host.address(), etcd::PORT);
        let (_door, outside) = Relay::inward(host, inside)?;
        let leads = || etcd::status(outside).is_ok_and(|status| status.leads);
        wait_for("etcd to lead itself", PATIENCE, || leads().then_some(()))
    }

    fn program(&self, name: &'static str, host: &str) -> Result<Program> {
        let (binary, arguments) = match COORDINATORS.iter().any(|(other, _)| *other == name) {
            true => {
                let address = self.world.host(host)?.address();
                ("coordinator", self.site.coordinator(name, address)?)
            }
            false => ("node-agent", self.site.node(name, DECODERS, FLUSH_SECS)?),
        };
        Ok(Program::new(name, self.build.join(binary), &[]).given(arguments))
    }
}

/// Puts the demonstration catalogue into the source's bucket.
fn copy_tracks(to: &Path) -> Result<()> {
    let from = product::tree().join("demo/tracks");
    let listed = std::fs::read_dir(&from);
    for entry in listed.with_context(|| format!("list `{}`", from.display()))? {
        let track = entry.context("list the demonstration catalogue")?;
        let copied = std::fs::copy(track.path(), to.join(track.file_name()));
        copied.with_context(|| format!("copy `{}`", track.path().display()))?;
    }
    Ok(())
}
