//! Memory against length: mixes of three hours, as long files go in a catalogue, through every process of one machine and both engines, with the segments of the
//! demonstration and with as many as a track may have. The budget that is asserted here is the one that `docs/ARCHITECTURE.md` states.
//! These are the longest tests of the suite, and the first by name, so that none of them is still under way alone when the others have ended.

use bundle::TRACK_SEGMENTS_MAX;
use corpus::codec::{Codec, encode};
use corpus::piece;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tests::cluster::{Cluster, Options};
use tests::process::{self, wait_for};

use crate::world::text;

/// Length of the piece that the mixes repeat, seconds.
const PIECE_SECONDS: f32 = 60.0;
/// Repetitions: three hours of it.
const REPEATS: u32 = 180;
/// How long the scan may take before it counts as stuck.
const SCAN_LIMIT: Duration = Duration::from_secs(1_800);
/// Most resident memory of a process of each kind while it scans a mix, MiB.
const BUDGET_MIB: [(&str, u64); 4] = [
    ("coordinator", 128),
    ("node-agent", 128),
    ("trackscan-worker", 384),
    ("trackscan-decoder", 48),
];

#[test]
fn mixes_of_three_hours_go_through_both_engines_within_the_memory_budget_of_every_process() {
    let folder = tempfile::tempdir().unwrap();
    let rows = scanned(folder.path(), &[Codec::Mp3, Codec::Aac], Vec::new());
    for row in &rows {
        assert!(!starts(row).is_empty(), "{row:#}");
    }
}

#[test]
fn a_mix_of_three_hours_with_as_many_segments_as_a_track_may_have_costs_no_more_memory() {
    let folder = tempfile::tempdir().unwrap();
    // All of them, each a hundredth of a second, are asked for: more than any track may have.
    let (bundle, key) = tests::both::bundle(folder.path());
    let both = ["--default-bundle", text(&bundle), "--trusted-key", &key];
    let both = both.map(str::to_owned).into();
    let rows = scanned(folder.path(), &[Codec::Mp3], both);
    let starts = starts(&rows[0]);
    assert_eq!(starts.len(), TRACK_SEGMENTS_MAX);
    let whole = u64::from(REPEATS) * PIECE_SECONDS as u64 * 1_000;
    let edge = whole / 20;
    assert!(starts[0] < edge, "nothing of the beginning: {}", starts[0]);
    let last = starts[starts.len() - 1];
    assert!(last > whole - edge, "nothing of the end: {last} of {whole}");
}

/// Scans mixes of these codecs with both engines, holds every process to its budget meanwhile, and gives their rows.
fn scanned(folder: &Path, codecs: &[Codec], more: Vec<String>) -> Vec<Value> {
    let tracks = folder.join("tracks");
    mixes(&tracks, codecs);
    let arguments = ["--device".to_owned(), "cpu".to_owned()];
    let options = Options {
        arguments: arguments.into_iter().chain(more).collect(),
        ..Options::default()
    };
    let cluster = Cluster::start(&folder.join("data"), &options);
    cluster.import("mixes", &tracks);
    let submit = ["scan", "submit", "--catalog", "mixes", "--stages", "both"];
    let all = ["--gate", "all", "--accept-demonstration"];
    let submitted = cluster.json(&[&submit[..], &all].concat());
    let job = submitted["job"].as_str().unwrap();

    let peaks = peaks_until_published(&cluster, job);
    for (name, budget) in BUDGET_MIB {
        let peak = peaks[name];
        assert!(peak > 0, "no {name} was seen: {peaks:?}");
        assert!(peak <= budget, "{name} held {peak} MiB, over its {budget}");
    }
    let rows = rows(&cluster, job);
    assert_eq!(rows.len(), codecs.len());
    rows
}

/// The rows of a published job, each of three hours and scored.
fn rows(cluster: &Cluster, job: &str) -> Vec<Value> {
    let rows = cluster.scanctl(&["result", "export", job, "--format", "jsonl"]);
    let rows: Vec<Value> = serde_json::Deserializer::from_slice(&rows.stdout)
        .into_iter()
        .map(|row| row.expect("a row is JSON"))
        .collect();
    for row in &rows {
        let seconds = row["duration_ms"].as_f64().unwrap_or_default() / 1_000.0;
        let whole = f64::from(REPEATS) * f64::from(PIECE_SECONDS);
        assert!((seconds - whole).abs() < whole / 100.0, "{row:#}");
        assert_ne!(row["verdict"], "unscannable", "{row:#}");
        assert!(row["residual_us"].as_u64() > Some(0), "{row:#}");
    }
    rows
}

/// Where the segments begin that were separated of a track, milliseconds.
fn starts(row: &Value) -> Vec<u64> {
    let segments = row["segments"].as_array().into_iter().flatten();
    let starts = segments.map(|segment| segment["start_ms"].as_u64().unwrap());
    starts.collect()
}

/// The same piece over and over: AAC is a format whose tables grow with its length, MP3 one without any.
fn mixes(folder: &Path, codecs: &[Codec]) {
    std::fs::create_dir_all(folder).unwrap();
    let piece = piece::compose(3, PIECE_SECONDS).audio;
    for &codec in codecs {
        let name = format!("mix.{}", codec.extension());
        let name = name.as_str();
        let once = folder.with_file_name(name);
        encode(&piece, codec, 128, &once).unwrap();
        let status = Command::new("ffmpeg")
            .args(["-nostdin", "-loglevel", "error", "-stream_loop"])
            .arg((REPEATS - 1).to_string())
            .arg("-i")
            .arg(&once)
            .args(["-c", "copy"])
            .arg(folder.join(name))
            .status()
            .expect("ffmpeg is installed by `make setup`");
        assert!(status.success(), "repeating {name}: {status}");
    }
}

/// The most memory that any process of each kind held until the job was published, MiB.
fn peaks_until_published(cluster: &Cluster, job: &str) -> BTreeMap<&'static str, u64> {
    let mut peaks = BTreeMap::new();
    wait_for("the mixes to be scanned", SCAN_LIMIT, || {
        for (name, _) in BUDGET_MIB {
            let held = cluster.processes(name);
            let most = held.iter().map(|seen| process::most_memory(seen.pid));
            let most = most.max().unwrap_or(0).div_ceil(1 << 20);
            let peak = peaks.entry(name).or_insert(0);
            *peak = most.max(*peak);
        }
        (cluster.json(&["scan", "get", job])["state"] == "published").then_some(())
    });
    peaks
}
