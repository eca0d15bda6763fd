//! How commands that wait end, and what their exit codes say: the job's end, the time given, a signal. And how a result
//! ends that does not stand.

use crate::world::{json, run, submit_demonstration, waiting_job, world};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tests::cluster::heeding;
use tests::process;

#[test]
fn a_cancelled_job_stays_cancelled_and_waiting_for_it_ends_with_10() {
    let job = waiting_job();
    assert_eq!(json(&["scan", "pause", &job])["state"], "paused");
    let cancelled = json(&["scan", "cancel", &job, "--reason", "changed my mind"]);
    assert_eq!(cancelled["state"], "cancelled", "{cancelled:#}");
    for command in ["wait", "watch"] {
        let (code, stdout, said) = run(&["scan", command, &job, "-o", "json"]);
        let ended: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(code, Some(10), "{said}");
        assert_eq!(ended["state"], "cancelled", "{ended:#}");
        assert_eq!(ended["cancel_reason"], "changed my mind");
    }
    for command in ["pause", "resume"] {
        let (code, _, said) = run(&["scan", command, &job]);
        assert_eq!(code, Some(6), "{command}: {said}");
    }
}

#[test]
fn waiting_ends_with_124_when_the_time_given_is_over_and_shows_the_job_as_it_stands() {
    let job = waiting_job();
    json(&["scan", "pause", &job]);
    for time in ["1ms", "300ms"] {
        let (code, stdout, said) = run(&["scan", "wait", &job, "--timeout", time, "-o", "json"]);
        assert_eq!(code, Some(124), "{said}");
        assert!(said.contains("has not ended; it goes on"), "{said}");
        let last: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(last["state"], "paused", "{last:#}");
    }
    let memory = ["--require-memory", "1TiB", "--wait", "--timeout", "1ms"];
    let (code, _, said) = run(&[&["scan", "submit", "--catalog", "music"], &memory[..]].concat());
    assert_eq!(code, Some(124), "{said}");
}

/// Starts scanctl with both its outputs on pipes.
fn start(arguments: &[&str]) -> Child {
    let mut command = heeding(false);
    command
        .args(arguments)
        .env("SCANCTL_ADDRESS", &world().address);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    process::spawn_bound(command)
}

/// The signals that end a command, and its exit code then.
const ENDINGS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("process numbers are small");
    process::signal(pid, signal);
}

#[test]
fn waiting_that_a_signal_ends_has_its_exit_code_and_shows_the_job_as_it_stands() {
    let job = waiting_job();
    for (signal, code) in ENDINGS {
        let mut child = start(&["scan", "wait", &job, "-o", "json"]);
        // The first line of progress says that the waiting has begun.
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("0/13 tracks"), "{line}");
        send(&child, signal);
        let last: Value = serde_json::from_reader(child.stdout.take().unwrap()).unwrap();
        assert_eq!(last["job"], job.as_str());
        said.read_to_string(&mut line).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{line}");
        assert!(line.contains("it goes on"), "{line}");
    }
}

#[test]
fn a_watch_that_a_signal_ends_has_its_exit_code() {
    let job = waiting_job();
    for (signal, code) in ENDINGS {
        let mut child = start(&["scan", "watch", &job, "-o", "json"]);
        let changes = serde_json::Deserializer::from_reader(child.stdout.take().unwrap());
        let mut changes = changes.into_iter::<Value>();
        assert_eq!(changes.next().unwrap().unwrap()["job"], job.as_str());
        send(&child, signal);
        assert!(changes.next().is_none());
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

/// Gives a command a terminal and copies what it shows there.
const ON_A_TERMINAL: &str = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";

#[test]
fn on_a_terminal_progress_is_a_bar_with_what_is_left() {
    let mut command = Command::new("python3");
    command
        .args(["-c", ON_A_TERMINAL])
        .arg(tests::binaries().join("scanctl"))
        .args(["scan", "submit", "--catalog", "music", "--wait"])
        .env("SCANCTL_ADDRESS", &world().address)
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    let shown = command.output().expect("Python starts");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert_eq!(shown.status.code(), Some(8), "{text}");
    for part in ["\u{1b}[", "░", "/13 tracks", "/s  ETA "] {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
}

#[test]
fn a_watch_tells_each_change_from_the_first_look_to_the_end() {
    let submitted = json(&submit_demonstration(&[]));
    let job = submitted["job"].as_str().unwrap();
    assert_eq!(json(&["scan", "pause", job])["state"], "paused");
    let mut child = start(&["scan", "watch", job, "-o", "json"]);
    let changes = serde_json::Deserializer::from_reader(child.stdout.take().unwrap());
    let mut changes = changes.into_iter::<Value>().map(Result::unwrap);
    let first = changes.next().unwrap();
    assert_eq!(first["state"], "paused", "{first:#}");
    json(&["scan", "resume", job]);
    let mut last = first;
    for change in changes {
        assert!(revision(&change) > revision(&last), "{last:#}\n{change:#}");
        last = change;
    }
    assert_eq!(
        (&last["state"], &last["tracks_done"]),
        (&"published".into(), &30.into())
    );
    assert_eq!(
        child.wait().unwrap().code(),
        Some(8),
        "two files are broken"
    );
}

fn revision(job: &Value) -> u64 {
    job["revision"].as_u64().expect("a job has its revision")
}

#[test]
fn a_result_that_lost_a_part_does_not_stand_and_ends_with_9() {
    let submit = ["scan", "submit", "--catalog", "music", "--wait"];
    let job = json(&submit)["job"].as_str().unwrap().to_owned();
    let parts = parquet_below(&world().objects(&job));
    std::fs::remove_file(&parts[0]).unwrap();
    let (code, stdout, said) = run(&["result", "verify", &job, "-o", "json"]);
    assert_eq!(code, Some(9), "{said}");
    let verified: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(verified["ok"], false, "{verified:#}");
    let findings = verified["findings"].as_array().unwrap();
    let begins = |code: &str| {
        findings
            .iter()
            .any(|one| one.as_str().unwrap().starts_with(code))
    };
    assert!(begins("PART ") && begins("ROWS_MISSING "), "{verified:#}");
}

fn parquet_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| match path.is_dir() {
        true => parquet_below(&path),
        false => vec![path],
    });
    below
        .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
        .collect()
}

#[test]
fn what_is_not_given_right_ends_with_2() {
    for (arguments, said) in [
        (
            vec!["scan", "submit", "--catalog", "music", "--gate", "all"],
            "INVALID_REQUEST",
        ),
        (vec!["scan", "submit"], "INVALID_REQUEST"),
        (
            vec![
                "scan",
                "submit",
                "--catalog",
                "music",
                "--shard-tracks",
                "0",
            ],
            "INVALID_REQUEST",
        ),
    ] {
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(&format!("error {said}: ")), "{stderr}");
        assert!(stderr.contains("\n  fix: "), "{stderr}");
    }
}

#[test]
fn an_import_of_what_is_there_already_ends_with_3() {
    let tracks = world().tracks.to_str().unwrap();
    let (code, stdout, said) = run(&["catalog", "import", "music", tracks, "-o", "json"]);
    assert_eq!(code, Some(3), "{said}");
    let again: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(again["unchanged"], true, "{again:#}");
    let catalog = json(&["catalog", "get", "music"]);
    assert_eq!(catalog["snapshots"].as_array().map(Vec::len), Some(1));
}
