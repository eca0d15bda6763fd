//! What the domain sends returns as it was, and what it must not take is refused by the name of its field.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is a failure message of a test, in its helpers too"
)]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use proto::{Caller, FieldError, v1};
use types::{
    Attempt, Code, DeclaredAi, Device, DeviceKind, Digest, GateChoice, Generation,
    InconclusiveReason, JobSpec, Ledger, Policy, Provenance, Purpose, Range, ResidualSegment,
    RetryOf, Score, ShardId, ShardPlan, Share, Stage, StageUse, Stages, Thumbnail, TimelinePoint,
    TrackId, TrackRow, TrackSet, UnixMillis, Verdict, Warning,
};

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,20}"
}

fn words() -> impl Strategy<Value = String> {
    "[^\\p{C}]{1,20}"
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn policy() -> impl Strategy<Value = Policy> {
    let stages = prop::sample::select(Stages::ALL);
    let share = (0..=Share::WHOLE).prop_map(|ppm| Share::new(ppm).unwrap());
    let gate = prop::sample::select(GateChoice::ALL);
    let residual = (prop::option::of(share), prop::option::of(gate));
    (stages, any::<[bool; 3]>(), residual).prop_map(
        |(stages, [accept_demonstration, thumbnails, embeddings], (max_escalation, gate))| Policy {
            stages,
            accept_demonstration,
            thumbnails,
            embeddings,
            max_escalation,
            gate,
        },
    )
}

fn spec() -> impl Strategy<Value = JobSpec> {
    let names = [name(), name(), name(), name()];
    let numbers = (any::<u32>(), any::<u32>(), 1..u32::MAX, any::<i64>());
    let retry = prop::option::of(retry_of());
    (names, digest(), digest(), policy(), numbers, retry).prop_map(
        |(
            [tenant, actor, job, catalog],
            list,
            bundle,
            policy,
            (generation, rows, shard_tracks, at),
            retry,
        )| JobSpec {
            tenant: tenant.parse().unwrap(),
            actor: actor.parse().unwrap(),
            job: job.parse().unwrap(),
            generation: Generation(generation),
            catalog: catalog.parse().unwrap(),
            list,
            plan: ShardPlan { rows, shard_tracks },
            bundle,
            policy,
            submitted_at: UnixMillis(at),
            retry,
        },
    )
}

fn retry_of() -> impl Strategy<Value = RetryOf> {
    let numbers = (any::<u32>(), any::<u32>());
    (name(), numbers, digest(), digest()).prop_map(
        |(job, (version, generation), manifest, list)| RetryOf {
            job: job.parse().unwrap(),
            version,
            generation: Generation(generation),
            manifest,
            list,
        },
    )
}

fn score() -> impl Strategy<Value = Score> {
    (-40f32..40., 0f32..=1., 0f32..=1., any::<u32>()).prop_map(
        |(logit, probability, prior, windows)| Score {
            logit,
            probability,
            prior,
            windows,
        },
    )
}

fn thumbnail() -> impl Strategy<Value = Thumbnail> {
    (1u16..64, 1u16..64).prop_flat_map(|(bands, columns)| {
        vec(any::<u8>(), usize::from(bands) * usize::from(columns)).prop_map(move |levels| {
            Thumbnail {
                bands,
                columns,
                levels,
            }
        })
    })
}

fn outcome() -> impl Strategy<Value = (Verdict, Option<InconclusiveReason>, Option<Code>)> {
    prop_oneof![
        Just((Verdict::LikelyAi, None, None)),
        Just((Verdict::NoEvidence, None, None)),
        prop::sample::select(InconclusiveReason::ALL).prop_map(|reason| (
            Verdict::Inconclusive,
            Some(reason),
            None
        )),
        prop::sample::select(Code::ALL).prop_map(|code| (Verdict::Unscannable, None, Some(code))),
    ]
}

fn identity() -> impl Strategy<Value = TrackRow> {
    let declared = option::of(prop::sample::select(DeclaredAi::ALL));
    (
        any::<u32>(),
        words(),
        name(),
        words(),
        option::of(words()),
        declared,
        digest(),
    )
        .prop_map(
            |(ordinal, track_id, source, key, isrc, declared_ai, bundle)| TrackRow {
                ordinal,
                track_id: TrackId::new(track_id).unwrap(),
                source: source.parse().unwrap(),
                key,
                isrc,
                declared_ai,
                verdict: Verdict::NoEvidence,
                reason: None,
                code: None,
                detail: None,
                screen: None,
                residual: None,
                fused: None,
                residual_features: Vec::new(),
                segments: Vec::new(),
                timeline: Vec::new(),
                features: Vec::new(),
                thumbnail: None,
                embedding: None,
                mean: None,
                deviation: None,
                borderline: false,
                warnings: Vec::new(),
                duration_ms: None,
                sample_rate_hz: None,
                channels: None,
                codec: None,
                bytes: None,
                content_sha256: None,
                provenance: Vec::new(),
                bundle,
                device: String::new(),
                decode_us: 0,
                screen_us: 0,
                residual_us: 0,
            },
        )
}

fn evidence() -> impl Strategy<Value = TrackRow> {
    let point =
        (any::<u32>(), -9f32..9., option::of(-90f32..0.)).prop_map(|(start_ms, logit, rms_db)| {
            TimelinePoint {
                start_ms,
                logit,
                rms_db,
            }
        });
    let segment = (any::<u32>(), vec(-9f32..9., 0..4))
        .prop_map(|(start_ms, features)| ResidualSegment { start_ms, features });
    let scores = (
        [(); 3].map(|()| option::of(score())),
        vec(point, 0..9),
        [(); 2].map(|()| vec(-9f32..9., 0..5)),
        vec(segment, 0..3),
    );
    (
        identity(),
        outcome(),
        scores,
        option::of(thumbnail()),
        option::of(words()),
        any::<bool>(),
    )
        .prop_map(
            |(
                row,
                (verdict, reason, code),
                ([screen, residual, fused], timeline, [features, residual_features], segments),
                thumbnail,
                detail,
                borderline,
            )| {
                TrackRow {
                    verdict,
                    reason,
                    code,
                    detail,
                    screen,
                    residual,
                    fused,
                    residual_features,
                    segments,
                    timeline,
                    features,
                    thumbnail,
                    borderline,
                    ..row
                }
            },
        )
}

fn row() -> impl Strategy<Value = TrackRow> {
    let warnings = prop::sample::subsequence(Warning::ALL, 0..=Warning::ALL.len());
    let tag = (words(), words()).prop_map(|(tag, value)| Provenance { tag, value });
    let file = (
        option::of(any::<u64>()),
        option::of(any::<u32>()),
        option::of(any::<u16>()),
        option::of(name()),
    );
    let times = any::<[u64; 3]>();
    (
        evidence(),
        warnings,
        vec(tag, 0..4),
        file,
        option::of(digest()),
        name(),
        times,
    )
        .prop_map(
            |(
                row,
                warnings,
                provenance,
                (duration_ms, sample_rate_hz, channels, codec),
                content_sha256,
                device,
                times,
            )| {
                TrackRow {
                    warnings,
                    provenance,
                    duration_ms,
                    bytes: duration_ms,
                    sample_rate_hz,
                    channels,
                    codec,
                    content_sha256,
                    device,
                    decode_us: times[0],
                    screen_us: times[1],
                    residual_us: times[2],
                    ..row
                }
            },
        )
}

fn stage_use() -> impl Strategy<Value = StageUse> {
    any::<[u32; 7]>().prop_map(|n| StageUse {
        device_us: n[0].into(),
        energy_mj: n[1].into(),
        tracks: n[2].into(),
        audio_ms: n[3].into(),
        bytes: n[4].into(),
        cpu_us: n[5].into(),
        wait_us: n[6].into(),
    })
}

/// Sends a message as bytes, as a peer would.
fn wired<M: Message + Default>(message: M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

proptest! {
    #[test]
    fn a_specification_returns_as_it_was_sent(spec in spec()) {
        let wire = wired(v1::JobSpec::from(spec.clone()));
        prop_assert_eq!(JobSpec::try_from(wire), Ok(spec));
    }

    #[test]
    fn a_row_returns_as_it_was_sent(row in row()) {
        let wire = wired(v1::Row::from(row.clone()));
        prop_assert_eq!(TrackRow::try_from(wire), Ok(row));
    }

    #[test]
    fn a_caller_returns_as_it_was_sent(tenant in name(), actor in name()) {
        let sent = Caller { tenant: tenant.parse().unwrap(), actor: actor.parse().unwrap() };
        prop_assert_eq!(proto::caller(Some(wired(sent.clone().into()))), Ok(sent));
    }

    #[test]
    fn a_set_of_tracks_returns_as_it_was_sent(ordinals in vec(0u32..3000, 0..200)) {
        let sent: TrackSet = ordinals.into_iter().collect();
        prop_assert_eq!(proto::track_set("tracks", &proto::ranges(&sent)), Ok(sent));
    }

    #[test]
    fn ranges_from_outside_make_a_set_or_a_refusal_and_never_a_panic(pairs in vec((0u32..50, 0u32..50), 0..6)) {
        let wire: Vec<_> = pairs.iter().map(|(first, end)| v1::OrdinalRange { first: *first, end: *end }).collect();
        if let Ok(set) = proto::track_set("tracks", &wire) {
            prop_assert_eq!(proto::ranges(&set), wire);
        }
    }

    #[test]
    fn a_ledger_returns_as_it_was_sent(decode in stage_use(), screen in stage_use(), residual in stage_use()) {
        let sent = Ledger { decode, screen, residual };
        prop_assert_eq!(proto::ledger("ledger", proto::uses(&sent)), Ok(sent));
    }

    #[test]
    fn entries_of_several_devices_sum_to_one_ledger(a in stage_use(), b in stage_use()) {
        let entries = ["cuda:0", "cuda:1"].iter().zip([a, b]).map(|(device, used)| proto::stage_use(Stage::Screen, device, &used));
        let sum = proto::ledger("ledger", entries.collect()).unwrap();
        prop_assert_eq!(sum, Ledger { screen: a.plus(b), ..Ledger::default() });
    }

    #[test]
    fn a_device_returns_as_it_was_sent(cuda in any::<bool>(), index in any::<u32>(), name in words(), memory_bytes in any::<u64>()) {
        let sent = Device { kind: if cuda { DeviceKind::Cuda } else { DeviceKind::Cpu }, index, name, memory_bytes };
        prop_assert_eq!(Device::try_from(wired(v1::Device::from(sent.clone()))), Ok(sent));
    }

    #[test]
    fn no_bytes_make_the_door_panic(bytes in vec(any::<u8>(), 0..256)) {
        if let Ok(wire) = v1::Row::decode(bytes.as_slice()) {
            let _ = TrackRow::try_from(wire);
        }
        if let Ok(wire) = v1::JobSpec::decode(bytes.as_slice()) {
            let _ = JobSpec::try_from(wire);
        }
    }
}

fn some_spec() -> v1::JobSpec {
    v1::JobSpec {
        tenant: "default".into(),
        actor: "local".into(),
        job: "j".into(),
        generation: 1,
        catalog: "c".into(),
        list: Digest::of(b"list").to_string(),
        rows: 1,
        shard_tracks: 16,
        bundle: Digest::of(b"bundle").to_string(),
        policy: Some(Policy::default().into()),
        submitted_at_ms: 0,
        retry: None,
    }
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut v1::JobSpec), expected: &str) {
    let mut wire = some_spec();
    change(&mut wire);
    let error = JobSpec::try_from(wire).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_refusal_names_the_field_and_what_is_wrong_with_it() {
    assert!(JobSpec::try_from(some_spec()).is_ok());
    check_refused(|wire| wire.policy = None, "field `policy` is missing");
    check_refused(
        |wire| wire.tenant.clear(),
        "field `tenant` is invalid: tenant is empty",
    );
    check_refused(|wire| wire.shard_tracks = 0, "field `shard_tracks` is 0");
    check_refused(
        |wire| wire.policy.as_mut().unwrap().stages = 0,
        "field `policy.stages` is STAGES_UNSPECIFIED",
    );
    check_refused(
        |wire| wire.policy.as_mut().unwrap().stages = 77,
        "field `policy.stages` has the unknown value 77",
    );
    check_refused(
        |wire| wire.list = "AB".into(),
        "field `list` is invalid: `AB` is not a sha-256 digest of 64 lower-case hexadecimal digits",
    );
}

#[test]
fn every_enum_refuses_unspecified_by_name() {
    fn check<W, D: TryFrom<W, Error = FieldError> + std::fmt::Debug>(
        unspecified: W,
        expected: &str,
    ) {
        assert_eq!(D::try_from(unspecified).unwrap_err().cause, expected);
    }
    check::<_, Verdict>(v1::Verdict::Unspecified, "is VERDICT_UNSPECIFIED");
    check::<_, Stage>(v1::Stage::Unspecified, "is STAGE_UNSPECIFIED");
    check::<_, Stages>(v1::Stages::Unspecified, "is STAGES_UNSPECIFIED");
    check::<_, GateChoice>(v1::Gate::Unspecified, "is GATE_UNSPECIFIED");
    check::<_, Purpose>(v1::Purpose::Unspecified, "is PURPOSE_UNSPECIFIED");
    check::<_, DeviceKind>(v1::DeviceKind::Unspecified, "is DEVICE_KIND_UNSPECIFIED");
}

#[test]
fn a_reversed_range_is_refused() {
    let wire = v1::OrdinalRange { first: 5, end: 4 };
    assert!(Range::try_from(wire).is_err());
}

#[test]
fn a_shard_is_written_as_people_write_it() {
    let shard = ShardId::Escalation {
        root: 17,
        attempt: Attempt(3),
        first: 512,
    };
    assert_eq!(
        proto::field::parsed::<ShardId>("shard", "17.3-512"),
        Ok(shard)
    );
    assert!(proto::field::parsed::<ShardId>("shard", "17.3").is_err());
}

#[test]
fn every_request_says_for_whom_and_by_whom() {
    let set = prost_types::FileDescriptorSet::decode(v1::DESCRIPTORS).unwrap();
    let messages: std::collections::BTreeMap<_, _> = set
        .file
        .iter()
        .flat_map(|file| {
            file.message_type
                .iter()
                .map(|m| (format!(".{}.{}", file.package(), m.name()), m))
        })
        .collect();
    let methods: Vec<_> = set
        .file
        .iter()
        .flat_map(|file| &file.service)
        .flat_map(|service| &service.method)
        .collect();
    assert!(
        methods.len() >= 25,
        "the whole contract is looked at, not {} methods",
        methods.len()
    );
    for method in methods {
        let request = messages[method.input_type()];
        let first = request
            .field
            .iter()
            .find(|field| field.number() == 1)
            .expect("a first field");
        assert_eq!(
            (first.name(), first.type_name()),
            ("caller", ".trackscan.v1.Caller"),
            "{}",
            method.input_type()
        );
    }
}
