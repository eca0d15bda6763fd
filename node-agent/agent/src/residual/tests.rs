//! Second passes: which segments are asked for, and the rows that come of them.

use std::path::Path;

use super::*;
use bundle::features::{RESIDUAL_V1, place};
use bundle::{Segments, Trust, sample};
use engine::SegmentPoint;
use types::{Dtype, Policy, Stages, Thumbnail, TimelinePoint, TrackId};

const LOADED: LoadedResidual = LoadedResidual {
    rate_hz: 2_000,
    channels: 2,
    segment: 1_000,
    max_batch: 1,
};

fn bundle(folder: &Path) -> Bundle {
    let folder = folder.join("bundle");
    let (manifest, contents) = sample::both();
    bundle::write(&folder, manifest, &contents, &sample::key()).unwrap();
    Bundle::open(&folder, &Trust::new([sample::key().public()])).unwrap()
}

pub(crate) fn spec(bundle: Digest) -> JobSpec {
    JobSpec {
        tenant: types::TenantId::default(),
        actor: types::ActorId::default(),
        job: types::JobId::new("job").unwrap(),
        generation: types::Generation(1),
        catalog: types::CatalogName::new("music").unwrap(),
        list: Digest::of(b"list"),
        plan: types::ShardPlan::new(1, None),
        bundle,
        policy: Policy {
            stages: Stages::Both,
            ..Policy::default()
        },
        submitted_at: types::UnixMillis(0),
        retry: None,
    }
}

/// Four windows of a second, of which these are heard.
pub(crate) fn screen_row(heard: [bool; 4]) -> ScreenRow {
    let timeline = (0..).zip(heard).map(|(second, heard)| TimelinePoint {
        start_ms: second * 1_000,
        logit: 0.5,
        rms_db: heard.then_some(-20.0),
    });
    let row = TrackRow {
        ordinal: 3,
        track_id: TrackId::new("track").unwrap(),
        source: types::SourceName::new("music").unwrap(),
        key: "a.wav".to_owned(),
        isrc: None,
        declared_ai: None,
        verdict: Verdict::NoEvidence,
        reason: None,
        code: None,
        detail: None,
        screen: Some(Score {
            logit: 0.5,
            probability: 0.5,
            prior: 0.5,
            windows: 4,
        }),
        residual: None,
        fused: None,
        residual_features: Vec::new(),
        segments: Vec::new(),
        timeline: timeline.collect(),
        features: vec![1.0, 2.0],
        thumbnail: Some(Thumbnail {
            bands: 1,
            columns: 1,
            levels: vec![7],
        }),
        embedding: None,
        mean: Some(0.125),
        deviation: Some(0.25),
        borderline: false,
        warnings: Vec::new(),
        duration_ms: Some(4_000),
        sample_rate_hz: Some(44_100),
        channels: Some(2),
        codec: Some("flac".to_owned()),
        bytes: Some(1_000),
        content_sha256: Some(Digest::of(b"content")),
        provenance: Vec::new(),
        bundle: Digest::of(b"bundle"),
        device: "cuda:0".to_owned(),
        decode_us: 40,
        screen_us: 300,
        residual_us: 0,
    };
    ScreenRow::of(row).unwrap()
}

fn summary() -> Summary {
    Summary {
        token: 7,
        frames: 8_000,
        rate_hz: 2_000,
        channels: 2,
        source_rate_hz: 44_100,
        source_channels: 2,
        codec: "flac".to_owned(),
        duration_ms: 4_000,
        warnings: Vec::new(),
        provenance: Vec::new(),
        cpu_us: 50,
        retire: false,
        room_us: 0,
    }
}

/// Two segments whose mean has this signal-to-noise ratio.
fn measured(snr_db: f32) -> TrackResidual {
    let mut features = vec![0.0; RESIDUAL_V1.len()];
    features[place("snr_db").unwrap()] = snr_db;
    let point = |start| SegmentPoint {
        start,
        samples: 1_000,
        features: features.clone(),
    };
    TrackResidual {
        frames: 8_000,
        segments: vec![point(0), point(7_000)],
        features: features.clone(),
        device_seconds: 0.5,
        cpu_seconds: 0.25,
    }
}

fn separate(
    screened: &ScreenRow,
    content: &[u8],
    snr_db: f32,
) -> Result<(TrackRow, Ledger), Refusal> {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(folder.path());
    let scorer = Scorer {
        device: "cpu:0".to_owned(),
        dtype: Dtype::F32,
        rate_hz: 16_000,
        hop: 256,
        residual: Some(LOADED),
    };
    let reading = Reading {
        wall_us: 900,
        served: 1_000,
        ..Reading::default()
    };
    let told = (&summary(), &reading, Digest::of(content));
    screened.separated(
        &spec(bundle.digest),
        &bundle,
        &scorer,
        told,
        measured(snr_db),
    )
}

fn pass(screened: &ScreenRow, segments: Segments) -> Vec<u64> {
    let (manifest, _) = sample::both();
    let residual = Residual {
        segments,
        ..manifest.residual.unwrap()
    };
    let pass = screened.pass(&residual, LOADED);
    assert_eq!((pass.mean, pass.deviation), (0.125, 0.25));
    pass.starts
}

#[test]
fn segments_lie_where_the_screen_heard_something() {
    let one = Segments::Spread { count: 1 };
    // A quarter of each segment of half a second is the next one's too: one begins every 750 samples.
    for (second, near) in [(0, 750), (1, 2_250), (2, 4_500), (3, 6_750)] {
        let mut heard = [false; 4];
        heard[second] = true;
        assert_eq!(pass(&screen_row(heard), one), [near], "second {second}");
    }
}

#[test]
fn all_segments_cover_the_track_at_the_residuals_rate() {
    let all = pass(&screen_row([true; 4]), Segments::All);
    assert_eq!((all.first(), all.last()), (Some(&0), Some(&7_000)));
    assert_eq!(all.len(), 11);
}

#[test]
fn a_length_that_no_decoder_may_give_is_not_believed() {
    for claimed in [None, Some(0), Some(u64::MAX)] {
        let mut screened = screen_row([true; 4]);
        screened.row.duration_ms = claimed;
        let starts = pass(&screened, Segments::All);
        assert!(
            !starts.is_empty() && starts.is_sorted_by(|a, b| a < b),
            "{claimed:?}"
        );
    }
}

#[test]
fn a_row_without_score_or_scale_has_no_second_pass() {
    let sound = screen_row([true; 4]).row;
    let changes: [fn(&mut TrackRow); 3] = [
        |row| row.screen = None,
        |row| row.mean = None,
        |row| row.deviation = None,
    ];
    for change in changes {
        let mut row = sound.clone();
        change(&mut row);
        assert_eq!(ScreenRow::of(row), None);
    }
    assert!(ScreenRow::of(sound).is_some());
}

#[test]
fn a_separated_track_keeps_its_screen_row_and_gets_the_verdict_of_both_engines() {
    let screened = screen_row([true; 4]);
    let (row, ledger) = separate(&screened, b"content", 0.03).unwrap();
    assert_eq!(row.verdict, Verdict::LikelyAi);
    let (own, both) = (row.residual.unwrap(), row.fused.unwrap());
    assert!((own.logit - 3.0).abs() < 1e-4 && (both.logit - 3.5).abs() < 1e-4);
    assert_eq!((own.windows, row.screen), (2, screened.row.screen));
    assert_eq!((row.device.as_str(), row.residual_us), ("cpu:0", 500_000));
    assert_eq!((row.decode_us, row.screen_us), (90, 300));
    let starts: Vec<u32> = row.segments.iter().map(|of| of.start_ms).collect();
    assert_eq!(starts, [0, 3_500]);
    assert_eq!(row.residual_features.len(), RESIDUAL_V1.len());
    assert_eq!(row.thumbnail, screened.row.thumbnail);
    assert_eq!(row.timeline, screened.row.timeline);
    let used = ledger.residual;
    assert_eq!((used.device_us, used.cpu_us), (500_000, 250_000));
    assert_eq!((used.tracks, used.audio_ms), (1, 1_000), "of two segments");
    assert_eq!((ledger.decode.cpu_us, ledger.decode.tracks), (50, 1));
    assert_eq!(ledger.screen, StageUse::default(), "the first part has it");
}

#[test]
fn a_track_that_is_acquitted_loses_the_picture_that_it_was_kept_for() {
    let (row, _) = separate(&screen_row([true; 4]), b"content", -0.03).unwrap();
    assert_eq!(row.verdict, Verdict::NoEvidence);
    assert!(row.thumbnail.is_none() && row.features.is_empty());
    assert!(!row.segments.is_empty());
}

#[test]
fn an_edge_that_either_engine_lies_at_makes_the_row_borderline() {
    let mut screened = screen_row([true; 4]);
    let borderline = |screened: &ScreenRow, snr_db| {
        let (row, _) = separate(screened, b"content", snr_db).unwrap();
        row.borderline
    };
    assert!(!borderline(&screened, 0.03));
    assert!(
        borderline(&screened, 0.015),
        "the sum lies at the threshold"
    );
    screened.row.borderline = true;
    assert!(borderline(&screened, 0.03));
}

#[test]
fn a_source_that_was_changed_after_its_screen_says_so_whatever_else_became_of_it() {
    let screened = screen_row([true; 4]);
    let refusal = separate(&screened, b"other content", 0.0).unwrap_err();
    assert_eq!(refusal.code, Code::SourceChanged);
    assert_eq!(refusal.sha256, Some(Digest::of(b"other content")));
    let broken = |sha256| Refusal {
        code: Code::DecodeErrors,
        detail: "no frame".to_owned(),
        provenance: Vec::new(),
        cpu_us: 9,
        sha256,
    };
    let code = |sha256| screened.refused(broken(sha256)).code;
    assert_eq!(code(Some(Digest::of(b"other"))), Code::SourceChanged);
    assert_eq!(code(Some(Digest::of(b"content"))), Code::DecodeErrors);
    assert_eq!(code(None), Code::DecodeErrors, "nobody read it whole");
}

#[test]
fn a_second_pass_that_fails_takes_nothing_of_what_the_screen_found() {
    let screened = screen_row([true; 4]);
    let row = screened
        .failed(Code::DeviceOutOfMemory, "no room", 9)
        .unwrap();
    let expected = TrackRow {
        verdict: Verdict::Unscannable,
        code: Some(Code::DeviceOutOfMemory),
        detail: Some("no room".to_owned()),
        decode_us: 49,
        ..screened.row.clone()
    };
    assert_eq!(row, expected);
    let told = screened.failed(Code::WorkerDied, "", 0).unwrap();
    assert_eq!(
        (told.detail, told.screen, told.decode_us),
        (None, screened.row.screen, 40)
    );
    let other_bytes = screened.failed(Code::SourceChanged, "not what was screened", 9);
    assert_eq!(other_bytes, None, "the screen says nothing of these bytes");
}

#[test]
fn what_is_withheld_ends_inconclusive_for_the_budget() {
    let mut row = screen_row([true; 4]).row;
    withhold(&mut row);
    assert_eq!(row.verdict, Verdict::Inconclusive);
    assert_eq!(row.reason, Some(InconclusiveReason::EscalationBudget));
    assert!(row.screen.is_some() && row.thumbnail.is_some());
}

/// What a worker says that computes in a number format and has such a way to hear tracks.
fn loaded(dtype: Dtype, residual: Option<LoadedResidual>) -> Loaded {
    Loaded {
        bundle: Digest::of(b"bundle"),
        device: types::Device {
            kind: types::DeviceKind::Cuda,
            index: 0,
            name: String::new(),
            memory_bytes: 0,
        },
        dtype,
        max_batch: 1,
        rate_hz: 16_000,
        hop: 256,
        window_frames: 32,
        residual,
    }
}

#[test]
fn a_residual_is_served_only_where_a_canary_could_prove_it() {
    let check = |change: &dyn Fn(&mut Residual), loaded: &Loaded, lacks: Option<&str>| {
        let (mut manifest, _) = sample::both();
        change(manifest.residual.as_mut().unwrap());
        let found = served(&manifest, loaded).err();
        let named = found.is_some_and(|why| why.contains(lacks.unwrap_or("nothing")));
        assert_eq!(named, lacks.is_some(), "{lacks:?}: {found:?}");
        assert_eq!(found.is_none(), lacks.is_none(), "{found:?}");
    };
    let (single, half) = (
        loaded(Dtype::F32, Some(LOADED)),
        loaded(Dtype::Bf16, Some(LOADED)),
    );
    let of_stems = |residual: &mut Residual| residual.epsilon.bf16 = Some(0.02);
    let of_both = |residual: &mut Residual| {
        let canary = residual.canary.as_mut().unwrap();
        (residual.epsilon.bf16, canary.epsilon.bf16) = (Some(0.02), Some(0.02));
    };
    check(&|_| (), &single, None);
    check(&|_| (), &half, Some("no epsilon"));
    check(&of_stems, &half, Some("no epsilon"));
    check(&of_both, &half, None);
    check(
        &|residual| residual.canary = None,
        &single,
        Some("no canary"),
    );
    check(&|_| (), &loaded(Dtype::F32, None), Some("no way to hear"));
    let plain = sample::manifest();
    assert_eq!(
        served(&plain, &single).err(),
        Some("the bundle has no residual")
    );
}
