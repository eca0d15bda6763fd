//! An operator's way back from a store that is lost, through scanctl alone: `admin backup`, `admin restore`, `admin rebuild`, on the
//! processes of `up`. What each prints is held to its committed schema.

use crate::schemas::check;
use crate::world::{cpu, text};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tests::cluster::Cluster;
use tests::music;

const TRACKS: usize = 6;

/// A cluster with a published job over a few tracks.
fn scanned(folder: &Path) -> (Cluster, String) {
    let tracks = folder.join("tracks");
    music::folder(&tracks, TRACKS, 4.0);
    let cluster = Cluster::start(&folder.join("data"), &cpu());
    cluster.import("music", &tracks);
    let submit = ["scan", "submit", "--catalog", "music"];
    let waits = ["--accept-demonstration", "--wait", "--timeout", "5m"];
    let submitted = cluster.json(&[&submit[..], &waits].concat());
    let job = submitted["job"].as_str().unwrap().to_owned();
    (cluster, job)
}

/// The rows of a job whose result stands.
fn rows(cluster: &Cluster, job: &str) -> Value {
    let verified = cluster.json(&["result", "verify", job]);
    assert_eq!(verified["ok"], true, "{verified:#}");
    assert_eq!(verified["rows_found"], TRACKS);
    cluster.json(&["result", "get", job])["rows"].clone()
}

/// Runs a command that is to be refused, and holds its exit code and its code to what is expected.
#[track_caller]
fn check_refused(cluster: &Cluster, line: &[&str], expected: (i32, &str)) {
    let output = cluster.scanctl(line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(expected.0), "{line:?}: {said}");
    assert!(said.contains(expected.1), "{line:?}: {said}");
}

#[test]
fn a_lost_store_comes_back_by_restore_and_by_rebuild_with_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, job) = scanned(folder.path());
    let before = rows(&cluster, &job);
    let data = cluster.data().to_owned();
    let copy = folder.path().join("store.backup");
    let copied = cluster.json(&["admin", "backup", "--out", text(&copy)]);
    check("admin-backup", &copied);
    let restore = ["admin", "restore", text(&copy), "--data", text(&data)];
    check_refused(&cluster, &restore, (6, "DATA_LOCKED"));

    assert_eq!(cluster.stop(), Some(0), "{}", cluster.log());
    fs::remove_dir_all(data.join("store")).unwrap();
    let restored = cluster.json(&restore);
    check("admin-rebuild", &restored);
    assert_eq!(
        (&restored["generation"], &restored["published"]),
        (&2.into(), &1.into()),
        "{restored:#}"
    );
    let rebuild = ["admin", "rebuild", "--data", text(&data)];
    check_refused(&cluster, &rebuild, (1, "STORE_NOT_EMPTY"));
    let rebuilt = cluster.json(&[&rebuild[..], &["--replace"]].concat());
    check("admin-rebuild", &rebuilt);
    assert_eq!(
        (&rebuilt["generation"], &rebuilt["published"]),
        (&3.into(), &1.into()),
        "{rebuilt:#}"
    );

    let cluster = Cluster::start(&data, &cpu());
    assert_eq!(rows(&cluster, &job), before);
}
