//! Cards of rows as the wire brings them: what they say, what they leave out, what they survive.

use super::super::bands::tests::features;
use super::super::rules::tests::{calibrated, manifest, of, policy};
use super::*;
use bundle::features::RESIDUAL_V1;

/// A row with everything, all of whose texts are `text`.
pub(crate) fn row(text: &str) -> v1::Row {
    let score = |logit: f32| v1::Score {
        logit,
        probability: 0.9,
        prior: 0.5,
        windows: 14,
    };
    let tag = v1::Tag {
        name: text.to_owned(),
        value: text.to_owned(),
    };
    let window = |at: u32| v1::TimelinePoint {
        start_ms: at * 512,
        logit: 2.5,
        rms_db: Some(-20.0),
    };
    v1::Row {
        ordinal: 7,
        track_id: text.to_owned(),
        source: text.to_owned(),
        key: text.to_owned(),
        isrc: text.to_owned(),
        declared_ai: text.to_owned(),
        verdict: v1::Verdict::LikelyAi.into(),
        reason: text.to_owned(),
        detail: text.to_owned(),
        screen: Some(score(2.5)),
        residual: Some(score(0.5)),
        fused: Some(score(3.0)),
        residual_features: features(),
        segments: vec![v1::ResidualSegment::default(); 3],
        timeline: (0..14).map(window).collect(),
        thumbnail: Some(v1::Thumbnail {
            bands: 2,
            columns: 2,
            levels: vec![0, 80, 160, 255],
        }),
        borderline: true,
        warnings: vec![text.to_owned(); 2],
        duration_ms: Some(7_168),
        sample_rate_hz: Some(44_100),
        channels: Some(2),
        codec: text.to_owned(),
        bytes: Some(123_456),
        content_sha256: text.to_owned(),
        provenance: vec![tag; 3],
        bundle: text.to_owned(),
        device: text.to_owned(),
        ..v1::Row::default()
    }
}

fn drawn(row: &v1::Row, manifest: &bundle::Manifest) -> String {
    let rules = of(manifest, policy());
    Card::of(1, row, &rules).draw().into_string()
}

#[test]
fn a_card_says_on_which_score_the_verdict_rests() {
    let deciding = |row: &v1::Row, manifest: &bundle::Manifest| {
        let card = Card::of(1, row, &of(manifest, policy()));
        let deciding = card.scores.iter().filter(|line| line.decides);
        deciding.map(|line| line.engine).collect::<Vec<_>>()
    };
    let screened = v1::Row {
        fused: None,
        residual: None,
        ..row("x")
    };
    assert_eq!(deciding(&row("x"), &calibrated()), ["both"]);
    assert_eq!(deciding(&row("x"), &manifest()), ["screen"]);
    assert_eq!(deciding(&screened, &calibrated()), ["screen"]);
    assert!(deciding(&v1::Row::default(), &manifest()).is_empty());
}

#[test]
fn no_probability_stands_without_its_prior() {
    let text = drawn(&row("x"), &calibrated());
    assert_eq!(text.matches("0.900").count(), 3, "{text}");
    assert_eq!(
        text.matches("0.900 at a prior of 0.5<").count(),
        3,
        "{text}"
    );
}

#[test]
fn tags_and_warnings_beyond_their_bounds_are_counted_or_left_out() {
    let mut many = row("x");
    many.provenance = vec![v1::Tag::default(); TAGS_MAX + 5];
    many.warnings = vec!["CLIPPED".to_owned(); 100];
    let text = drawn(&many, &manifest());
    assert!(text.contains("5 more are left out here."), "{text}");
    assert_eq!(text.matches("<b>CLIPPED</b>").count(), WARNINGS_MAX);
}

#[test]
fn a_card_of_a_demonstration_bundle_says_so() {
    let mut demonstration = manifest();
    demonstration.purpose = types::Purpose::Demonstration;
    assert!(drawn(&row("x"), &demonstration).contains("Demonstration bundle"));
    assert!(!drawn(&row("x"), &manifest()).contains("Demonstration bundle"));
}

#[test]
fn an_empty_row_has_a_card_that_says_that_nothing_was_scored() {
    let text = drawn(&v1::Row::default(), &manifest());
    assert!(text.contains("Nothing was scored"), "{text}");
    assert!(
        !text.contains("<figure>") && !text.contains("class=\"scores\""),
        "{text}"
    );
}

#[test]
fn a_reason_says_its_cause() {
    for (reason, part) in [
        ("TOO_SHORT", "shorter than the least duration"),
        ("EMPTY", "no bytes"),
        ("FROM_THE_FUTURE", ""),
    ] {
        assert!(cause(reason).contains(part), "{reason}: {}", cause(reason));
    }
    assert_eq!(cause("FROM_THE_FUTURE"), "");
    assert_eq!(features().len(), RESIDUAL_V1.len());
}
