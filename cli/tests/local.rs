//! Commands that need no coordinator, where what they print is too long or too local for a transcript.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{PipeWriter, pipe};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scanctl"));
    command.args(arguments);
    command.env("SCANCTL_ADDRESS", "http://127.0.0.1:9");
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("scanctl starts")
}

/// A pipe whose reader has gone away.
fn unread() -> PipeWriter {
    pipe().expect("a pipe").1
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("it is UTF-8")
}

#[test]
fn every_shell_gets_a_script_that_completes_commands_below_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completion", shell]);
        let script = text(output.stdout);
        assert!(output.status.success(), "{shell}");
        for word in ["scan", "uncordon", "require-memory"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    assert_eq!(run(&["completion", "sh"]).status.code(), Some(2));
}

#[test]
fn the_version_is_that_of_the_package_in_every_format() {
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(text(run(&["--version"]).stdout), format!("scanctl {own}\n"));
    for format in ["table", "json", "yaml", "csv", "name"] {
        let output = run(&["version", "-o", format]);
        assert!(output.status.success(), "{format}");
        assert!(text(output.stdout).contains(own), "{format}");
    }
}

#[test]
fn the_doctor_finds_no_coordinator_unless_asked_for_this_machine_only() {
    let output = run(&["doctor"]);
    let said = text(output.stdout);
    assert_eq!(output.status.code(), Some(11), "{said}");
    let asked = |said: &str| {
        let mut lines = said.lines();
        lines.any(|line| line.split_whitespace().nth(1) == Some("coordinator:"))
    };
    assert!(asked(&said), "{said}");
    let client = text(run(&["doctor", "--client"]).stdout);
    assert!(!asked(&client), "{client}");
}

#[test]
fn arguments_that_are_not_utf_8_are_misuse_or_reach_their_command() {
    let with_odd = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.arg(OsStr::from_bytes(b"/music/\xff"));
        let output = command.output().expect("scanctl starts");
        (output.status.code(), text(output.stderr))
    };
    let (code, said) = with_odd(&["scan", "get", "--nonsense"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("INVALID_REQUEST"), "{said}");
    assert!(said.contains("scanctl scan get --help"), "{said}");
    let (code, said) = with_odd(&["catalog", "import", "music"]);
    assert_eq!(code, Some(7), "the path is the command's matter: {said}");
}

#[test]
fn where_nobody_reads_stderr_the_exit_code_stands() {
    for (line, expected) in [
        (&["explain", "NO_SUCH_CODE"][..], 5),
        (&["scan", "ls"], 7),
        (&["scan", "--nonsense"], 2),
    ] {
        let status = command(line).stderr(unread()).status();
        let status = status.expect("scanctl starts");
        assert_eq!(status.code(), Some(expected), "{line:?}");
    }
}

#[test]
fn where_nobody_reads_stdout_nothing_failed_and_a_full_disk_is_named() {
    for line in [
        &["completion", "bash"][..],
        &["explain"],
        &["version", "-o", "json"],
        &["--help"],
    ] {
        let closed = command(line).stdout(unread()).output().expect("it starts");
        let said = text(closed.stderr);
        assert_eq!(
            (closed.status.code(), said.as_str()),
            (Some(0), ""),
            "{line:?}"
        );
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("it is there");
        let full = command(line).stdout(full).output().expect("it starts");
        let said = text(full.stderr);
        assert_eq!(full.status.code(), Some(1), "{line:?}: {said}");
        assert!(
            said.starts_with("error OUTPUT_UNWRITABLE"),
            "{line:?}: {said}"
        );
    }
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let mut version = command(&["version"]);
    for variable in ["SCANCTL_TIMEOUT", "SCANCTL_OUTPUT", "SCANCTL_COLOR"] {
        version.env(variable, "");
    }
    let output = version.output().expect("scanctl starts");
    assert!(output.status.success(), "{}", text(output.stderr));
}

#[test]
fn the_doctor_looks_at_the_disk_of_the_data_folder_be_it_made_or_not() {
    let data = "/proc/no/such/folder";
    let said = text(run(&["doctor", "--client", "--data", data, "-o", "json"]).stdout);
    assert!(
        said.contains("0 B free for `/proc/no/such/folder`"),
        "{said}"
    );
}
