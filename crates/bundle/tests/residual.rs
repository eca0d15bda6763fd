//! A bundle with a residual: what its section says, and what it is refused for.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use bundle::separator::{
    Activation, Config, DConvConfig, FrequencyEmbedding, NormKind, Order, Positions,
    TransformerConfig,
};
use bundle::{
    Bundle, BundleError, Contents, Epsilon, FORMAT, FORMAT_RESIDUAL, Manifest, Origin,
    OriginFormat, Overlap, Residual, SIGNATURE_FILE, Segments, Separator, TensorData, Tensors,
    Trust, sample,
};
use serde_json::{Value, json};
use std::fs;
use types::{Code, Digest};

const WEIGHTS: &str = "separator.safetensors";

fn config() -> Config {
    Config {
        sources: vec!["voice".into(), "rest".into()],
        audio_channels: 2,
        rate_hz: 44_100,
        segment: 4_410,
        nfft: 512,
        depth: 2,
        channels: 8,
        growth: 2,
        kernel: 8,
        stride: 4,
        rewrite: true,
        context_encoder: 0,
        context_decoder: 1,
        norm_starts: 4,
        norm_groups: 4,
        frequency_embedding: Some(FrequencyEmbedding {
            weight: 0.2,
            scale: 10.0,
        }),
        dconv: DConvConfig {
            encoders: true,
            decoders: true,
            depth: 2,
            dilate: true,
            compress: 8.0,
        },
        bottom_channels: Some(16),
        transformer: TransformerConfig {
            layers: 2,
            cross_first: false,
            heads: 4,
            hidden_scale: 4.0,
            positions: Positions::Sines,
            max_period: 10_000.0,
            position_weight: 1.0,
            norm_in: Some(NormKind::Layer),
            norm: NormKind::Layer,
            order: Order::First { norm_out: true },
            layer_scale: true,
            activation: Activation::Gelu,
        },
    }
}

fn residual() -> Residual {
    Residual {
        architecture: Separator::HtDemucs(config()),
        weights: WEIGHTS.to_owned(),
        origin: Some(Origin {
            format: OriginFormat::TorchArchive,
            bytes: 1_234,
            sha256: Digest::of(b"a checkpoint"),
        }),
        epsilon: Epsilon {
            f32: 1e-4,
            tf32: None,
            bf16: Some(0.02),
            f16: None,
        },
        segments: Segments::Spread { count: 8 },
        overlap: Overlap::default(),
        canary: None,
        calibration: None,
    }
}

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT_RESIDUAL,
        residual: Some(residual()),
        ..sample::manifest()
    }
}

/// Weights of no network; whether they fit one is seen where one is built.
fn weights(value: f32) -> Vec<u8> {
    Tensors(vec![TensorData {
        name: "encoder.0.conv.weight".to_owned(),
        shape: vec![3, 2],
        values: vec![value; 6],
    }])
    .to_bytes()
}

fn contents(weights: Vec<u8>) -> Contents {
    let mut contents = sample::contents();
    contents.insert(WEIGHTS.to_owned(), weights);
    contents
}

fn trust() -> Trust {
    Trust::new([sample::key().public()])
}

/// A signed folder with these weights.
fn folder(weights: Vec<u8>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    bundle::write(dir.path(), manifest(), &contents(weights), &sample::key()).unwrap();
    dir
}

#[test]
fn a_bundle_with_a_residual_opens_and_gives_its_weights() {
    let dir = folder(weights(0.5));
    let opened = Bundle::open(dir.path(), &trust()).unwrap();
    assert_eq!(opened.manifest.residual, Some(residual()));
    let read = opened.residual_weights().unwrap().unwrap();
    assert_eq!(read.to_bytes(), weights(0.5));
    let without = tempfile::tempdir().unwrap();
    bundle::write(
        without.path(),
        sample::manifest(),
        &sample::contents(),
        &sample::key(),
    )
    .unwrap();
    let opened = Bundle::open(without.path(), &trust()).unwrap();
    assert_eq!(opened.residual_weights().unwrap(), None);
}

#[test]
fn a_manifest_without_a_residual_has_the_bytes_that_it_had_before_there_were_any() {
    let bytes = sample::manifest().to_bytes();
    assert!(!String::from_utf8(bytes).unwrap().contains("residual"));
}

#[test]
fn an_unsigned_folder_is_opened_by_nobody_but_by_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let contents = contents(weights(0.5));
    let digest = bundle::write_unsigned(dir.path(), manifest(), &contents).unwrap();
    assert!(!dir.path().join(SIGNATURE_FILE).exists());
    let refused = Bundle::open(dir.path(), &trust()).unwrap_err();
    assert_eq!(refused.code(), Code::BundleUnsigned);
    assert!(Bundle::open_pinned(dir.path(), digest).is_ok());
}

#[test]
fn weights_that_were_touched_or_are_unsound_are_refused() {
    let check = |case: &str, dir: &tempfile::TempDir, code: Code| {
        let refused = Bundle::open(dir.path(), &trust()).expect_err(case);
        assert_eq!(refused.code(), code, "{case}: {refused}");
    };
    let good = weights(0.5);
    for at in (0..good.len()).step_by(13) {
        let dir = folder(good.clone());
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(dir.path().join(WEIGHTS), bytes).unwrap();
        check("a flipped bit", &dir, Code::BundleDigestMismatch);
    }
    let dir = folder(good.clone());
    let opened = Bundle::open(dir.path(), &trust()).unwrap();
    fs::write(dir.path().join(WEIGHTS), weights(0.25)).unwrap();
    let refused = opened.residual_weights().unwrap_err();
    assert_eq!(refused.code(), Code::BundleDigestMismatch, "changed since");
    fs::remove_file(dir.path().join(WEIGHTS)).unwrap();
    check("gone", &dir, Code::BundleInvalid);
    check(
        "not a number",
        &folder(weights(f32::NAN)),
        Code::BundleInvalid,
    );
    check(
        "cut off",
        &folder(good[..good.len() - 4].to_vec()),
        Code::BundleInvalid,
    );
    let huge = [&100_000_000u64.to_le_bytes()[..], &[b' '; 64]].concat();
    check("a header of 100 MB", &folder(huge), Code::BundleInvalid);
    let archive = b"PK\x03\x04 and so on".to_vec();
    check("an archive", &folder(archive), Code::BundleForbiddenFormat);
}

#[test]
fn a_published_file_in_a_bundle_is_refused_by_words_that_say_what_converts_it() {
    let dir = folder(weights(0.5));
    fs::write(dir.path().join("955717e8-8726e21a.th"), b"anything").unwrap();
    let refused = Bundle::open(dir.path(), &trust()).unwrap_err();
    assert_eq!(refused.code(), Code::BundleForbiddenFormat);
    assert!(
        refused
            .to_string()
            .contains("trackscan-worker bundle convert"),
        "{refused}"
    );
    let alone = tempfile::Builder::new().suffix(".dat").tempfile().unwrap();
    fs::write(alone.path(), b"PK\x03\x04").unwrap();
    let refused = Bundle::open(alone.path(), &trust()).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("trackscan-worker bundle convert"),
        "{refused}"
    );
}

/// What parsing says of the manifest after a change.
fn parsed(change: impl FnOnce(&mut Value)) -> Result<Manifest, BundleError> {
    let mut whole = manifest();
    whole.files = contents(weights(0.5))
        .iter()
        .map(|(name, bytes)| bundle::FileEntry {
            name: name.clone(),
            bytes: bytes.len() as u64,
            sha256: Digest::of(bytes),
        })
        .collect();
    let mut json: Value = serde_json::from_slice(&whole.to_bytes()).unwrap();
    change(&mut json);
    Manifest::parse(&serde_json::to_vec(&json).unwrap())
}

#[test]
fn a_section_that_breaks_a_rule_is_refused_by_its_field() {
    assert!(parsed(|_| ()).is_ok());
    let check = |pointer: &str, value: Value, expected: &str| {
        let shown = value.to_string();
        let refused = parsed(|json| *json.pointer_mut(pointer).unwrap() = value);
        match refused {
            Err(BundleError::Value { field, rule }) => {
                assert!(field == expected, "{pointer} = {shown}: `{field}` {rule}");
            }
            other => panic!("{pointer} = {shown}: {other:?}"),
        }
    };
    check("/format", json!(1), "format");
    check(
        "/residual/weights",
        json!("screen.safetensors"),
        "residual.weights",
    );
    check("/residual/weights", json!("absent.safetensors"), "files");
    check("/residual/epsilon/f32", json!(0.0), "residual.epsilon");
    check("/residual/epsilon/bf16", json!(10.0), "residual.epsilon");
    check(
        "/residual/segments",
        json!({"spread": {"count": 0}}),
        "residual.segments.count",
    );
    check(
        "/residual/segments",
        json!({"spread": {"count": 1_025}}),
        "residual.segments.count",
    );
    check(
        "/residual/overlap/share",
        json!(1.0),
        "residual.overlap.share",
    );
    check(
        "/residual/overlap/share",
        json!(-0.1),
        "residual.overlap.share",
    );
    check(
        "/residual/overlap/power",
        json!(0.5),
        "residual.overlap.power",
    );
    let of_architecture = |pointer: &str, value: Value| {
        let pointer = format!("/residual/architecture{pointer}");
        check(&pointer, value, "residual.architecture");
    };
    of_architecture("/sources", json!([]));
    of_architecture("/sources", json!(["a", "b\u{1b}"]));
    of_architecture("/sources", json!(vec!["x"; 17]));
    of_architecture("/audio_channels", json!(0));
    of_architecture("/rate_hz", json!(-1));
    of_architecture("/segment", json!(i64::MAX));
    of_architecture("/nfft", json!(1_000_000));
    of_architecture("/depth", json!(7));
    of_architecture("/depth", json!(0));
    of_architecture("/channels", json!(1_000_000));
    of_architecture("/growth", json!(9));
    of_architecture("/kernel", json!(6));
    of_architecture("/stride", json!(0));
    of_architecture("/context_decoder", json!(9));
    of_architecture("/norm_groups", json!(0));
    of_architecture("/frequency_embedding/weight", json!(0.0));
    of_architecture("/frequency_embedding/scale", json!(0.0));
    of_architecture("/dconv/depth", json!(9));
    of_architecture("/dconv/compress", json!(0.5));
    of_architecture("/bottom_channels", json!(0));
    of_architecture("/transformer/layers", json!(0));
    of_architecture("/transformer/heads", json!(3));
    of_architecture("/transformer/hidden_scale", json!(9.0));
    of_architecture("/transformer/positions", json!({"stored": 1}));
    of_architecture("/transformer/max_period", json!(0.0));
    of_architecture("/transformer/position_weight", json!(1e4));
    of_architecture("/transformer/norm", json!({"group": 0}));
}

#[test]
fn what_this_version_does_not_know_is_refused_as_such() {
    let unknown = parsed(|json| json["residual"]["architecture"]["name"] = json!("spleeter"));
    assert_eq!(unknown.unwrap_err().code(), Code::BundleUnsupported);
    let later = parsed(|json| json["format"] = json!(3));
    assert_eq!(later.unwrap_err().code(), Code::BundleUnsupported);
    let check = |pointer: &str| {
        let refused = parsed(|json| {
            let section = json.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            section.insert("new".to_owned(), json!(1));
        });
        assert!(
            matches!(refused, Err(BundleError::Manifest { .. })),
            "{pointer}: {refused:?}"
        );
    };
    for pointer in [
        "/residual",
        "/residual/architecture",
        "/residual/architecture/dconv",
        "/residual/architecture/frequency_embedding",
        "/residual/architecture/transformer",
        "/residual/architecture/transformer/order/first",
        "/residual/origin",
        "/residual/epsilon",
        "/residual/segments/spread",
        "/residual/overlap",
    ] {
        check(pointer);
    }
    let lacking = parsed(|json| {
        let architecture = json["residual"]["architecture"].as_object_mut().unwrap();
        architecture.remove("nfft");
    });
    assert!(
        matches!(lacking, Err(BundleError::Manifest { .. })),
        "{lacking:?}"
    );
}

#[test]
fn a_format_without_a_residual_has_none() {
    let mut bare = sample::manifest();
    bare.format = FORMAT_RESIDUAL;
    assert!(matches!(
        bare.check(),
        Err(BundleError::Value {
            field: "format",
            ..
        })
    ));
    let mut whole = manifest();
    whole.format = FORMAT;
    assert!(matches!(
        whole.check(),
        Err(BundleError::Value {
            field: "format",
            ..
        })
    ));
}
