//! What scanctl does while a coordinator streams to it: where the bytes go, and what a signal or a machine that vanishes
//! leaves behind; and what it says of the coordinator itself. The coordinator is played; scanctl, the connection and its relay are real.

mod played;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use played::{JOURNAL, Played, Relay};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything here may take on a busy machine: a vanished machine alone is waited for for 15 seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Starts scanctl, which hears signals also where whoever runs this suite ignores them, as a background job does.
fn start(address: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new("env");
    command.args([
        "--default-signal=HUP,INT,TERM",
        env!("CARGO_BIN_EXE_scanctl"),
    ]);
    command.args(arguments).env("SCANCTL_ADDRESS", address);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("scanctl starts")
}

fn export(address: &str, to: &Path) -> Child {
    let to = to.to_str().expect("it is UTF-8");
    start(address, &["admin", "journal", "export", "--to", to])
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "waited for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

fn code(mut child: Child) -> Option<i32> {
    let mut ended = None;
    wait_until("scanctl to end", || {
        ended = child.try_wait().expect("it is our child");
        ended.is_some()
    });
    ended.and_then(|status| status.code())
}

/// What scanctl prints, and its exit code.
fn printed(address: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let ended = start(address, arguments).wait_with_output();
    let ended = ended.expect("it is our child");
    (
        ended.status.code(),
        String::from_utf8_lossy(&ended.stdout).into_owned(),
    )
}

#[test]
fn a_storage_that_lacks_what_is_needed_ends_the_doctor_with_11_and_the_lack_by_name() {
    let played = Played::whole();
    let (code, said) = printed(&played.address, &["doctor", "storage"]);
    assert_eq!(code, Some(11), "{said}");
    for words in [
        "s3://bucket",
        "list-pages: A catalogue cannot be imported.",
        "not usable",
    ] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn each_address_is_asked_who_leads_and_where_nobody_answers_it_ends_with_7() {
    let (played, dead) = (Played::whole(), "http://127.0.0.1:9");
    let both = format!("{dead},{}", played.address);
    let (code, said) = printed(&both, &["admin", "leader", "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&said).expect("it is JSON");
    assert_eq!(
        (code, &shown["leader"]),
        (Some(0), &played.address.as_str().into())
    );
    let roles = [
        &shown["coordinators"][0]["role"],
        &shown["coordinators"][1]["role"],
    ];
    assert_eq!(roles, ["silent", "leads"]);
    let (code, said) = printed(&both, &["admin", "leader", "-o", "name"]);
    assert_eq!((code, said.trim()), (Some(0), played.address.as_str()));
    let (code, said) = printed(dead, &["admin", "leader"]);
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("COORDINATOR_UNREACHABLE"), "{said}");
}

#[test]
fn a_coordinator_that_takes_a_connection_and_says_nothing_is_passed_over_for_the_next() {
    let played = Played::whole();
    // The kernel takes connections for it, as it does for a process that is stopped.
    let stopped = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = stopped.local_addr().expect("it is bound");
    let both = format!("http://{silent},{}", played.address);
    let (code, said) = printed(&both, &["doctor", "storage"]);
    assert_eq!(code, Some(11), "{said}");
    assert!(said.contains("s3://bucket"), "{said}");
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("process numbers are small"), signal).expect("it is our child");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there");
    entries
        .map(|entry| entry.expect("it is there").file_name())
        .map(|name| name.into_string().expect("it is UTF-8"))
        .collect()
}

#[test]
fn whatever_signal_ends_an_export_nothing_unfinished_is_left() {
    let played = Played::that_never_ends();
    for (signal, expected) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let folder = tempfile::tempdir().expect("a folder");
        let child = export(&played.address, &folder.path().join("out"));
        wait_until("an unfinished file", || {
            names(folder.path())
                .iter()
                .any(|name| name.starts_with(".scanctl-"))
        });
        send(&child, signal);
        assert_eq!(code(child), Some(expected), "{signal:?}");
        assert_eq!(names(folder.path()), [""; 0], "{signal:?}");
    }
}

#[test]
fn an_export_into_a_pipe_that_nobody_reads_can_be_interrupted() {
    let played = Played::that_never_ends();
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).expect("a pipe");
    let child = export(&played.address, &pipe);
    wait_until("the call", || played.asked() > 0);
    send(&child, Signal::INT);
    assert_eq!(code(child), Some(130));
}

#[test]
fn an_export_whose_reader_stands_still_can_be_interrupted() {
    let played = Played::that_never_ends();
    let mut child = start(&played.address, &["admin", "journal", "export"]);
    let mut first = [0];
    let mut reader = child.stdout.take().expect("it is piped");
    reader.read_exact(&mut first).expect("the journal begins");
    send(&child, Signal::INT);
    assert_eq!(code(child), Some(130));
}

#[test]
fn an_open_file_is_written_on_where_it_stands() {
    let played = Played::whole();
    let folder = tempfile::tempdir().expect("a folder");
    let check = |script: &str| {
        let out = folder.path().join("out");
        fs::write(&out, "").expect("it is written");
        let status = Command::new("sh")
            .args(["-ec", script])
            .env("SCANCTL_ADDRESS", &played.address)
            .env("SCANCTL", env!("CARGO_BIN_EXE_scanctl"))
            .env("OUT", &out)
            .status();
        assert!(status.expect("there is a shell").success(), "{script}");
        let found = fs::read(&out).expect("it is there");
        let expected = [b"before\n", JOURNAL, b"after\n"].concat();
        assert!(found == expected, "{script}: {} bytes", found.len());
    };
    let export = "\"$SCANCTL\" admin journal export --to";
    for name in ["/dev/fd/3", "/proc/self/fd/3"] {
        check(&format!(
            "exec 3>\"$OUT\"; echo before >&3; {export} {name}; echo after >&3"
        ));
        check(&format!(
            "echo before >\"$OUT\"; exec 3>>\"$OUT\"; {export} {name}; echo after >&3"
        ));
    }
    check(&format!(
        "{{ echo before; {export} /dev/stderr 2>&1; echo after; }} >\"$OUT\""
    ));
}

#[test]
fn an_export_from_a_machine_that_vanished_ends_with_7_and_leaves_nothing() {
    let played = Played::that_never_ends();
    let relay = Relay::to(&played);
    let folder = tempfile::tempdir().expect("a folder");
    let child = export(&relay.address, &folder.path().join("out"));
    wait_until("an unfinished file", || !names(folder.path()).is_empty());
    relay.freeze();
    assert_eq!(code(child), Some(7));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn waiting_goes_on_where_a_machine_vanished_and_came_back() {
    let played = Played::that_never_ends();
    let relay = Relay::to(&played);
    let mut child = start(&relay.address, &["scan", "wait", "job-1"]);
    let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("the waiting has begun");
    wait_until("the watch", || played.watched() > 0);
    relay.freeze();
    said.read_to_string(&mut line).expect("it is UTF-8");
    assert_eq!(code(child), Some(0), "{line}");
    assert!(line.contains("answers again"), "{line}");
    assert_eq!(played.watched(), 2);
}
