//! `doctor storage` of a place that no coordinator uses: the coordinator's binary beside scanctl is asked, here a script in its place. scanctl is
//! copied to a folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const PLACE: &str = "s3://bucket/prefix?credentials=file:/keys";

/// What a coordinator's binary says of a storage.
fn probed(answer: &str, usable: bool, trouble: &str) -> String {
    format!(
        r#"{{"probed":{{"place":"s3://bucket/prefix","usable":{usable},"findings":[{{"question":"ranges","answer":"{answer}","seen":"It was seen.","without_it":"Tracks cannot be read.","needed":true,"trouble":"{trouble}"}}]}}}}"#
    )
}

fn doctor(beside: &Path, report: &str, more: &[&str]) -> Output {
    let path = beside.join("coordinator");
    let body = format!("#!/bin/sh\necho \"$@\" >asked\ncat <<'END'\n{report}\nEND\n");
    fs::write(&path, body).expect("the script is written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may be run");
    let mut command = Command::new(beside.join("scanctl"));
    command.args(["doctor", "storage"]).args(more);
    command
        .current_dir(beside)
        .output()
        .expect("scanctl starts")
}

/// One test alone: while another thread forks, a file just written cannot be executed.
#[test]
fn a_place_is_judged_by_the_coordinator_s_binary_and_the_exit_code_says_how() {
    let folder = tempfile::tempdir().expect("a folder");
    let beside = folder.path();
    fs::copy(env!("CARGO_BIN_EXE_scanctl"), beside.join("scanctl")).expect("scanctl is copied");
    let failed = r#"{"failed":{"code":"STORAGE_MISSING","message":"there is no such folder"}}"#;
    for (report, expected, words) in [
        (probed("yes", true, ""), 0, "usable"),
        (
            probed("no", false, ""),
            11,
            "ranges: Tracks cannot be read.",
        ),
        (
            probed("unknown", true, "STORAGE_DENIED"),
            11,
            "could not be asked: STORAGE_DENIED",
        ),
        (failed.to_owned(), 7, "error STORAGE_MISSING"),
        ("nothing of the kind".to_owned(), 1, "error CHILD_DIED"),
    ] {
        let ended = doctor(beside, &report, &["--quick", "--storage", PLACE]);
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(ended.status.code(), Some(expected), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let asked = fs::read_to_string(beside.join("asked")).expect("it was asked");
    assert_eq!(asked.trim(), format!("probe --quick --storage {PLACE}"));
    let flags = ["--", "--config", "coordinator.toml"];
    doctor(beside, &probed("yes", true, ""), &flags);
    let asked = fs::read_to_string(beside.join("asked")).expect("it was asked");
    assert_eq!(asked.trim(), "probe --config coordinator.toml");
}
