//! The commands of `admin`.

use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Commands for those who run an installation.
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Write a copy of the store's records, for `admin restore`. What storage holds is not in it.
    Backup(Backup),
    /// Make the store's records anew from a backup and from what storage holds. No coordinator may run.
    Restore {
        /// The backup.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        offline: Offline,
    },
    /// Make the store's records anew from what storage holds alone. No coordinator may run.
    Rebuild(Offline),
    /// Show who leads, and what each coordinator says of it whose address is given.
    Leader,
    /// Count the part objects that nothing names, or remove those that may go.
    Gc {
        /// Remove what was an orphan a while ago too, and mark the rest.
        #[arg(long)]
        apply: bool,
    },
    /// What the coordinator's core was told and did.
    #[command(subcommand)]
    Journal(Journal),
}

/// Flags of `admin backup`.
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
pub(crate) struct Backup {
    #[command(subcommand)]
    pub(crate) command: Option<BackupCommand>,
    /// File to write, or a folder in which it is named by the time.
    #[arg(long, value_name = "FILE|DIR", required = true)]
    pub(crate) out: Option<PathBuf>,
}

/// Commands on a backup.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Say what a backup holds, and whether it is whole.
    Verify {
        /// The backup.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Flags of a command that runs the coordinator's binary in the place of a coordinator.
#[derive(Debug, Args)]
pub(crate) struct Offline {
    /// Replace the records that stand in the store.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Go on although the storage has no mark of the store whose records are replaced: what its own storage held is then lost.
    #[arg(long)]
    pub(crate) ignore_missing_marks: bool,
    /// The coordinator's data folder, as its flag `--data`.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The coordinator's configuration file, as its flag `--config`.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Further flags of the coordinator, those that name its store and storage above all; its variables hold too.
    #[arg(last = true, value_name = "COORDINATOR-FLAG")]
    pub(crate) flags: Vec<OsString>,
}

/// Commands on the journal, which a coordinator writes when started with `--journal DIR`.
#[derive(Debug, Subcommand)]
pub(crate) enum Journal {
    /// Write the journal of the coordinator's reign up to now, for `trackscan-sim replay --journal FILE`.
    Export {
        /// File to write, which is replaced once the new one is whole; stdout unless given.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}
