//! The commands of the second engine: training its separator, measuring the evaluation grid.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::{CommandError, at, open, recipe_of, say, secret_key, write_public};
use crate::train::contents::{self, add_grid};
use crate::train::grid::{self, Subject};
use crate::train::separator::{self, Quality, SeparatorRecipe, Sources, Training};

/// Ending of the file beside a separator's weights that says how well they take held-out pieces apart, and what training took them.
const QUALITY_EXTENSION: &str = "quality.json";

/// Flags of `train-separator`.
#[derive(Debug, Args)]
pub struct TrainSeparator {
    /// Folder for stems and checkpoints.
    #[arg(long)]
    cache: PathBuf,
    /// File for the weights (safetensors), written when the run ends, however many rounds are done by then. How well they take held-out pieces
    /// apart, and the rounds and seconds that training took, is written beside it, with the ending `.quality.json`.
    #[arg(long)]
    out: PathBuf,
    /// Folder of the decoders' weights, whose errors are to end in no stem.
    #[arg(long)]
    decoders: PathBuf,
    /// Labelled manifest (CSV) whose pieces of the split `train` are heard; needed where the recipe's `labelled` is more than 0.
    #[arg(long)]
    labelled: Option<PathBuf>,
    /// Recipe (JSON); the demonstration bundle's where none is given.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// End after so many minutes, at the end of a round; the same command goes on later. Without it, at the recipe's last round.
    #[arg(long)]
    minutes: Option<u32>,
    /// Threads. The weights are the same again only with as many.
    #[arg(long, default_value = "2")]
    threads: NonZeroU32,
}

/// Flags of `evaluate-grid`.
#[derive(Debug, Args)]
pub struct EvaluateGrid {
    /// The bundle's folder.
    #[arg(long)]
    bundle: PathBuf,
    /// File with the public key that signed it.
    #[arg(long)]
    public_key: PathBuf,
    /// Folder of the decoders' weights.
    #[arg(long)]
    decoders: PathBuf,
    /// Folder for clips and slices.
    #[arg(long)]
    cache: PathBuf,
    /// Pieces of each class in the conditions of the claim; a quarter of them in others.
    #[arg(long, default_value_t = grid::PIECES)]
    pieces: usize,
    /// Begin no slice after so many minutes; the same command goes on later. Without it, every slice is measured.
    #[arg(long)]
    minutes: Option<u32>,
    /// File for the tables as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Put the tables into the bundle's card: its next version takes its place, and the public key's file is written anew.
    #[arg(long)]
    into_card: bool,
    /// File with the secret key that signs that version; where none is given, a key is made and its secret half forgotten.
    #[arg(long, requires = "into_card")]
    key: Option<PathBuf>,
}

pub(super) fn train_separator(flags: &TrainSeparator) -> Result<(), CommandError> {
    crate::device::set_threads(Some(flags.threads));
    crate::device::keep_large_memory();
    let recipe = recipe_of::<SeparatorRecipe>(flags.recipe.as_deref())?;
    std::fs::create_dir_all(&flags.cache).map_err(at(&flags.cache))?;
    let sources = Sources {
        cache: &flags.cache,
        decoders: &flags.decoders,
        labelled: flags.labelled.as_deref(),
    };
    let trained = separator::train(&recipe, sources, minutes(flags.minutes))?;
    std::fs::write(&flags.out, trained.weights.to_bytes()).map_err(at(&flags.out))?;
    let training = Training {
        rounds: Some(trained.rounds),
        seconds: trained.seconds,
    };
    let measured = separator::judge(&recipe, &trained.weights, sources)?;
    let quality = Quality {
        training,
        ..measured
    };
    let beside = flags.out.with_extension(QUALITY_EXTENSION);
    std::fs::write(&beside, contents::pretty(&quality)).map_err(at(&beside))?;
    let took = trained.seconds.map_or_else(String::new, |seconds| {
        format!(" in {:.1} minutes", seconds / 60.0)
    });
    say(&format!(
        "{}: {} of {} rounds{took}, held-out pieces: {quality}",
        flags.out.display(),
        trained.rounds,
        recipe.fitting.rounds
    ))
}

/// What training took these weights, as `train-separator` wrote it beside them; nothing where no such file stands there.
pub(super) fn training_of(weights: &Path) -> Result<Training, CommandError> {
    let beside = weights.with_extension(QUALITY_EXTENSION);
    match std::fs::read(&beside) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|why| at(&beside)(why.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Training::default()),
        Err(error) => Err(at(&beside)(error)),
    }
}

pub(super) fn evaluate_grid(flags: &EvaluateGrid) -> Result<(), CommandError> {
    crate::device::set_threads(NonZeroU32::new(1));
    let bundle = open(&flags.bundle, &flags.public_key)?;
    let subject = Subject::of(&bundle)?;
    std::fs::create_dir_all(&flags.cache).map_err(at(&flags.cache))?;
    let begun = Instant::now();
    let budget = minutes(flags.minutes);
    let more = || budget.is_none_or(|budget| begun.elapsed() < budget);
    let slices = grid::measure(&subject, &flags.decoders, &flags.cache, flags.pieces, &more)?;
    let grid = grid::grid(&subject, &slices);
    if let Some(path) = &flags.json {
        let json =
            serde_json::to_vec_pretty(&grid).expect("a grid has no map keys that JSON cannot hold");
        std::fs::write(path, json).map_err(at(path))?;
    }
    say(&grid.text())?;
    if flags.into_card {
        let key = secret_key(flags.key.as_deref())?;
        let digest = add_grid(&bundle, &grid, &key)?;
        write_public(&flags.public_key, &key)?;
        say(&format!("{digest} {}", flags.bundle.display()))?;
    }
    Ok(())
}

fn minutes(count: Option<u32>) -> Option<Duration> {
    count.map(|minutes| Duration::from_secs(60 * u64::from(minutes)))
}
