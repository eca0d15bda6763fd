//! What a chaos run is asked for, from its variables; `make chaos` sets them. Pure but for reading the environment.

use anyhow::{Context, Result, bail, ensure};
use cluster::{Kind, product};
use std::path::PathBuf;
use std::time::Duration;

/// How long faults happen unless told.
const MINUTES: u64 = 3;

/// A run of a day is a thousand times longer than what the suite was made for.
const MINUTES_MAX: u64 = 1_440;

/// Tracks of the catalogue unless told: eight shards, two for each node. Jobs that are open as the faults end are seen through, and small ones are soon.
const TRACKS: usize = 512;

/// Fewest of them: one shard, which has a broken track and some that go through both stages.
const TRACKS_MIN: usize = 64;

/// The windows of a track take a device this long, milliseconds each, as they take a small GPU: a node could do some three hundred tracks a second,
/// so that what the machine has of processors is the bound.
const WINDOW_MS: u64 = 2;

/// Decoders of a node, each with a track in hand: four nodes then have sixteen on their way, four hundred a second at 40 ms each.
const DECODERS: u64 = 4;

/// Most of them: a decoder is a process, and further ones wait for the same processors.
const DECODERS_MAX: u64 = 16;

/// The leader alone is ended, again and again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaderEnds {
    /// Between two ends.
    pub(crate) every: Duration,
    /// By which signal.
    pub(crate) kind: Kind,
}

/// How a run is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    /// How long faults happen.
    pub(crate) lasts: Duration,
    /// The seed of their schedule.
    pub(crate) seed: u64,
    /// Where the product's binaries lie.
    pub(crate) build: PathBuf,
    /// Where those of another build lie; the same ones where there is none.
    pub(crate) other_build: PathBuf,
    /// Nothing but ends of the leader.
    pub(crate) leader: Option<LeaderEnds>,
    /// Tracks of the catalogue.
    pub(crate) tracks: usize,
    /// Time of a device for each window.
    pub(crate) window_ms: u64,
    /// Decoders of each node.
    pub(crate) decoders: u64,
    /// Where the report goes as JSON.
    pub(crate) json: Option<PathBuf>,
    /// Where the plan and each fault go, a line of JSON each.
    pub(crate) record: Option<PathBuf>,
}

impl Wishes {
    /// Reads them.
    pub(crate) fn read() -> Result<Self> {
        let minutes = number("CHAOS_MINUTES")?.unwrap_or(MINUTES);
        ensure!(
            (1..=MINUTES_MAX).contains(&minutes),
            "CHAOS_MINUTES is from 1 to {MINUTES_MAX}"
        );
        let decoders = number("CHAOS_DECODERS")?.unwrap_or(DECODERS);
        ensure!(
            (1..=DECODERS_MAX).contains(&decoders),
            "CHAOS_DECODERS is from 1 to {DECODERS_MAX}"
        );
        let tracks = usize::try_from(number("CHAOS_TRACKS")?.unwrap_or(TRACKS as u64))?;
        ensure!(
            tracks >= TRACKS_MIN,
            "CHAOS_TRACKS is at least {TRACKS_MIN}"
        );
        let build = folder("CHAOS_BUILD").map_or_else(product::binaries, Ok)?;
        Ok(Self {
            lasts: Duration::from_secs(minutes * 60),
            seed: number("CHAOS_SEED")?.unwrap_or(1),
            other_build: folder("CHAOS_OTHER_BUILD").unwrap_or_else(|| build.clone()),
            build,
            leader: leader()?,
            tracks,
            window_ms: number("CHAOS_WINDOW_MS")?.unwrap_or(WINDOW_MS),
            decoders,
            json: folder("CHAOS_JSON"),
            record: folder("CHAOS_RECORD"),
        })
    }
}

fn leader() -> Result<Option<LeaderEnds>> {
    let kind = match text("LEADER_END").as_deref() {
        None | Some("kill") => Kind::KillLeader,
        Some("terminate") => Kind::TerminateLeader,
        Some(other) => bail!("LEADER_END is `kill` or `terminate`, not `{other}`"),
    };
    let every = number("LEADER_EVERY")?;
    ensure!(every != Some(0), "LEADER_EVERY is seconds, at least one");
    Ok(every.map(|seconds| LeaderEnds {
        every: Duration::from_secs(seconds),
        kind,
    }))
}

/// A variable that is set to something; make sets all of them, most to nothing.
fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Result<Option<u64>> {
    let read = |value: String| {
        let parsed = value.parse();
        parsed.with_context(|| format!("read the variable {name}: `{value}` is no number"))
    };
    text(name).map(read).transpose()
}

/// A path as the caller wrote it: cargo starts suites in their package's folder, make in the tree's root.
fn folder(name: &str) -> Option<PathBuf> {
    text(name).map(|path| product::tree().join(path))
}
