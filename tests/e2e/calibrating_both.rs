//! An operator's own labels where both engines ran: the residual gets a calibration, a fusion and thresholds, and the next scan decides by them what was
//! foretold. Naming the folder of the tracks is as good as naming their job. The labels here follow what was measured, so that there is
//! something to calibrate: nothing is claimed of music.

use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use tests::cluster::{Cluster, Options};
use tests::{both, music};

use crate::world::text;

/// Tracks of the catalogue: so many that half of the human ones are enough to fit a rate of one in a hundred on.
const TRACKS: usize = 320;
/// Those that are labelled ai: half of them are enough to fit a residual's score on.
const POSITIVES: usize = 96;
/// Place of `snr_db` in the residual's vector.
const SNR_DB: usize = 14;
/// A seed, as an operator keeps it in a file.
const KEY: &str = "0909090909090909090909090909090909090909090909090909090909090909";

/// A cluster with that bundle.
fn cluster(data: &Path, bundle: &Path, key: &str) -> Cluster {
    let arguments = [
        "--device",
        "cpu",
        "--default-bundle",
        text(bundle),
        "--trusted-key",
        key,
    ];
    let options = Options {
        arguments: arguments.map(str::to_owned).into(),
        ..Options::default()
    };
    Cluster::start(data, &options)
}

/// The finished job of the folder, each track of which was separated, and its rows. Labels stand in for those that follow the rows.
fn separated(cluster: &Cluster, folder: &Path, tracks: &Path) -> (String, Vec<Value>) {
    let mut file = "key,label\n".to_owned();
    for at in 0..TRACKS {
        let class = if at % 2 == 0 { "ai" } else { "human" };
        let _ = writeln!(file, "{at:04}.wav,{class}");
    }
    let path = folder.join("any.csv");
    fs::write(&path, file).unwrap();
    let evaluate = ["evaluate", "--folder", text(tracks), "--labels"];
    let seen = cluster.json(&[&evaluate[..], &[text(&path)]].concat());
    let job = seen["job"].as_str().unwrap().to_owned();
    let rows = rows(cluster, &job);
    (job, rows)
}

/// A job of both engines by the bundle's own gate, and its rows.
fn scanned(cluster: &Cluster, tracks: &Path) -> (String, Vec<Value>) {
    cluster.import("own", tracks);
    let submit = ["scan", "submit", "--catalog", "own", "--stages", "both"];
    let wait = ["--accept-demonstration", "--wait"];
    let submitted = cluster.json(&[&submit[..], &wait].concat());
    let job = submitted["job"].as_str().unwrap().to_owned();
    let rows = rows(cluster, &job);
    (job, rows)
}

fn rows(cluster: &Cluster, job: &str) -> Vec<Value> {
    let rows = cluster.json(&["result", "get", job]);
    let rows = rows["rows"].as_array().unwrap().clone();
    assert_eq!(rows.len(), TRACKS);
    rows
}

/// The place of each of these values in their order.
fn ranks(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0; values.len()];
    for (rank, at) in order.into_iter().enumerate() {
        ranks[at] = rank;
    }
    ranks
}

/// Labels by what both engines measure together, with a few the other way round, as an operator's own are.
fn labels(folder: &Path, rows: &[Value]) -> PathBuf {
    let values = |of: &dyn Fn(&Value) -> Option<f64>| -> Vec<f64> {
        rows.iter().map(|row| of(row).unwrap()).collect()
    };
    let screen = ranks(&values(&|row| row["screen"]["logit"].as_f64()));
    let residual = ranks(&values(&|row| row["residual_features"][SNR_DB].as_f64()));
    let sums: Vec<f64> = screen
        .iter()
        .zip(&residual)
        .map(|(a, b)| (a + b) as f64)
        .collect();
    let mut file = "key,label,artist\n".to_owned();
    for (row, rank) in rows.iter().zip(ranks(&sums)) {
        let ai = (rank >= TRACKS - POSITIVES) != (rank % 17 == 3);
        let class = if ai { "ai" } else { "human" };
        let key = row["key"].as_str().unwrap();
        let _ = writeln!(file, "{key},{class},artist {}", rank / 3);
    }
    let path = folder.join("labels.csv");
    fs::write(&path, file).unwrap();
    path
}

/// The bundle that is made into `out` from the tracks that these words name.
fn calibrated(cluster: &Cluster, named: &[&str], labels: &Path, base: &Path, out: &Path) -> Value {
    let key = labels.with_file_name("key");
    fs::write(&key, KEY).unwrap();
    let of = ["--labels", text(labels), "--bundle", text(base)];
    let rest = ["--key", text(&key), "--out", text(out), "--prior", "0.2"];
    cluster.json(&[&["calibrate"][..], named, &of, &rest].concat())
}

#[test]
fn a_residual_that_is_calibrated_on_known_tracks_decides_the_next_scan_as_was_foretold() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tracks = folder.join("tracks");
    music::folder(&tracks, TRACKS, 2.0);
    let (base, key) = both::bundle_with(folder, &["--segments", "2"]);
    let first = cluster(&folder.join("first"), &base, &key);
    let (job, rows) = separated(&first, folder, &tracks);
    assert!(
        rows.iter().all(|row| row["residual"].is_null()),
        "nobody has said what its features mean"
    );

    let labels = labels(folder, &rows);
    let out = folder.join("calibrated");
    let made = calibrated(&first, &[&job], &labels, &base, &out);
    let named = ["--folder", text(&tracks)];
    let again = calibrated(&first, &named, &labels, &base, &folder.join("again"));
    assert_eq!(again["made"]["digest"], made["made"]["digest"]);
    let jobs = first.json(&["scan", "ls"]);
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1));
    let systems = made["report"]["systems"].as_array().unwrap();
    let names: Vec<&str> = systems
        .iter()
        .map(|system| system["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["screen", "residual", "both"]);
    let stages: Vec<&str> = made["tiers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tier| tier["stage"].as_str().unwrap())
        .collect();
    assert!(stages.contains(&"both"), "{stages:?}");
    assert!(made["moved"].as_u64() > Some(0), "{:#}", made["moves"]);
    drop(first);

    // By its own gate, on a cluster that trusts the new key.
    let signed_by = made["signed_by"].as_str().unwrap();
    let second = cluster(&folder.join("second"), &out, signed_by);
    let (job, rows) = scanned(&second, &tracks);
    let likely = rows.iter().filter(|row| row["verdict"] == "likely_ai");
    assert_eq!(
        made["flags"]["likely_ai"],
        likely.count(),
        "as it was foretold"
    );
    let separated: Vec<&Value> = rows.iter().filter(|row| row["fused"].is_object()).collect();
    assert!(!separated.is_empty(), "the gate sends none on");
    assert_eq!(
        made["escalation"]["escalated"],
        separated.len(),
        "as many were sent on as was foretold: {:#}",
        made["escalation"]
    );
    assert_eq!(made["escalation"]["screened"], TRACKS);
    for row in separated {
        assert!(row["residual"].is_object(), "{row:#}");
        let prior = row["fused"]["prior"].as_f64().unwrap();
        assert!((prior - 0.2).abs() < 1e-6, "{row:#}");
    }
    // What an operator sees of it; `make calibrate` shows it.
    let card = fs::read_to_string(out.join("model-card.md")).unwrap();
    let summary = second.scanctl(&["result", "summary", &job]);
    assert!(card.contains("BEFORE"), "{card}");
    println!("{card}\n\nscanned again with it, both engines:");
    println!("{}", String::from_utf8_lossy(&summary.stdout));
}
