//! Rows of scored tracks: what a verdict and a policy put into them, and where a track's time goes.

use std::path::Path;

use super::*;
use bundle::{Trust, sample};
use engine::WindowPoint;
use types::{InconclusiveReason, Policy, Thumbnail, TrackId, UnixMillis};

/// A signed bundle whose zero weights do not matter here: scores are made up.
fn bundle(folder: &Path) -> Bundle {
    let folder = folder.join("bundle");
    bundle::write(
        &folder,
        sample::manifest(),
        &sample::contents(),
        &sample::key(),
    )
    .unwrap();
    Bundle::open(&folder, &Trust::new([sample::key().public()])).unwrap()
}

fn spec(bundle: &Bundle, policy: Policy) -> JobSpec {
    JobSpec {
        tenant: types::TenantId::default(),
        actor: types::ActorId::default(),
        job: types::JobId::new("job").unwrap(),
        generation: types::Generation(1),
        catalog: types::CatalogName::new("music").unwrap(),
        list: Digest::of(b"list"),
        plan: types::ShardPlan::new(1, None),
        bundle: bundle.digest,
        policy,
        submitted_at: UnixMillis(0),
        retry: None,
    }
}

fn track() -> CatalogRow {
    CatalogRow {
        ordinal: 3,
        track_id: TrackId::new("track").unwrap(),
        source: types::SourceName::new("music").unwrap(),
        key: "a.wav".to_owned(),
        bytes: None,
        content_id: None,
        added_at: None,
        isrc: None,
        iswc: None,
        upc: None,
        title: None,
        artist: None,
        label: None,
        rights_holder: None,
        genre: None,
        declared_ai: None,
        extra: std::collections::BTreeMap::new(),
    }
}

fn summary() -> Summary {
    Summary {
        token: 7,
        frames: 48_000,
        rate_hz: 16_000,
        channels: 1,
        source_rate_hz: 44_100,
        source_channels: 2,
        codec: "flac".to_owned(),
        duration_ms: 3_000,
        warnings: Vec::new(),
        provenance: Vec::new(),
        cpu_us: 40,
        retire: false,
        room_us: 0,
    }
}

fn picture() -> Thumbnail {
    Thumbnail {
        bands: 2,
        columns: 2,
        levels: vec![1, 2, 3, 4],
    }
}

/// Four windows of one logit.
fn score(logit: f32) -> TrackScore {
    let point = |start| WindowPoint {
        start,
        logit,
        rms_db: -20.0,
    };
    TrackScore {
        samples: 48_000,
        timeline: [0, 32, 64, 96].map(point).to_vec(),
        mean: 0.0,
        deviation: 0.1,
        peak: 0.5,
        features: vec![-20.0, 3.0],
        embedding: vec![0x3C00, 0x4000, 0xC000],
        picture: Some(picture()),
        device_seconds: 0.002,
        cpu_seconds: 0.001,
    }
}

fn make(policy: Policy, reading: &Reading, score: TrackScore) -> Screened {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(folder.path());
    let scorer = Scorer {
        device: "cpu:0".to_owned(),
        dtype: Dtype::F32,
        rate_hz: 16_000,
        hop: 256,
        residual: None,
    };
    let told = (&summary(), reading, Digest::of(b"content"));
    scored(
        &track(),
        &spec(&bundle, policy),
        &bundle,
        &scorer,
        told,
        score,
    )
}

#[test]
fn pictures_and_features_go_with_every_verdict_but_no_evidence_and_the_policy_switches_pictures_and_embeddings()
 {
    /// Logits that the sample's gate and tiers read as these verdicts.
    const VERDICTS: [(f32, Verdict, bool); 3] = [
        (-3.0, Verdict::NoEvidence, false),
        (0.25, Verdict::Inconclusive, true),
        (3.0, Verdict::LikelyAi, true),
    ];
    for (logit, verdict, told) in VERDICTS {
        for (thumbnails, embeddings) in [(false, false), (false, true), (true, false), (true, true)]
        {
            let policy = Policy {
                thumbnails,
                embeddings,
                ..Policy::default()
            };
            let row = make(policy, &Reading::default(), score(logit)).row;
            let what = format!("{verdict:?}, thumbnails {thumbnails}, embeddings {embeddings}");
            assert_eq!(row.verdict, verdict, "{what}");
            assert_eq!(row.features.is_empty(), !told, "{what}");
            let expected = (told && thumbnails).then(picture);
            assert_eq!(row.thumbnail, expected, "{what}");
            let expected = embeddings.then(|| Embedding(vec![0x3C00, 0x4000, 0xC000]));
            assert_eq!(row.embedding, expected, "{what}");
            assert_eq!(row.timeline.len(), 4, "{what}");
        }
    }
}

/// A job of these stages.
fn stages(stages: Stages) -> Policy {
    Policy {
        stages,
        ..Policy::default()
    }
}

/// What the gate of a job of both stages says of a track.
fn gate(logit: f32) -> AtGate {
    make(stages(Stages::Both), &Reading::default(), score(logit)).gate
}

#[test]
fn a_track_within_epsilon_of_the_gate_may_fall_on_either_side_and_others_move_by_as_much() {
    // The sample's epsilon is 0.001.
    let reach = |logit| match gate(logit) {
        AtGate::Onward { reach, .. } => reach,
        AtGate::Spared { .. } | AtGate::Past => panic!("{logit} goes on"),
    };
    let near = reach(0.25);
    let bits = |distance: f64| distance.to_bits();
    assert!(bits(0.2489) < near.nearest && near.nearest < bits(0.2491));
    assert!(bits(0.2509) < near.farthest && near.farthest < bits(0.2511));
    assert!(near.certain && !reach(0.9995).certain);
    let AtGate::Spared { nearest } = gate(1.0005) else {
        panic!("{:?}", gate(1.0005));
    };
    assert!(bits(0.999) < nearest && nearest < bits(1.0), "{nearest}");
    assert_eq!(gate(1.002), AtGate::Past);
}

#[test]
fn a_job_of_both_stages_sends_on_what_the_gate_takes_with_all_of_its_row_and_nearest_first() {
    // The sample's gate takes -1 to 1; what it takes first lies in the middle.
    let onward = |logit| match gate(logit) {
        AtGate::Onward { distance, .. } => Some(distance),
        AtGate::Spared { .. } | AtGate::Past => None,
    };
    for logit in [-3.0, -1.25, 1.0, 3.0] {
        assert_eq!(onward(logit), None, "{logit}");
    }
    let by_distance = [0.0, 0.25, -0.5, 0.75, -1.0].map(onward);
    assert!(by_distance.iter().all(Option::is_some), "{by_distance:?}");
    assert!(by_distance.is_sorted_by(|a, b| a < b), "{by_distance:?}");
    assert_eq!(onward(-0.25), onward(0.25));
    let made = make(stages(Stages::Both), &Reading::default(), score(0.25));
    assert_eq!(
        made.row.verdict,
        Verdict::NoEvidence,
        "as the screen has it"
    );
    assert_eq!((made.row.reason, made.row.code), (None, None));
    assert!(made.row.thumbnail.is_some() && !made.row.features.is_empty());
    assert_eq!(made.row.deviation, Some(0.1));
    assert_eq!(made.row.timeline[2].rms_db, Some(-20.0));
    assert_eq!(made.ledger.screen.tracks, 1);
}

#[test]
fn a_track_without_a_score_costs_the_screen_time_and_is_not_among_the_tracks_screened() {
    let silent = |point: &WindowPoint| WindowPoint {
        rms_db: -120.0,
        ..*point
    };
    let heard = score(0.25);
    let unheard = TrackScore {
        timeline: heard.timeline.iter().map(silent).collect(),
        ..heard
    };
    let made = make(Policy::default(), &Reading::default(), unheard);
    assert_eq!(made.row.reason, Some(InconclusiveReason::Silent));
    assert_eq!((made.row.screen, made.ledger.screen.tracks), (None, 0));
    assert_eq!(made.ledger.screen.device_us, 2_000);
}

#[test]
fn a_job_of_the_screen_alone_sends_nothing_on_and_says_what_did_not_run() {
    let made = make(stages(Stages::Screen), &Reading::default(), score(0.25));
    assert_eq!(made.gate, AtGate::Past);
    assert_eq!(made.row.reason, Some(InconclusiveReason::ResidualNotRun));
}

#[test]
fn a_track_that_nothing_brings_to_scale_goes_nowhere() {
    let loud = || TrackScore {
        deviation: 1e300,
        ..score(0.25)
    };
    let made = make(stages(Stages::Both), &Reading::default(), loud());
    assert_eq!((made.gate, made.row.reason), (AtGate::Past, None));
    assert_eq!(made.row.code, Some(Code::ScoreNotFinite));
    let alone = make(stages(Stages::Screen), &Reading::default(), loud());
    assert_eq!(alone.row.code, None, "the screen needs no scale");
}

#[test]
fn a_bundle_without_embeddings_leaves_them_out_whatever_the_policy_asks() {
    let asked = Policy {
        embeddings: true,
        ..Policy::default()
    };
    let without = TrackScore {
        embedding: Vec::new(),
        ..score(3.0)
    };
    let made = make(asked, &Reading::default(), without);
    assert_eq!(made.row.embedding, None);
}

#[test]
fn decoding_worked_while_it_read_and_decoded_and_was_held_up_while_its_ring_was_full() {
    let check = |(wall_us, source, room, drain), worked, held_up| {
        let reading = Reading {
            wall_us,
            wait_us: source,
            room_us: room,
            drain_us: drain,
            ..Reading::default()
        };
        let ledger = make(Policy::default(), &reading, score(3.0)).ledger;
        let found = (ledger.decode.device_us, ledger.decode.wait_us);
        assert_eq!(found, (worked, held_up), "{reading:?}");
    };
    check((1_000, 0, 0, 0), 1_000, 0);
    check((1_000, 600, 0, 0), 1_000, 0);
    check((1_000, 0, 900, 50), 100, 950);
    // A decoder that a file has taken over may say anything.
    check((1_000, 0, u64::MAX, 50), 0, 1_050);
}
