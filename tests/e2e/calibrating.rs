//! An operator's own labels: what a bundle is worth on them, a new version of it that is calibrated on them, and the verdicts that
//! it gives. The labels here follow the scores, so that there is something to calibrate: nothing is claimed of music.

use crate::schemas;
use crate::world::{cpu, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;
use tests::cluster::{Cluster, Options, scanctl};
use tests::music;

/// Tracks of the catalogue: so many that a half of the human ones bears a rate of one in a hundred.
const TRACKS: usize = 320;
/// Those with the highest scores, labelled ai.
const POSITIVES: usize = 90;
/// A seed, as an operator keeps it in a file.
const KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// A scanned catalogue with the scores of its tracks, highest first.
struct Scanned {
    folder: tempfile::TempDir,
    address: String,
    job: String,
    /// Key and score.
    scores: Vec<(String, f64)>,
}

impl Scanned {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes labels and gives their file: the rows without the first, which names the columns. Tests share the folder, and two may write
    /// the same labels while another reads them: a file is there whole or not at all.
    fn labels(&self, name: &str, columns: &str, rows: impl Iterator<Item = String>) -> PathBuf {
        let mut file = format!("{columns}\n");
        rows.for_each(|row| {
            let _ = writeln!(file, "{row}");
        });
        let path = self.path(name);
        let whole = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        fs::write(&whole, file).unwrap();
        whole.persist(&path).unwrap();
        path
    }

    /// Labels by score, three tracks to an artist, with a few the other way round, as an operator's own are.
    fn by_score(&self) -> PathBuf {
        let rows = self.scores.iter().enumerate().map(|(at, (key, _))| {
            let ai = (at < POSITIVES) != (at % 17 == 3);
            let genre = ["folk", "dance"][at % 2];
            format!("{key},{},artist {},{genre}", class(ai), at / 3)
        });
        self.labels("labels.csv", "key,label,artist,genre", rows)
    }

    fn scanctl(&self, arguments: &[&str]) -> Output {
        scanctl(&self.address, arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.scanctl(&[arguments, &["-o", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| {
            panic!(
                "{arguments:?}: {why}: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// The code and the exit code of a refusal, which names what it is about.
    fn refused(&self, arguments: &[&str], naming: &str) -> (String, Option<i32>) {
        let output = self.scanctl(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.stdout.is_empty(),
            "nothing is printed of {arguments:?}"
        );
        assert!(said.contains(naming), "{arguments:?}: {said}");
        let code = said
            .strip_prefix("error ")
            .and_then(|rest| rest.split(':').next());
        (code.unwrap_or(&said).to_owned(), output.status.code())
    }
}

fn class(ai: bool) -> &'static str {
    if ai { "ai" } else { "human" }
}

/// Scans the catalogue on a cluster over `data`; gives its address and job.
fn scan(data: &Path, tracks: &Path, options: &Options) -> (String, String) {
    let cluster = Cluster::start(data, options);
    cluster.import("own", tracks);
    let submit = [
        "scan",
        "submit",
        "--catalog",
        "own",
        "--accept-demonstration",
        "--wait",
    ];
    let submitted = cluster.json(&submit);
    let ended = (
        cluster.address().to_owned(),
        submitted["job"].as_str().unwrap().to_owned(),
    );
    // It ends with the test process: `up` is its child and dies with it.
    std::mem::forget(cluster);
    ended
}

fn scanned() -> &'static Scanned {
    static SCANNED: OnceLock<Scanned> = OnceLock::new();
    SCANNED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let tracks = folder.path().join("tracks");
        music::folder(&tracks, TRACKS, 2.0);
        let (address, job) = scan(&folder.path().join("data"), &tracks, &cpu());
        let mut scanned = Scanned {
            folder,
            address,
            job,
            scores: Vec::new(),
        };
        let rows = scanned.json(&["result", "get", &scanned.job]);
        scanned.scores = rows["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let score = row["screen"]["logit"].as_f64().unwrap();
                (row["key"].as_str().unwrap().to_owned(), score)
            })
            .collect();
        scanned.scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        scanned
    })
}

/// The verdicts of a job by key.
fn verdicts_of(address: &str, job: &str) -> BTreeMap<String, String> {
    let output = scanctl(address, &["result", "get", job, "-o", "json"]);
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = rows["rows"].as_array().unwrap();
    let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| (word(row, "key"), word(row, "verdict")))
        .collect()
}

/// How many tracks have which verdict before and now.
fn moves(
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> BTreeMap<(String, String), u64> {
    let mut moves = BTreeMap::new();
    for (key, verdict) in before {
        let pair = (verdict.clone(), now[key].clone());
        *moves.entry(pair).or_default() += 1;
    }
    moves
}

fn demo() -> PathBuf {
    tests::tree().join("bundles/demo")
}

#[test]
fn a_calibrated_bundle_is_the_next_version_and_gives_the_verdicts_that_were_foretold() {
    let own = scanned();
    let (labels, key, out) = (own.by_score(), own.path("key"), own.path("calibrated"));
    fs::write(&key, format!("{KEY}\n")).unwrap();
    let (json, html) = (own.path("calibration.json"), own.path("calibration.html"));
    let base = demo();
    let manifest = fs::read(base.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let next = manifest["version"].as_u64().unwrap() + 1;
    let made = own.json(&[
        "calibrate",
        &own.job,
        "--labels",
        text(&labels),
        "--bundle",
        text(&base),
        "--key",
        text(&key),
        "--out",
        text(&out),
        "--prior",
        "0.2",
        "--json",
        text(&json),
        "--html",
        text(&html),
    ]);
    schemas::check("calibrate", &made);
    assert_eq!(
        (&made["made"]["name"], &made["made"]["version"]),
        (&"demo".into(), &next.into())
    );
    assert_eq!(
        made["made"]["purpose"], "demonstration",
        "it stays what it was"
    );
    assert_eq!(made["report"]["prior"], 0.2);
    let written: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(written, made);
    let page = fs::read_to_string(&html).unwrap();
    assert!(
        page.contains("<svg")
            && page.contains("at prior 0.2")
            && page.contains("wrong ones among so many")
    );
    let card = fs::read_to_string(out.join("model-card.md")).unwrap();
    assert!(
        card.contains(&format!("# Bundle `demo` version {next}"))
            && card.contains("held-out pieces")
            && card.contains("DOES_NOT_HOLD")
    );

    // The same catalogue, scanned with it by a cluster that trusts the key.
    let signed_by = made["signed_by"].as_str().unwrap();
    let arguments = ["--default-bundle", text(&out), "--trusted-key", signed_by];
    let options = Options {
        arguments: cpu()
            .arguments
            .into_iter()
            .chain(arguments.map(str::to_owned))
            .collect(),
        ..cpu()
    };
    let (address, job) = scan(&own.path("second"), &own.path("tracks"), &options);
    let output = scanctl(&address, &["result", "get", &job, "-o", "json"]);
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdicts: Vec<&str> = rows["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["verdict"].as_str().unwrap())
        .collect();
    let likely = verdicts
        .iter()
        .filter(|verdict| **verdict == "likely_ai")
        .count();
    assert_eq!(made["flags"]["likely_ai"], likely, "as it was foretold");
    assert_ne!(
        made["flags"]["likely_ai"],
        made["flags_before"]["likely_ai"]
    );
    assert!(made["changed"].as_u64().unwrap() > 0, "{:#}", made["flags"]);
    let prior = rows["rows"][0]["screen"]["prior"].as_f64().unwrap();
    assert!((prior - 0.2).abs() < 1e-6);
    let foretold: BTreeMap<(String, String), u64> = made["moves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let word = |name: &str| one[name].as_str().unwrap().to_owned();
            (
                (word("before"), word("now")),
                one["tracks"].as_u64().unwrap(),
            )
        })
        .collect();
    let seen = moves(
        &verdicts_of(&own.address, &own.job),
        &verdicts_of(&address, &job),
    );
    assert_eq!(foretold, seen, "each verdict moved as it was foretold");
    // What an operator sees of it; `make calibrate` shows it.
    let summary = scanctl(&address, &["result", "summary", &job]);
    println!("{card}\n\nscanned again with it:");
    println!("{}", String::from_utf8_lossy(&summary.stdout));
}

#[test]
fn an_evaluation_counts_what_the_job_flagged_and_says_how_many_may_be_wrong() {
    let own = scanned();
    let labels = own.by_score();
    let evaluate = ["evaluate", &own.job, "--labels", text(&labels)];
    let seen = own.json(&evaluate);
    schemas::check("evaluate", &seen);
    assert_eq!(seen["tracks"]["screened"], TRACKS);
    assert_eq!(seen["report"]["systems"][0]["name"], "screen");
    assert!(
        seen["report"]["systems"][0]["auc"]["value"]
            .as_f64()
            .unwrap()
            > 0.7
    );
    let bound = seen["flags"]["fpr_bound_95"].as_f64().unwrap();
    let wrong = (bound * TRACKS as f64).ceil();
    assert_eq!(seen["flags"]["wrong_at_most"].as_f64(), Some(wrong));
    let rows = own.json(&["result", "get", &own.job, "--verdict", "likely_ai"]);
    assert_eq!(
        seen["flags"]["likely_ai"],
        rows["rows"].as_array().unwrap().len()
    );
    let summary = own.json(&["result", "summary", &own.job]);
    assert_eq!(
        summary["flags"], seen["flags"],
        "both say the same of the job"
    );
    let page = String::from_utf8(own.scanctl(&evaluate).stdout).unwrap();
    assert!(
        page.contains("wrong ones among so many") && page.contains("0.5 of all tracks are ai"),
        "{page}"
    );
    let again = own.json(&evaluate);
    assert_eq!(
        seen, again,
        "the same rows and labels give the same numbers"
    );
    let held = own.json(&[&evaluate[..], &["--split-seed", "1"]].concat());
    let humans = |seen: &Value| seen["report"]["humans"].as_u64().unwrap();
    assert!(humans(&held) < humans(&seen) && humans(&held) > humans(&seen) / 3);
}

#[test]
fn labels_that_cannot_be_used_are_refused_by_code_and_with_names_and_nothing_is_written() {
    let own = scanned();
    let key = own.path("refusals-key");
    fs::write(&key, KEY).unwrap();
    let (base, out) = (demo(), own.path("never"));
    let calibrate = |labels: &Path, naming: &str| {
        let found = own.refused(
            &[
                "calibrate",
                &own.job,
                "--labels",
                text(labels),
                "--bundle",
                text(&base),
                "--key",
                text(&key),
                "--out",
                text(&out),
            ],
            naming,
        );
        assert!(!out.exists());
        found
    };
    let each = || own.scores.iter().enumerate();
    let ten = each()
        .map(|(at, (key, _))| format!("{key},{}", class(at < 5)))
        .take(10);
    let ten = own.labels("ten.csv", "key,label", ten);
    assert_eq!(
        calibrate(&ten, "fpr_1e-3 needs 1000"),
        ("LABELS_TOO_FEW".into(), Some(2))
    );
    let humans = each().map(|(_, (key, _))| format!("{key},human"));
    let humans = own.labels("humans.csv", "key,label", humans);
    assert_eq!(
        calibrate(&humans, "320 human and 0 ai"),
        ("LABELS_ONE_CLASS".into(), Some(2))
    );
    let unknown = own.labels(
        "unknown.csv",
        "key,label",
        ["nowhere.wav,ai".to_owned()].into_iter(),
    );
    assert_eq!(
        calibrate(&unknown, "`nowhere.wav`"),
        ("LABELS_UNMATCHED".into(), Some(2))
    );
    let leak = each().map(|(at, (key, _))| {
        let (split, artist) = (["calibrate", "test"][at % 2], at / 3);
        format!("{key},{},artist {artist},{split}", class(at < POSITIVES))
    });
    let leak = own.labels("leak.csv", "key,label,artist,split", leak);
    assert_eq!(
        calibrate(&leak, "artist artist 0 of "),
        ("LABELS_LEAK".into(), Some(2))
    );
    let turned = each().map(|(at, (key, _))| format!("{key},{}", class(at >= POSITIVES)));
    let turned = own.labels("turned.csv", "key,label", turned);
    assert_eq!(
        calibrate(&turned, "the screen"),
        ("SCORES_TELL_NOTHING".into(), Some(1))
    );
    let twice = own.labels(
        "twice.csv",
        "key,label",
        ["a,ai".to_owned(), "a,human".to_owned()].into_iter(),
    );
    assert_eq!(
        calibrate(&twice, "lines 2 and 3"),
        ("DUPLICATE_KEY".into(), Some(2))
    );
}

#[test]
fn a_bundle_that_the_job_was_not_scanned_with_is_refused() {
    let own = scanned();
    let (labels, key, other) = (own.by_score(), own.path("other-key"), own.path("other"));
    fs::write(&key, KEY).unwrap();
    let contents = bundle::sample::contents();
    bundle::write(
        &other,
        bundle::sample::manifest(),
        &contents,
        &bundle::sample::key(),
    )
    .unwrap();
    let line = |base: &Path, out: &Path| {
        [
            "calibrate",
            &own.job,
            "--labels",
            text(&labels),
            "--bundle",
            text(base),
            "--key",
            text(&key),
            "--out",
            text(out),
        ]
        .map(str::to_owned)
    };
    let refused = |line: [String; 10], naming: &str| {
        own.refused(&line.each_ref().map(String::as_str), naming)
    };
    let nowhere = own.path("nowhere");
    let found = refused(line(&other, &nowhere), "was scanned with bundle");
    assert_eq!(found, ("BUNDLE_OTHER".into(), Some(2)));
    let found = refused(line(&demo(), &other), "where something stands");
    assert_eq!(found, ("ALREADY_EXISTS".into(), Some(6)));
    assert!(!nowhere.exists() && other.join("manifest.json").is_file());
}
