//! What README shows of the demonstration against what the committed bundle says of the committed catalogue; and the command lines that
//! README and the demonstration name, against the programs' own understanding of them.

use crate::world::{demonstration_by_both, json, text};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// Most that a probability which README shows may be off: rounding takes 0.0005 and what the bundle lets devices differ by
/// about 0.001; another bundle moves one by more.
const OFF_MAX: f64 = 0.01;
/// Titles whose columns are compared, and the one behind them.
const TITLES: [&str; 7] = [
    "KEY", "VERDICT", "TRUTH", "P", "SCREEN", "RESIDUAL", "TIMELINE",
];
/// Programs whose command lines are read.
const PROGRAMS: [&str; 2] = ["scanctl", "trackscan-worker"];

/// The cells under [`TITLES`] but the last, of each row that README shows.
fn shown() -> Vec<[String; 6]> {
    let readme = fs::read_to_string(tests::tree().join("README.md")).unwrap();
    let mut lines = readme.lines().skip_while(|line| !line.starts_with("KEY "));
    let header = lines.next().expect("README shows the table of `make demo`");
    let starts = TITLES.map(|title| header.find(title).expect(title));
    let rows = lines.take_while(|line| line.starts_with("track-"));
    rows.map(|line| cells(line, &starts)).collect()
}

/// A row ends where it has nothing more to say.
fn cells(line: &str, starts: &[usize; 7]) -> [String; 6] {
    std::array::from_fn(|at| {
        let end = starts[at + 1].min(line.len());
        let cell = line.get(starts[at]..end).unwrap_or_default();
        cell.trim().to_owned()
    })
}

/// The probabilities of a row under P, SCREEN and RESIDUAL.
fn probabilities(row: &Value) -> [Option<f64>; 3] {
    let of = |stage: &str| row[stage]["probability"].as_f64();
    [of("fused").or(of("screen")), of("screen"), of("residual")]
}

#[test]
fn every_row_of_the_demonstration_in_the_readme_is_one_of_its_result() {
    let truth = tests::tree().join("demo/truth.csv");
    let get = ["result", "get", demonstration_by_both()];
    let result = json(&[&get[..], &["--truth", text(&truth)]].concat());
    let rows = result["rows"].as_array().unwrap();
    let shown = shown();
    assert!(shown.len() > 3, "{shown:?}");
    for [key, verdict, truth, numbers @ ..] in shown {
        let row = rows.iter().find(|row| row["key"] == key.as_str());
        let row = row.unwrap_or_else(|| panic!("`{key}` is not in the catalogue"));
        let [said, reason] = ["verdict", "reason"].map(|field| row[field].as_str().unwrap());
        assert_eq!(format!("{said} {reason}").trim_end(), verdict, "{key}");
        assert_eq!(row["truth"], truth.as_str(), "{key}");
        for (number, found) in numbers.iter().zip(probabilities(row)) {
            let number = (!number.is_empty()).then(|| number.parse::<f64>().unwrap());
            let close = match (number, found) {
                (Some(number), Some(found)) => (number - found).abs() <= OFF_MAX,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(close, "{key}: README shows {number:?} for {found:?}");
        }
    }
}

fn file(name: &str) -> String {
    fs::read_to_string(tests::tree().join(name)).unwrap()
}

/// The command lines of our programs among these lines, without what a shell reads of them.
fn command_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let commands = lines.map(|line| {
        line.split(['#', '>', '"'])
            .next()
            .unwrap_or_default()
            .trim()
    });
    let ours = |line: &&str| {
        let program = line.split(' ').next();
        program.is_some_and(|program| PROGRAMS.contains(&program))
    };
    commands.filter(ours).map(str::to_owned).collect()
}

/// Those in blocks and between backticks.
fn in_readme() -> Vec<String> {
    let readme = file("README.md");
    let code = readme.split('`').skip(1).step_by(2);
    command_lines(code.flat_map(str::lines))
}

/// Those that the demonstration ends with. The flags that it starts its own cluster with are understood where it runs.
fn in_demonstration() -> Vec<String> {
    let script = file("scripts/demo.sh");
    let printed = script
        .replace("${scanctl%/*}/", "")
        .replace("$scanctl ", "scanctl ")
        .replace(" ${own[*]}", "");
    command_lines(printed.lines().map(str::trim))
}

/// Whether the program takes each word of the line: it gives its help only once it has understood all words before.
fn is_understood(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let program = tests::binaries().join(words.next().unwrap());
    let output = Command::new(program)
        .args(words)
        .arg("--help")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(said)
}

#[test]
fn every_command_line_that_the_readme_and_the_demonstration_name_is_understood() {
    let (readme, demonstration) = (in_readme(), in_demonstration());
    assert!(readme.len() > 7, "{readme:?}");
    assert_eq!(demonstration.len(), 4, "{demonstration:?}");
    let next = demonstration.last().unwrap();
    assert!(next.starts_with("scanctl calibrate --folder "), "{next}");
    for line in readme.iter().chain(&demonstration) {
        assert_eq!(is_understood(line), Ok(()), "{line}");
    }
    for line in [
        "scanctl scna ls",
        "scanctl up --date x",
        "trackscan-worker bundle kee x",
    ] {
        assert!(is_understood(line).is_err(), "{line}");
    }
}
