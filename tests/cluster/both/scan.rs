//! The two scans of the catalogue: one that nothing disturbs, and one during which the leader is killed. What each said is read as a person reads it,
//! by scanctl.

use crate::scene::Scene;
use anyhow::{Context, Result, bail, ensure};
use cluster::wait_for;
use serde::Deserialize;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long a scan may take, and a new leader: two workers separate on a machine that may have other work.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Between two questions how far the scan is: some tracks end each second.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A track's row, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Row {
    pub(crate) track_id: String,
    pub(crate) verdict: String,
    pub(crate) reason: String,
    pub(crate) borderline: bool,
    /// What the second engine took apart of it.
    segments: Vec<Value>,
}

impl Row {
    /// Whether it went through the second engine.
    pub(crate) fn is_separated(&self) -> bool {
        !self.segments.is_empty()
    }
}

/// A scan that is published.
pub(crate) struct Scan {
    pub(crate) rows: Vec<Row>,
    pub(crate) took: Duration,
}

/// The end of a leader.
pub(crate) struct Kill {
    /// Which one, and where it ran.
    pub(crate) leader: (&'static str, &'static str),
    /// Tracks that had a row then.
    pub(crate) done: u64,
    /// How long after it scanctl found another one leading.
    pub(crate) led_again: Duration,
    /// Which one, and where it runs.
    pub(crate) next: (&'static str, &'static str),
}

/// Imports the catalogue and gives the number of its tracks.
pub(crate) fn import(scene: &Scene) -> Result<u64> {
    let words = ["catalog", "import", "demo", "", "--source", "music"];
    let said = scene.operator.ask(&words)?;
    let rows = said["snapshot"]["rows"].as_u64();
    rows.with_context(|| format!("read how many tracks were imported: {said}"))
}

/// Scans with nothing in the way.
pub(crate) fn undisturbed(scene: &Scene, tracks: u64) -> Result<Scan> {
    let begun = Instant::now();
    let job = submit(scene, "undisturbed")?;
    ended(scene, &job, tracks, begun)
}

/// Scans, and kills whoever leads once the first rows count.
pub(crate) fn with_the_leader_killed(scene: &Scene, tracks: u64) -> Result<(Scan, Kill)> {
    let begun = Instant::now();
    let job = submit(scene, "killed")?;
    let done = begun_to_count(scene, &job)?;
    ensure!(
        done < tracks,
        "kill the leader amid the scan: all {tracks} tracks had ended before"
    );
    let leader = scene.leader().context("find the coordinator that leads")?;
    scene.kill(leader.0)?;
    let killed = Instant::now();
    let other = || scene.leader().filter(|next| *next != leader);
    let next = wait_for("another coordinator to lead", PATIENCE, other)?;
    let kill = Kill {
        leader,
        done,
        led_again: killed.elapsed(),
        next,
    };
    Ok((ended(scene, &job, tracks, begun)?, kill))
}

fn submit(scene: &Scene, name: &str) -> Result<String> {
    let words = ["scan", "submit", "--catalog", "demo", "--stages", "both"];
    // The unsure and the positives go on. Shards of four, so that both nodes have some of each and flush often.
    let more = [
        "--gate",
        "both",
        "--shard-tracks",
        "4",
        "--accept-demonstration",
    ];
    let named = ["--request-id", name];
    let said = scene.operator.ask(&[&words[..], &more, &named].concat())?;
    let job = said["job"].as_str().context("read the job's name")?;
    Ok(job.to_owned())
}

/// Waits until rows of a job count, and says how many.
fn begun_to_count(scene: &Scene, job: &str) -> Result<u64> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let said = scene.operator.try_ask(&["scan", "get", job]);
        let done = said.ok().and_then(|said| said["tracks_done"].as_u64());
        match done.filter(|done| *done > 0) {
            Some(done) => return Ok(done),
            None => std::thread::sleep(ASK_EVERY),
        }
    }
    bail!("waited {PATIENCE:?} for the first rows of job `{job}`")
}

/// Waits until a job is published, has the product verify it, and reads it.
fn ended(scene: &Scene, job: &str, tracks: u64, begun: Instant) -> Result<Scan> {
    let is_published = || {
        let said = scene.operator.try_ask(&["scan", "get", job]).ok()?;
        (said["state"] == "published").then_some(())
    };
    wait_for(
        &format!("job `{job}` to be published"),
        PATIENCE,
        is_published,
    )?;
    let took = begun.elapsed();
    let verified = scene.operator.ask(&["result", "verify", job])?;
    let whole = verified["ok"] == true && verified["rows_found"] == tracks;
    ensure!(whole, "verify job `{job}`: {verified}");
    let mut said = scene.operator.ask(&["result", "get", job])?;
    let rows = serde_json::from_value(said["rows"].take());
    Ok(Scan {
        rows: rows.with_context(|| format!("read the rows of job `{job}`"))?,
        took,
    })
}
