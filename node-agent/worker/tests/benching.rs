//! `bench` on a small bundle: every stage has its row, on paper and in the file.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

#[path = "common/separator.rs"]
mod separator;

use bundle::sample;
use separator::{CHECKPOINT, make_bundle, section};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn bench(bundle: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trackscan-worker"))
        .arg("bench")
        .arg(bundle)
        .args(["--seconds", "2", "--rounds", "1", "--threads", "1"])
        .args(["--batches", "1,3", "--segment-batches", "1,2"])
        .args(more)
        .output()
        .unwrap()
}

/// Stage and batch of each row.
fn rows(report: &Value) -> Vec<(String, Option<u64>)> {
    let rows = report["rows"].as_array().unwrap();
    let row = |row: &Value| {
        (
            row["stage"].as_str().unwrap().to_owned(),
            row["batch"].as_u64(),
        )
    };
    rows.iter().map(row).collect()
}

#[test]
fn each_stage_has_a_row_for_each_batch_and_the_file_says_what_the_table_says() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = models::htdemucs::Checkpoint::parse(CHECKPOINT).unwrap();
    assert!(section(&checkpoint).canary.is_some());
    make_bundle(dir.path(), |_, _| ());
    let json = tempfile::NamedTempFile::new().unwrap();
    let output = bench(dir.path(), &["--json", json.path().to_str().unwrap()]);
    let words = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{complaints}");
    let report: Value = serde_json::from_slice(&std::fs::read(json.path()).unwrap()).unwrap();
    let expected: Vec<(String, Option<u64>)> = [
        ("decode for the screen", None),
        ("mel", Some(1)),
        ("screen", Some(1)),
        ("mel", Some(3)),
        ("screen", Some(3)),
        ("decode for the residual", None),
        ("residual", Some(1)),
        ("residual", Some(2)),
        ("whole path of the track", None),
    ]
    .map(|(stage, batch)| (stage.to_owned(), batch))
    .into();
    assert_eq!(rows(&report), expected);
    for row in report["rows"].as_array().unwrap() {
        assert!(row["seconds"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["speed"].as_f64().unwrap() > 0.0, "{row}");
        assert!(words.contains(row["stage"].as_str().unwrap()), "{words}");
        // What decoding holds is no device's.
        let decodes = row["stage"].as_str().unwrap().starts_with("decode");
        assert_eq!(row["memory_bytes"].is_null(), decodes, "{row}");
    }
    assert_eq!(report["dtype"], "f32");
}

#[test]
fn stages_that_are_named_are_measured_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    make_bundle(dir.path(), |_, _| ());
    let json = tempfile::NamedTempFile::new().unwrap();
    let more = [
        "--stages",
        "residual",
        "--json",
        json.path().to_str().unwrap(),
    ];
    let output = bench(dir.path(), &more);
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{complaints}");
    let report: Value = serde_json::from_slice(&std::fs::read(json.path()).unwrap()).unwrap();
    let expected = [1u64, 2].map(|batch| ("residual".to_owned(), Some(batch)));
    assert_eq!(rows(&report), expected);
}

#[test]
fn a_bundle_without_a_residual_is_measured_without_one_and_no_bundle_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    bundle::write(
        dir.path(),
        sample::manifest(),
        &sample::contents(),
        &sample::key(),
    )
    .unwrap();
    let output = bench(dir.path(), &[]);
    assert!(output.status.success());
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(!words.contains("residual"), "{words}");
    let nothing = bench(Path::new("/nowhere"), &[]);
    assert!(!nothing.status.success());
    let complaint = String::from_utf8(nothing.stderr).unwrap();
    assert!(complaint.contains("/nowhere"), "{complaint}");
}
