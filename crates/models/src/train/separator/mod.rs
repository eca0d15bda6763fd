//! Trains the separator of the demonstration bundle: HTDemucs, small, on stems of the repository's own generator.
//!
//! Called by `trackscan-worker train-separator`. The network is the one that serves, under the tensor names of the published checkpoints; the
//! loss is that of the package, the mean magnitude of the stems' error, that of their sum, and how far the residual is from what it is to hold. Noise
//! and the errors of neural decoders lie over mixes and in no stem, so that they are learnt to be what no stem has; labelled pieces show the
//! same worn and through codecs. Steps are taken in rounds, every round draws from a stream of its own
//! and ends in a checkpoint, so that a stopped run, started again, ends in the same weights. What comes out is the running mean of the weights.

mod average;
mod batch;
mod labelled;
mod loss;
mod pieces;
mod recipe;
mod start;

pub use recipe::{SeparatorFitting, SeparatorRecipe};

use std::path::Path;
use std::time::{Duration, Instant};

use bundle::Tensors;
use bundle::separator::Unfit;
use corpus::dice::{Dice, derive};
use corpus::manifest::ManifestError;
use corpus::stems::STEMS;
use tch::nn::VarStore;
use tch::{Device, Kind, TchError};

use super::checkpoint::{Checkpoint, CheckpointError};
use super::decoder::{Decoder, DecoderError, TRAINED};
use super::fitting::learning_rate;
use super::optimiser::AdamW;
use super::tracks::TrackError;
use crate::htdemucs::{self, HtDemucs};
use crate::params::ParamError;
use average::Average;
use batch::Batches;
use labelled::LabelledPieces;
use loss::Loss;
use pieces::{Pieces, Use};

/// Segments that a trained separator is judged on, all of pieces that it was not trained on.
const JUDGED: usize = 24;
/// How far errors lie below the mix when a separator is judged, in decibels: in the middle of those that positives have.
const ERROR_DB: f32 = 20.0;
/// A stem this much quieter than its mix, in power, is silent: its ratio says nothing.
const AUDIBLE: f64 = 1e-3;

/// The separator could not be trained.
#[derive(Debug, thiserror::Error)]
pub enum SeparatorError {
    /// No such network can be built.
    #[error("the recipe's separator cannot be built")]
    Unfit(#[from] Unfit),
    /// The generator cannot feed such a network, or a number of the recipe is out of its bounds.
    #[error("the recipe's `{field}` {rule}")]
    Recipe {
        /// The field.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// Stems could not be kept or read.
    #[error("reading or writing stems `{path}`")]
    Stems {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The checkpoint could not be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The labelled manifest could not be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The labelled manifest changed while it was read.
    #[error("reading labelled manifest `{path}`")]
    Labelled {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The recipe hears labelled pieces, and there are none.
    #[error(
        "the recipe's `labelled` needs a labelled manifest with both versions of pieces in the split `train`"
    )]
    Unlabelled,
    /// A labelled piece could not be heard.
    #[error(transparent)]
    Track(#[from] TrackError),
    /// A decoder whose errors are to be heard is missing or broken.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// Trained weights do not fit the network.
    #[error("loading the trained separator")]
    Params(#[from] ParamError),
    /// libtorch refused.
    #[error("training the separator")]
    Torch(#[from] TchError),
    /// The loss left the numbers.
    #[error("training the separator: the loss in round {round} is not a number")]
    NotFinite {
        /// The round.
        round: u32,
    },
}

/// What a run came to.
#[derive(Debug)]
pub struct Trained {
    /// The running mean of the weights.
    pub weights: Tensors,
    /// Rounds done, by this run and by those before it.
    pub rounds: u32,
    /// Mean loss of the last round that this run did; none where it did none.
    pub loss: Option<f64>,
}

/// What a run learns from, and where it keeps what it made.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Folder for stems and checkpoints.
    pub cache: &'a Path,
    /// Folder of the decoders whose errors are heard.
    pub decoders: &'a Path,
    /// Manifest of labelled pieces; needed where the recipe hears them.
    pub labelled: Option<&'a Path>,
}

impl Sources<'_> {
    fn labelled(&self, recipe: &SeparatorRecipe) -> Result<Option<LabelledPieces>, SeparatorError> {
        if recipe.fitting.labelled <= 0.0 {
            return Ok(None);
        }
        let path = self.labelled.ok_or(SeparatorError::Unlabelled)?;
        let channels = u32::try_from(recipe.architecture.audio_channels).unwrap_or(1);
        let pieces = LabelledPieces::open(path, channels)?;
        if pieces.count() == 0 {
            return Err(SeparatorError::Unlabelled);
        }
        Ok(Some(pieces))
    }
}

/// Trains `recipe` for at most `budget` of wall time where one is given: it ends after the round in which the time runs out.
///
/// # Errors
/// [`SeparatorError`]; what is done stays in the checkpoint.
pub fn train(
    recipe: &SeparatorRecipe,
    sources: Sources<'_>,
    budget: Option<Duration>,
) -> Result<Trained, SeparatorError> {
    let begun = Instant::now();
    train_while(recipe, sources, |_| {
        budget.is_none_or(|budget| begun.elapsed() < budget)
    })
}

/// As [`train`], for as long as `more` says yes to the number of rounds done.
///
/// # Errors
/// As there.
pub fn train_while(
    recipe: &SeparatorRecipe,
    sources: Sources<'_>,
    more: impl Fn(u32) -> bool,
) -> Result<Trained, SeparatorError> {
    recipe.check()?;
    let labelled = sources.labelled(recipe)?;
    let mut key = recipe.to_json();
    if let Some(pieces) = &labelled {
        key.push_str(&pieces.digest.to_string());
    }
    let mut run = Run::new(recipe, sources, labelled)?;
    let checkpoint = Checkpoint::of(sources.cache, &key);
    let means = run.average.state();
    let done = checkpoint.restore_with(&run.store, &mut run.optimiser, &means)?;
    let (mut rounds, mut loss) = (done, None);
    while rounds < recipe.fitting.rounds && more(rounds) {
        loss = Some(run.round(rounds)?);
        rounds += 1;
        checkpoint.save_with(&run.store, &run.optimiser, &means, rounds)?;
        tracing::info!(
            round = rounds,
            of = recipe.fitting.rounds,
            loss,
            "training separator"
        );
    }
    Ok(Trained {
        weights: run.average.weights()?,
        rounds,
        loss,
    })
}

/// Training in progress.
struct Run<'a> {
    recipe: &'a SeparatorRecipe,
    batches: Batches<'a>,
    store: VarStore,
    net: HtDemucs,
    optimiser: AdamW,
    average: Average,
    loss: Loss,
}

impl<'a> Run<'a> {
    fn new(
        recipe: &'a SeparatorRecipe,
        sources: Sources<'_>,
        labelled: Option<LabelledPieces>,
    ) -> Result<Self, SeparatorError> {
        let pieces = Pieces::new(recipe, sources.cache, Use::Training)?;
        let decoders = heard_decoders(recipe, sources.decoders)?;
        let seed = derive(recipe.fitting.seed, "separator start");
        tch::manual_seed(seed.cast_signed());
        let store = VarStore::new(Device::Cpu);
        let net = HtDemucs::new(&store.root(), &recipe.architecture)?;
        if recipe.fitting.gives_back {
            start::give_back(&store, &recipe.architecture)?;
        }
        Ok(Self {
            recipe,
            batches: Batches::new(recipe, pieces, labelled, decoders),
            optimiser: AdamW::new(&store),
            average: Average::new(&store)?,
            loss: Loss::new(&recipe.fitting)?,
            store,
            net,
        })
    }

    /// So many steps; returns their mean loss.
    fn round(&mut self, round: u32) -> Result<f64, SeparatorError> {
        let fitting = &self.recipe.fitting;
        let stream = derive(fitting.seed, &format!("separator round {round}"));
        let mut dice = Dice::new(stream);
        let mut sum = 0.0;
        for step in 0..fitting.steps_per_round {
            let share = (f64::from(round) + f64::from(step) / f64::from(fitting.steps_per_round))
                / f64::from(fitting.rounds);
            let loss = self.step(share, &mut dice)?;
            if !loss.is_finite() {
                return Err(SeparatorError::NotFinite { round });
            }
            sum += loss;
        }
        Ok(sum / f64::from(fitting.steps_per_round))
    }

    fn step(&mut self, share: f64, dice: &mut Dice) -> Result<f64, SeparatorError> {
        let fitting = &self.recipe.fitting;
        let batch = self.batches.draw(dice)?;
        let found = self.net.forward(&batch.mix)?;
        let loss = self.loss.of(&found, &batch)?;
        let rate = learning_rate(fitting.learning_rate, share);
        self.optimiser.step(&loss, rate, fitting.weight_decay)?;
        self.average.add(self.optimiser.steps(), fitting.average)?;
        Ok(loss.f_double_value(&[])?)
    }
}

/// The decoders that training may meet, where the recipe lets any be heard.
fn heard_decoders(recipe: &SeparatorRecipe, folder: &Path) -> Result<Vec<Decoder>, SeparatorError> {
    if recipe.fitting.error <= 0.0 {
        return Ok(Vec::new());
    }
    let open = |architecture| Ok(Decoder::open(architecture, folder)?);
    TRAINED.into_iter().map(open).collect()
}

/// How well a separator takes pieces apart that it was not trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// Mean ratio of a stem to its error in decibels, for each of [`STEMS`]; none where none was audible.
    pub stems_db: [Option<f64>; STEMS.len()],
    /// Mean ratio of the mix to what the sum of the stems leaves of it, in decibels.
    pub sum_db: f64,
    /// By how many decibels the residual rises on average when a decoder's error lies over the mix, [`ERROR_DB`] below it; none where training
    /// heard no errors. Of the decoders that it heard.
    pub rise_db: Option<f64>,
}

/// Judges weights on held-out pieces, under errors of decoders where training heard them.
///
/// # Errors
/// [`SeparatorError`].
pub fn judge(
    recipe: &SeparatorRecipe,
    weights: &Tensors,
    sources: Sources<'_>,
) -> Result<Quality, SeparatorError> {
    recipe.check()?;
    let (_store, net) = htdemucs::load(&recipe.architecture, weights, Device::Cpu, Kind::Float)?;
    let pieces = Pieces::new(recipe, sources.cache, Use::Judging)?;
    let decoders = heard_decoders(recipe, sources.decoders)?;
    let batches = Batches::new(recipe, pieces, None, decoders);
    let mut dice = Dice::new(derive(recipe.fitting.seed, "separator judged"));
    let mut ratios: [Vec<f64>; STEMS.len()] = Default::default();
    let mut sums = Vec::with_capacity(JUDGED);
    let mut rises = Vec::with_capacity(JUDGED);
    for segment in 0..JUDGED {
        let batch = batches.clean(&mut dice)?;
        let erroneous = batches.under_error(&batch.mix, segment, ERROR_DB)?;
        tch::no_grad(|| -> Result<(), TchError> {
            let found = net.forward(&batch.mix)?;
            let error = found.f_sub(&batch.stems)?;
            let mix = power(&batch.mix)?;
            for (at, of_stem) in ratios.iter_mut().enumerate() {
                let stem = |all: &tch::Tensor| power(&all.f_select(1, at as i64)?);
                let loud = stem(&batch.stems)?;
                if loud > AUDIBLE * mix {
                    of_stem.push(decibels(loud, stem(&error)?));
                }
            }
            let left = power(&left_out(&batch.mix, &found)?)?;
            sums.push(decibels(mix, left));
            if let Some(heard) = &erroneous {
                let under = power(&left_out(heard, &net.forward(heard)?)?)?;
                rises.push(decibels(under, left));
            }
            Ok(())
        })?;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Ok(Quality {
        stems_db: ratios.map(|of_stem| (!of_stem.is_empty()).then(|| mean(&of_stem))),
        sum_db: mean(&sums),
        rise_db: (!rises.is_empty()).then(|| mean(&rises)),
    })
}

/// What the sum of the stems leaves of a mix.
fn left_out(mix: &tch::Tensor, stems: &tch::Tensor) -> Result<tch::Tensor, TchError> {
    mix.f_sub(&stems.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?)
}

fn power(sound: &tch::Tensor) -> Result<f64, TchError> {
    sound.f_square()?.f_mean(Kind::Double)?.f_double_value(&[])
}

fn decibels(power: f64, against: f64) -> f64 {
    10.0 * ((power + 1e-12) / (against + 1e-12)).log10()
}

impl std::fmt::Display for Quality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, ratio) in STEMS.iter().zip(self.stems_db) {
            match ratio {
                Some(ratio) => write!(f, "{name} {ratio:.1} dB, ")?,
                None => write!(f, "{name} not heard, ")?,
            }
        }
        write!(f, "sum {:.1} dB", self.sum_db)?;
        match self.rise_db {
            Some(rise) => write!(f, ", residual {rise:+.1} dB under errors"),
            None => Ok(()),
        }
    }
}
