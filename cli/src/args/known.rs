//! The commands on tracks of which the truth is known. A part of the command tree; performs nothing.

use super::values::prior;
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::PathBuf;

/// Flags of `evaluate`.
#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    #[command(flatten)]
    pub(crate) known: Known,
}

/// Flags of `calibrate`.
#[derive(Debug, Args)]
pub(crate) struct Calibrate {
    #[command(flatten)]
    pub(crate) known: Known,
    /// Folder of the bundle that the job was scanned with.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: PathBuf,
    /// File with the secret key that signs the new version: 64 hexadecimal digits.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Folder for the new version, which must not be there yet.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Tier from which on a track is `likely_ai`; that of the bundle unless given.
    #[arg(long, value_name = "TIER", value_parser = tiers())]
    pub(crate) likely_ai_tier: Option<String>,
    /// Verdicts of the new version may be used on real catalogues. Without it, they may where those of the bundle may.
    #[arg(long)]
    pub(crate) production: bool,
}

/// The tiers that can be fitted, by their names.
fn tiers() -> PossibleValuesParser {
    evaluation::tiers::TIERS.map(|(name, _)| name).into()
}

/// What both take.
#[derive(Debug, Args)]
pub(crate) struct Known {
    /// Published job, its unique beginning, or `last`.
    #[arg(required_unless_present = "folder")]
    pub(crate) job: Option<String>,
    /// Folder of the labelled tracks, for small sets: the cluster imports it and separates every track first, which takes the
    /// place of a job. The coordinator must see the folder under this name. The same folder again is not scanned again.
    #[arg(long, value_name = "DIR", conflicts_with = "job")]
    pub(crate) folder: Option<PathBuf>,
    /// CSV of known tracks: `track_id` or `key`, `label` (human or ai), and where they are known `artist`, `label_name`, `genre`,
    /// `isrc` and `split` (calibrate or test).
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: PathBuf,
    /// Share of ai tracks that probabilities suppose, between 0 and 1; that of the bundle unless given.
    #[arg(long, value_name = "SHARE", value_parser = prior)]
    pub(crate) prior: Option<f64>,
    /// Seed by which tracks are split in two sides, by artist, else label, else content. `calibrate` fits on one side and counts on
    /// the other; its seed is 1 unless given. `evaluate` looks at the side that such a `calibrate` counts on, or at all tracks.
    #[arg(long, value_name = "N")]
    pub(crate) split_seed: Option<u64>,
    /// File for the same as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// File for the same as one HTML page with reliability plots.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}
