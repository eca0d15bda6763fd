//! The commands of `trackscan-worker` that make, train, calibrate and evaluate: their flags and what they do, in order.
//!
//! Called by the worker's `main`. Results go to standard output, progress to the log.

mod codes;
mod second;

pub use second::{EvaluateGrid, TrainSeparator};

use std::io::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use bundle::{Bundle, BundleError, KeyError, PublicKey, SecretKey, Tensors, TensorsError, Trust};
use clap::{Args, Subcommand};
use corpus::manifest::{Entry, Split};
use serde::de::DeserializeOwned;
use types::Purpose;

use super::calibrate::{self, CalibrateError, Making, guard_fit};
use super::checked::{self, CheckedError};
use super::decoder::{self, Architecture, FitError};
use super::engines;
use super::fitting::{self, TrainError};
use super::grid::GridError;
use super::labelled::{self, Amounts, LabelledError};
use super::recipe::Recipe;
use super::report::{GUARD_LIMIT, GUARD_PIECES, Report, Rule, report};
use super::score::{ScoreError, score_all};
use super::second::Separator;
use super::separator::{SeparatorError, SeparatorRecipe};

/// Making, training, calibrating, evaluating.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train the small neural decoders whose errors mark positives.
    Decoders(Decoders),
    /// Make labelled data: pieces, positives, codec passes and their manifest. Goes on where it was stopped.
    Corpus(Corpus),
    /// Make the demonstration catalogue with its truths.
    DemoTracks(DemoTracks),
    /// Fit the screen's weights to a labelled manifest. Goes on where it was stopped.
    Train(Train),
    /// Fit the separator's weights to stems of the generator. Goes on where it was stopped.
    TrainSeparator(TrainSeparator),
    /// Calibrate weights, set thresholds, check the guards and write the signed bundle.
    Calibrate(Calibrate),
    /// Print a bundle's table on a labelled manifest.
    Evaluate(Evaluate),
    /// Measure both engines of a bundle on held-out pieces under codecs, other speeds, noise and the like. Goes on where it was stopped.
    EvaluateGrid(EvaluateGrid),
}

/// Flags of `decoders`.
#[derive(Debug, Args)]
pub struct Decoders {
    /// Folder for the weights.
    #[arg(long)]
    out: PathBuf,
    /// Steps of training per decoder.
    #[arg(long, default_value_t = 400)]
    steps: usize,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this decoder.
    #[arg(long)]
    only: Option<String>,
    /// Threads.
    #[arg(long, default_value = "2")]
    threads: NonZeroU32,
}

/// Flags of `corpus`.
#[derive(Debug, Args)]
pub struct Corpus {
    /// Folder for audio and manifest (`labels.csv`).
    #[arg(long)]
    out: PathBuf,
    /// Folder of the decoders' weights.
    #[arg(long)]
    decoders: PathBuf,
    /// Pieces for training.
    #[arg(long, default_value_t = Amounts::default().train)]
    train: usize,
    /// Pieces for the calibration.
    #[arg(long, default_value_t = Amounts::default().calibrate)]
    calibrate: usize,
    /// Pieces for the final table.
    #[arg(long, default_value_t = Amounts::default().test)]
    test: usize,
    /// Length of a piece in seconds.
    #[arg(long, default_value_t = Amounts::default().seconds)]
    seconds: f32,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Flags of `demo-tracks`.
#[derive(Debug, Args)]
pub struct DemoTracks {
    /// Folder for the catalogue.
    #[arg(long)]
    out: PathBuf,
    /// Folder of the decoders' weights.
    #[arg(long)]
    decoders: PathBuf,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Flags of `train`.
#[derive(Debug, Args)]
pub struct Train {
    /// Labelled manifest (CSV).
    #[arg(long)]
    manifest: PathBuf,
    /// Folder for features and checkpoints.
    #[arg(long)]
    cache: PathBuf,
    /// File for the weights (safetensors).
    #[arg(long)]
    out: PathBuf,
    /// Recipe (JSON); the demonstration bundle's where none is given.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Threads.
    #[arg(long, default_value = "2")]
    threads: NonZeroU32,
}

/// Flags of `calibrate`.
#[derive(Debug, Args)]
pub struct Calibrate {
    /// Labelled manifest (CSV).
    #[arg(long)]
    manifest: PathBuf,
    /// Weights (safetensors).
    #[arg(long)]
    weights: PathBuf,
    /// Recipe (JSON) that the weights were made with; the demonstration bundle's where none is given.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// The second engine's weights (safetensors), as `train-separator` writes them; without them the bundle has no residual.
    #[arg(long, requires = "vectors")]
    separator: Option<PathBuf>,
    /// Recipe (JSON) that the separator was made with; the demonstration bundle's where none is given.
    #[arg(long, requires = "separator")]
    separator_recipe: Option<PathBuf>,
    /// Folder for the feature vectors of labelled tracks, from which a stopped run goes on.
    #[arg(long)]
    vectors: Option<PathBuf>,
    /// Cache of `evaluate-grid` over the same weights: what it holds goes into the card, with what becomes of the claim.
    #[arg(long, requires = "separator")]
    grid: Option<PathBuf>,
    /// Folder of the decoders' weights, for the canary clip.
    #[arg(long)]
    decoders: PathBuf,
    /// Folder of the bundle; replaced whole.
    #[arg(long)]
    out: PathBuf,
    /// File with the secret signing key; where none is given, a key is made and its secret half forgotten.
    #[arg(long)]
    key: Option<PathBuf>,
    /// File for the public half of the key.
    #[arg(long)]
    public_key: PathBuf,
    /// Share of AI tracks that probabilities suppose.
    #[arg(long, default_value_t = 0.5)]
    prior: f64,
    /// The verdicts may be used on real catalogues.
    #[arg(long)]
    production: bool,
}

/// Flags of `evaluate`.
#[derive(Debug, Args)]
pub struct Evaluate {
    /// The bundle's folder.
    #[arg(long)]
    bundle: PathBuf,
    /// File with the public key that signed it.
    #[arg(long)]
    public_key: PathBuf,
    /// Labelled manifest (CSV).
    #[arg(long)]
    manifest: PathBuf,
    /// File for the table as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Training a decoder.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// Making labelled data.
    #[error(transparent)]
    Labelled(#[from] LabelledError),
    /// Reading the manifest.
    #[error(transparent)]
    Manifest(#[from] CheckedError),
    /// Training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Training the separator.
    #[error(transparent)]
    Separator(#[from] SeparatorError),
    /// Calibrating.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// Scoring.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// Measuring the grid.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The bundle was refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A key is none.
    #[error("reading key `{path}`")]
    Key {
        /// Its file.
        path: String,
        /// What is wrong.
        source: KeyError,
    },
    /// Weights are none.
    #[error("reading weights `{path}`")]
    Weights {
        /// Their file.
        path: String,
        /// What is wrong.
        source: TensorsError,
    },
    /// A recipe is none.
    #[error("reading recipe `{path}`")]
    Recipe {
        /// Its file.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A guard of the table that was printed failed.
    #[error(
        "the table is not to be believed: a guard lies further than {GUARD_LIMIT} from one half, or fewer than {GUARD_PIECES} pieces a class were held out"
    )]
    Guards,
    /// No decoder has this name.
    #[error("no decoder is named `{0}`")]
    UnknownDecoder(String),
    /// The prior is no share.
    #[error("the prior {0} does not lie between 0 and 1")]
    Prior(f64),
    /// A file could not be read or written.
    #[error("reading or writing `{path}`")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs a command.
///
/// # Errors
/// [`CommandError`], with its causes in the chain.
pub fn run(command: &Command) -> Result<(), CommandError> {
    match command {
        Command::Decoders(flags) => run_decoders(flags),
        Command::Corpus(flags) => run_corpus(flags),
        Command::DemoTracks(flags) => {
            Ok(super::demo::make(&flags.out, &flags.decoders, flags.seed)?)
        }
        Command::Train(flags) => run_train(flags),
        Command::TrainSeparator(flags) => second::train_separator(flags),
        Command::Calibrate(flags) => run_calibrate(flags),
        Command::Evaluate(flags) => run_evaluate(flags),
        Command::EvaluateGrid(flags) => second::evaluate_grid(flags),
    }
}

fn run_decoders(flags: &Decoders) -> Result<(), CommandError> {
    crate::device::set_threads(Some(flags.threads));
    std::fs::create_dir_all(&flags.out).map_err(at(&flags.out))?;
    let wanted = match &flags.only {
        None => decoder::ALL.to_vec(),
        Some(name) => vec![
            Architecture::named(name).ok_or_else(|| CommandError::UnknownDecoder(name.clone()))?,
        ],
    };
    for architecture in wanted {
        let loss = decoder::fit(architecture, flags.steps, flags.seed, &flags.out)?;
        say(&format!("{}: loss {loss:.3}", architecture.name()))?;
    }
    Ok(())
}

fn run_corpus(flags: &Corpus) -> Result<(), CommandError> {
    let amounts = Amounts {
        train: flags.train,
        calibrate: flags.calibrate,
        test: flags.test,
        seconds: flags.seconds,
    };
    let manifest = labelled::make(&flags.out, &flags.decoders, amounts, flags.seed)?;
    say(&manifest.display().to_string())
}

fn run_train(flags: &Train) -> Result<(), CommandError> {
    crate::device::set_threads(Some(flags.threads));
    let (manifest, recipe) = (
        checked::manifest(&flags.manifest)?,
        recipe_of::<Recipe>(flags.recipe.as_deref())?,
    );
    std::fs::create_dir_all(&flags.cache).map_err(at(&flags.cache))?;
    let weights = fitting::train(&manifest, &recipe, &flags.cache)?;
    std::fs::write(&flags.out, weights.to_bytes()).map_err(at(&flags.out))?;
    say(&flags.out.display().to_string())
}

fn run_calibrate(flags: &Calibrate) -> Result<(), CommandError> {
    if !(flags.prior > 0.0 && flags.prior < 1.0) {
        return Err(CommandError::Prior(flags.prior));
    }
    // Tracks are scored on threads of their own.
    crate::device::set_threads(NonZeroU32::new(1));
    let (manifest, recipe) = (
        checked::manifest(&flags.manifest)?,
        recipe_of::<Recipe>(flags.recipe.as_deref())?,
    );
    let weights = weights(&flags.weights)?;
    let separator_recipe = recipe_of::<SeparatorRecipe>(flags.separator_recipe.as_deref())?;
    let separator_weights = flags.separator.as_deref().map(self::weights).transpose()?;
    let beside = flags.separator.as_deref().map(second::training_of);
    let training = beside.transpose()?.unwrap_or_default();
    let separator = separator_weights
        .as_ref()
        .zip(flags.vectors.as_deref())
        .map(|(weights, vectors)| Separator {
            recipe: &separator_recipe,
            weights,
            vectors,
            training,
        });
    let key = secret_key(flags.key.as_deref())?;
    let purpose = if flags.production {
        Purpose::Production
    } else {
        Purpose::Demonstration
    };
    let making = Making {
        manifest: &manifest,
        recipe: &recipe,
        weights: &weights,
        decoders: &flags.decoders,
        prior: flags.prior,
        purpose,
        separator,
        grid: flags.grid.as_deref(),
    };
    let (digest, judgement) = calibrate::calibrate(&making, &key, &flags.out)?;
    write_public(&flags.public_key, &key)?;
    let engines = if judgement.engines.is_empty() {
        String::new()
    } else {
        format!("\n{}", engines::text(&judgement.engines))
    };
    say(&format!(
        "{}{engines}\nbundle {digest}\nsigned by {}",
        judgement.report.text(),
        key.public()
    ))
}

fn run_evaluate(flags: &Evaluate) -> Result<(), CommandError> {
    crate::device::set_threads(NonZeroU32::new(1));
    let manifest = checked::manifest(&flags.manifest)?;
    let bundle = open(&flags.bundle, &flags.public_key)?;
    let test: Vec<Entry> = manifest.of(Split::Test).cloned().collect();
    let test = score_all(&manifest, &test, &bundle.manifest, &bundle.screen)?;
    let train = guard_fit(&manifest, &bundle.manifest, &bundle.screen)?;
    let calibration = bundle.manifest.screen.calibration;
    let at_one_half = calibration.intercept - (calibration.prior / (1.0 - calibration.prior)).ln();
    let likely_ai = bundle
        .manifest
        .likely_ai()
        .map_or(f64::INFINITY, |tier| tier.score);
    let report = report(
        &train,
        &test,
        Rule {
            likely_ai,
            slope: calibration.slope,
            intercept: at_one_half,
        },
    );
    if let Some(path) = &flags.json {
        let json = serde_json::to_vec_pretty(&report)
            .expect("a report has no map keys that JSON cannot hold");
        std::fs::write(path, json).map_err(at(path))?;
    }
    say(&format!(
        "bundle {} version {}, {}\n{}",
        bundle.manifest.name,
        bundle.manifest.version,
        bundle.digest,
        report.text()
    ))?;
    believed(&report)
}

/// A bundle that a key's file signed.
fn open(folder: &Path, public_key: &Path) -> Result<Bundle, CommandError> {
    let text = std::fs::read_to_string(public_key).map_err(at(public_key))?;
    let key: PublicKey = text.trim().parse().map_err(|source| CommandError::Key {
        path: public_key.display().to_string(),
        source,
    })?;
    Ok(Bundle::open(folder, &Trust::new([key]))?)
}

/// A table with a failed guard is printed, since it tells what failed, and is an error.
fn believed(report: &Report) -> Result<(), CommandError> {
    if report.may_be_believed() {
        Ok(())
    } else {
        Err(CommandError::Guards)
    }
}

fn weights(path: &Path) -> Result<Tensors, CommandError> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    Tensors::parse(&bytes).map_err(|source| CommandError::Weights {
        path: path.display().to_string(),
        source,
    })
}

/// The recipe of a file, or the demonstration bundle's.
fn recipe_of<R: Default + DeserializeOwned>(path: Option<&Path>) -> Result<R, CommandError> {
    let Some(path) = path else {
        return Ok(R::default());
    };
    let bytes = std::fs::read(path).map_err(at(path))?;
    serde_json::from_slice(&bytes).map_err(|source| CommandError::Recipe {
        path: path.display().to_string(),
        source,
    })
}

/// Writes the public half of a key.
fn write_public(path: &Path, key: &SecretKey) -> Result<(), CommandError> {
    std::fs::write(path, format!("{}\n", key.public())).map_err(at(path))
}

/// The key of a file, or one that nobody will know again.
fn secret_key(path: Option<&Path>) -> Result<SecretKey, CommandError> {
    match path {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(at(path))?;
            text.trim().parse().map_err(|source| CommandError::Key {
                path: path.display().to_string(),
                source,
            })
        }
        None => {
            let random = Path::new("/dev/urandom");
            let mut seed = [0; 32];
            let mut file = std::fs::File::open(random).map_err(at(random))?;
            std::io::Read::read_exact(&mut file, &mut seed).map_err(at(random))?;
            Ok(SecretKey::from_seed(&seed))
        }
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> CommandError {
    let path = path.display().to_string();
    move |source| CommandError::File { path, source }
}

/// One answer on standard output.
fn say(text: &str) -> Result<(), CommandError> {
    writeln!(std::io::stdout(), "{text}").map_err(at(Path::new("standard output")))
}
