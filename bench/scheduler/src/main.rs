//! Measures the scheduler: the pure core alone, the coordinator as a process over real gRPC with synced commits, coordinators on etcd, and the
//! whole path on S3. `make bench-scheduler` and `make bench-cluster` run it; it prints a table, writes JSON where asked, and fails where a
//! target is missed.
//!
//! It is no part of the product and decides nothing: nodes are cost models, their parts are objects that hold nothing, but for those
//! of the `path`. Where to look: `core` says what is measured of the core, with the `fleet` of `node`s around it in a `shell` of virtual
//! time; `wire` and `coordinator` do the same over gRPC, with `agent`s; `cluster` does so on etcd; `path` has real agents and objects.

mod agent;
mod cluster;
mod coordinator;
mod core;
mod fleet;
mod machine;
mod node;
mod objects;
mod path;
mod peer;
mod report;
mod shell;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use crate::coordinator::World;
use crate::report::Report;
use crate::wire::Load;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Section {
    /// A hundred million tracks through the core.
    Scan,
    /// What they weigh.
    Memory,
    /// Pairs of grant and commit over gRPC, and the restart after a kill.
    Wire,
    /// Pairs on etcd beside the embedded store, and what a transaction holds.
    Shards,
    /// A hundred million tracks on etcd.
    Weight,
    /// What a new leader does before it grants.
    Takeover,
    /// How long nobody leads.
    Failover,
    /// The whole path on small objects in S3.
    Path,
}

/// What is measured where nothing is named: it needs no etcd.
const ALONE: [Section; 3] = [Section::Memory, Section::Scan, Section::Wire];

/// Measures the scheduler.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; scan, memory and wire where nothing is named.
    sections: Vec<Section>,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Tracks of the catalogue.
    #[arg(long, default_value_t = core::TRACKS)]
    tracks: u32,
    /// Nodes of the fleet, one device each.
    #[arg(long, default_value_t = core::NODES)]
    nodes: usize,
    /// Folder of the built coordinator; this program's own unless given.
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// Shards of the job over gRPC.
    #[arg(long, default_value_t = 98_304)]
    shards: u32,
    /// Agents over gRPC.
    #[arg(long, default_value_t = 64)]
    agents: usize,
    /// Shards asked for in one pull.
    #[arg(long, default_value_t = 16)]
    per_pull: u32,
    /// Commits that one agent has under way at once.
    #[arg(long, default_value_t = 16)]
    at_once: usize,
    /// Rounds of each store beside the others, and take-overs.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Leaders that are told to end.
    #[arg(long, default_value_t = 50)]
    told: usize,
    /// Leaders that are killed.
    #[arg(long, default_value_t = 100)]
    killed: usize,
    /// Objects of the whole path.
    #[arg(long, default_value_t = 200_000)]
    objects: u32,
    /// Decoders of the whole path's agent.
    #[arg(long, default_value_t = 2)]
    decoders: u32,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Missed targets too: whoever called reads the exit code.
        Err(error) => {
            eprintln!("bench-scheduler: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut report = Report::default();
    report.note("processes that run or wait, before", machine::load(), "");
    let sections = match arguments.sections.as_slice() {
        [] => &ALONE[..],
        named => named,
    };
    for section in sections {
        measure(&mut report, arguments, *section)?;
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    let missed = report.missed().count();
    anyhow::ensure!(missed == 0, "{missed} targets were missed");
    Ok(())
}

fn measure(report: &mut Report, arguments: &Arguments, section: Section) -> anyhow::Result<()> {
    let catalogue = (arguments.tracks, arguments.nodes);
    let binaries = binaries(arguments)?;
    let world = |tracks: u32| World::new(&binaries, tracks);
    match section {
        Section::Memory => core::memory(report, arguments.tracks, arguments.nodes),
        Section::Scan => core::scan(report, arguments.tracks, arguments.nodes),
        Section::Wire => {
            wire::measure(report, &world(arguments.shards)?, load(arguments))?;
            peer::context(report);
            Ok(())
        }
        Section::Shards => {
            let world = || world(arguments.shards);
            cluster::shards::measure(report, world, load(arguments), arguments.rounds)
        }
        Section::Weight => {
            let folder = tempfile::tempdir_in(&binaries)?;
            cluster::weight::measure(report, folder.path(), arguments.tracks, arguments.nodes)
        }
        Section::Takeover => {
            let world = world(cluster::takeover::TRACKS)?;
            cluster::takeover::measure(report, &world, catalogue, arguments.rounds)
        }
        Section::Failover => {
            let world = world(cluster::failover::TRACKS)?;
            cluster::failover::measure(report, &world, (arguments.told, arguments.killed))
        }
        Section::Path => {
            let load = path::Load {
                tracks: arguments.objects,
                decoders: arguments.decoders,
            };
            path::measure(report, &binaries, load)
        }
    }
}

fn load(arguments: &Arguments) -> Load {
    Load {
        agents: arguments.agents,
        shards: arguments.shards,
        per_pull: arguments.per_pull,
        at_once: arguments.at_once,
    }
}

fn binaries(arguments: &Arguments) -> anyhow::Result<PathBuf> {
    if let Some(folder) = &arguments.binaries {
        return Ok(folder.clone());
    }
    let own = std::env::current_exe().context("find this program's folder")?;
    let folder = own.parent().context("a program lies in a folder")?;
    Ok(folder.to_owned())
}
