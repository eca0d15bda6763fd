//! `calibrate` and `evaluate` over tracks that were separated: the residual's rows from the wire to a signed bundle, and that bundle
//! judged on the side that set nothing. The coordinator is played; scanctl, the connection and the folders are real.

mod played;

#[path = "../../../crates/bundle/tests/common/separator.rs"]
mod separator;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use bundle::features::RESIDUAL_V1;
use bundle::{
    Bundle, Manifest, Overlap, Residual, SecretKey, Segments, Separator, TensorData, Tensors,
    Trust, sample,
};
use evaluation::dice::Dice;
use played::{Played, Published};
use proto::v1;
use serde_json::Value;

/// Tracks of each class: enough for a rate of one in a hundred on a half of them.
const HUMANS: usize = 420;
/// As above.
const POSITIVES: usize = 200;
/// The operator's key.
const KEY: &str = "0909090909090909090909090909090909090909090909090909090909090909";

/// Writes a bundle with a separator that nobody has calibrated; gives its digest.
fn base(folder: &Path) -> String {
    let mut manifest = sample::manifest();
    manifest.format = bundle::FORMAT_RESIDUAL;
    manifest.residual = Some(Residual {
        architecture: Separator::HtDemucs(separator::config()),
        weights: "residual.safetensors".to_owned(),
        origin: None,
        epsilon: manifest.epsilon,
        segments: Segments::Spread { count: 1 },
        overlap: Overlap {
            share: 0.25,
            power: 1.0,
        },
        canary: None,
        calibration: None,
    });
    let tensor = TensorData {
        name: "one".to_owned(),
        shape: vec![2],
        values: vec![0.5, -0.5],
    };
    let mut contents = sample::contents();
    let weights = Tensors(vec![tensor]).to_bytes();
    contents.insert("residual.safetensors".to_owned(), weights);
    let digest = bundle::write(folder, manifest, &contents, &sample::key());
    digest.expect("a sound bundle").to_string()
}

/// Separated tracks, of which the residual tells what the screen does not: one feature lies lower for positives.
fn rows(bundle: &str) -> Vec<v1::Row> {
    let mut dice = Dice::new(3, "rows");
    let mut noise = || (0..6).map(|_| dice.below(1_000) as f64).sum::<f64>() / 700.0 - 4.3;
    (0..HUMANS + POSITIVES)
        .map(|at| {
            let ai = at >= HUMANS;
            let mut features: Vec<f32> = (0..RESIDUAL_V1.len()).map(|_| noise() as f32).collect();
            features[1] -= if ai { 3.0 } else { 0.0 };
            let logit = (noise() + if ai { 0.7 } else { 0.0 }) as f32;
            v1::Row {
                ordinal: at as u32,
                track_id: format!("t{at}"),
                key: format!("{at}.mp3"),
                verdict: v1::Verdict::Inconclusive.into(),
                reason: "BETWEEN_THRESHOLDS".to_owned(),
                screen: Some(v1::Score {
                    logit,
                    probability: 0.5,
                    prior: 0.5,
                    windows: 9,
                }),
                residual_features: features,
                codec: "mp3".to_owned(),
                bytes: Some([480_000, 960_000][at % 2]),
                duration_ms: Some(60_000),
                content_sha256: format!("{at:064x}"),
                bundle: bundle.to_owned(),
                ..v1::Row::default()
            }
        })
        .collect()
}

fn labels(path: &Path) {
    let mut text = "track_id,label,artist,label_name\n".to_owned();
    for at in 0..HUMANS + POSITIVES {
        let class = if at < HUMANS { "human" } else { "ai" };
        let _ = writeln!(text, "t{at},{class},artist {},label {}", at / 2, at % 3);
    }
    fs::write(path, text).expect("it can be written");
}

fn scanctl(address: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scanctl"));
    command.args(arguments).env("SCANCTL_ADDRESS", address);
    command.output().expect("scanctl starts")
}

fn document(address: &str, arguments: &[&str]) -> Value {
    let output = scanctl(address, &[arguments, &["-o", "json"]].concat());
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn rows_of_separated_tracks_become_a_bundle_whose_both_engines_find_more_than_its_screen() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (old, made, key, csv) = (path("base"), path("made"), path("key"), path("labels.csv"));
    let digest = base(Path::new(&old));
    labels(Path::new(&csv));
    fs::write(&key, KEY).expect("it can be written");
    let manifest =
        |dir: &str| fs::read_to_string(format!("{dir}/manifest.json")).expect("a manifest");
    let rows = rows(&digest);
    let played = Played::serve(Published {
        bundle: digest,
        manifest: manifest(&old),
        rows: rows.clone(),
    });
    let seen = document(&played.address, &["evaluate", "last", "--labels", &csv]);
    assert_eq!(seen["report"]["systems"].as_array().map(Vec::len), Some(1));
    let notes = seen["notes"].to_string();
    assert!(notes.contains("calibrates no residual"), "{notes}");
    let said = document(
        &played.address,
        &[
            "calibrate",
            "last",
            "--labels",
            &csv,
            "--bundle",
            &old,
            "--key",
            &key,
            "--out",
            &made,
            "--prior",
            "0.1",
            "--split-seed",
            "5",
        ],
    );
    assert_eq!(said["report"]["systems"][2]["name"], "both", "{said:#}");
    let tiers = said["tiers"].as_array().expect("tiers").iter();
    assert_eq!(tiers.filter(|tier| tier["stage"] == "both").count(), 3);

    // What stands there is what the digest and the key say, and its rules judge as was said.
    let key: SecretKey = KEY.parse().expect("a key");
    let opened = Bundle::open(Path::new(&made), &Trust::new([key.public()])).expect("it opens");
    assert_eq!(said["made"]["digest"], opened.digest.to_string());
    assert_eq!(opened.manifest.version, sample::manifest().version + 1);
    let residual = opened.manifest.residual.as_ref().expect("a residual");
    assert!(residual.calibration.is_some());
    assert!(opened.residual_weights().expect("they are read").is_some());
    let rows = rows.into_iter().map(|row| v1::Row {
        bundle: opened.digest.to_string(),
        ..row
    });
    let played = Played::serve(Published {
        bundle: opened.digest.to_string(),
        manifest: manifest(&made),
        rows: rows.collect(),
    });
    let held = ["evaluate", "last", "--labels", &csv, "--split-seed", "5"];
    let seen = document(&played.address, &held);
    assert_eq!(
        seen["report"]["systems"], said["report"]["systems"],
        "judged on the same side"
    );
    assert_eq!(seen["verdicts"], said["verdicts"]);
    assert_eq!(seen["escalation"], said["escalation"]);
    assert_eq!(seen["report"]["escalated"], said["report"]["escalated"]);
    assert_eq!(seen["prior"], 0.1);
    let both = &seen["report"]["systems"][2];
    assert!(both["auc_gain_95"]["low"].as_f64() > Some(0.0), "{both:#}");
    let buckets: Vec<&str> = seen["report"]["slices"]
        .as_array()
        .expect("slices")
        .iter()
        .filter(|slice| slice["group"] == "codec")
        .filter_map(|slice| slice["name"].as_str())
        .collect();
    assert_eq!(
        (buckets.len(), buckets.contains(&"mp3 64")),
        (2, true),
        "{buckets:?}"
    );
    assert_eq!(seen["report"]["drift"].as_array().map(Vec::len), Some(6));
}

/// The same rows, but human tracks of the first codec score higher on the screen and those of the second lower.
fn rows_by_codec(bundle: &str) -> Vec<v1::Row> {
    let mut rows = rows(bundle);
    for row in &mut rows[..HUMANS] {
        let by = if row.ordinal % 2 == 0 { 3.0 } else { -1.0 };
        row.screen = row.screen.map(|score| v1::Score {
            logit: score.logit + by,
            ..score
        });
    }
    rows
}

#[test]
fn a_codec_whose_human_tracks_the_bundle_s_thresholds_do_not_hold_for_is_marked_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (old, csv, html) = (path("base"), path("labels.csv"), path("page.html"));
    let digest = base(Path::new(&old));
    labels(Path::new(&csv));
    let played = Played::serve(Published {
        manifest: fs::read_to_string(format!("{old}/manifest.json")).expect("a manifest"),
        rows: rows_by_codec(&digest),
        bundle: digest,
    });
    let evaluate = ["evaluate", "last", "--labels", &csv];
    let seen = document(
        &played.address,
        &[&evaluate[..], &["--html", &html]].concat(),
    );
    let slices = seen["slice_thresholds"]["slices"].as_array();
    let slices = slices.expect("slices");
    let of = |name: &str| {
        let mut own = slices.iter().filter(|slice| slice["group"] == "codec");
        own.find(|slice| slice["name"] == name).expect("its slice")
    };
    let exceeded = |name: &str| -> Vec<bool> {
        let tiers = of(name)["tiers"].as_array().expect("tiers").iter();
        tiers
            .map(|tier| tier["common"]["exceeded"] == true)
            .collect()
    };
    assert_eq!(exceeded("mp3 64"), [true, false, true, false]);
    assert_eq!(exceeded("mp3 128"), [false; 4]);
    let (half, tiers) = (HUMANS / 4, &of("mp3 64")["tiers"]);
    assert_eq!(of("mp3 64")["fitted_on"], half, "half of a half");
    assert_eq!(tiers[1]["own"]["counted"]["trials"], half);
    assert!(
        tiers[2]["own"].is_null(),
        "too few to bear it out: {tiers:#}"
    );
    let notes = seen["notes"].to_string();
    assert!(notes.contains("DOES_NOT_HOLD"), "{notes}");
    let text = scanctl(&played.address, &evaluate).stdout;
    let text = String::from_utf8(text).expect("UTF-8");
    let page = fs::read_to_string(&html).expect("a page");
    for shown in [text, page] {
        assert!(
            shown.contains("COUNTED_ON") && shown.contains("fpr_1e-2 at 2.000"),
            "{shown}"
        );
    }
}

#[test]
fn a_codec_that_scores_higher_is_seen_to_find_less_and_to_send_on_others_wherever_it_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (old, csv, html) = (path("base"), path("labels.csv"), path("page.html"));
    let digest = base(Path::new(&old));
    labels(Path::new(&csv));
    let rows = rows_by_codec(&digest);
    let logits: Vec<f32> = rows
        .iter()
        .filter_map(|row| row.screen)
        .map(|score| score.logit)
        .collect();
    let played = Played::serve(Published {
        manifest: fs::read_to_string(format!("{old}/manifest.json")).expect("a manifest"),
        rows,
        bundle: digest,
    });
    let evaluate = ["evaluate", "last", "--labels", &csv];
    let seen = document(
        &played.address,
        &[&evaluate[..], &["--html", &html]].concat(),
    );
    // The sample's gate sends on what lies from -1 to 1.
    let sent_on = |from: usize, step: usize, tracks: usize| {
        let own = logits.iter().skip(from).step_by(step).take(tracks);
        own.filter(|logit| (-1.0..1.0).contains(*logit)).count()
    };
    let all = sent_on(0, 1, HUMANS + POSITIVES);
    assert_eq!(seen["escalation"]["escalated"], all);
    assert_eq!(seen["report"]["escalated"]["humans"], sent_on(0, 1, HUMANS));
    let slices = seen["report"]["slices"].as_array().expect("slices");
    let of = |name: &str| {
        let mut own = slices.iter().filter(|slice| slice["group"] == "codec");
        own.find(|slice| slice["name"] == name).expect("its slice")
    };
    for (at, name) in ["mp3 64", "mp3 128"].into_iter().enumerate() {
        let humans = sent_on(at, 2, HUMANS / 2);
        assert_eq!(of(name)["escalated"]["humans"], humans, "{name}");
    }
    let [higher, lower] = ["mp3 64", "mp3 128"].map(|name| &of(name)["systems"][0]);
    for one in [higher, lower] {
        assert_eq!(one["found"]["tier"], "fpr_1e-2", "{one:#}");
        assert!(one["ece"].is_f64(), "{one:#}");
    }
    let found = |one: &Value| one["found"]["share"].as_f64();
    assert!(found(higher) < found(lower), "{higher:#} {lower:#}");
    assert!(higher["eer"].as_f64() > Some(0.5) && lower["eer"].as_f64() < Some(0.5));
    let text = scanctl(&played.address, &evaluate).stdout;
    let text = String::from_utf8(text).expect("UTF-8");
    let page = fs::read_to_string(&html).expect("a page");
    let cell = format!("{:.1} % at 1e-2", found(lower).expect("a share") * 100.0);
    for shown in [text, page] {
        assert!(shown.contains("FOUND") && shown.contains(&cell), "{shown}");
        let line = format!("the gate unsure sends {all} of 620 screened tracks on (");
        assert!(
            shown.contains(&line) && shown.contains("HUMANS_ESCALATED"),
            "{shown}"
        );
    }
}

#[test]
fn a_job_is_shown_with_the_bound_of_its_bundle_and_without_it_where_nobody_knows_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("base");
    let digest = base(&dir);
    let known = fs::read_to_string(dir.join("manifest.json")).expect("a manifest");
    let flags = |manifest: String| {
        let played = Played::serve(Published {
            bundle: digest.clone(),
            manifest,
            rows: rows(&digest),
        });
        document(&played.address, &["scan", "get", "last"])["flags"].clone()
    };
    let seen = flags(known);
    assert_eq!(seen["screened"], HUMANS + POSITIVES, "{seen:#}");
    assert_eq!(seen["wrong_at_most"], 11, "of 620 under a bound of 0.017");
    assert_eq!(flags("no manifest".to_owned()), Value::Null);
}

#[test]
fn the_same_rows_and_labels_give_the_same_bundle() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (old, key, csv) = (path("base"), path("key"), path("labels.csv"));
    let digest = base(Path::new(&old));
    labels(Path::new(&csv));
    fs::write(&key, KEY).expect("it can be written");
    let played = Played::serve(Published {
        manifest: String::new(),
        rows: rows(&digest),
        bundle: digest,
    });
    let [first, second] = ["first", "second"].map(|name| {
        let out = path(name);
        let line = [
            "calibrate",
            "last",
            "--labels",
            &csv,
            "--bundle",
            &old,
            "--key",
            &key,
            "--out",
            &out,
        ];
        let said = document(&played.address, &line);
        let read = Manifest::parse(&fs::read(format!("{out}/manifest.json")).expect("a manifest"));
        assert!(read.is_ok());
        said["made"]["digest"].clone()
    });
    assert_eq!(first, second);
}
