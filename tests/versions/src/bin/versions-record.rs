//! `versions-record BINARIES OUT` runs a small scan with the binaries of one version and writes down, for tests of later versions, what it
//! said and what it left: `wire.jsonl`, a line for each call that is kept; `data.tar.gz`, the coordinator's folder at the moment when it was
//! killed amid a job, with store, storage and journal; `moment.json`, what that moment was.
//!
//! Run by hand once for each version (`tests/versions/before/README.md`); no test calls it.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use versions::relay::{self, Book, Exchange};
use versions::site::{Coordinator, Scanctl, pack};
use versions::{Build, Site};

/// Tracks of the scan: two shards, and enough for the gate to send some on.
const TRACKS: u32 = 24;
/// Tracks that have their row when the coordinator is killed: of both shards none is whole.
const TRACKS_DONE: u64 = 6;
/// How long the stub hears a window of the job that is killed: long enough to kill it amid its tracks.
const SLOW_MS: u32 = 60;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (binaries, out) = (arguments.next(), arguments.next());
    let (binaries, out) = binaries
        .zip(out)
        .context("give the folder of the binaries and the folder to write into")?;
    let build = Build::open(Path::new(&binaries))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let site = Site::new(TRACKS)?;
    let coordinator = site.coordinator(&build, "127.0.0.1:0")?;
    let book = Book::default();
    let front = runtime.block_on(relay::serve(coordinator.address, book.clone()))?;
    let scanctl = Scanctl::new(build.clone(), front);
    let published = published(&site, &build, &scanctl, front)?;
    let cancelled = cancelled(&scanctl)?;
    let open = amid(&site, &build, &scanctl, coordinator, front)?;
    let moment = json!({
        "version": build.version,
        "tracks": TRACKS,
        "published": published,
        "cancelled": cancelled,
        "open": open,
    });
    let out = Path::new(&out);
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("moment.json"), format!("{moment:#}\n"))?;
    std::fs::write(out.join("wire.jsonl"), lines(&kept(book.exchanges()))?)?;
    pack(
        &site.folder("data"),
        &["journal", "storage", "store"],
        &out.join("data.tar.gz"),
    )
}

/// A job from its import to its rows, and every question that is asked of it.
fn published(
    site: &Site,
    build: &Build,
    scanctl: &Scanctl,
    front: std::net::SocketAddr,
) -> Result<String> {
    scanctl.import(site)?;
    let agent = site.agent(build, "n1", front, 0, &[])?;
    let job = scanctl.submit()?;
    scanctl.whole(&job, site)?;
    let job = job.as_str();
    let questions: [&[&str]; 13] = [
        &["bundle", "ls"],
        &["bundle", "get", "sample"],
        &["catalog", "get", "music"],
        &["catalog", "ls"],
        &["catalog", "rejected", "music"],
        &["node", "explain", "n1"],
        &["node", "get", "n1"],
        &["node", "ls"],
        &["node", "revocations"],
        &["result", "get", job, "00.wav"],
        &["result", "summary", job],
        &["scan", "explain", job],
        &["scan", "ls"],
    ];
    for question in questions {
        scanctl.json(question)?;
    }
    let rows = site.folder("rows.csv");
    let rows = rows.to_str().context("a path of UTF-8")?;
    let exported = scanctl.run(&["result", "export", job, "--to", rows])?;
    let said = String::from_utf8_lossy(&exported.stderr);
    ensure!(exported.status.success(), "result export: {said}");
    agent.terminate()?;
    Ok(job.to_owned())
}

/// A job that is steered and then cancelled.
fn cancelled(scanctl: &Scanctl) -> Result<String> {
    let job = scanctl.submit()?;
    let steps: [&[&str]; 4] = [
        &["scan", "pause", &job],
        &["scan", "resume", &job],
        &["scan", "rank", &job, "--priority", "7"],
        &["scan", "cancel", &job, "--reason", "recorded"],
    ];
    for step in steps {
        let done = scanctl.run(step)?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "scanctl {step:?}: {said}");
    }
    Ok(job)
}

/// A job that a node screens and nobody separates, killed amid its tracks.
fn amid(
    site: &Site,
    build: &Build,
    scanctl: &Scanctl,
    coordinator: Coordinator,
    front: std::net::SocketAddr,
) -> Result<String> {
    let job = scanctl.submit()?;
    let agent = site.agent(build, "n2", front, SLOW_MS, &["--stages", "screen"])?;
    scanctl.wait_done(&job, TRACKS_DONE)?;
    agent.kill()?;
    coordinator.process.kill()?;
    Ok(job)
}

/// Of each method and outcome the first call, the last one, and the one with most to say.
fn kept(exchanges: Vec<Exchange>) -> Vec<Exchange> {
    let mut alike: BTreeMap<(String, Option<u32>), Vec<usize>> = BTreeMap::new();
    for (at, call) in exchanges.iter().enumerate() {
        let like = (call.method.clone(), call.status);
        alike.entry(like).or_default().push(at);
    }
    let size = |at: &usize| exchanges[*at].request.len() + exchanges[*at].answers.concat().len();
    let of = |calls: &Vec<usize>| {
        let longest = calls.iter().copied().max_by_key(size);
        [calls.first().copied(), calls.last().copied(), longest]
    };
    let chosen: BTreeSet<usize> = alike.values().flat_map(of).flatten().collect();
    chosen.into_iter().map(|at| exchanges[at].clone()).collect()
}

fn lines(exchanges: &[Exchange]) -> Result<String> {
    let mut text = String::new();
    for exchange in exchanges {
        writeln!(text, "{}", serde_json::to_string(exchange)?)?;
    }
    Ok(text)
}
