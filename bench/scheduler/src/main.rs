//! Measures the scheduler: the pure core alone, and the coordinator as a process over real gRPC with synced commits.
//! `make bench-scheduler` runs it; it prints a table, writes JSON where asked, and fails where a target is missed.
//!
//! It is no part of the product and decides nothing: nodes are cost models, their parts are objects that hold nothing. Where
//! to look: `core` says what is measured of the core, with the `fleet` of `node`s around it in a `shell` of virtual time;
//! `wire` and `coordinator` do the same over gRPC.

mod coordinator;
mod core;
mod fleet;
mod machine;
mod node;
mod objects;
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
}

/// Measures the scheduler.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; everything where nothing is named.
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
    let wanted = |section| arguments.sections.is_empty() || arguments.sections.contains(&section);
    if wanted(Section::Memory) {
        core::memory(&mut report, arguments.tracks, arguments.nodes)?;
    }
    if wanted(Section::Scan) {
        core::scan(&mut report, arguments.tracks, arguments.nodes)?;
    }
    if wanted(Section::Wire) {
        let world = World::new(&binaries(arguments)?, arguments.shards)?;
        let load = Load {
            agents: arguments.agents,
            shards: arguments.shards,
            per_pull: arguments.per_pull,
            at_once: arguments.at_once,
        };
        wire::measure(&mut report, &world, load)?;
        peer::context(&mut report);
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    let missed = report.missed().count();
    anyhow::ensure!(missed == 0, "{missed} targets were missed");
    Ok(())
}

fn binaries(arguments: &Arguments) -> anyhow::Result<PathBuf> {
    if let Some(folder) = &arguments.binaries {
        return Ok(folder.clone());
    }
    let own = std::env::current_exe().context("find this program's folder")?;
    let folder = own.parent().context("a program lies in a folder")?;
    Ok(folder.to_owned())
}
