//! What an operator reads of a finished scan: rows, one track, the truth beside the verdicts, exports, and how each format
//! says the same.

use crate::world::{demonstration, json, run, text, world};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row, RowAccessor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use tests::cluster::scanctl;

fn rows(output: &Value) -> &[Value] {
    output["rows"].as_array().expect("rows")
}

/// Verdicts by key.
fn verdicts<'a>(rows: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, String> {
    let text = |row: &Value, field: &str| row[field].as_str().expect("text").to_owned();
    let rows = rows.into_iter();
    rows.map(|row| (text(row, "key"), text(row, "verdict")))
        .collect()
}

#[test]
fn the_truth_stands_beside_each_verdict_of_the_demonstration_catalogue() {
    let file = tests::tree().join("demo/truth.csv");
    let known = fs::read_to_string(&file).unwrap();
    let known: BTreeMap<&str, &str> = known
        .lines()
        .skip(1)
        .map(|line| {
            let mut cells = line.split(',');
            (cells.next().unwrap(), cells.next().unwrap())
        })
        .collect();
    let get = ["result", "get", demonstration(), "--truth", text(&file)];
    let output = json(&get);
    assert_eq!(rows(&output).len(), 30);
    for row in rows(&output) {
        let truth = row["truth"].as_str().unwrap();
        assert_eq!(known[row["key"].as_str().unwrap()], truth, "{row:#}");
        assert_eq!(
            truth == "broken",
            row["verdict"] == "unscannable",
            "{row:#}"
        );
    }
    let (_, table, _) = run(&get);
    let header = table.lines().next().unwrap();
    assert_eq!(
        header.split_whitespace().collect::<Vec<_>>(),
        [
            "KEY", "VERDICT", "TRUTH", "P", "TIMELINE", "LENGTH", "CODEC", "NOTES"
        ]
    );
    assert!(table.contains("demonstration bundle"), "{table}");
    let without = json(&["result", "get", demonstration()]);
    assert!(rows(&without).iter().all(|row| row.get("truth").is_none()));
}

#[test]
fn a_truth_that_cannot_be_read_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.csv");
    fs::write(&other, "name,truth\n").unwrap();
    for (file, cause) in [
        (other, "it has no column `key`"),
        (folder.path().join("none.csv"), "could not read"),
    ] {
        let (code, _, said) = run(&["result", "get", &world().job, "--truth", text(&file)]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(cause), "{said}");
    }
}

#[test]
fn rows_are_picked_by_verdict_and_counted_off_by_limit() {
    let get = |more: &[&str]| json(&[&["result", "get", &world().job], more].concat());
    let all = verdicts(rows(&get(&[])));
    let of = |verdict: &str| get(&["--verdict", verdict]);
    for verdict in ["likely_ai", "no_evidence", "inconclusive", "unscannable"] {
        let mut expected = all.clone();
        expected.retain(|_, found| found == verdict);
        assert_eq!(verdicts(rows(&of(verdict))), expected, "{verdict}");
    }
    let sound = ["likely_ai", "no_evidence", "inconclusive"];
    let sound = sound.map(|verdict| ["--verdict", verdict]).concat();
    assert_eq!(rows(&get(&sound)).len(), 12);
    for (limit, shown, truncated) in [("3", 3, true), ("13", 13, false), ("0", 0, true)] {
        let output = get(&["--limit", limit]);
        assert_eq!(rows(&output).len(), shown, "{limit}");
        assert_eq!(output["truncated"], truncated, "{limit}");
    }
    let (code, _, said) = run(&["result", "get", &world().job, "--verdict", "guilty"]);
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn one_track_is_found_by_id_and_by_key_and_is_the_row_of_the_list() {
    let job = world().job.as_str();
    let all = json(&["result", "get", job]);
    let row = &rows(&all)[5];
    for field in ["track_id", "key"] {
        let found = json(&["result", "get", job, row[field].as_str().unwrap()]);
        assert_eq!(found["row"], *row, "by {field}");
        assert_eq!(found["purpose"], all["purpose"]);
    }
    let (code, _, said) = run(&["result", "get", job, "no-such-track"]);
    assert_eq!(code, Some(5), "{said}");
}

#[test]
fn every_export_has_the_same_rows_and_a_file_has_what_stdout_has() {
    let export = |more: &[&str]| {
        let line = [&["result", "export", &world().job], more].concat();
        scanctl(&world().address, &line).stdout
    };
    let lines = export(&["--format", "jsonl"]);
    let lines = serde_json::Deserializer::from_slice(&lines).into_iter::<Value>();
    let lines: Vec<Value> = lines.map(Result::unwrap).collect();
    let expected = verdicts(&lines);
    assert_eq!((lines.len(), expected.len()), (13, 13));

    let csv = String::from_utf8(export(&[])).unwrap();
    let mut csv_lines = csv.lines();
    let header: Vec<&str> = csv_lines.next().unwrap().split(',').collect();
    let column = |name: &str| header.iter().position(|title| *title == name).unwrap();
    let (key, verdict) = (column("key"), column("verdict"));
    let cell = |line: &str, at: usize| line.split(',').nth(at).unwrap().to_owned();
    let found = csv_lines.map(|line| (cell(line, key), cell(line, verdict)));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.parquet");
    let to_file = export(&["--format", "parquet", "--to", text(&file)]);
    assert!(to_file.is_empty());
    assert_eq!(fs::read(&file).unwrap(), export(&["--format", "parquet"]));
    assert_eq!(read_parquet(&file), expected);
}

#[test]
fn an_export_of_no_job_leaves_the_file_that_stands_there_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    fs::write(&file, "of last week").unwrap();
    let (code, _, said) = run(&["result", "export", "no-such-job", "--to", text(&file)]);
    assert_eq!(code, Some(5), "{said}");
    assert_eq!(fs::read(&file).unwrap(), b"of last week");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let (code, rows, said) = run(&["result", "export", &world().job, "--to", "/dev/stdout"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(rows.lines().count(), 14);
    let (code, printed, said) = run(&["result", "export", &world().job, "--to", text(&file)]);
    assert_eq!((code, printed.as_str()), (Some(0), ""), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), rows);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Rows with a thumbnail in a result of the tracks here, whose verdicts are all withheld.
fn thumbnails(flags: &[&str]) -> usize {
    let line = [
        "scan",
        "submit",
        "--catalog",
        "music",
        "--wait",
        "--timeout",
        "5m",
    ];
    let submitted = json(&[&line, flags].concat());
    let job = submitted["job"].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.parquet");
    let (code, _, said) = run(&[
        "result",
        "export",
        &job,
        "--format",
        "parquet",
        "--to",
        text(&file),
    ]);
    assert_eq!(code, Some(0), "{said}");
    let reader = SerializedFileReader::new(fs::File::open(file).unwrap()).unwrap();
    let has = |row: &Row| {
        let mut columns = row.get_column_iter();
        columns.any(|(name, field)| name == "thumbnail" && *field != Field::Null)
    };
    let rows = reader.get_row_iter(None).unwrap();
    rows.filter(|row| has(row.as_ref().unwrap())).count()
}

#[test]
fn a_job_without_thumbnails_has_none_where_another_has_one_for_each_scored_track() {
    assert_eq!(thumbnails(&[]), 12);
    assert_eq!(thumbnails(&["--no-thumbnails"]), 0);
}

/// Verdicts by key in a Parquet file, read by the columns' names.
fn read_parquet(file: &std::path::Path) -> BTreeMap<String, String> {
    let reader = SerializedFileReader::new(fs::File::open(file).unwrap()).unwrap();
    let names: Vec<String> = reader
        .metadata()
        .file_metadata()
        .schema()
        .get_fields()
        .iter()
        .map(|field| field.name().to_owned())
        .collect();
    let column = |name: &str| names.iter().position(|title| title == name).unwrap();
    let (key, verdict) = (column("key"), column("verdict"));
    assert!(names.iter().any(|name| name == "thumbnail"), "{names:?}");
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    rows.map(|row| {
        let text = |at: usize| row.get_string(at).unwrap().clone();
        (text(key), text(verdict))
    })
    .collect()
}

#[test]
fn an_export_that_cannot_be_written_is_refused() {
    let (code, _, said) = run(&["result", "export", &world().job, "--to", "/nowhere/at/all"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("could not create `/nowhere/at/all`"),
        "{said}"
    );
}

#[test]
fn yaml_says_to_the_last_digit_what_json_says() {
    for command in [
        vec!["result", "get", &world().job],
        vec!["scan", "get", &world().job],
        vec!["bundle", "get"],
    ] {
        let (code, yaml, said) = run(&[&command[..], &["-o", "yaml"]].concat());
        assert_eq!(code, Some(0), "{said}");
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read, json(&command), "{command:?}");
    }
}
