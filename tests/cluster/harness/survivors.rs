//! That nothing outlives a world or a suite, however these end, and that anybody may have a world.

use crate::town::{Line, PATIENCE, Town, copy, lives, wait_for};
use cluster::Program;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The user that is nobody on every machine.
const NOBODY: u32 = 65_534;

/// Starts a stray process on a host and gives its number: it has left its group and its parent.
fn stray(town: &Town) -> i32 {
    let words = "setsid sleep 100000 & echo $!";
    let stray = Program::new("stray", "/bin/sh".into(), &["-c", words]);
    let started = town.world.host("a").unwrap().start(stray).unwrap();
    started.wait(PATIENCE).unwrap();
    number(&town.folder.path().join("logs/a-stray.out"))
}

fn number(out: &Path) -> i32 {
    wait_for("a stray's number", || {
        std::fs::read_to_string(out).ok()?.trim().parse().ok()
    })
}

#[test]
fn nothing_survives_a_world_that_ends() {
    let town = Town::of(&["a", "b"]);
    let stray = stray(&town);
    let echoes: Vec<i32> = town.echoes.values().map(cluster::Process::pid).collect();
    assert!(lives(stray) && echoes.iter().all(|pid| lives(*pid)));
    town.world.end().unwrap();
    assert!(!lives(stray) && !echoes.iter().any(|pid| lives(*pid)));
}

#[test]
fn nothing_survives_a_suite_that_is_killed() {
    let doomed = Doomed::start(None);
    assert_eq!(Line::open(&doomed.way_in).ask("hello"), "hello");
    doomed.ends_without_a_trace();
}

/// Root tries it as nobody; whoever is not root is somebody without rights already.
#[test]
fn somebody_without_rights_has_hosts_and_leaves_nothing_either() {
    let root = is_root();
    let doomed = Doomed::start(root.then_some(NOBODY));
    assert_eq!(Line::open(&doomed.way_in).ask("hello"), "hello");
    doomed.ends_without_a_trace();
}

fn is_root() -> bool {
    // SAFETY: asks for a number and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// A suite in a process of its own, started by a copy that anybody may read.
struct Doomed {
    child: Child,
    pids: Vec<i32>,
    way_in: String,
    _folder: TempDir,
}

impl Doomed {
    fn start(user: Option<u32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        for name in [
            "cluster-doomed",
            "cluster-keeper",
            "cluster-relay",
            "cluster-echo",
        ] {
            copy(name, &folder.path().join(name));
        }
        let logs = folder.path().join("logs");
        let mut command = Command::new(folder.path().join("cluster-doomed"));
        command.arg(&logs).current_dir(folder.path());
        command.stdout(Stdio::piped());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut said).unwrap();
        let (echo, way_in) = said.trim().split_once(' ').expect("it says its numbers");
        Self {
            pids: vec![echo.parse().unwrap(), number(&logs.join("a-stray.out"))],
            way_in: way_in.to_owned(),
            child,
            _folder: folder,
        }
    }

    fn ends_without_a_trace(mut self) {
        assert!(self.pids.iter().all(|pid| lives(*pid)));
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        wait_for("everything of a killed suite to go", || {
            (!self.pids.iter().any(|pid| lives(*pid))).then_some(())
        });
    }
}
