//! A bundle with a residual: what its section says, and what it is refused for.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use bundle::features::RESIDUAL_V1;
use bundle::{
    Bundle, BundleError, Contents, Epsilon, FORMAT, FORMAT_RESIDUAL, Fusion, FusionV1, Manifest,
    Origin, OriginFormat, Overlap, Residual, ResidualCalibration, ResidualCanary, SIGNATURE_FILE,
    Segments, Separator, Spread, TensorData, Tensors, Term, Trust, sample,
};
use serde_json::{Value, json};
use std::fs;
use types::{Code, Digest};

#[path = "common/separator.rs"]
mod separator;

use separator::config;

const WEIGHTS: &str = "separator.safetensors";

fn residual() -> Residual {
    Residual {
        architecture: Separator::HtDemucs(config()),
        weights: WEIGHTS.to_owned(),
        origin: Some(Origin {
            format: OriginFormat::TorchArchive,
            bytes: 1_234,
            sha256: Digest::of(b"a checkpoint"),
        }),
        epsilon: epsilon(),
        segments: Segments::Spread { count: 8 },
        overlap: Overlap::default(),
        canary: Some(ResidualCanary {
            features: vec![0.5; RESIDUAL_V1.len()],
            epsilon: epsilon(),
        }),
        calibration: Some(calibration()),
    }
}

fn epsilon() -> Epsilon {
    Epsilon {
        f32: 1e-4,
        tf32: None,
        bf16: Some(0.02),
        f16: None,
    }
}

fn calibration() -> ResidualCalibration {
    ResidualCalibration {
        features: "residual-v1".to_owned(),
        terms: ["snr_db", "deviation_20_60"]
            .map(|feature| Term {
                feature: feature.to_owned(),
                weight: 0.5,
                mean: 1.0,
                scale: 2.0,
            })
            .to_vec(),
        probability: sample::manifest().screen.calibration,
        fusion: Fusion::V1(FusionV1 {
            screen: 1.0,
            residual: 1.0,
            intercept: 0.0,
            prior: 0.5,
        }),
        verdicts: sample::manifest().verdicts,
        humans: vec![Spread {
            feature: "mse".to_owned(),
            low: 0.1,
            middle: 0.2,
            high: 0.3,
        }],
    }
}

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT_RESIDUAL,
        residual: Some(residual()),
        ..sample::manifest()
    }
}

/// Weights of no network; whether they fit one is asked beside opening.
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

/// Zeros in the shapes of the section's network.
fn fitting() -> Tensors {
    let shapes = config().shapes().into_iter();
    let zeros = shapes.map(|(name, shape)| TensorData {
        name,
        values: vec![0.0; shape.iter().product()],
        shape,
    });
    Tensors(zeros.collect())
}

#[test]
fn weights_of_another_network_are_told_by_name_before_one_is_built() {
    let check = |weights: Vec<u8>, expected: Option<&str>| {
        let dir = folder(weights);
        let opened = Bundle::open(dir.path(), &trust()).unwrap();
        let found = opened.check_fit().map_err(|error| error.problem());
        let code = found.as_ref().err().map(|problem| problem.code);
        assert_eq!(code, expected.map(|_| Code::BundleInvalid));
        let message = found.map_or_else(|problem| problem.message, |()| String::new());
        assert!(message.contains(expected.unwrap_or("")), "{message}");
    };
    let sound = fitting();
    check(sound.to_bytes(), None);
    let first = "have no tensor `channel_downsampler.bias`";
    check(weights(0.5), Some(first));
    let mut other = sound.clone();
    other.0[0].shape.push(1);
    let of_shape = format!("tensor `{}` has shape", sound.0[0].name);
    check(other.to_bytes(), Some(&of_shape));
    let mut lacking = sound;
    let last = lacking.0.pop().unwrap().name;
    let missing = format!("have no tensor `{last}`");
    check(lacking.to_bytes(), Some(&missing));
    let plain = tempfile::tempdir().unwrap();
    let contents = sample::contents();
    bundle::write(plain.path(), sample::manifest(), &contents, &sample::key()).unwrap();
    let opened = Bundle::open(plain.path(), &trust()).unwrap();
    assert!(opened.check_fit().is_ok());
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
    of_architecture("/audio_channels", json!(3));
    of_architecture("/rate_hz", json!(-1));
    of_architecture("/rate_hz", json!(31_999));
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
fn a_separator_whose_rate_just_holds_the_bands_is_taken() {
    let lowest = parsed(|json| {
        *json.pointer_mut("/residual/architecture/rate_hz").unwrap() = json!(32_000);
    });
    assert!(lowest.is_ok(), "{lowest:?}");
}

#[test]
fn a_calibration_that_breaks_a_rule_is_refused_by_its_field() {
    let check = |pointer: &str, value: Value, expected: &str| {
        let pointer = format!("/residual/{pointer}");
        let shown = value.to_string();
        let refused = parsed(|json| *json.pointer_mut(&pointer).unwrap() = value);
        match refused {
            Err(BundleError::Value { field, rule }) => {
                assert!(field == expected, "{pointer} = {shown}: `{field}` {rule}");
            }
            other => panic!("{pointer} = {shown}: {other:?}"),
        }
    };
    check("canary/features", json!([0.0]), "residual.canary.features");
    check("canary/epsilon/f32", json!(0.0), "residual.canary.epsilon");
    let terms = "residual.calibration.terms";
    check("calibration/terms", json!([]), terms);
    check("calibration/terms/0/feature", json!("loudness"), terms);
    check("calibration/terms/0/feature", json!("mse"), terms);
    check(
        "calibration/terms/0/feature",
        json!("deviation_20_60"),
        terms,
    );
    for scale in [0.0, -1.0, 1e-300, 1e300] {
        check("calibration/terms/1/scale", json!(scale), terms);
    }
    let probability = "residual.calibration.probability";
    check("calibration/probability/slope", json!(0.0), probability);
    check("calibration/probability/prior", json!(1.0), probability);
    let fusion = "residual.calibration.fusion";
    check("calibration/fusion/screen", json!(-1.0), fusion);
    check("calibration/fusion/prior", json!(0.0), fusion);
    check("calibration/verdicts/tiers", json!([]), "verdicts.tiers");
    let humans = "residual.calibration.humans";
    check("calibration/humans/0/feature", json!("loudness"), humans);
    check("calibration/humans/0/low", json!(0.25), humans);
}

#[test]
fn a_feature_vector_or_a_fusion_of_another_version_is_unknown_rather_than_misread() {
    let vector = parsed(|json| json["residual"]["calibration"]["features"] = json!("residual-v2"));
    assert_eq!(vector.unwrap_err().code(), Code::BundleUnsupported);
    let fusion =
        parsed(|json| json["residual"]["calibration"]["fusion"] = json!({"rule": "fusion-v2"}));
    assert_eq!(fusion.unwrap_err().code(), Code::BundleUnsupported);
    let alone = parsed(|json| {
        json["residual"]["calibration"]["fusion"] = json!({"rule": "residual-alone"})
    });
    assert!(alone.is_ok(), "{alone:?}");
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
        "/residual/canary",
        "/residual/calibration",
        "/residual/calibration/terms/0",
        "/residual/calibration/probability",
        "/residual/calibration/fusion",
        "/residual/calibration/humans/0",
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
