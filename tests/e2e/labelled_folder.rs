//! A small set of labelled tracks in a folder: one command imports it, has every track separated, and judges what came of it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use tests::cluster::{Cluster, Options};
use tests::{both, music};

use crate::world::text;

/// Tracks of the folder, every third of them labelled ai.
const TRACKS: usize = 66;

fn labels(folder: &Path, tracks: &Path, beside: &[&str]) -> PathBuf {
    let mut names: Vec<String> = fs::read_dir(tracks)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.extend(beside.iter().map(|name| (*name).to_owned()));
    let mut file = "key,label,artist\n".to_owned();
    for (at, name) in names.iter().enumerate() {
        let class = if at % 3 == 0 { "ai" } else { "human" };
        let _ = writeln!(file, "{name},{class},artist {at}");
    }
    let path = folder.join(format!("labels-{}.csv", beside.len()));
    fs::write(&path, file).unwrap();
    path
}

fn jobs(cluster: &Cluster) -> usize {
    cluster.json(&["scan", "ls"])["jobs"]
        .as_array()
        .unwrap()
        .len()
}

#[test]
fn a_folder_of_labelled_tracks_is_scanned_by_both_engines_once_and_judged() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("music");
    let tracks = source.join("known");
    music::folder(&tracks, TRACKS, 2.0);
    // How many segments stand for a track changes nothing that is asked here; all of them would be some hundreds of each.
    let (bundle, key) = both::bundle_with(folder.path(), &["--segments", "2"]);
    let arguments = [
        "--device",
        "cpu",
        "--default-bundle",
        text(&bundle),
        "--trusted-key",
        &key,
    ];
    let cluster = Cluster::start(
        &folder.path().join("data"),
        &Options {
            arguments: arguments.map(str::to_owned).to_vec(),
            ..Options::default()
        },
    );
    // A source that holds the folder: the job's keys begin above it.
    cluster.import("all", &source);
    let all = labels(folder.path(), &tracks, &[]);
    let evaluate = [
        "evaluate",
        "--folder",
        text(&tracks),
        "--labels",
        text(&all),
    ];

    let missing = labels(folder.path(), &tracks, &["gone.wav"]);
    let refused = cluster.scanctl(&[
        "evaluate",
        "--folder",
        text(&tracks),
        "--labels",
        text(&missing),
    ]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("LABELS_UNMATCHED") && said.contains("gone.wav"),
        "{said}"
    );
    assert_eq!(jobs(&cluster), 0, "nothing was scanned for it");

    let seen = cluster.json(&evaluate);
    assert_eq!(seen["tracks"]["screened"], TRACKS);
    assert_eq!(seen["report"]["humans"], TRACKS - TRACKS / 3);
    let notes = seen["notes"].to_string();
    assert!(
        notes.contains(&format!("{TRACKS} tracks were separated")),
        "{notes}"
    );

    let again = cluster.json(&evaluate);
    assert_eq!(
        (jobs(&cluster), &again["job"]),
        (1, &seen["job"]),
        "it is not scanned again"
    );

    let roundabout = tracks.join("..").join("known");
    let again = cluster.json(&[
        "evaluate",
        "--folder",
        text(&roundabout),
        "--labels",
        text(&all),
    ]);
    assert_eq!(
        (jobs(&cluster), &again["job"]),
        (1, &seen["job"]),
        "nor where its path is typed another way"
    );

    refuses(&cluster, folder.path(), &tracks, &all, &bundle);
}

/// Labels of so many tracks, half of them ai, of which the folder has none.
fn elsewhere(folder: &Path, tracks: usize) -> PathBuf {
    let mut file = "track_id,label\n".to_owned();
    for at in 0..tracks {
        let class = if at % 2 == 0 { "ai" } else { "human" };
        let _ = writeln!(file, "t{at},{class}");
    }
    let path = folder.join("elsewhere.csv");
    fs::write(&path, file).unwrap();
    path
}

/// What cannot be calibrated by the same words: a bundle that nobody registered, and any on so few tracks. `calibrating_both` has as many as
/// it takes.
fn refuses(cluster: &Cluster, folder: &Path, tracks: &Path, labels: &Path, bundle: &Path) {
    let key = folder.join("key");
    fs::write(&key, "07".repeat(32)).unwrap();
    let calibrate = |bundle: &Path, labels: &Path| {
        let out = folder.join("never");
        let line = [
            "calibrate",
            "--folder",
            text(tracks),
            "--labels",
            text(labels),
            "--bundle",
            text(bundle),
        ];
        let rest = ["--key", text(&key), "--out", text(&out), "-o", "json"];
        cluster.scanctl(&[&line[..], &rest].concat())
    };
    let enough = elsewhere(folder, 80);
    let refused = calibrate(&tests::tree().join("bundles/demo"), &enough);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("BUNDLE_UNKNOWN"), "{said}");
    let (humans, positives) = ((TRACKS - TRACKS / 3) / 2, TRACKS / 3 / 2);
    let refused = calibrate(bundle, labels);
    let said = String::from_utf8_lossy(&refused.stderr);
    let counted = format!(
        "either side: {humans} human and {positives} ai tracks can be judged, each class needs 20"
    );
    assert!(
        said.contains("LABELS_TOO_FEW") && said.contains(&counted),
        "{said}"
    );
    assert_eq!(refused.status.code(), Some(2));
    assert!(!folder.join("never").exists());
    assert_eq!(jobs(cluster), 1, "nothing was scanned for it");
}
