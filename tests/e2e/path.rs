//! From a folder of music to verified results, and what each command prints on the way.

use crate::world::{cpu, json, run, world};
use std::path::Path;
use tests::cluster::Cluster;
use tests::music;

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
fn every_list_prints_in_every_format() {
    let job = world().job.as_str();
    // Bundles share names: a bundle's own is its digest.
    let bundles = json(&["bundle", "ls"]);
    let digest = bundles["bundles"][0]["digest"].as_str().unwrap();
    for (what, header, first, name) in [
        ("catalog", "name,", "music", "music"),
        ("scan", "job,", job, job),
        ("result", "job,", job, job),
        ("node", "name,", "local", "local"),
        ("bundle", "name,", "demo", digest),
    ] {
        let print = |format| {
            let (code, stdout, stderr) = run(&[what, "ls", "-o", format]);
            assert_eq!(code, Some(0), "{what} {format}: {stderr}");
            stdout
        };
        let begins = |text: &str, with: &str| text.lines().any(|line| line.starts_with(with));
        let csv = print("csv");
        assert!(
            csv.starts_with(header) && begins(&csv, &format!("{first},")),
            "{csv}"
        );
        let names = print("name");
        assert!(
            begins(&names, name) && !names.contains(['{', ',', ' ']),
            "{names}"
        );
        let table = print("table");
        assert!(
            table
                .to_lowercase()
                .starts_with(header.trim_end_matches(','))
                && table.contains(first),
            "{table}"
        );
        serde_json::from_str::<serde_json::Value>(&print("json")).unwrap();
        serde_saphyr::from_str::<serde_json::Value>(&print("yaml")).unwrap();
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

#[test]
fn the_doctor_asks_the_storage_of_a_cluster_as_it_asks_a_folder_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let named = format!("file://{}", folder.path().display());
    let here = ["doctor", "storage", "--storage", &named, "-o", "name"];
    for line in [&here[..], &["doctor", "storage", "-o", "name"]] {
        let (code, stdout, stderr) = run(line);
        // How quick a folder is depends on what else the machine does.
        let lacks: Vec<&str> = stdout.lines().filter(|lack| *lack != "prompt").collect();
        assert_eq!(
            (code, lacks),
            (Some(0), vec!["replace-version"]),
            "{stderr}"
        );
    }
    let gone = format!("{named}/nothing-here");
    let (code, _, stderr) = run(&["doctor", "storage", "--storage", &gone]);
    assert_eq!(code, Some(7), "{stderr}");
    assert!(stderr.contains("STORAGE_MISSING"), "{stderr}");
}

#[test]
fn a_stored_bundle_that_was_altered_is_named_and_verifying_it_ends_with_11() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path(), &cpu());
    let bundles = folder.path().join("storage/default/bundles");
    let digest = std::fs::read_dir(&bundles)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let stored = std::fs::read_dir(digest.path()).unwrap();
    let stored: Vec<_> = stored.map(|entry| entry.unwrap().path()).collect();
    let file = stored.iter().find(|path| !path.ends_with("index.json"));
    let mut bytes = std::fs::read(file.unwrap()).unwrap();
    bytes[0] ^= 1;
    std::fs::write(file.unwrap(), bytes).unwrap();
    let verified = cluster.scanctl(&["bundle", "verify", "-o", "json"]);
    let view: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(11), "{view:#}");
    let found = view["findings"][0].as_str().unwrap();
    let name = file.unwrap().file_name().unwrap().to_str().unwrap();
    assert!(
        found.starts_with("STORAGE_CORRUPT: ") && found.contains(name),
        "{view:#}"
    );
}
