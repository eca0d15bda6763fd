//! Trains one decoder on pieces of the generator: waveform and multi-resolution spectral loss, no adversary.

use std::path::Path;

use corpus::dice::{Dice, derive};
use corpus::piece::compose;
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};

use super::net::transform;
use super::{Architecture, Decoder, DecoderError, LEVEL};

/// Pieces that a decoder learns from, and their length in seconds: 64 × 5 s are 56 MB of mono samples.
const PIECES: usize = 64;
const SECONDS: f32 = 5.0;
/// Crops per step, and samples per crop (0.28 s).
const BATCH: usize = 6;
const CROP: usize = 12_288;
/// Transform lengths of the spectral loss in samples.
const RESOLUTIONS: [i64; 2] = [512, 2_048];
/// Steps between two lines of progress.
const REPORT_EVERY: usize = 50;

/// A decoder could not be trained.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Its weights could not be written.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// The loss left the numbers.
    #[error("training decoder `{name}`: the loss at step {step} is not a number")]
    NotFinite {
        /// The decoder.
        name: &'static str,
        /// Where.
        step: usize,
    },
}

/// Trains `architecture` for `steps` steps from `seed` and writes its weights to `folder`; returns the final loss.
///
/// The pieces come from a stream of their own (`decoder pieces`), so that no piece of any split is among them.
pub fn fit(
    architecture: Architecture,
    steps: usize,
    seed: u64,
    folder: &Path,
) -> Result<f64, FitError> {
    tch::manual_seed(derive(seed, architecture.name()).cast_signed());
    let decoder = Decoder::fresh(architecture);
    let pieces = pieces(seed);
    let mut dice = Dice::new(seed).child(architecture.name());
    let mut optimiser = nn::AdamW {
        wd: 0.0,
        ..nn::AdamW::default()
    }
    .build(&decoder.store, 2e-3)
    .expect("the store has variables");
    let mut smooth = 0.0;
    for step in 0..steps {
        optimiser.set_lr(learning_rate(step, steps));
        let batch = crops(&pieces, &mut dice);
        let loss = loss(&decoder.net.forward(&batch), &batch);
        optimiser.backward_step_clip_norm(&loss, 1.0);
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            return Err(FitError::NotFinite {
                name: architecture.name(),
                step,
            });
        }
        smooth = if step == 0 {
            value
        } else {
            0.95 * smooth + 0.05 * value
        };
        if (step + 1).is_multiple_of(REPORT_EVERY) {
            tracing::info!(
                decoder = architecture.name(),
                step = step + 1,
                of = steps,
                loss = smooth,
                "training decoder"
            );
        }
    }
    decoder.save(folder)?;
    Ok(smooth)
}

/// Up over the first twentieth, then down to a tenth along a cosine.
fn learning_rate(step: usize, steps: usize) -> f64 {
    let share = step as f64 / steps as f64;
    let rise = (share / 0.05).min(1.0);
    2e-3 * rise * (0.1 + 0.45 * (1.0 + (std::f64::consts::PI * share).cos()))
}

fn pieces(seed: u64) -> Vec<Vec<f32>> {
    let stream = derive(seed, "decoder pieces");
    (0..PIECES)
        .map(|index| {
            let audio = compose(derive(stream, &index.to_string()), SECONDS).audio;
            audio
                .left
                .iter()
                .zip(&audio.right)
                .map(|(left, right)| 0.5 * (left + right))
                .collect()
        })
        .collect()
}

fn crops(pieces: &[Vec<f32>], dice: &mut Dice) -> Tensor {
    let mut samples = Vec::with_capacity(BATCH * CROP);
    for _ in 0..BATCH {
        let piece = &pieces[dice.below(pieces.len())];
        let start = dice.below(piece.len() - CROP);
        let crop = &piece[start..start + CROP];
        let gain = LEVEL / corpus::shape::rms(crop).max(1e-3);
        samples.extend(crop.iter().map(|x| x * gain));
    }
    Tensor::from_slice(&samples).view([BATCH as i64, 1, CROP as i64])
}

fn loss(output: &Tensor, target: &Tensor) -> Tensor {
    let wave = (output - target).abs().mean(Kind::Float) / f64::from(LEVEL);
    let spectral: Tensor = RESOLUTIONS
        .iter()
        .map(|&length| spectral_loss(output, target, length))
        .sum();
    wave + spectral / RESOLUTIONS.len() as f64
}

fn spectral_loss(output: &Tensor, target: &Tensor, length: i64) -> Tensor {
    let window = Tensor::hann_window(length, (Kind::Float, Device::Cpu));
    let magnitude = |wave: &Tensor| {
        let spectrum = transform(&wave.squeeze_dim(1), length, length / 4, &window);
        (spectrum.real().square() + spectrum.imag().square() + 1e-8).sqrt()
    };
    let (have, want) = (magnitude(output), magnitude(target));
    let convergence =
        (&have - &want).square().mean(Kind::Float).sqrt() / want.square().mean(Kind::Float).sqrt();
    convergence + (have.log() - want.log()).abs().mean(Kind::Float) * 0.5
}
