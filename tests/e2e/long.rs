//! Memory against length: mixes of three hours, as long files go in a catalogue, through every process of one machine and both engines. The budget that
//! is asserted here is the one that `docs/ARCHITECTURE.md` states.

use corpus::codec::{Codec, encode};
use corpus::piece;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tests::cluster::{Cluster, Options};
use tests::process::{self, wait_for};

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
    let tracks = folder.path().join("tracks");
    mixes(&tracks);
    let cluster = Cluster::start(
        &folder.path().join("data"),
        &Options {
            arguments: vec!["--device".into(), "cpu".into()],
            ..Options::default()
        },
    );
    cluster.import("mixes", &tracks);
    let submitted = cluster.json(&[
        "scan",
        "submit",
        "--catalog",
        "mixes",
        "--stages",
        "both",
        "--gate",
        "all",
        "--accept-demonstration",
    ]);
    let job = submitted["job"].as_str().unwrap();

    let peaks = peaks_until_published(&cluster, job);
    for (name, budget) in BUDGET_MIB {
        let peak = peaks[name];
        assert!(peak > 0, "no {name} was seen: {peaks:?}");
        assert!(peak <= budget, "{name} held {peak} MiB, over its {budget}");
    }
    let rows = cluster.scanctl(&["result", "export", job, "--format", "jsonl"]);
    let rows: Vec<Value> = serde_json::Deserializer::from_slice(&rows.stdout)
        .into_iter()
        .map(|row| row.expect("a row is JSON"))
        .collect();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let seconds = row["duration_ms"].as_f64().unwrap_or_default() / 1_000.0;
        let whole = f64::from(REPEATS) * f64::from(PIECE_SECONDS);
        assert!((seconds - whole).abs() < whole / 100.0, "{row:#}");
        assert_ne!(row["verdict"], "unscannable", "{row:#}");
        let separated = row["segments"].as_array().map_or(0, Vec::len);
        assert!(separated > 0, "{row:#}");
    }
}

/// The same piece over and over, in a format whose tables grow with its length and in one without any.
fn mixes(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let piece = piece::compose(3, PIECE_SECONDS).audio;
    for (codec, name) in [(Codec::Mp3, "mix.mp3"), (Codec::Aac, "mix.m4a")] {
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
