//! Rows, footers and whole results for this crate's tests.

use types::{
    Attempt, CatalogName, CatalogRow, Code, DeclaredAi, Device, DeviceKind, Digest, Embedding,
    Epoch, Generation, InconclusiveReason, JobId, Ledger, NodeId, Ordinal, Policy, Provenance,
    ResidualSegment, Score, ShardId, SourceName, Stage, StageUse, TenantId, Thumbnail,
    TimelinePoint, TrackId, TrackRow, TrackSet, UnixMillis, Verdict, Warning,
};

use super::{PartFooter, PartKind, StageSpan, encode};
use crate::snapshot::SnapshotWriter;
use crate::{Manifest, ManifestOf, ManifestPart, ObjectPath, Storage, paths};

pub(crate) fn bundle() -> Digest {
    Digest::of(b"bundle")
}

pub(crate) fn catalog_row(ordinal: Ordinal) -> CatalogRow {
    CatalogRow {
        ordinal,
        track_id: TrackId::new(format!("track {ordinal}")).unwrap(),
        source: SourceName::new("music").unwrap(),
        key: format!("a/{ordinal}.mp3"),
        bytes: Some(1_000 + u64::from(ordinal)),
        content_id: None,
        added_at: ordinal.is_multiple_of(2).then_some(UnixMillis(-5)),
        isrc: ordinal.is_multiple_of(3).then(|| "USS1Z9900001".to_owned()),
        iswc: None,
        upc: None,
        title: Some(format!("Title {ordinal}")),
        artist: None,
        label: None,
        rights_holder: None,
        genre: None,
        declared_ai: ordinal.is_multiple_of(4).then_some(DeclaredAi::Partly),
        extra: (0..ordinal % 3)
            .map(|n| (format!("x{n}"), "y".to_owned()))
            .collect(),
    }
}

/// A row with nothing but what every row has.
pub(crate) fn bare_row(ordinal: Ordinal) -> TrackRow {
    let listed = catalog_row(ordinal);
    TrackRow {
        ordinal,
        track_id: listed.track_id,
        source: listed.source,
        key: listed.key,
        isrc: listed.isrc,
        declared_ai: listed.declared_ai,
        verdict: Verdict::NoEvidence,
        reason: None,
        code: None,
        detail: None,
        screen: None,
        residual: None,
        fused: None,
        residual_features: vec![],
        segments: vec![],
        timeline: vec![],
        features: vec![],
        thumbnail: None,
        embedding: None,
        mean: None,
        deviation: None,
        borderline: false,
        warnings: vec![],
        duration_ms: None,
        sample_rate_hz: None,
        channels: None,
        codec: None,
        bytes: None,
        content_sha256: None,
        provenance: vec![],
        bundle: bundle(),
        device: String::new(),
        decode_us: 0,
        screen_us: 0,
        residual_us: 0,
    }
}

/// A row with everything that a row can have, odd numbers among them.
pub(crate) fn full_row(ordinal: Ordinal) -> TrackRow {
    let score = |logit| Score {
        logit,
        probability: 0.25,
        prior: 0.5,
        windows: 3,
    };
    TrackRow {
        verdict: Verdict::Inconclusive,
        reason: Some(InconclusiveReason::ResidualNotRun),
        detail: Some("=cmd|' /C calc'!A0".into()),
        screen: Some(score(-1.5)),
        residual: Some(score(f32::NAN)),
        fused: Some(score(0.5)),
        residual_features: vec![-0.5, f32::INFINITY],
        segments: vec![
            ResidualSegment {
                start_ms: 10,
                features: vec![1.0, 2.0],
            },
            ResidualSegment {
                start_ms: 20,
                features: vec![3.0, f32::NAN],
            },
        ],
        timeline: vec![
            TimelinePoint {
                start_ms: 0,
                logit: f32::NEG_INFINITY,
                rms_db: None,
            },
            TimelinePoint {
                start_ms: 1_500,
                logit: 2.0,
                rms_db: Some(-20.5),
            },
        ],
        features: vec![0.0, -0.0, f32::MIN_POSITIVE],
        thumbnail: Some(Thumbnail {
            bands: 2,
            columns: 3,
            levels: vec![0, 1, 2, 253, 254, 255],
        }),
        embedding: Some(Embedding(vec![0x3C00, 0x7E01, 0x8000])),
        mean: Some(0.1),
        deviation: Some(f32::NAN),
        borderline: true,
        warnings: vec![Warning::Truncated, Warning::FramesLost],
        duration_ms: Some(20_000),
        sample_rate_hz: Some(44_100),
        channels: Some(2),
        codec: Some("mp3".into()),
        bytes: Some(1_000),
        content_sha256: Some(Digest::of(b"content")),
        provenance: vec![Provenance {
            tag: "ID3 TSSE".into(),
            value: "=Suno <script>\u{202e}".into(),
        }],
        device: Device {
            kind: DeviceKind::Cuda,
            index: 0,
            name: "x".into(),
            memory_bytes: 1,
        }
        .to_string(),
        decode_us: 1,
        screen_us: u64::MAX,
        residual_us: 3,
        ..bare_row(ordinal)
    }
}

pub(crate) fn unscannable_row(ordinal: Ordinal) -> TrackRow {
    TrackRow {
        verdict: Verdict::Unscannable,
        code: Some(Code::Empty),
        ..bare_row(ordinal)
    }
}

pub(crate) fn footer(shard: u32, attempt: u32, tracks: TrackSet, list: Digest) -> PartFooter {
    PartFooter {
        kind: PartKind::Terminal,
        tenant: TenantId::default(),
        generation: Generation(1),
        job: JobId::new("job-1").unwrap(),
        list,
        shard: ShardId::Root(shard),
        attempt: Attempt(attempt),
        tracks,
        escalation: None,
        bundle: bundle(),
        policy: Policy::default(),
        epoch: Epoch(u64::MAX),
        spans: vec![StageSpan {
            stage: Stage::Screen,
            node: NodeId::new("node-1").unwrap(),
            device: "cpu:0".into(),
            from: UnixMillis(5),
            to: UnixMillis(9),
        }],
        ledger: Ledger {
            screen: StageUse {
                device_us: 7,
                tracks: 1,
                ..StageUse::default()
            },
            ..Ledger::default()
        },
    }
}

/// Puts a snapshot of `rows` tracks, one part for each group of ordinals, and the manifest of them all.
pub(crate) async fn put_result(
    storage: &Storage,
    rows: u32,
    groups: &[(u32, Vec<Ordinal>)],
) -> (ObjectPath, Manifest) {
    let list = put_snapshot(storage, rows).await;
    let mut parts = Vec::new();
    for (n, (shard, ordinals)) in (1..).zip(groups) {
        let tracks: TrackSet = ordinals.iter().copied().collect();
        let made: Vec<_> = tracks.iter().map(sample_row).collect();
        let part = encode(&footer(*shard, n, tracks.clone(), list), &made).unwrap();
        storage.put_part(&part).await.unwrap();
        parts.push(ManifestPart {
            key: part.path,
            shard: ShardId::Root(*shard),
            attempt: Attempt(n),
            tracks,
            rows: part.rows,
            sha256: part.sha256,
            origin: None,
        });
    }
    let manifest = Manifest::new(manifest_of(list, rows), parts, Ledger::default());
    let (path, _) = storage.put_manifest(&manifest).await.unwrap();
    (path, manifest)
}

/// One of the three kinds of row, by its ordinal.
pub(crate) fn sample_row(ordinal: Ordinal) -> TrackRow {
    match ordinal % 3 {
        0 => bare_row(ordinal),
        1 => full_row(ordinal),
        _ => unscannable_row(ordinal),
    }
}

pub(crate) fn manifest_of(list: Digest, rows: u32) -> ManifestOf {
    ManifestOf {
        tenant: TenantId::default(),
        generation: Generation(1),
        job: JobId::new("job-1").unwrap(),
        version: 1,
        catalog: CatalogName::new("demo").unwrap(),
        list,
        rows,
        bundle: bundle(),
        policy: Policy::default(),
    }
}

pub(crate) async fn put_snapshot(storage: &Storage, rows: u32) -> Digest {
    let mut writer = SnapshotWriter::new(tempfile::tempfile().unwrap()).unwrap();
    (0..rows).for_each(|ordinal| writer.add(catalog_row(ordinal)).unwrap());
    let (file, list) = writer.finish().unwrap();
    let path = paths::snapshot(&TenantId::default(), list.digest);
    storage.put_file(&path, file).await.unwrap();
    list.digest
}
