//! The residual's features against numpy, and against the package's stems. The expected values and the tolerance's reason are in
//! `golden/residual.py`; the second comparison takes its stems from `golden/htdemucs.safetensors`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]
#![expect(
    clippy::print_stdout,
    reason = "how far features lie apart is what is looked for"
)]

use bundle::features::{RESIDUAL_V1, Sums, place};
use bundle::{Epsilon, Overlap, Residual, Segments, Separator, TensorData, Tensors};
use engine::Segment;
use models::htdemucs::config_of;
use models::residual::{Measured, sums};
use safetensors::SafeTensors;
use std::num::NonZeroU32;
use tch::{Kind, Tensor};

/// Share of a feature's span.
const TOLERANCE: f64 = 1e-6;
const RATE_HZ: f64 = 44_100.0;
/// Share of a feature's span where stems are computed on both sides: 0.01 dB.
const PARITY: f64 = 1e-4;
const STEMS: &[u8] = include_bytes!("../golden/htdemucs.safetensors");

fn golden() -> Tensors {
    Tensors::parse(include_bytes!("../golden/residual.safetensors")).unwrap()
}

fn tensor(data: &TensorData) -> Tensor {
    let shape: Vec<i64> = data.shape.iter().map(|size| *size as i64).collect();
    Tensor::from_slice(&data.values).view(shape.as_slice())
}

fn measured(golden: &Tensors, case: &str) -> [f64; RESIDUAL_V1.len()] {
    let part = |name: &str| golden.get(&format!("{case}.{name}")).unwrap();
    let found = sums(&tensor(part("mix")), &tensor(part("sum")), RATE_HZ).unwrap();
    let deviation = f64::from(part("deviation").values[0]);
    Sums { deviation, ..found }.features()
}

#[track_caller]
fn check(case: &str) {
    let golden = golden();
    let found = measured(&golden, case);
    let known = &golden.get(&format!("{case}.features")).unwrap().values;
    assert_eq!(found.len(), known.len());
    let mut worst = 0.0f64;
    for ((feature, found), known) in RESIDUAL_V1.iter().zip(found).zip(known) {
        let known = f64::from(*known);
        // The squared error has no span of its own: it is held against itself.
        let span = if feature.calibrates {
            feature.span
        } else {
            known.abs().max(1e-30)
        };
        let off = (found - known).abs() / span;
        worst = worst.max(off);
        assert!(
            off <= TOLERANCE,
            "{case}: {} is {found}, numpy says {known}",
            feature.name
        );
    }
    println!("golden, {case}: {worst:.1e} of a span");
}

#[test]
fn features_of_music_are_numpy_s() {
    check("music");
    check("mono");
}

#[test]
fn features_of_less_than_a_frame_and_of_one_sample_are_numpy_s() {
    check("shorter_than_a_frame");
    check("one_sample");
}

#[test]
fn features_of_silence_a_constant_and_an_inverted_full_scale_square_are_numpy_s_and_finite() {
    check("silence");
    check("constant");
    check("inverted_square");
}

#[test]
fn features_where_nothing_was_separated_are_numpy_s() {
    check("nothing_separated");
    let found = measured(&golden(), "nothing_separated");
    assert!(found[place("snr_db").unwrap()].abs() < 1e-9);
    assert!(found[place("energy_ratio").unwrap()] < 1e-6);
}

#[test]
fn loudness_moves_the_raw_error_alone() {
    let golden = golden();
    let part = |name: &str| tensor(golden.get(&format!("music.{name}")).unwrap());
    let of = |deviation: f64| {
        let found = sums(&part("mix"), &part("sum"), RATE_HZ).unwrap();
        Sums { deviation, ..found }.features()
    };
    let (quiet, loud) = (of(0.01), of(0.1));
    for ((feature, quiet), loud) in RESIDUAL_V1.iter().zip(quiet).zip(loud) {
        if feature.name == "mse" {
            assert!((loud / quiet - 100.0).abs() < 1e-9);
        } else {
            assert_eq!(quiet, loud, "{}", feature.name);
        }
    }
}

/// The separator of a case of the golden stems.
fn separator(case: &str) -> (Residual, Tensors) {
    let (_, header) = SafeTensors::read_metadata(STEMS).unwrap();
    let arguments = serde_json::from_str(&header.metadata().as_ref().unwrap()[case]).unwrap();
    let prefix = format!("{case}.weights.");
    let mut weights = Tensors::parse(STEMS).unwrap();
    weights.0.retain(|tensor| tensor.name.starts_with(&prefix));
    for tensor in &mut weights.0 {
        tensor.name = tensor.name[prefix.len()..].to_owned();
    }
    let residual = Residual {
        architecture: Separator::HtDemucs(config_of(&[], &arguments).unwrap()),
        weights: "separator.safetensors".to_owned(),
        origin: None,
        epsilon: Epsilon {
            f32: PARITY,
            tf32: None,
            bf16: None,
            f16: None,
        },
        segments: Segments::All,
        overlap: Overlap::default(),
        canary: None,
        calibration: None,
    };
    (residual, weights)
}

/// Samples as a ring carries them.
fn interleaved(mix: &Tensor) -> Vec<f32> {
    models::params::values(&mix.transpose(0, 1)).unwrap()
}

#[test]
fn features_are_those_of_the_package_s_stems_in_any_batch() {
    models::device::set_threads(Some(NonZeroU32::MIN));
    let golden = Tensors::parse(STEMS).unwrap();
    let part = |name: &str| tensor(golden.get(&format!("published.{name}")).unwrap());
    let (mix, stems) = (part("mix"), part("stems"));
    let known = sums(
        &mix,
        &stems.sum_dim_intlist(0i64, false, Kind::Float),
        RATE_HZ,
    );
    let known = known.unwrap().features();
    let (residual, weights) = separator("published");
    let net = Measured::on_processor(&residual, &weights).unwrap();
    let samples = mix.size()[1] as usize;
    let segment = Segment {
        before: 0,
        samples,
        mean: 0.0,
        deviation: 1.0,
    };
    let own = interleaved(&mix);
    let quiet: Vec<f32> = own.iter().map(|value| value * 0.1).collect();
    let found = net
        .features(&[quiet, own].concat(), &[segment, segment])
        .unwrap();
    let mut worst = 0.0f64;
    for ((feature, found), known) in RESIDUAL_V1.iter().zip(&found[1]).zip(known) {
        let off = (f64::from(*found) - known).abs() / feature.span;
        worst = worst.max(off);
        assert!(off <= PARITY, "{}: {found} and {known}", feature.name);
    }
    println!("features of a small network's stems: {worst:.1e} of a span");
    assert_ne!(found[0], found[1], "neighbours of a batch are not mixed up");
}

#[test]
fn silence_a_constant_an_inverted_square_and_one_sample_have_finite_features() {
    let (residual, weights) = separator("published");
    let net = Measured::on_processor(&residual, &weights).unwrap();
    let info = models::residual::info(&residual, 1).unwrap();
    let whole = info.segment;
    let square = |at: usize| if at / 2 % 100 < 50 { 1e5 } else { -1e5 };
    let inverted = |at: usize| {
        if at.is_multiple_of(2) {
            square(at)
        } else {
            -square(at)
        }
    };
    let signals: [(&str, &dyn Fn(usize) -> f32); 4] = [
        ("silence", &|_| 0.0),
        ("a constant", &|_| 1e-3),
        ("an inverted square at full scale", &inverted),
        ("noise of the last bit", &|at| {
            if at % 3 == 0 { 3e-5 } else { 0.0 }
        }),
    ];
    for (name, signal) in signals {
        for samples in [whole, whole / 3, 441, 1] {
            let before = (whole - samples) / 2;
            let mut pcm = vec![0.0; info.values()];
            for (at, value) in pcm[before * 2..(before + samples) * 2]
                .iter_mut()
                .enumerate()
            {
                *value = signal(at);
            }
            let segment = Segment {
                before,
                samples,
                mean: 0.0,
                deviation: bundle::features::DEVIATION_LEAST,
            };
            let found = net.features(&pcm, &[segment]).unwrap().remove(0);
            let finite = found.iter().all(|value| value.is_finite());
            assert!(finite, "{name}, {samples} samples: {found:?}");
        }
    }
}
