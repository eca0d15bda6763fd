//! What happens to programs on hosts: they are stopped, killed, reaped, started again, and their own words are heard.

use crate::town::{PATIENCE, Town, copy, echo, lives, wait_for};
use cluster::{Program, Signal};
use std::path::Path;
use types::{Code, Problem, Report};

#[test]
fn a_stopped_process_answers_nothing_and_everything_once_it_goes_on() {
    let town = Town::of(&["a", "b"]);
    let mut line = town.line("a", "b");
    assert_eq!(line.ask("before"), "before");
    assert!(town.echoes["b"].signal_tree(Signal::STOP));
    wait_until_stopped(town.echoes["b"].pid());
    line.say("during");
    assert!(line.is_silent());
    assert!(town.echoes["b"].signal_tree(Signal::CONT));
    assert_eq!(line.hear(), "during");
}

#[test]
fn everything_on_a_host_stops_together_children_of_children_too() {
    let town = Town::of(&["a"]);
    let host = town.world.host("a").unwrap();
    let stray = Program::new(
        "stray",
        "/bin/sh".into(),
        &["-c", "setsid sleep 1000 & echo"],
    );
    host.start(stray).unwrap().wait(PATIENCE).unwrap();
    let mut line = town.line("a", "a");
    assert_eq!(line.ask("before"), "before");
    let echo = town.echoes["a"].pid();
    assert!(host.running().unwrap() >= 2);
    // The way in stops too: only the process itself can be asked.
    host.signal_all(Signal::STOP).unwrap();
    wait_until_stopped(echo);
    host.signal_all(Signal::CONT).unwrap();
    assert_eq!(line.ask("after"), "after");
}

/// A signal to stop is obeyed by each thread when it next runs, which on a busy machine is not at once.
fn wait_until_stopped(pid: i32) {
    wait_for("every thread to stop", || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let mut states = threads.map(|thread| state(&thread.unwrap().path()));
        states.all(|state| state == Some('T')).then_some(())
    });
}

fn state(thread: &Path) -> Option<char> {
    let stat = std::fs::read_to_string(thread.join("stat")).ok()?;
    let (_, tail) = stat.rsplit_once(')')?;
    tail.trim_start().chars().next()
}

#[test]
fn a_killed_process_is_reaped_and_comes_back_with_the_same_arguments() {
    let mut town = Town::of(&["a"]);
    let before = town.ask("a", "arguments");
    let process = town.echoes.get_mut("a").unwrap();
    let first = process.pid();
    assert!(!process.kill(PATIENCE).unwrap().success());
    assert!(!std::fs::exists(format!("/proc/{first}")).unwrap());
    assert!(!process.signal(Signal::TERM));
    process.start_again().unwrap();
    process.ready(PATIENCE).unwrap();
    assert_ne!(process.pid(), first);
    assert_eq!(town.ask("a", "arguments"), before);
}

#[test]
fn a_process_that_ends_by_itself_is_reaped_too() {
    let town = Town::of(&["a"]);
    let brief = Program::new("brief", "/bin/true".into(), &[]);
    let process = town.world.host("a").unwrap().start(brief).unwrap();
    assert!(process.wait(PATIENCE).unwrap().success());
    assert!(!std::fs::exists(format!("/proc/{}", process.pid())).unwrap());
}

#[test]
fn a_process_comes_back_from_another_build() {
    let mut town = Town::of(&["a"]);
    let other = town.folder.path().join("cluster-echo-of-another-build");
    copy("cluster-echo", &other);
    let process = town.echoes.get_mut("a").unwrap();
    process.kill(PATIENCE).unwrap();
    process.start_other(&other).unwrap();
    process.ready(PATIENCE).unwrap();
    let runs = std::fs::read_link(format!("/proc/{}/exe", process.pid())).unwrap();
    assert_eq!(runs, other);
}

#[test]
fn a_living_process_is_not_started_a_second_time() {
    let mut town = Town::of(&["a"]);
    let process = town.echoes.get_mut("a").unwrap();
    let why = process.start_again().unwrap_err().to_string();
    assert!(
        why.contains("`echo`") && why.contains("still lives"),
        "{why}"
    );
}

#[test]
fn a_process_that_asks_to_end_gently_may() {
    let town = Town::of(&["a"]);
    let gentle = "trap 'exit 7' TERM; echo; while :; do sleep 0.01; done";
    let gentle = Program::new("gentle", "/bin/sh".into(), &["-c", gentle]);
    let process = town.world.host("a").unwrap().start(gentle).unwrap();
    let out = town.folder.path().join("logs/a-gentle.out");
    wait_for("the trap to be set", || {
        std::fs::read_to_string(&out)
            .ok()
            .filter(|said| !said.is_empty())
    });
    process.signal(Signal::TERM);
    assert_eq!(process.wait(PATIENCE).unwrap().code(), Some(7));
}

#[test]
fn a_program_that_cannot_begin_is_an_error_with_its_own_words() {
    let town = Town::of(&["a"]);
    let mut program = echo(&town.world, "a");
    program.name = "nowhere".to_owned();
    program.arguments = vec!["192.0.2.1:7000".to_owned()];
    let process = town.world.host("a").unwrap().start(program).unwrap();
    let why = process.ready(PATIENCE).unwrap_err().to_string();
    assert!(why.contains("listen on 192.0.2.1:7000"), "{why}");
}

#[test]
fn a_reported_fault_is_not_taken_for_readiness() {
    let town = Town::of(&["a"]);
    let report = Report::Failed(Problem::new(Code::DataLocked, "lock the folder"));
    let says = format!("echo '{}'", serde_json::to_string(&report).unwrap());
    let program = Program::new("locked", "/bin/sh".into(), &["-c", &says]);
    let process = town.world.host("a").unwrap().start(program).unwrap();
    let why = process.ready(PATIENCE).unwrap_err().to_string();
    assert!(why.contains("lock the folder"), "{why}");
}

#[test]
fn a_program_that_does_not_exist_is_an_error_that_names_it_and_the_host() {
    let town = Town::of(&["a"]);
    let missing = Program::new("missing", "/nowhere/missing".into(), &[]);
    let why = town.world.host("a").unwrap().start(missing).err().unwrap();
    let why = format!("{why:#}");
    assert!(
        why.contains("/nowhere/missing") && why.contains("`a`"),
        "{why}"
    );
}

#[test]
fn a_dropped_process_takes_its_children_along() {
    let town = Town::of(&["a"]);
    let parent = "sleep 1000 & echo $!; wait";
    let parent = Program::new("parent", "/bin/sh".into(), &["-c", parent]);
    let process = town.world.host("a").unwrap().start(parent).unwrap();
    let out = town.folder.path().join("logs/a-parent.out");
    let child = wait_for("the child's number", || {
        std::fs::read_to_string(&out).ok()?.trim().parse().ok()
    });
    assert!(lives(child));
    drop(process);
    wait_for("the child to go", || (!lives(child)).then_some(()));
}
