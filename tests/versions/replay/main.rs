//! What the version before said and left, as `tests/versions/before` holds it, before this version: each of its messages is understood, what
//! it asks is answered in its own words, each of its records is read, and the job that it left amid its tracks ends with each track once.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is a failure message of a test, in its helpers too"
)]

mod contract;
mod left;
mod raw;
mod records;
mod said;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use versions::relay::Exchange;
use versions::site::Coordinator;
use versions::{Build, Site};

/// What was recorded.
fn before() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("before")
}

/// The moment at which the coordinator was killed.
#[derive(Deserialize)]
struct Moment {
    version: String,
    tracks: u32,
    published: String,
    cancelled: String,
    open: String,
}

fn moment() -> Moment {
    let text = std::fs::read_to_string(before().join("moment.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The calls that are kept, in the order in which they began.
fn exchanges() -> Vec<Exchange> {
    let text = std::fs::read_to_string(before().join("wire.jsonl")).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// A machine with the same tracks, and what the coordinator left on its disk.
fn site() -> Site {
    let site = Site::new(moment().tracks).unwrap();
    let data = site.folder("data");
    std::fs::create_dir(&data).unwrap();
    let tar = Command::new("tar")
        .arg("-C")
        .arg(&data)
        .arg("-xzf")
        .arg(before().join("data.tar.gz"))
        .output()
        .unwrap();
    assert!(
        tar.status.success(),
        "{}",
        String::from_utf8_lossy(&tar.stderr)
    );
    site
}

/// This version's coordinator over it.
fn taken_over(site: &Site) -> (Build, Coordinator) {
    let build = Build::beside_this().unwrap();
    let coordinator = site.coordinator(&build, "127.0.0.1:0").unwrap();
    (build, coordinator)
}

#[test]
fn what_is_recorded_is_of_the_version_before() {
    assert_eq!(moment().version, types::VERSION_BEFORE);
}
