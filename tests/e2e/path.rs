//! From a folder of music to verified results, and what each command prints on the way.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use tests::cluster::{Cluster, Options, scanctl};
use tests::music;

struct World {
    _folder: tempfile::TempDir,
    address: String,
    job: String,
}

/// One cluster with one finished job, for all tests here. It ends with the test process: `up` is its child and dies with it.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let tracks = folder.path().join("tracks");
        music::folder(&tracks, 12, 4.0);
        fs::write(tracks.join("broken.mp3"), b"").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tracks.join("link.wav")).unwrap();
        let cluster = Cluster::start(
            &folder.path().join("data"),
            &Options {
                arguments: vec!["--device".into(), "cpu".into()],
                ..Options::default()
            },
        );
        let imported = cluster.import("music", &tracks);
        assert_eq!(imported["snapshot"]["rows"], 13, "{imported:#}");
        assert_eq!(imported["snapshot"]["rejected"], 1, "{imported:#}");
        let submitted = cluster.json(&[
            "scan",
            "submit",
            "--catalog",
            "music",
            "--accept-demonstration",
            "--wait",
            "--timeout",
            "5m",
        ]);
        let world = World {
            _folder: folder,
            address: cluster.address().to_owned(),
            job: submitted["job"].as_str().unwrap().to_owned(),
        };
        std::mem::forget(cluster);
        world
    })
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = scanctl(&world().address, arguments);
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn json(arguments: &[&str]) -> Value {
    let (_, stdout, stderr) = run(&[arguments, &["-o", "json"]].concat());
    serde_json::from_str(&stdout).unwrap_or_else(|why| panic!("{arguments:?}: {why}: {stderr}"))
}

#[test]
fn every_track_has_one_row_and_the_broken_file_its_code() {
    let verified = json(&["result", "verify", &world().job]);
    assert_eq!(verified["ok"], true, "{verified:#}");
    assert_eq!(verified["rows_found"], 13);
    let rows = json(&["result", "get", &world().job]);
    let rows = rows["rows"].as_array().unwrap();
    let broken = rows
        .iter()
        .find(|row| row["key"].as_str().unwrap().ends_with("broken.mp3"))
        .unwrap();
    assert_eq!(
        (&broken["verdict"], &broken["reason"]),
        (&"unscannable".into(), &"EMPTY".into())
    );
    for sound in rows
        .iter()
        .filter(|row| row["key"].as_str().unwrap().ends_with(".wav"))
    {
        assert_ne!(sound["verdict"], "unscannable", "{sound:#}");
        assert!(
            sound["screen"]["prior"].as_f64().unwrap() > 0.0,
            "a probability stands beside its prior"
        );
        assert!(!sound["timeline"].as_array().unwrap().is_empty());
        assert_eq!(sound["content_sha256"].as_str().unwrap().len(), 64);
    }
}

#[test]
fn a_scan_that_left_unscannable_tracks_ends_with_8() {
    let (code, _, _) = run(&["scan", "wait", &world().job]);
    assert_eq!(code, Some(8));
}

#[test]
fn a_rejected_link_is_reported_with_its_reason() {
    let rejected = json(&["catalog", "rejected", "music"]);
    assert_eq!(
        rejected["rejected"][0]["code"], "NOT_REGULAR_FILE",
        "{rejected:#}"
    );
}

#[test]
fn every_export_has_all_rows_and_csv_and_json_lines_agree() {
    let (_, csv, _) = run(&["result", "export", &world().job]);
    let (_, lines, _) = run(&["result", "export", &world().job, "--format", "jsonl"]);
    assert_eq!(csv.lines().count(), 14, "a header and 13 rows");
    let rows: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 13);
    let verdicts = |verdict: &str| rows.iter().filter(|row| row["verdict"] == verdict).count();
    assert_eq!(csv.matches("unscannable").count(), verdicts("unscannable"));
    let parquet = scanctl(
        &world().address,
        &["result", "export", &world().job, "--format", "parquet"],
    );
    assert!(parquet.stdout.starts_with(b"PAR1") && parquet.stdout.ends_with(b"PAR1"));
}

#[test]
fn json_outputs_follow_their_committed_schemas() {
    let job = world().job.as_str();
    let cases: [(&str, &[&str]); 14] = [
        ("catalog-ls", &["catalog", "ls"]),
        ("catalog-get", &["catalog", "get", "music"]),
        ("catalog-rejected", &["catalog", "rejected", "music"]),
        ("scan-ls", &["scan", "ls"]),
        ("scan-get", &["scan", "get", "last"]),
        ("scan-explain", &["scan", "explain", job]),
        ("result-get", &["result", "get", job]),
        ("result-verify", &["result", "verify", job]),
        ("result-summary", &["result", "summary", job]),
        ("node-ls", &["node", "ls"]),
        ("node-get", &["node", "get", "local"]),
        ("bundle-ls", &["bundle", "ls"]),
        ("bundle-get", &["bundle", "get"]),
        ("doctor", &["doctor"]),
    ];
    for (name, arguments) in cases {
        let file = tests::tree().join(format!("cli/schemas/{name}.schema.json"));
        let schema: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let output = json(arguments);
        let validator = jsonschema::validator_for(&schema).unwrap();
        let faults: Vec<String> = validator
            .iter_errors(&output)
            .map(|fault| fault.to_string())
            .collect();
        assert!(faults.is_empty(), "{name}: {faults:?}\n{output:#}");
    }
}

#[test]
fn every_list_prints_in_every_format() {
    for list in [
        ["catalog", "ls"],
        ["scan", "ls"],
        ["result", "ls"],
        ["node", "ls"],
        ["bundle", "ls"],
    ] {
        for format in ["table", "json", "yaml", "csv", "name"] {
            let (code, stdout, stderr) = run(&[list[0], list[1], "-o", format]);
            assert_eq!(code, Some(0), "{list:?} {format}: {stderr}");
            assert!(!stdout.is_empty(), "{list:?} {format}");
        }
    }
}

#[test]
fn what_does_not_exist_ends_with_5_and_says_what_to_do() {
    for arguments in [
        vec!["scan", "get", "no-such-job"],
        vec!["catalog", "get", "none"],
        vec!["node", "get", "none"],
    ] {
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!(
            (code, stdout.as_str()),
            (Some(5), ""),
            "{arguments:?}: {stderr}"
        );
        assert!(stderr.contains("fix:"), "{stderr}");
    }
}

#[test]
fn a_repeated_request_submits_nothing_twice() {
    let submit = [
        "scan",
        "submit",
        "--catalog",
        "music",
        "--request-id",
        "once",
    ];
    let (first, again) = (json(&submit), json(&submit));
    assert_eq!(first["job"], again["job"]);
    assert_eq!(
        (&first["existing"], &again["existing"]),
        (&false.into(), &true.into())
    );
}

#[test]
fn without_acceptance_a_demonstration_bundle_withholds_its_verdicts() {
    let submitted = json(&[
        "scan",
        "submit",
        "--catalog",
        "music",
        "--wait",
        "--timeout",
        "5m",
    ]);
    let counts = &submitted["status"]["verdicts"];
    assert_eq!(
        (&counts["likely_ai"], &counts["no_evidence"]),
        (&0.into(), &0.into()),
        "{submitted:#}"
    );
}

#[test]
fn a_cancelled_job_stays_cancelled_and_waiting_for_it_ends_with_10() {
    let submitted = json(&[
        "scan",
        "submit",
        "--catalog",
        "music",
        "--shard-tracks",
        "1",
    ]);
    let job = submitted["job"].as_str().unwrap().to_owned();
    let (code, _, stderr) = run(&["scan", "cancel", &job, "--reason", "changed my mind"]);
    if code == Some(0) {
        let (waited, stdout, _) = run(&["scan", "wait", &job, "-o", "json"]);
        let ended: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (waited, &ended["state"], &ended["cancel_reason"]),
            (Some(10), &"cancelled".into(), &"changed my mind".into())
        );
    } else {
        assert_eq!(
            code,
            Some(6),
            "a job that was quicker than its cancel is closed: {stderr}"
        );
    }
}

#[test]
fn a_folder_outside_every_source_is_registered_on_loopback_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    music::folder(folder.path(), 1, 1.0);
    let imported = json(&[
        "catalog",
        "import",
        "other",
        folder.path().to_str().unwrap(),
    ]);
    assert_eq!(
        Path::new(imported["registered_folder"].as_str().unwrap()),
        folder.path().canonicalize().unwrap()
    );
}

#[test]
fn the_doctor_finds_a_living_cluster_sound() {
    let (code, stdout, stderr) = run(&["doctor"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}
