//! Fits the screen's weights to a labelled manifest: crops of whole-track log-mel, both versions of a piece at the same place in the same
//! step, so that what differs between them is all there is to learn.
//!
//! Every pass draws from a stream of its own and ends in a checkpoint, so that a stopped run, started again, ends in the same weights.

use std::collections::BTreeMap;
use std::path::Path;

use bundle::{Architecture, Tensors};
use corpus::dice::{Dice, derive};
use corpus::manifest::{Entry, Label, Manifest, Split};
use tch::nn::VarStore;
use tch::{Device, Kind, TchError, Tensor};

use super::checkpoint::{Checkpoint, CheckpointError};
use super::features::{self, FeatureError, Features};
use super::optimiser::AdamW;
use super::recipe::Recipe;
use crate::mel::{Mel, MelError};
use crate::params;
use crate::screen::{Mode, ScreenNet};

/// Share of all steps in which the learning rate rises.
const RISE: f64 = 0.05;
/// Learning rate at the end, as a share of the highest.
const LAST: f64 = 0.02;

/// The screen could not be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Features could not be made.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The checkpoint could not be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The mel transform could not be made.
    #[error("making the mel transform")]
    Mel(#[from] MelError),
    /// libtorch refused.
    #[error("training the screen")]
    Torch(#[from] TchError),
    /// There is no track of a whole window to learn from.
    #[error("training the screen: the train split has no track as long as one window")]
    Nothing,
    /// A class has no track of a whole window to learn from.
    #[error("training the screen: the train split has no {0:?} track as long as one window")]
    Empty(Label),
    /// The loss left the numbers.
    #[error("training the screen: the loss in pass {epoch} is not a number")]
    NotFinite {
        /// The pass.
        epoch: u32,
    },
}

/// The versions of one piece that are long enough.
#[derive(Debug, Default)]
struct Piece {
    humans: Vec<Features>,
    positives: Vec<Features>,
}

/// Trains `recipe` on the train split of `manifest`, with features and checkpoints under `cache`; returns the weights.
///
/// # Errors
/// [`TrainError`]; what is done stays in the checkpoint.
pub fn train(manifest: &Manifest, recipe: &Recipe, cache: &Path) -> Result<Tensors, TrainError> {
    train_for(manifest, recipe, cache, recipe.fitting.epochs)
}

/// Goes on with [`train`] for at most `passes` passes; returns the weights as they are then.
///
/// # Errors
/// [`TrainError`]; what is done stays in the checkpoint.
pub fn train_for(
    manifest: &Manifest,
    recipe: &Recipe,
    cache: &Path,
    passes: u32,
) -> Result<Tensors, TrainError> {
    let (mut run, checkpoint) = prepare(manifest, recipe, cache)?;
    let done = checkpoint.restore(&run.store, &mut run.optimiser)?;
    let last = recipe.fitting.epochs.min(done.saturating_add(passes));
    for epoch in done..last {
        let loss = run.pass(epoch)?;
        checkpoint.save(&run.store, &run.optimiser, epoch + 1)?;
        tracing::info!(
            pass = epoch + 1,
            of = recipe.fitting.epochs,
            loss,
            "training screen"
        );
    }
    Ok(params::save(&run.store)?)
}

/// Hears the tracks and sets up the run, at its start; the checkpoint is that of this recipe, these labels and these very sound files.
fn prepare<'a>(
    manifest: &Manifest,
    recipe: &'a Recipe,
    cache: &Path,
) -> Result<(Run<'a>, Checkpoint), TrainError> {
    let entries: Vec<Entry> = manifest.of(Split::Train).cloned().collect();
    let folder = cache.join("features");
    let features = features::open_all(manifest, &entries, &recipe.preprocessing, &folder)?;
    let sounds: Vec<&Path> = features.iter().map(Features::name).collect();
    let checkpoint = Checkpoint::of(
        cache,
        &format!("{}\n{entries:?}\n{sounds:?}", recipe.to_json()),
    );
    let pieces = by_piece(&entries, features, recipe.windows.frames as usize)?;
    Ok((Run::new(recipe, pieces)?, checkpoint))
}

fn by_piece(
    entries: &[Entry],
    features: Vec<Features>,
    frames: usize,
) -> Result<Vec<Piece>, TrainError> {
    let mut pieces: BTreeMap<&str, Piece> = BTreeMap::new();
    for (entry, features) in entries.iter().zip(features) {
        if features.frames < frames {
            tracing::warn!(
                path = entry.path,
                frames = features.frames,
                "shorter than one window, left out"
            );
            continue;
        }
        let piece = pieces.entry(&entry.piece).or_default();
        match entry.label {
            Label::Human => piece.humans.push(features),
            Label::Ai => piece.positives.push(features),
        }
    }
    let pieces: Vec<Piece> = pieces.into_values().collect();
    if pieces.is_empty() {
        return Err(TrainError::Nothing);
    }
    let lacks = |label, none: bool| {
        if none {
            Err(TrainError::Empty(label))
        } else {
            Ok(())
        }
    };
    lacks(
        Label::Human,
        pieces.iter().all(|piece| piece.humans.is_empty()),
    )?;
    lacks(
        Label::Ai,
        pieces.iter().all(|piece| piece.positives.is_empty()),
    )?;
    Ok(pieces)
}

/// Training in progress.
struct Run<'a> {
    recipe: &'a Recipe,
    pieces: Vec<Piece>,
    mel: Mel,
    store: VarStore,
    net: ScreenNet,
    optimiser: AdamW,
}

impl<'a> Run<'a> {
    fn new(recipe: &'a Recipe, pieces: Vec<Piece>) -> Result<Self, TrainError> {
        tch::manual_seed(seed(recipe, "start"));
        let store = VarStore::new(Device::Cpu);
        let Architecture::CnnV1(cnn) = &recipe.architecture;
        let net = ScreenNet::new(&store.root(), cnn)?;
        let optimiser = AdamW::new(&store);
        Ok(Self {
            recipe,
            pieces,
            mel: Mel::new(&recipe.preprocessing, Device::Cpu)?,
            store,
            net,
            optimiser,
        })
    }

    /// One pass over all pieces; returns the mean loss.
    fn pass(&mut self, epoch: u32) -> Result<f64, TrainError> {
        let purpose = format!("pass {epoch}");
        tch::manual_seed(seed(self.recipe, &purpose));
        let mut dice = Dice::new(derive(self.recipe.fitting.seed, &purpose));
        let mut order: Vec<usize> = (0..self.pieces.len()).collect();
        dice.shuffle(&mut order);
        let groups: Vec<&[usize]> = order
            .chunks(self.recipe.fitting.pieces_per_step.max(1) as usize)
            .collect();
        let mut sum = 0.0;
        for (at, group) in groups.iter().enumerate() {
            let share = (f64::from(epoch) + at as f64 / groups.len() as f64)
                / f64::from(self.recipe.fitting.epochs);
            let loss = self.step(group, share, &mut dice)?;
            if !loss.is_finite() {
                return Err(TrainError::NotFinite { epoch });
            }
            sum += loss;
        }
        Ok(sum / groups.len() as f64)
    }

    fn step(&mut self, group: &[usize], share: f64, dice: &mut Dice) -> Result<f64, TrainError> {
        let batch = self.batch(group, dice)?;
        let output = self
            .net
            .forward(&self.mel.scaled(&batch.log)?, Mode::Train)?;
        let loss = loss(&output.logits, &batch)?;
        let fitting = &self.recipe.fitting;
        let rate = learning_rate(fitting.learning_rate, share);
        self.optimiser.step(&loss, rate, fitting.weight_decay)?;
        Ok(loss.f_double_value(&[])?)
    }

    /// Of each piece one version per class, all from the same share of their length.
    fn batch(&self, group: &[usize], dice: &mut Dice) -> Result<Batch, TrainError> {
        let frames = self.recipe.windows.frames as usize;
        let (mut values, mut targets, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        for &index in group {
            let piece = &self.pieces[index];
            let place = dice.uniform(0.0, 1.0);
            for (versions, target) in [(&piece.humans, 0.0_f32), (&piece.positives, 1.0)] {
                if let Some(version) = versions.get(dice.below(versions.len())) {
                    let start = (place * (version.frames - frames + 1) as f32) as usize;
                    version.crop(start.min(version.frames - frames), frames, &mut values)?;
                    targets.push(target);
                }
            }
            if !piece.humans.is_empty() && !piece.positives.is_empty() {
                pairs.push(targets.len() as i64 - 1);
            }
        }
        let bands = i64::from(self.recipe.preprocessing.mels);
        Ok(Batch {
            log: Tensor::f_from_slice(&values)?.f_view([-1, frames as i64, bands])?,
            targets: Tensor::f_from_slice(&targets)?,
            pairs: Tensor::f_from_slice(&pairs)?,
        })
    }
}

/// What one step looks at.
struct Batch {
    /// Crops, `[B, frames, bands]`.
    log: Tensor,
    /// Classes, `[B]`.
    targets: Tensor,
    /// Places of positives whose original stands right before them.
    pairs: Tensor,
}

/// Cross-entropy of every crop, and of the question which version of a piece is the positive one: there what the music itself does cancels.
fn loss(logits: &Tensor, batch: &Batch) -> Result<Tensor, TchError> {
    let each = logits.f_binary_cross_entropy_with_logits::<Tensor>(
        &batch.targets,
        None,
        None,
        tch::Reduction::Mean,
    )?;
    if batch.pairs.numel() == 0 {
        return Ok(each);
    }
    let positives = logits.f_index_select(0, &batch.pairs)?;
    let originals = logits.f_index_select(0, &batch.pairs.f_sub_scalar(1)?)?;
    let between = originals
        .f_sub(&positives)?
        .f_softplus()?
        .f_mean(Kind::Float)?;
    each.f_add(&between)
}

fn seed(recipe: &Recipe, purpose: &str) -> i64 {
    derive(recipe.fitting.seed, purpose).cast_signed()
}

/// Up along a line, then down along a cosine; `share` is how much of the training is done.
pub(super) fn learning_rate(highest: f64, share: f64) -> f64 {
    if share < RISE {
        return highest * (share + 0.001) / RISE;
    }
    let left = (1.0 - share) / (1.0 - RISE);
    highest * (LAST + (1.0 - LAST) * 0.5 * (1.0 - (std::f64::consts::PI * left).cos()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::CnnV1;

    /// Humans are tones, positives are noise: anything learns that within a few passes.
    fn toy(folder: &Path) -> Manifest {
        let mut entries = Vec::new();
        for index in 0..8 {
            for label in [Label::Human, Label::Ai] {
                let mut noise = Dice::new(index).noise();
                let wave: Vec<f32> = (0..22_050)
                    .map(|i| {
                        if label == Label::Ai {
                            0.3 * noise.sample()
                        } else {
                            0.3 * (i as f32 * 0.02 * (index + 2) as f32).sin()
                        }
                    })
                    .collect();
                let path = format!("{index}-{label:?}.wav");
                corpus::wav::write(
                    &folder.join(&path),
                    &corpus::Stereo {
                        left: wave.clone(),
                        right: wave,
                    },
                )
                .unwrap();
                entries.push(Entry {
                    path,
                    label,
                    piece: index.to_string(),
                    split: Split::Train,
                    seconds: None,
                    codec: None,
                    kbps: None,
                    snr_db: None,
                    decoder: None,
                    unseen: None,
                });
            }
        }
        Manifest {
            folder: folder.to_owned(),
            entries,
        }
    }

    fn small(epochs: u32) -> Recipe {
        let mut recipe = Recipe::default();
        recipe.preprocessing.mels = 32;
        recipe.windows = bundle::Windows {
            frames: 32,
            stride: 32,
        };
        recipe.architecture = Architecture::CnnV1(CnnV1 {
            channels: vec![4, 4],
            pooling: bundle::Pooling::Mean,
            hidden: 8,
            dropout: 0.1,
        });
        recipe.fitting.epochs = epochs;
        recipe.fitting.pieces_per_step = 4;
        recipe
    }

    #[test]
    fn tones_and_noise_are_told_apart_after_a_few_passes() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = toy(folder.path());
        let mut recipe = small(80);
        recipe.architecture = Architecture::CnnV1(CnnV1 {
            channels: vec![8, 8],
            pooling: bundle::Pooling::Mean,
            hidden: 16,
            dropout: 0.0,
        });
        let (mut run, _) = prepare(&manifest, &recipe, &folder.path().join("cache")).unwrap();
        for epoch in 0..79 {
            run.pass(epoch).unwrap();
        }
        // From a dozen starts the loss ends at 0.02 to 0.08; other tests may draw from libtorch's one generator meanwhile.
        let guessing = 2.0 * std::f64::consts::LN_2;
        let loss = run.pass(79).unwrap();
        assert!(
            loss < 0.5 * guessing,
            "{loss} where guessing costs {guessing}"
        );
    }

    #[test]
    fn a_split_without_positives_or_without_tracks_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = toy(folder.path());
        manifest.entries.retain(|entry| entry.label == Label::Human);
        assert!(matches!(
            train(&manifest, &small(1), &folder.path().join("cache")),
            Err(TrainError::Empty(Label::Ai))
        ));
        manifest.entries.clear();
        assert!(matches!(
            train(&manifest, &small(1), &folder.path().join("none")),
            Err(TrainError::Nothing)
        ));
    }

    #[test]
    fn the_learning_rate_rises_falls_and_never_leaves_its_range() {
        assert!(learning_rate(1.0, 0.0) < 0.1);
        assert!((learning_rate(1.0, RISE) - 1.0).abs() < 1e-9);
        assert!((learning_rate(1.0, 1.0) - LAST).abs() < 1e-9);
    }
}
