//! The mel transform against librosa, and windows against the whole track. The expected values and the tolerance's reason
//! are in `golden/make.py`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use bundle::{MelNorm, Preprocessing, Tensors, WindowSpec};
use models::mel::Mel;
use tch::{Device, Tensor};

/// In dB, where the golden value stands above [`RANGE`] of the clip's largest.
const TOLERANCE_DB: f64 = 0.02;
/// Weaker cells are rounding noise on both sides.
const RANGE: f64 = 1e-7;

fn golden() -> Tensors {
    Tensors::parse(include_bytes!("../golden/mel.safetensors")).unwrap()
}

fn preprocessing(values: &[f32]) -> Preprocessing {
    let [rate, n_fft, hop, mels, low, high] = values else {
        panic!("six parameters")
    };
    Preprocessing {
        rate_hz: *rate as u32,
        n_fft: *n_fft as u32,
        hop: *hop as u32,
        mels: *mels as u32,
        low_hz: f64::from(*low),
        high_hz: f64::from(*high),
        floor: 1e-10,
        shift: 0.0,
        gain: 1.0,
        norm: MelNorm::None,
    }
}

fn check(case: &str) {
    let golden = golden();
    let part = |name: &str| golden.get(&format!("{case}.{name}")).unwrap().clone();
    let mel = Mel::new(&preprocessing(&part("parameters").values), Device::Cpu).unwrap();
    let ours = mel
        .track(&Tensor::from_slice(&part("clip").values))
        .unwrap();
    let expected = part("power");
    let shape: Vec<i64> = expected.shape.iter().map(|n| *n as i64).collect();
    assert_eq!(ours.size(), shape, "{case}: bands and frames");
    let largest = expected.values.iter().copied().fold(0.0f32, f32::max);
    let least = (f64::from(largest) * RANGE).max(1e-10);
    let ours = models::params::values(&ours).unwrap();
    for (at, (ours, expected)) in ours.iter().zip(&expected.values).enumerate() {
        let ours = 10.0f64.powf(f64::from(*ours)).max(least);
        let difference = 10.0 * (ours / f64::from(*expected).max(least)).log10();
        assert!(
            difference.abs() <= TOLERANCE_DB,
            "{case}: cell {at} is {difference} dB off"
        );
    }
}

#[test]
fn mel_power_is_librosa_s_at_22_khz() {
    check("sweep_22k");
}

#[test]
fn mel_power_is_librosa_s_at_44_khz() {
    check("sweep_44k");
}

#[test]
fn mel_power_is_librosa_s_for_an_odd_hop_and_digital_silence() {
    check("odd_hop_16k");
}

#[test]
fn mel_power_is_librosa_s_for_a_clip_shorter_than_a_transform() {
    check("shorter_than_a_transform");
}

#[test]
fn windows_cut_from_a_track_have_the_whole_track_s_frames() {
    let golden = golden();
    let clip = &golden.get("sweep_22k.clip").unwrap().values;
    let parameters = preprocessing(&golden.get("sweep_22k.parameters").unwrap().values);
    let (rate_hz, n_fft, hop) = (parameters.rate_hz, parameters.n_fft, parameters.hop);
    let mel = Mel::new(&parameters, Device::Cpu).unwrap();
    let whole = mel.track(&Tensor::from_slice(clip)).unwrap();
    for (frames, stride) in [(8, 8), (16, 5), (35, 35)] {
        let spec = WindowSpec {
            rate_hz,
            n_fft,
            hop,
            frames,
            stride,
        };
        let starts: Vec<_> = spec.starts(clip.len() as u64).collect();
        assert!(!starts.is_empty());
        let pcm: Vec<f32> = starts
            .iter()
            .flat_map(|start| spec.cut(clip, *start))
            .collect();
        let pcm = Tensor::from_slice(&pcm).view([starts.len() as i64, spec.samples() as i64]);
        let windows = mel.windows(&pcm).unwrap();
        for (at, start) in starts.iter().enumerate() {
            let expected = whole.narrow(1, start.frame as i64, i64::from(frames));
            let difference = (windows.get(at as i64) - expected)
                .abs()
                .max()
                .double_value(&[]);
            assert!(
                difference <= 1e-4,
                "window at frame {}: {difference} in log10 power",
                start.frame
            );
        }
    }
}
