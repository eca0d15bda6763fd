//! What is committed under `bundles/` and `demo/` is what it claims to be: signed, small, believed by its guards, and it still computes what
//! it did when it was made.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is a test's failure message, in its helpers too"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bundle::features::{RESIDUAL_V1, place};
use bundle::{Bundle, Fusion, Manifest, PublicKey, Trust};
use models::canary::known_scores;
use models::residual::known_features;
use models::train::decoder::{self, Decoder};
use models::train::report::Report;
use models::train::separator::Quality;
use types::Purpose;

/// Most bytes of the demonstration bundle, and of the demonstration catalogue.
const BUNDLE_BYTES: u64 = 8_000_000;
const CATALOGUE_BYTES: u64 = 8_000_000;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn open() -> Bundle {
    let key = std::fs::read_to_string(repository("bundles/demo.pub")).unwrap();
    let key: PublicKey = key.trim().parse().unwrap();
    Bundle::open(&repository("bundles/demo"), &Trust::new([key])).unwrap()
}

fn bytes_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                bytes_of(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}

#[test]
fn the_demonstration_bundle_is_signed_small_and_for_demonstration() {
    assert_eq!(open().manifest.purpose, Purpose::Demonstration);
    let bytes = bytes_of(&repository("bundles/demo"));
    assert!(bytes <= BUNDLE_BYTES, "{bytes} bytes");
}

#[test]
fn the_canary_scores_what_it_scored_when_the_bundle_was_made() {
    let bundle = open();
    let found = known_scores(&bundle.manifest.screen, &bundle.screen, &bundle.clip).unwrap();
    assert_eq!(found.len(), bundle.manifest.canary.scores.len());
    for (found, known) in found.iter().zip(&bundle.manifest.canary.scores) {
        assert!(
            (found.logit - known.logit).abs() <= bundle.manifest.epsilon.f32,
            "{found:?} {known:?}"
        );
    }
}

#[test]
fn its_second_engine_is_calibrated_and_measures_of_the_canary_what_it_measured_when_the_bundle_was_made()
 {
    let bundle = open();
    let residual = bundle.manifest.residual.as_ref().unwrap();
    let calibration = residual.calibration.as_ref().unwrap();
    assert!(!calibration.terms.is_empty() && calibration.humans.len() > 1);
    let canary = residual.canary.as_ref().unwrap();
    let weights = bundle.residual_weights().unwrap().unwrap();
    let found = known_features(residual, &weights, &bundle.clip)
        .unwrap()
        .unwrap();
    assert_eq!(found.len(), RESIDUAL_V1.len());
    for ((found, known), feature) in found.iter().zip(&canary.features).zip(&RESIDUAL_V1) {
        let gap = (found - known).abs() / feature.span;
        assert!(
            gap <= canary.epsilon.f32,
            "{}: {found} {known}",
            feature.name
        );
    }
}

/// How far the fused score may differ between two devices that both pass the canary, in single precision.
fn fused_reach(manifest: &Manifest) -> f64 {
    let residual = manifest.residual.as_ref().unwrap();
    let calibration = residual.calibration.as_ref().unwrap();
    let epsilon = residual.canary.as_ref().unwrap().epsilon.f32;
    let Fusion::V1(rule) = &calibration.fusion else {
        panic!("{:?}", calibration.fusion);
    };
    let terms = calibration.terms.iter().map(|term| {
        let span = RESIDUAL_V1[place(&term.feature).unwrap()].span;
        epsilon * span * term.weight.abs() / term.scale
    });
    rule.residual * terms.sum::<f64>() + rule.screen * manifest.epsilon.f32
}

#[test]
fn what_devices_may_differ_by_leaves_nearly_all_verdicts_of_both_engines_as_they_are() {
    let manifest = open().manifest;
    let residual = manifest.residual.as_ref().unwrap();
    let verdicts = &residual.calibration.as_ref().unwrap().verdicts;
    let band = verdicts.likely_ai().unwrap().score - verdicts.no_evidence_below.unwrap();
    let reach = fused_reach(&manifest);
    assert!(reach < band / 20.0, "{reach} of a band of {band}");
}

#[test]
fn the_committed_table_passed_its_guards_and_is_no_toy() {
    let json = std::fs::read(repository("bundles/demo/evaluation.json")).unwrap();
    let report: Report = serde_json::from_slice(&json).unwrap();
    assert!(report.may_be_believed(), "{}", report.text());
    let all = report
        .rows
        .iter()
        .find(|row| row.group == "held-out pieces" && row.name == "all")
        .unwrap();
    assert!(
        all.margin() > 0.1,
        "the screen beats the coarse baseline: {all:?}"
    );
    assert!(
        all.screen.value < 0.99,
        "a table of 1.00 means toy data: {all:?}"
    );
    assert!(
        report
            .rows
            .iter()
            .any(|row| row.name.ends_with("(held out)") && row.group == "decoder")
    );
}

#[test]
fn every_decoder_is_there_and_sounds() {
    for architecture in decoder::ALL {
        let decoder = Decoder::open(architecture, &repository("bundles/decoders")).unwrap();
        let wave: Vec<f32> = (0..20_000).map(|i| 0.1 * (i as f32 * 0.05).sin()).collect();
        let heard = decoder.reconstruct(&wave);
        assert!(corpus::shape::rms(&heard) > 0.01, "{}", architecture.name());
    }
}

#[test]
fn the_demonstration_catalogue_has_a_truth_for_every_track_and_is_small() {
    let listed = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let tracks: BTreeSet<String> = std::fs::read_dir(repository("demo/tracks"))
        .unwrap()
        .map(listed)
        .collect();
    let truths = std::fs::read_to_string(repository("demo/truth.csv")).unwrap();
    let named: BTreeSet<String> = truths
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap().to_owned())
        .collect();
    assert_eq!(tracks, named);
    let bytes = bytes_of(&repository("demo"));
    assert!(bytes <= CATALOGUE_BYTES, "{bytes} bytes");
}

#[test]
fn the_card_says_of_the_separator_what_was_measured_of_it() {
    let json = std::fs::read(repository("bundles/demo/separator-quality.json")).unwrap();
    let quality: Quality = serde_json::from_slice(&json).unwrap();
    let card = std::fs::read_to_string(repository("bundles/demo/model-card.md")).unwrap();
    for stem in &quality.stems {
        let words = format!("{} {:.1} dB", stem.name, stem.ratio_db.unwrap());
        assert!(card.contains(&words), "{words}");
    }
    let rise = quality.under_errors.unwrap().rise_db;
    let words = format!("moves that residual by {rise:+.1} dB");
    assert!(card.contains(&words), "{words}");
}
