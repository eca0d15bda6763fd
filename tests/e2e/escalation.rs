//! Both engines on real processes: a small separator, converted from a published kind of file, takes apart what the screen's gate
//! sends on. It is not calibrated, so that verdicts rest on the screen; what is shown is the way of the tracks.

use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tests::cluster::{Cluster, Options, PATIENCE};
use tests::music;
use tests::process::{self, wait_for};

use crate::world::text;

/// Length of a residual's feature vector.
const FEATURES: usize = 21;
/// Segments that are separated of a track: of all that its seconds have some hundreds; so many that a second pass over a few tracks lasts for seconds.
const SEGMENTS: &str = "64";

/// A cluster with that bundle, and a catalogue of so many short tracks.
fn cluster(folder: &Path, tracks: usize) -> Cluster {
    let (bundle, key) = tests::both::bundle_with(folder, &["--segments", SEGMENTS]);
    let music = folder.join("tracks");
    music::folder(&music, tracks, 4.0);
    let arguments = [
        "--device",
        "cpu",
        "--default-bundle",
        text(&bundle),
        "--trusted-key",
        &key,
        "--flush-secs",
        "1",
    ];
    let options = Options {
        arguments: arguments.map(str::to_owned).into(),
        ..Options::default()
    };
    let cluster = Cluster::start(&folder.join("data"), &options);
    let imported = cluster.import("music", &music);
    assert_eq!(imported["snapshot"]["rows"], tracks, "{imported:#}");
    cluster
}

fn submit(cluster: &Cluster, more: &[&str]) -> Value {
    let submit = ["scan", "submit", "--catalog", "music", "--stages", "both"];
    let all = ["--gate", "all", "--accept-demonstration"];
    cluster.json(&[&submit[..], &all, more].concat())
}

fn rows(cluster: &Cluster, job: &str) -> Vec<Value> {
    let verified = cluster.json(&["result", "verify", job]);
    assert_eq!(verified["ok"], true, "{verified:#}");
    let rows = cluster.json(&["result", "get", job]);
    rows["rows"].as_array().unwrap().clone()
}

fn is_separated(row: &Value) -> bool {
    let length = |field: &str| row[field].as_array().unwrap().len();
    let separated = length("segments") > 0;
    assert_eq!(
        length("residual_features"),
        if separated { FEATURES } else { 0 }
    );
    assert_eq!(row["fused"].is_object(), separated, "{row:#}");
    assert_eq!(
        row["residual_us"].as_u64().unwrap() > 0,
        separated,
        "{row:#}"
    );
    assert!(row["screen"].is_object(), "{row:#}");
    separated
}

#[test]
fn a_budget_of_half_the_list_separates_half_of_it_and_says_of_the_rest_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(folder.path(), 12);
    let wait = ["--max-escalation", "0.5", "--wait", "--timeout", "5m"];
    let submitted = submit(&cluster, &wait);
    let rows = rows(&cluster, submitted["job"].as_str().unwrap());
    assert_eq!(rows.len(), 12);
    let (separated, ended): (Vec<&Value>, Vec<&Value>) =
        rows.iter().partition(|row| is_separated(row));
    assert_eq!((separated.len(), ended.len()), (6, 6));
    for row in ended {
        assert_eq!(row["verdict"], "inconclusive", "{row:#}");
        assert_eq!(row["reason"], "ESCALATION_BUDGET", "{row:#}");
    }
}

/// The lines of a job's throughput.
fn stages(cluster: &Cluster, job: &str) -> Vec<Value> {
    let summary = cluster.json(&["result", "summary", job]);
    summary["stages"].as_array().unwrap().clone()
}

/// Tracks, bytes and microseconds of devices that lines come to, by stage.
fn sums(lines: &[Value]) -> BTreeMap<&str, [u64; 3]> {
    let mut sums = BTreeMap::<&str, [u64; 3]>::new();
    for line in lines {
        let number = |field: &str| line[field].as_u64().unwrap();
        let device_us = (line["device_seconds"].as_f64().unwrap() * 1e6).round() as u64;
        let used = [number("tracks"), number("bytes"), device_us];
        let sum = sums.entry(line["stage"].as_str().unwrap()).or_default();
        sum.iter_mut()
            .zip(used)
            .for_each(|(sum, used)| *sum += used);
    }
    sums
}

/// What is kept beside the manifest of a job.
fn kept_totals(cluster: &Cluster, job: &str) -> PathBuf {
    let folder = cluster.data().join("storage/default/1").join(job);
    let mut found = fs::read_dir(folder).unwrap();
    let kept = found.find_map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        name.starts_with("totals-").then(|| entry.path())
    });
    kept.unwrap()
}

#[test]
fn a_published_job_of_which_every_track_went_on_has_decode_and_screen_by_node_and_device() {
    const TRACKS: u64 = 6;
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(folder.path(), TRACKS as usize);
    let submitted = submit(&cluster, &["--wait", "--timeout", "5m"]);
    let job = submitted["job"].as_str().unwrap();
    assert!(rows(&cluster, job).iter().all(is_separated));
    let told = stages(&cluster, job);
    let placed =
        |line: &Value| line["went_on"] == false && line["node"] != "" && line["device"] != "";
    assert!(told.iter().all(placed), "{told:#?}");
    let whole = sums(&told);
    assert_eq!(
        whole.keys().copied().collect::<Vec<_>>(),
        ["decode", "residual", "screen"]
    );
    assert_eq!((whole["screen"][0], whole["residual"][0]), (TRACKS, TRACKS));

    // As it was kept before uses were: the rest has no node, and the sums are the same.
    let kept = kept_totals(&cluster, job);
    let mut totals: Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    assert!(totals.as_object_mut().unwrap().remove("uses").is_some());
    fs::remove_file(&kept).unwrap();
    fs::write(&kept, totals.to_string()).unwrap();
    let older = stages(&cluster, job);
    let nameless = older.iter().filter(|line| line["went_on"] == true);
    let nameless: Vec<&str> = nameless
        .map(|line| line["stage"].as_str().unwrap())
        .collect();
    assert_eq!(nameless, ["decode", "screen"]);
    assert_eq!(sums(&older), whole);
}

#[test]
fn an_agent_that_is_killed_while_tracks_go_on_loses_none_of_them() {
    // Two shards, of which a second pass is under way when the agent dies.
    const TRACKS: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(folder.path(), TRACKS);
    let submitted = submit(&cluster, &[]);
    let job = submitted["job"].as_str().unwrap();
    // What goes on is done only once it is separated.
    let done = wait_for("rows of the second pass", PATIENCE, || {
        let seen = cluster.json(&["scan", "get", job]);
        seen["tracks_done"].as_u64().filter(|done| *done > 0)
    });
    assert!(done < TRACKS as u64, "the second pass is over");
    for agent in cluster.processes("node-agent") {
        process::signal(agent.pid, Signal::KILL);
    }
    let waited = cluster.scanctl(&["scan", "wait", job, "--timeout", "20m"]);
    let said = String::from_utf8_lossy(&waited.stderr);
    assert!(waited.status.success(), "{said}\n{}", cluster.log());
    let rows = rows(&cluster, job);
    assert_eq!(rows.len(), TRACKS);
    assert!(rows.iter().all(is_separated));
}
