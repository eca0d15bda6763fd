//! The commands on scans: what is submitted, watched, steered and tried again. A part of the command tree; performs nothing.

use super::values::{memory, share, until};
use clap::{Args, Subcommand, ValueEnum};
use types::Share;

/// Commands on scans.
#[derive(Debug, Subcommand)]
pub(crate) enum Scan {
    /// Submit a job over a catalog.
    Submit(Submit),
    /// Submit a job over the tracks of a published result that failed. Its result is the whole one, with the new rows in it.
    Retry(Retry),
    /// List jobs, newest first.
    Ls,
    /// Show a job.
    Get {
        /// Job, its unique beginning, or `last`.
        job: String,
    },
    /// Print each change of a job until it ends.
    Watch {
        /// Job, its unique beginning, or `last`.
        job: String,
    },
    /// Wait until a job has ended; the exit code says how.
    Wait {
        /// Job, its unique beginning, or `last`.
        job: String,
    },
    /// Grant nothing new of a job; what is in hand still counts.
    Pause {
        /// Job, its unique beginning, or `last`.
        job: String,
    },
    /// Let a paused job go on.
    Resume {
        /// Job, its unique beginning, or `last`.
        job: String,
    },
    /// Change where an open job stands in line; what is not given stays as it is.
    Rank {
        /// Job, its unique beginning, or `last`.
        job: String,
        #[command(flatten)]
        rank: Rank,
    },
    /// Cancel a job that has not begun to publish.
    Cancel {
        /// Job, its unique beginning, or `last`.
        job: String,
        /// Why, for the record.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Say why a job, or a shard of it, stands where it stands.
    Explain {
        /// Job, its unique beginning, or `last`.
        job: String,
        /// Shard, such as 17 or 17.3-512.
        shard: Option<String>,
    },
}

/// Flags of `scan submit`.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The catalog to scan.
    #[arg(long)]
    pub(crate) catalog: String,
    /// Snapshot digest or its beginning; the newest unless given.
    #[arg(long)]
    pub(crate) snapshot: Option<String>,
    /// Bundle by name or digest; the default one unless given.
    #[arg(long)]
    pub(crate) bundle: Option<String>,
    /// Which stages run.
    #[arg(long, value_enum, default_value_t = Stages::Screen)]
    pub(crate) stages: Stages,
    /// Which tracks the screen sends on to the residual; as the bundle says unless given. With `--stages both`.
    #[arg(long, value_enum, value_name = "GATE")]
    pub(crate) gate: Option<Gate>,
    /// Most tracks that may go on to the residual, as a share of the list: 0.05, or 5%. Each shard keeps to it, those nearest to
    /// the gate first; the rest ends inconclusive. Without bound unless given. With `--stages both`.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) max_escalation: Option<Share>,
    /// Give the verdicts of a demonstration bundle instead of withholding them.
    #[arg(long)]
    pub(crate) accept_demonstration: bool,
    /// Leave the mel thumbnails out of the rows.
    #[arg(long)]
    pub(crate) no_thumbnails: bool,
    /// Put the bundle's embedding into the rows where it has one.
    #[arg(long)]
    pub(crate) embeddings: bool,
    /// Tracks per shard; clamp(rows/256, 16, 1024) unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) shard_tracks: Option<u32>,
    #[command(flatten)]
    pub(crate) rank: Rank,
    /// Only nodes whose devices in service are all of this kind.
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) require_device: Option<DeviceKind>,
    /// Only nodes each of whose devices in service has so much memory: `24GiB`, or a number of bytes.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) require_memory: Option<u64>,
    /// Only nodes that have the bundle loaded already.
    #[arg(long)]
    pub(crate) require_loaded: bool,
    /// Name of this request, so that repeating it submits nothing twice; random unless given.
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Wait until the job has ended, with progress; the exit code says how.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Flags of `scan retry`.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// Published job, its unique beginning, or `last`.
    pub(crate) job: String,
    /// The tracks that are `unscannable` there; no others can be tried.
    #[arg(long, required = true)]
    pub(crate) failed: bool,
    #[command(flatten)]
    pub(crate) rank: Rank,
    /// Name of this request, so that repeating it submits nothing twice; random unless given.
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Wait until the job has ended, with progress; the exit code says how.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Where a job stands in line.
#[derive(Debug, Default, Args)]
pub(crate) struct Rank {
    /// How urgent it is, before all else; a new job is `batch` unless given.
    #[arg(long, value_enum, value_name = "LANE")]
    pub(crate) lane: Option<Lane>,
    /// Within the lane of its tenant, higher goes first; a new job has 0 unless given.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// By when the result is wanted: a time such as 2026-12-01T18:00:00Z, or a span from now such as 6h. Among equals the
    /// earlier goes first; nothing ends by it.
    #[arg(long, value_name = "TIME", value_parser = until)]
    pub(crate) deadline: Option<i64>,
}

/// How urgent a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lane {
    /// One track, or few, that somebody waits for.
    Interactive,
    /// New arrivals of a catalog.
    Ingest,
    /// Whole catalogs.
    Batch,
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceKind {
    /// The processor.
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
}

/// Which stages run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stages {
    /// The screen over every track.
    Screen,
    /// The screen, then the residual where the gate says so.
    Both,
}

/// Which tracks go on to the residual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Gate {
    /// Those of which the screen is unsure.
    Unsure,
    /// Those that the screen takes for machine-made, as corroboration.
    Positives,
    /// Both of these.
    Both,
    /// Every track that is heard.
    All,
}
