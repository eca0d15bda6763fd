//! `doctor storage --storage`, asked of the coordinator's own binary: of a folder, of an S3 server of this project's suites and of moto, each
//! with what sets it apart. No coordinator runs.

use crate::schemas::check;
use serde_json::Value;
use std::fs;
use storage::moto::Moto;
use tests::cluster::scanctl;
use tests::s3::{self, Server};

/// Nobody listens there: no coordinator is asked.
const NOBODY: &str = "http://127.0.0.1:9";
/// Questions whose answer differs from one time to the next: how writers meet, and how busy the machine is.
const BY_CHANCE: [&str; 2] = ["one-winner", "prompt"];

/// Asks a place everything: it is usable, and these questions alone have another answer than yes.
#[track_caller]
fn check_place(url: &str, expected: &[(&str, &str)]) {
    let output = scanctl(
        NOBODY,
        &["doctor", "storage", "--storage", url, "-o", "json"],
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{url}: {said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    check("doctor-storage", &report);
    assert_eq!(report["usable"], true, "{report:#}");
    let word = |found: &Value, field: &str| found[field].as_str().unwrap().to_owned();
    let asked = report["findings"].as_array().unwrap().iter();
    let asked = asked.map(|found| (word(found, "question"), word(found, "answer")));
    let steady = asked.filter(|(question, _)| !BY_CHANCE.contains(&question.as_str()));
    let others: Vec<_> = steady.filter(|(_, answer)| answer != "yes").collect();
    let owned = |(question, answer): &(&str, &str)| ((*question).to_owned(), (*answer).to_owned());
    let expected: Vec<_> = expected.iter().map(owned).collect();
    assert_eq!(others, expected, "{report:#}");
}

#[test]
fn the_doctor_judges_a_folder_and_two_s3_servers_by_what_sets_each_apart() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let place = folder.path().join("place");
    fs::create_dir(&place).unwrap();
    check_place(
        &format!("file://{}", place.display()),
        &[("replace-version", "no")],
    );
    let server = Server::start(&folder.path().join("buckets"));
    s3::permit(&keys);
    check_place(
        &server.url(&keys),
        &[("synced", "unknown"), ("read-version", "no")],
    );
    let moto = Moto::start();
    check_place(&moto.url("scans", &keys), &[("synced", "unknown")]);
}

#[test]
fn the_doctor_says_that_a_server_does_not_take_these_keys_and_shows_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let server = Server::start(&folder.path().join("buckets"));
    s3::deny(&keys);
    let url = server.url(&keys);
    let output = scanctl(
        NOBODY,
        &["doctor", "storage", "--storage", &url, "-o", "json"],
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(11), "{report:#}");
    assert_eq!(report["trouble"], "STORAGE_DENIED", "{report:#}");
    let said = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains(s3::WRONG_SECRET));
}
