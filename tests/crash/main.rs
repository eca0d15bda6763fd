//! kill -9 of every kind of process in turn, each while a scan of 500 tracks is under way: at a random share of its tracks and a
//! random moment after that. After each: the job ends by itself,
//! `result verify` finds exactly one row for each track, with the verdict of an undisturbed run, and no sound track is
//! `unscannable`. `CRASH_RUNS` says how many; five, one of each victim, unless set. The moments are random; the seed is printed and can be given as `CRASH_SEED`. `make crash RUNS=20` runs more.

#![expect(
    clippy::print_stdout,
    reason = "the table of the runs is what the suite is started for"
)]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::cluster::{Cluster, Options, PATIENCE};
use tests::{music, process};

/// Tracks of the scan.
const TRACKS: usize = 500;
/// Seconds of most tracks: a window of the demonstration bundle and some.
const SHORT: f32 = 1.8;
/// Seconds of the others: more than a decoder's ring holds, so that it waits for its worker.
const LONG: f32 = 10.0;
/// One track in so many is long.
const LONG_EVERY: usize = 20;
/// Who is killed, in turn.
const VICTIMS: [&str; 5] = [
    "coordinator",
    "node-agent",
    "trackscan-worker",
    "trackscan-decoder",
    "up",
];
/// Shares of the tracks, one drawn for each run, that are done before the kill: with what a flush adds and the moment after
/// it, the scan is under way at any of them.
const DONE_SHARE: std::ops::Range<f64> = 0.02..0.6;
/// The kill comes at a random moment within this share of an undisturbed scan's time, so that it falls between flushes too.
const MOMENT_SHARE: f64 = 0.1;
/// How long a disturbed scan may take before it counts as stuck.
const SCAN_LIMIT: &str = "10m";

#[test]
fn a_scan_survives_kill_9_of_each_process_with_every_row_once_and_no_verdict_changed() {
    let runs = std::env::var("CRASH_RUNS").map_or(VICTIMS.len(), |runs| {
        runs.parse().expect("CRASH_RUNS is a number")
    });
    let seed = std::env::var("CRASH_SEED").map_or_else(
        |_| rand::random(),
        |seed| seed.parse().expect("CRASH_SEED is a number"),
    );
    println!("CRASH_SEED={seed} kills at the same moments again");
    let folder = tempfile::tempdir().unwrap();
    let tracks = folder.path().join("tracks");
    music::folder_with(&tracks, TRACKS, |at| match at % LONG_EVERY {
        0 => LONG,
        _ => SHORT,
    });

    let (undisturbed, lasted) = undisturbed(&folder.path().join("quiet"), &tracks);
    println!(
        "{:>3}  {:<18} {:>9}  {:>7}  {:>9}  rows  verdicts",
        "run", "killed", "after", "done", "ended in"
    );
    for run in 0..runs {
        disturbed(
            (run, seed),
            &folder.path().join(format!("run-{run}")),
            &tracks,
            lasted,
            &undisturbed,
        );
    }
}

fn options() -> Options {
    let arguments = ["--device", "cpu", "--flush-secs", "2"]
        .map(str::to_owned)
        .to_vec();
    Options {
        arguments,
        ..Options::default()
    }
}

/// The verification of a scan that nobody disturbs, and how long the scan lasted.
fn undisturbed(data: &Path, tracks: &Path) -> (Value, Duration) {
    let mut cluster = Cluster::start(data, &options());
    cluster.import("crash", tracks);
    let started = Instant::now();
    let job = submit(&cluster);
    wait(&cluster, &job);
    let lasted = started.elapsed();
    let verified = verify(&cluster, &job);
    assert_eq!(scored(&cluster, &job), TRACKS, "every track was heard");
    assert_eq!(cluster.stop(), Some(0), "up stops clean");
    (verified, lasted)
}

fn disturbed(
    (run, seed): (usize, u64),
    data: &Path,
    tracks: &Path,
    lasted: Duration,
    undisturbed: &Value,
) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed.wrapping_add(run as u64));
    let victim = VICTIMS[run % VICTIMS.len()];
    let share = (TRACKS as f64 * dice.random_range(DONE_SHARE)) as u64;
    let moment = lasted.mul_f64(dice.random_range(0.0..MOMENT_SHARE));
    let mut cluster = Cluster::start(data, &options());
    cluster.import("crash", tracks);
    let started = Instant::now();
    let job = submit(&cluster);
    let (done, after) = if victim == "up" {
        let done = under_way(&cluster, &job, share, moment);
        let after = started.elapsed();
        cluster = begun_again(cluster);
        wait(&cluster, &job);
        (done, after)
    } else {
        wait_through(&cluster, &job, || {
            let done = under_way(&cluster, &job, share, moment);
            let after = started.elapsed();
            kill_one(&cluster, victim, &mut dice);
            (done, after)
        })
    };
    let verified = verify(&cluster, &job);
    println!(
        "{run:>3}  {victim:<18} {after:>9.1?}  {done:>7}  {:>9.1?}  {}  same",
        started.elapsed(),
        verified["rows_found"]
    );
    assert_eq!(
        verified["verdicts_sha256"], undisturbed["verdicts_sha256"],
        "run {run}, {victim} killed: verdicts changed"
    );
    cluster.kill();
}

/// Waits until so many tracks are done, and a moment more; the tracks that are done then, fewer than all.
fn under_way(cluster: &Cluster, job: &str, share: u64, moment: Duration) -> u64 {
    let done = || {
        let seen = cluster.json(&["scan", "get", job]);
        seen["tracks_done"]
            .as_u64()
            .expect("a job counts its tracks")
    };
    process::wait_for("a scan under way", PATIENCE, || {
        (done() >= share).then_some(())
    });
    std::thread::sleep(moment);
    let now = done();
    assert!(now < TRACKS as u64, "the scan was over before the kill");
    now
}

/// Kills `up` and starts it again over the same data, as an operator would.
fn begun_again(mut cluster: Cluster) -> Cluster {
    cluster.kill();
    let data = cluster.data().to_owned();
    drop(cluster);
    Cluster::start(&data, &options())
}

/// Kills one process of that kind.
fn kill_one(cluster: &Cluster, victim: &str, dice: &mut ChaCha8Rng) {
    let found = process::wait_for(victim, PATIENCE, || {
        Some(cluster.processes(victim)).filter(|found| !found.is_empty())
    });
    let chosen = &found[dice.random_range(0..found.len())];
    process::signal(chosen.pid, Signal::KILL);
}

/// Waits for the job as somebody does who began to wait before the trouble.
fn wait_through<T>(cluster: &Cluster, job: &str, trouble: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(cluster, job));
        let made = trouble();
        waiting.join().expect("the wait goes through the trouble");
        made
    })
}

fn submit(cluster: &Cluster) -> String {
    let submitted = cluster.json(&[
        "scan",
        "submit",
        "--catalog",
        "crash",
        "--accept-demonstration",
    ]);
    submitted["job"]
        .as_str()
        .expect("submit names its job")
        .to_owned()
}

fn wait(cluster: &Cluster, job: &str) {
    let ended = cluster.json(&["scan", "wait", job, "--timeout", SCAN_LIMIT]);
    assert_eq!(ended["state"], "published", "{ended:#}\n{}", cluster.log());
}

/// Rows that rest on at least one window.
fn scored(cluster: &Cluster, job: &str) -> usize {
    let rows = cluster.scanctl(&["result", "export", job, "--format", "jsonl"]);
    let rows = serde_json::Deserializer::from_slice(&rows.stdout).into_iter::<Value>();
    let rows = rows.map(|row| row.expect("a row is JSON"));
    let heard = |row: &Value| {
        row["timeline"]
            .as_array()
            .is_some_and(|line| !line.is_empty())
    };
    rows.filter(heard).count()
}

fn verify(cluster: &Cluster, job: &str) -> Value {
    let verified = cluster.json(&["result", "verify", job]);
    assert_eq!(verified["ok"], true, "{verified:#}");
    assert_eq!(verified["rows_found"], TRACKS);
    assert_eq!(
        verified["verdicts"]["unscannable"], 0,
        "a sound track was convicted: {verified:#}"
    );
    verified
}
