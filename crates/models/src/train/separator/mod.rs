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
mod quality;
mod recipe;
mod start;

pub use quality::{Quality, StemQuality, Training, UnderErrors, judge};
pub use recipe::{SeparatorFitting, SeparatorRecipe};

use std::path::Path;
use std::time::{Duration, Instant};

use bundle::Tensors;
use bundle::separator::Unfit;
use corpus::dice::{Dice, derive};
use corpus::manifest::ManifestError;
use tch::nn::VarStore;
use tch::{Device, TchError};

use super::checkpoint::{Checkpoint, CheckpointError, Progress};
use super::decoder::{Decoder, DecoderError, TRAINED};
use super::fitting::learning_rate;
use super::optimiser::AdamW;
use super::tracks::TrackError;
use crate::htdemucs::HtDemucs;
use crate::params::ParamError;
use average::Average;
use batch::Batches;
use labelled::LabelledPieces;
use loss::Loss;
use pieces::{Pieces, Use};

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
    /// Seconds of wall time that they took, over all runs, with making what they learn from; none where a checkpoint did not say. Of a round that was
    /// broken off nothing counts.
    pub seconds: Option<f64>,
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
    let begun = Instant::now();
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
    let (mut rounds, mut seconds, mut loss) = (done.epochs, done.seconds, None);
    while rounds < recipe.fitting.rounds && more(rounds) {
        loss = Some(run.round(rounds)?);
        rounds += 1;
        let taken = begun.elapsed().as_secs_f64();
        seconds = done.seconds.map(|before| before + taken);
        let epochs = rounds;
        let progress = Progress { epochs, seconds };
        checkpoint.save_with(&run.store, &run.optimiser, &means, progress)?;
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
        seconds,
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
