//! The JSON of each command follows the schema that `docs/reference/scanctl.md` names for it. The page's table is what is
//! tested: a command that it lacks, and one of its schemas that is not committed, fail here.

use crate::world::{cpu, json, text, waiting_job, world};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use tests::cluster::Cluster;

/// Commands whose documents other suites hold to their schemas: `calibrating` those that need hundreds of labelled tracks, `restoring` those
/// that run where no coordinator may.
const ELSEWHERE: [&str; 4] = ["admin rebuild", "admin restore", "calibrate", "evaluate"];

/// What would disturb others: tried on a cluster of its own.
const DISTURBING: [&str; 4] = [
    "node cordon",
    "node uncordon",
    "node drain",
    // One probe at a time: another test's would be refused.
    "doctor storage",
];

/// Commands by name, as the page names them, each with a line.
fn lines() -> Vec<(&'static str, Vec<String>)> {
    let (job, tracks) = (world().job.as_str(), text(&world().tracks));
    let (waiting, retried) = (waiting_job(), format!("scan retry {job} --failed"));
    let waiting = waiting.as_str();
    let copy = std::env::temp_dir().join(format!("schemas-{}.backup", std::process::id()));
    let copy = text(&copy);
    let past = "--from 2001-01-01T00:00:00Z --to 2001-01-02T00:00:00Z";
    #[rustfmt::skip]
    let lines = [
        ("catalog import", format!("catalog import music {tracks}")),
        ("catalog ls", "catalog ls".to_owned()),
        ("catalog get", "catalog get music".to_owned()),
        ("catalog rejected", "catalog rejected music".to_owned()),
        ("scan submit", "scan submit --catalog music --request-id schema".to_owned()),
        ("scan retry", retried),
        ("scan ls", "scan ls".to_owned()),
        ("scan get", format!("scan get {job}")),
        ("scan wait", format!("scan wait {job}")),
        ("scan watch", format!("scan watch {job}")),
        ("scan explain", format!("scan explain {waiting} 0")),
        ("scan pause", format!("scan pause {waiting}")),
        ("scan resume", format!("scan resume {waiting}")),
        ("scan rank", format!("scan rank {waiting} --priority -3 --deadline 6h")),
        ("scan cancel", format!("scan cancel {waiting}")),
        ("result ls", "result ls".to_owned()),
        ("result get", format!("result get {job}")),
        ("result get JOB TRACK", format!("result get {job} 0003.wav")),
        ("result verify", format!("result verify {job}")),
        ("result summary", format!("result summary {job}")),
        ("node ls", "node ls".to_owned()),
        ("node get", "node get local".to_owned()),
        ("node explain", "node explain local".to_owned()),
        ("node cordon", "node cordon local".to_owned()),
        ("node uncordon", "node uncordon local".to_owned()),
        ("node drain", "node drain local".to_owned()),
        ("node revoke", format!("node revoke local {past}")),
        ("node revocations", "node revocations".to_owned()),
        ("bundle ls", "bundle ls".to_owned()),
        ("bundle get", "bundle get".to_owned()),
        ("bundle verify", "bundle verify".to_owned()),
        ("admin backup", format!("admin backup --out {copy}")),
        ("admin backup verify", format!("admin backup verify {copy}")),
        ("admin gc", "admin gc".to_owned()),
        ("admin leader", "admin leader".to_owned()),
        ("doctor storage", "doctor storage --quick".to_owned()),
        ("doctor", "doctor".to_owned()),
        ("explain", "explain".to_owned()),
        ("version", "version".to_owned()),
    ];
    let words = |line: String| line.split(' ').map(str::to_owned).collect();
    lines.map(|(name, line)| (name, words(line))).into()
}

/// The schema of each command by the page: rows such as ``| `scan get`, `scan wait` | `scan-get` |``.
fn page() -> BTreeMap<String, String> {
    let page = fs::read_to_string(tests::tree().join("docs/reference/scanctl.md")).unwrap();
    let (_, table) = page.split_once("| command | schema |").expect("the table");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut schemas = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').collect();
        let quoted = |cell: &str| -> Vec<String> {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        let schema = quoted(cells[2]).remove(0);
        schemas.extend(
            quoted(cells[1])
                .into_iter()
                .map(|name| (name, schema.clone())),
        );
    }
    schemas
}

#[test]
fn the_json_of_every_command_follows_the_schema_that_the_page_names() {
    let (page, lines) = (page(), lines());
    let named: BTreeSet<&str> = page.keys().map(String::as_str).collect();
    let here = lines.iter().map(|(name, _)| *name);
    let tried: BTreeSet<&str> = here.chain(ELSEWHERE).collect();
    assert_eq!(named, tried, "the page's table and the lines tried");
    let folder = tempfile::tempdir().unwrap();
    let own = Cluster::start(folder.path(), &cpu());
    for (name, line) in lines {
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        let output = match DISTURBING.contains(&name) {
            true => own.json(&words),
            false => json(&words),
        };
        check(&page[name], &output);
    }
}

/// Holds a document to a committed schema.
#[track_caller]
pub(crate) fn check(name: &str, output: &Value) {
    let file = tests::tree().join(format!("cli/schemas/{name}.schema.json"));
    let schema = fs::read_to_string(&file).unwrap_or_else(|why| panic!("{name}: {why}"));
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults = validator.iter_errors(output);
    let faults: Vec<String> = faults.map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{name}: {faults:?}\n{output:#}");
}

#[test]
fn every_committed_schema_is_named_by_the_page() {
    let named: BTreeSet<String> = page().into_values().collect();
    let files = fs::read_dir(tests::tree().join("cli/schemas")).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let committed: BTreeSet<String> = files
        .map(|file| file.strip_suffix(".schema.json").unwrap().to_owned())
        .collect();
    assert_eq!(named, committed);
}
