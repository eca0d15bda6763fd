//! What README shows of the demonstration against what the committed bundle says of the committed catalogue.

use crate::world::{demonstration_by_both, json, text};
use serde_json::Value;
use std::fs;

/// Most that a probability which README shows may be off: rounding takes 0.0005 and what the bundle lets devices differ by
/// about 0.001; another bundle moves one by more.
const OFF_MAX: f64 = 0.01;
/// Titles whose columns are compared, and the one behind them.
const TITLES: [&str; 7] = [
    "KEY", "VERDICT", "TRUTH", "P", "SCREEN", "RESIDUAL", "TIMELINE",
];

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
