//! Family 58: names that no snapshot may hold, and entries that are no files. Each is a rejected row with its code.

use crate::catalogue::with_sample_bundle;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tests::cluster::Cluster;
use tests::music;

#[test]
fn keys_and_entries_that_no_snapshot_may_hold_are_rejected_by_code_and_the_rest_enters() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(
        &folder.path().join("data"),
        &with_sample_bundle(folder.path()),
    );

    let tracks = folder.path().join("tracks");
    music::folder(&tracks, 2, 1.0);
    let kinds = not_files(&tracks);
    let imported = cluster.import("entries", &tracks);
    assert_eq!(imported["snapshot"]["rows"], 2, "{imported:#}");
    for kind in &kinds {
        assert_eq!(
            rejected(&cluster, "entries").get(*kind).map(String::as_str),
            Some("NOT_REGULAR_FILE"),
            "{kind}"
        );
    }

    let source = imported["snapshot"]["source"].as_str().unwrap();
    let manifest = tracks.join("keys.csv");
    fs::write(&manifest, csv(source)).unwrap();
    let imported = cluster.import("keys", &manifest);
    let by_code = &imported["snapshot"]["rejected_by_code"];
    assert_eq!(
        (
            &imported["snapshot"]["rows"],
            &by_code["KEY_INVALID"],
            &by_code["RAW_URL"]
        ),
        (&1.into(), &BAD_KEYS.len().into(), &URLS.len().into()),
        "{imported:#}"
    );
    println!(
        "    58 | keys | {} rejected as KEY_INVALID, {} as RAW_URL, {} entries as NOT_REGULAR_FILE",
        BAD_KEYS.len(),
        URLS.len(),
        kinds.len()
    );
}

/// Keys as a CSV field holds them; `LONG` stands for 1,025 bytes.
const BAD_KEYS: [&str; 10] = [
    "../../etc/shadow",
    "a/../../b.wav",
    "/etc/shadow",
    "a//b.wav",
    "./a.wav",
    "a\0b.wav",
    "a\nb.wav",
    "a\r\nb.wav",
    "a\\b.wav",
    "LONG",
];
/// Keys that name something outside of every source.
const URLS: [&str; 3] = [
    "file:///etc/shadow",
    "http://169.254.169.254/",
    "https://[::ffff:a9fe:a9fe]/x.wav",
];

fn csv(source: &str) -> String {
    let long = "k".repeat(1025);
    let keys = BAD_KEYS.iter().chain(&URLS).chain(&["0000.wav"]);
    let rows = keys
        .map(|key| if *key == "LONG" { long.as_str() } else { key })
        .enumerate();
    let lines = rows.map(|(i, key)| format!("t{i},{source},\"{key}\"\n"));
    std::iter::once("track_id,source,key\n".to_owned())
        .chain(lines)
        .collect()
}

/// Puts what is no regular file into a folder; gives the names.
fn not_files(tracks: &Path) -> Vec<&'static str> {
    symlink("/etc/passwd", tracks.join("link.wav")).unwrap();
    symlink("/dev/zero", tracks.join("zero.wav")).unwrap();
    symlink("0000.wav", tracks.join("neighbour.wav")).unwrap();
    mknodat(CWD, tracks.join("pipe.wav"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let mut names = vec!["link.wav", "zero.wav", "neighbour.wav", "pipe.wav"];
    // Only a privileged user may make a device; elsewhere the link to one stands for it.
    if mknodat(
        CWD,
        tracks.join("device.wav"),
        FileType::CharacterDevice,
        Mode::RUSR,
        rustix::fs::makedev(1, 5),
    )
    .is_ok()
    {
        names.push("device.wav");
    }
    names
}

/// Rejected rows of a catalog: code by what stood there.
fn rejected(cluster: &Cluster, catalog: &str) -> BTreeMap<String, String> {
    let answer = cluster.json(&["catalog", "rejected", catalog]);
    let rows = answer["rejected"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer:#}"));
    let text = |value: &Value| value.as_str().expect("a rejected row has texts").to_owned();
    rows.iter()
        .map(|row| (text(&row["key"]), text(&row["code"])))
        .collect()
}
