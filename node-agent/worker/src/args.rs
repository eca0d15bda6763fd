//! What the command line of the worker says.

use bundle::PublicKey;
use clap::{Parser, Subcommand};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// Screens PCM on one device for the agent; and, by hand, looks after bundles.
#[derive(Debug, Parser)]
#[command(name = "trackscan-worker", version, about)]
pub(crate) struct Args {
    /// What is logged, such as `info` or `warn,models=debug`.
    #[arg(long, env = "TRACKSCAN_LOG", default_value = "info", global = true)]
    pub(crate) log: String,
    /// How it serves, where no command is given.
    #[command(flatten)]
    pub(crate) serve: Serve,
    /// What to do; `serve` where nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What the worker can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the agent that started this process with a socket as descriptor 3.
    Serve(Serve),
    /// Print this machine's devices as JSON.
    Devices,
    /// Make keys, sign and verify bundles.
    Bundle {
        /// What to do with them.
        #[command(subcommand)]
        command: Bundle,
    },
    /// Make labelled data, train, calibrate, evaluate.
    #[command(flatten)]
    Training(models::train::command::Command),
}

/// How a worker serves.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Threads of one tensor operation on the processor; a quarter of the cores where nothing is said.
    #[arg(long, env = "TRACKSCAN_WORKER_THREADS")]
    pub(crate) threads: Option<NonZeroU32>,
}

/// What can be done with bundles.
#[derive(Debug, Subcommand)]
pub(crate) enum Bundle {
    /// Make a signing key: writes the secret half to a file that only its owner reads, prints the public half.
    Key {
        /// The file; it must not exist yet.
        file: PathBuf,
    },
    /// List the folder's files in its manifest, sign it, print its digest.
    Sign {
        /// The bundle's folder.
        dir: PathBuf,
        /// File with the signing key.
        #[arg(long)]
        key: PathBuf,
    },
    /// Check a folder as a coordinator would, then run its canary on the processor.
    Verify {
        /// The bundle's folder.
        dir: PathBuf,
        /// Public keys that may have signed it.
        #[arg(
            long,
            env = "TRACKSCAN_TRUSTED_KEY",
            required = true,
            num_args = 1,
            value_delimiter = ','
        )]
        trusted_key: Vec<PublicKey>,
        /// Lowest accepted versions, as NAME=VERSION.
        #[arg(
            long,
            env = "TRACKSCAN_MIN_BUNDLE",
            num_args = 1,
            value_delimiter = ','
        )]
        min_bundle: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves() {
        let args = Args::try_parse_from(["trackscan-worker", "--threads", "3"]).unwrap();
        assert!(args.command.is_none());
        assert_eq!(args.serve.threads, NonZeroU32::new(3));
        assert!(Args::try_parse_from(["trackscan-worker", "--threads", "0"]).is_err());
    }
}
