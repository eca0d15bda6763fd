//! What every file here keeps to: says what it is, stays readable, hides no stub, names no machine; documents link to what exists.

use std::path::{Path, PathBuf};

use crate::tree::{files, files_ending, packages, read, root};

/// Above this a file holds more than one idea.
const LINES_MAX: usize = 500;

/// Home folders and build roots of some machine; the first letters are apart so that this file does not find itself.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/", "root/"),
    concat!("/", "home/"),
    concat!("/", "work/"),
    concat!("/", "Users/"),
];

/// Stubs and silenced tests, written apart for the same reason.
const STUBS: [&str; 4] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
    concat!("allow(", "dead_code"),
];

#[test]
fn every_rust_file_begins_by_saying_what_it_is() {
    check(&files_ending("rs"), |text| {
        text.starts_with("//!")
            .then_some(())
            .ok_or_else(|| "does not begin with `//!`".to_owned())
    });
}

#[test]
fn no_rust_file_is_too_long_to_read() {
    check(&files_ending("rs"), |text| {
        let lines = text.lines().count();
        (lines <= LINES_MAX)
            .then_some(())
            .ok_or_else(|| format!("has {lines} lines, {LINES_MAX} are allowed"))
    });
}

#[test]
fn no_stub_and_no_silenced_test_is_left() {
    check(&files_ending("rs"), |text| absent(text, &STUBS));
}

#[test]
fn no_text_names_a_folder_of_one_machine() {
    let texts: Vec<PathBuf> = files()
        .into_iter()
        .filter(|path| std::str::from_utf8(&bytes(path)).is_ok())
        .collect();
    check(&texts, |text| {
        let named = MACHINE_PATHS.iter().find(|root| begins(text, root));
        named.map_or(Ok(()), |root| Err(format!("names a folder in `{root}`")))
    });
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    for package in packages() {
        let manifest: toml::Table = read(&package.manifest_path)
            .parse()
            .expect("a manifest is TOML");
        let taken = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        assert_eq!(
            taken,
            Some(true),
            "`{}` does not say `[lints] workspace = true`",
            package.name
        );
    }
}

#[test]
fn every_relative_link_in_a_document_leads_somewhere() {
    for path in files_ending("md") {
        let folder = path.parent().expect("a file lies in a folder");
        for target in links(&read(&path)) {
            assert!(
                root().join(folder).join(&target).exists(),
                "`{}` links to `{target}`, which is not there",
                path.display()
            );
        }
    }
}

#[test]
fn every_decision_is_listed_in_its_index() {
    let index = links(&read("docs/decisions/README.md"));
    for path in files_ending("md")
        .iter()
        .filter(|path| path.starts_with("docs/decisions") && !path.ends_with("README.md"))
    {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a decision's name is text");
        assert!(
            index.iter().any(|target| target == name),
            "docs/decisions/README.md does not list `{name}`"
        );
    }
}

#[test]
fn every_script_that_make_calls_is_there() {
    let makefile = read("Makefile");
    for word in makefile
        .split_whitespace()
        .map(|word| word.trim_start_matches('@'))
        .filter(|word| word.starts_with("scripts/"))
    {
        let stands = word == "scripts/" || root().join(word).is_file();
        assert!(stands, "the Makefile calls `{word}`, which is not there");
    }
}

#[test]
fn every_suite_that_runs_more_tests_at_once_is_there() {
    let suites: Vec<String> = packages()
        .iter()
        .flat_map(|package| {
            let targets = package.targets.iter();
            targets.map(|target| format!("{}/{}", package.name, target.name))
        })
        .collect();
    let script = read("scripts/run-suite.sh");
    let lines = script
        .lines()
        .filter_map(|line| line.split_once(") at_once="));
    let named = lines.flat_map(|(names, _)| names.split('|').map(str::trim));
    let named: Vec<&str> = named.filter(|name| *name != "*").collect();
    assert!(!named.is_empty(), "scripts/run-suite.sh names none");
    for name in named {
        let stands = suites.iter().any(|suite| suite == name);
        assert!(stands, "scripts/run-suite.sh names `{name}`, which is none");
    }
}

/// Applies one rule to many files and reports all that break it, not only the first.
fn check(paths: &[PathBuf], rule: impl Fn(&str) -> Result<(), String>) {
    let broken: Vec<String> = paths
        .iter()
        .filter_map(|path| {
            rule(&read(path))
                .err()
                .map(|fault| format!("`{}` {fault}", path.display()))
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn absent(text: &str, words: &[&str]) -> Result<(), String> {
    match words.iter().find(|word| text.contains(**word)) {
        Some(word) => Err(format!("contains `{word}`")),
        None => Ok(()),
    }
}

/// Whether a path in `text` begins with `root`; `deep/root/file` is somebody's relative path and does not.
fn begins(text: &str, root: &str) -> bool {
    text.match_indices(root).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|letter| !letter.is_alphanumeric() && !"._-".contains(letter))
    })
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(root().join(path)).expect("a file of the repository can be read")
}

/// Targets of inline links that are paths: no scheme, no bare anchor; an anchor after a path is cut off.
fn links(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .collect()
}
