//! scanctl beside binaries that are not its own: `up` refuses to begin, `version` and `doctor` say what they found. scanctl
//! itself is copied to a folder of its own, with scripts in place of the others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const NAMES: [&str; 4] = [
    "coordinator",
    "node-agent",
    "trackscan-worker",
    "trackscan-decoder",
];

/// One test alone: while another thread forks, a file just written cannot be executed.
#[test]
fn up_refuses_binaries_of_another_version_and_those_that_are_missing_or_broken() {
    let folder = tempfile::tempdir().expect("a folder");
    let beside = folder.path();
    fs::copy(env!("CARGO_BIN_EXE_scanctl"), beside.join("scanctl")).expect("scanctl is copied");
    let own = env!("CARGO_PKG_VERSION");
    for name in NAMES {
        script(beside, name, &format!("echo {name} {own}"));
    }
    let version = String::from_utf8(run(beside, &["version"]).stdout).expect("text");
    assert_eq!(version.matches(own).count(), 1 + NAMES.len(), "{version}");

    script(beside, "node-agent", "echo node-agent 99.0.0");
    let mismatch = format!("`node-agent` is version 99.0.0, scanctl is {own}");
    check_refused(beside, "VERSION_MISMATCH", &mismatch);

    script(beside, "node-agent", "exit 3");
    check_refused(beside, "BINARY_MISSING", "--version did not answer");

    fs::remove_file(beside.join("node-agent")).expect("it is there");
    check_refused(beside, "BINARY_MISSING", "No such file");
}

/// `up` refuses, and makes no data folder; `doctor` calls the same thing a fault.
#[track_caller]
fn check_refused(beside: &Path, code: &str, cause: &str) {
    let up = run(beside, &["up", "--data", "data"]);
    let said = String::from_utf8(up.stderr).expect("text");
    assert_eq!(up.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("error {code}:")), "{said}");
    assert!(said.contains(cause) && said.contains("fix:"), "{said}");
    assert!(!beside.join("data").exists());
    let doctor = run(beside, &["doctor", "--client"]);
    let said = String::from_utf8(doctor.stdout).expect("text");
    assert_eq!(doctor.status.code(), Some(11), "{said}");
    assert!(said.contains("fault  binary node-agent"), "{said}");
}

fn run(beside: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(beside.join("scanctl"));
    command.args(arguments).current_dir(beside);
    command.output().expect("scanctl starts")
}

fn script(beside: &Path, name: &str, body: &str) {
    let path = beside.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("the script is written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may be run");
}
