//! The command tree: every command, argument and flag of scanctl, each with its help. Called once by `main`; performs
//! nothing.

mod admin;
mod known;
mod misuse;
mod scan;
mod values;
mod variables;

use crate::report::CARDS_MAX;
pub(crate) use admin::{Admin, Backup, BackupCommand, Journal, Offline};
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use known::{Calibrate, Evaluate, Known};
pub(crate) use misuse::misuse;
pub(crate) use scan::{DeviceKind, Gate, Lane, Rank, Retry, Scan, Stages, Submit};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use types::SourceName;
use values::{duration, loopback, metrics, source, when};
pub(crate) use variables::{parse, tree};

/// Scans whole music catalogues for machine-made recordings on the GPUs you own.
#[derive(Debug, Parser)]
#[command(
    name = "scanctl",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Where the coordinator listens.
    #[arg(
        long,
        global = true,
        default_value = "http://127.0.0.1:7700",
        value_name = "URL"
    )]
    pub(crate) address: String,
    /// Whose data the command touches.
    #[arg(long, global = true, default_value = "default")]
    pub(crate) tenant: String,
    /// Who you are, for the audit trail.
    #[arg(long, global = true, default_value = "local")]
    pub(crate) actor: String,
    /// How data is printed on stdout.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// How long to wait for an answer or, where the command waits for a job, for its end: `30s`, `10m`, `2h`. An answer has
    /// 30 seconds unless given; waiting for a job has no bound unless given.
    #[arg(long, global = true, value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
    /// No progress on stderr.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// When to colour what people read.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON document, by the committed schema of the command.
    Json,
    /// The same document as YAML.
    Yaml,
    /// Comma-separated values with a header.
    Csv,
    /// Names only, one a line, for scripts.
    Name,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a coordinator and an agent for this machine in the foreground.
    Up(Up),
    /// Check this machine and the cluster, and say how to mend what is wrong.
    Doctor(Doctor),
    /// Named lists of tracks.
    #[command(subcommand)]
    Catalog(Catalog),
    /// Scans of a catalog.
    #[command(subcommand)]
    Scan(Scan),
    /// Published results.
    #[command(subcommand)]
    Result(Results),
    /// Say what a bundle is worth on tracks of which the truth is known, by the rows of a finished job.
    Evaluate(Evaluate),
    /// Make a new version of a bundle whose calibration and thresholds are fitted on tracks of which the truth is known.
    Calibrate(Calibrate),
    /// Machines that scan.
    #[command(subcommand)]
    Node(Node),
    /// Signed folders of weights and rules.
    #[command(subcommand)]
    Bundle(Bundle),
    /// Running an installation.
    #[command(subcommand)]
    Admin(Admin),
    /// Say what an error, reason or warning code means and what to do.
    Explain {
        /// The code, such as UNSUPPORTED_CODEC; without one, all are listed.
        #[arg(value_name = "CODE")]
        code: Option<String>,
    },
    /// Print the completion script of a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the versions of scanctl and of the binaries beside it.
    Version,
}

/// Where `up` keeps its data unless told.
const DATA: &str = "trackscan-data";

/// Flags of `up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Folder for state, results and logs; `up` makes it where there is none.
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub(crate) data: PathBuf,
    /// Compute device.
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    pub(crate) device: Device,
    /// A folder of music that catalogs may name; repeatable.
    #[arg(long = "source", value_name = "NAME=DIR", value_parser = source)]
    pub(crate) sources: Vec<(SourceName, PathBuf)>,
    /// Address of the coordinator, on loopback; port 0 takes a free one, which `up` prints.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700", value_parser = loopback)]
    pub(crate) listen: SocketAddr,
    /// Where the coordinator's metrics are served, or `off`.
    #[arg(long, value_name = "ADDR", default_value = "off", value_parser = metrics)]
    pub(crate) metrics: String,
    /// Where the agent's metrics are served, or `off`.
    #[arg(long, value_name = "ADDR", default_value = "off", value_parser = metrics)]
    pub(crate) node_metrics: String,
    /// Name of this machine's node.
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub(crate) node: types::NodeId,
    /// Decoder processes; 0 means one fewer than processors, at least one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) decoders: usize,
    /// Bundle to register, and to use where a scan names none. Without it, the one that ships with scanctl is registered
    /// where no other is.
    #[arg(long, value_name = "DIR")]
    pub(crate) default_bundle: Option<PathBuf>,
    /// Public key (64 hex digits) whose bundles are trusted; repeatable. The key of the demonstration bundle is trusted
    /// when none is given; given others, that bundle is not used.
    #[arg(long = "trusted-key", value_name = "HEX")]
    pub(crate) trusted_keys: Vec<String>,
    /// Lowest version accepted of a bundle; repeatable.
    #[arg(long = "min-bundle", value_name = "NAME=VERSION")]
    pub(crate) min_bundles: Vec<String>,
    /// Write each event of the coordinator's core into this folder, for `trackscan-sim replay --journal`.
    #[arg(long, value_name = "DIR")]
    pub(crate) journal: Option<PathBuf>,
    /// Seconds between two flushes of finished tracks.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) flush_secs: Option<u32>,
    /// Number format of the devices: f32, tf32, bf16 or f16; a processor has f32 alone.
    #[arg(long, value_name = "DTYPE", default_value = "f32")]
    pub(crate) dtype: types::Dtype,
}

/// Which compute device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// A GPU where there is one, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(subcommand)]
    pub(crate) command: Option<DoctorCommand>,
    /// Check this machine only; call no coordinator.
    #[arg(long)]
    pub(crate) client: bool,
    /// Folder for state, results and logs; `up` makes it where there is none.
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub(crate) data: PathBuf,
}

/// What else a doctor can look at.
#[derive(Debug, Subcommand)]
pub(crate) enum DoctorCommand {
    /// Ask the storage what it can promise and what not, and say what each lack means. What is put for it is removed again.
    Storage(StorageDoctor),
}

/// Flags of `doctor storage`.
#[derive(Debug, Args)]
pub(crate) struct StorageDoctor {
    /// Ask only what a coordinator asks when it starts: a few small requests. All of it takes some ten megabytes.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Ask this place from this machine, by the coordinator's binary, in the place of the one that the coordinator uses; no
    /// coordinator needs to run. A URL such as s3://BUCKET/PREFIX?credentials=file:/PATH: it names where credentials are
    /// kept and never holds one.
    #[arg(long, value_name = "URL")]
    pub(crate) storage: Option<String>,
    /// Flags of the coordinator, such as --config FILE: the place that they name is asked from this machine; its variables hold
    /// too.
    #[arg(last = true, value_name = "COORDINATOR-FLAG")]
    pub(crate) flags: Vec<OsString>,
}

/// Commands on catalogs.
#[derive(Debug, Subcommand)]
pub(crate) enum Catalog {
    /// Read a folder, CSV or M3U8 into an immutable snapshot; every rejected row is reported.
    Import {
        /// Name of the catalog; made where there is none.
        name: String,
        /// A path on the coordinator's machine, or a key within --source.
        path: OsString,
        /// Source by name; without it, the one that holds the path.
        #[arg(long)]
        source: Option<String>,
        /// What stands at the path.
        #[arg(long, value_enum, default_value_t = ImportFormat::Auto)]
        format: ImportFormat,
    },
    /// List catalogs.
    Ls,
    /// Show a catalog and its snapshots.
    Get {
        /// The catalog.
        name: String,
    },
    /// List the rows that an import refused, with line and reason.
    Rejected {
        /// The catalog.
        name: String,
        /// Snapshot digest or its beginning; the newest unless given.
        #[arg(long)]
        snapshot: Option<String>,
    },
}

/// What an import reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// Decided by what stands there.
    Auto,
    /// Every regular file below a folder.
    Folder,
    /// CSV with a header.
    Csv,
    /// M3U8 playlist.
    M3u8,
}

/// Commands on results.
#[derive(Debug, Subcommand)]
pub(crate) enum Results {
    /// List published results, newest first.
    Ls,
    /// Show the rows of a result, or one of them.
    Get {
        /// Job, its unique beginning, or `last`.
        job: String,
        /// One track by id or key, with more of its row; thumbnail, embedding, mean and deviation are in the Parquet export.
        track: Option<String>,
        /// Only rows of this verdict; repeatable.
        #[arg(long = "verdict", value_name = "VERDICT")]
        verdicts: Vec<types::Verdict>,
        /// At most this many rows.
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        limit: usize,
        /// CSV with the columns `key` and `truth`: what is known of each track, shown beside its verdict.
        #[arg(long, value_name = "FILE")]
        truth: Option<PathBuf>,
    },
    /// Write a result to stdout or a file.
    Export {
        /// Job, its unique beginning, or `last`.
        job: String,
        /// File format.
        #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
        format: ExportFormat,
        /// File to write, which is replaced once the new one is whole; stdout unless given.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Write a result as one HTML file that needs nothing else: numbers, bounds, a table, a card for each of the first tracks.
    Report(Report),
    /// Recount and rehash a result against its snapshot.
    Verify {
        /// Job, its unique beginning, or `last`.
        job: String,
    },
    /// Throughput per device and stage, and what binds; also while the job runs.
    Summary {
        /// Job, its unique beginning, or `last`.
        job: String,
    },
}

/// Flags of `result report`.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Job, its unique beginning, or `last`.
    pub(crate) job: String,
    /// File to write, which is replaced once the new one is whole; /dev/stdout for a pipe.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Cards of the tracks with the most evidence, at most 2000.
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u16).range(..=i64::from(CARDS_MAX)))]
    pub(crate) cards: u16,
}

/// File format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// CSV with a header; cells that a spreadsheet would run are made harmless.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Parquet.
    Parquet,
}

/// Commands on nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List nodes.
    Ls,
    /// Show a node with its devices, its grants, and why it does no work.
    Get {
        /// The node.
        name: String,
    },
    /// Say why a node does no work, or less than it could.
    Explain {
        /// The node.
        name: String,
    },
    /// Let a node take nothing new; what it has it finishes.
    Cordon {
        /// The node.
        name: String,
    },
    /// Let a cordoned or draining node take work again.
    Uncordon {
        /// The node.
        name: String,
    },
    /// Let a node give back what it has not begun, finish the rest, and leave.
    Drain {
        /// The node.
        name: String,
    },
    /// Let nothing count that a node's device made in a span of time; its tracks are scanned again. Published results stay
    /// as they are.
    Revoke(Revoke),
    /// List revocations, newest first.
    Revocations,
}

/// Flags of `node revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The node.
    pub(crate) name: String,
    /// Its device, such as cuda:1; all of its devices unless given.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Begin of the span by the coordinator's clock: a time such as 2026-12-01T18:00:00Z, or a span before now such as 6h.
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) from: i64,
    /// End of the span, itself included; now unless given.
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) to: Option<i64>,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Name of this revocation, so that repeating it with the same span changes nothing; random unless given.
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
}

/// Commands on bundles.
#[derive(Debug, Subcommand)]
pub(crate) enum Bundle {
    /// List bundles.
    Ls,
    /// Show a bundle with its card.
    Get {
        /// Name or digest; the default one unless given.
        bundle: Option<String>,
    },
    /// Rehash a bundle's files and check its signature.
    Verify {
        /// Name or digest; the default one unless given.
        bundle: Option<String>,
    },
}
