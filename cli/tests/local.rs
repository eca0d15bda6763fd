//! Commands that need no coordinator, where what they print is too long or too local for a transcript.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scanctl"));
    command.args(arguments);
    command.env("SCANCTL_ADDRESS", "http://127.0.0.1:9");
    command.output().expect("scanctl starts")
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
