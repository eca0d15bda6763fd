//! What the command line of the worker says.

use crate::convert::reader::What;
use bundle::{PublicKey, Segments};
use clap::{Parser, Subcommand};
use std::num::NonZeroU32;
use std::path::PathBuf;
use types::Dtype;

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
    /// Make keys; sign, verify and convert bundles.
    Bundle {
        /// What to do with them.
        #[command(subcommand)]
        command: Bundle,
    },
    /// Measure a bundle's stages on one device, by batch: decoding, mel, screen, residual, the whole path.
    Bench(models::bench::Bench),
    /// Parse one untrusted file in a sandbox, from standard input; `bundle convert` starts it.
    #[command(hide = true)]
    Read {
        /// What the file is.
        what: What,
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
    /// Make a bundle with a residual from a separator's published file, off-line.
    ///
    /// The file is parsed in a sandbox and never run. Everything but the residual comes from another bundle; what is written is for demonstration
    /// until it is calibrated.
    Convert(Box<Convert>),
}

/// How a separator is converted.
#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// The published file (`.safetensors`, `.th`), the bag that names it (`.yaml`), or the folder that holds either.
    #[arg(long)]
    pub(crate) from: PathBuf,
    /// Folder for the bundle; it must not exist yet, or be empty.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// The bundle that the screen and all else comes from.
    #[arg(long)]
    pub(crate) base: PathBuf,
    /// Public keys that may have signed that bundle.
    #[arg(
        long,
        env = "TRACKSCAN_TRUSTED_KEY",
        required = true,
        num_args = 1,
        value_delimiter = ','
    )]
    pub(crate) trusted_key: Vec<PublicKey>,
    /// File with the key that signs the new bundle; without it the bundle is left unsigned.
    #[arg(long)]
    pub(crate) key: Option<PathBuf>,
    /// The new bundle's name; that of the base where nothing is said.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The new bundle's version; one above that of the base where nothing is said.
    #[arg(long)]
    pub(crate) bundle_version: Option<u64>,
    /// Which segments of a track are separated: `all`, or so many, spread over the track's energy.
    #[arg(long, default_value = "all", value_parser = segments)]
    pub(crate) segments: Segments,
    /// Share of a segment that the next one covers too.
    #[arg(long, default_value_t = 0.25)]
    pub(crate) overlap: f64,
    /// How far a stem may differ from single precision on a processor, as DTYPE=NUMBER: largest difference over largest value.
    /// Single precision has 1e-4 where nothing is said; another format without one is not run.
    #[arg(long, num_args = 1, value_delimiter = ',', value_parser = epsilon)]
    pub(crate) epsilon: Vec<EpsilonOf>,
}

/// An epsilon as stated on the command line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct EpsilonOf {
    pub(crate) dtype: Dtype,
    pub(crate) epsilon: f64,
}

fn segments(text: &str) -> Result<Segments, String> {
    if text == "all" {
        return Ok(Segments::All);
    }
    let count = text.parse::<NonZeroU32>();
    let count = count.map_err(|_| "neither `all` nor a number above zero".to_owned())?;
    Ok(Segments::Spread { count: count.get() })
}

fn epsilon(text: &str) -> Result<EpsilonOf, String> {
    let parts = text.split_once('=').and_then(|(dtype, number)| {
        Some(EpsilonOf {
            dtype: dtype.parse().ok()?,
            epsilon: number.parse().ok()?,
        })
    });
    parts.ok_or_else(|| "not DTYPE=NUMBER, such as bf16=0.02".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn segments_and_epsilons_are_words_that_mean_something_or_are_refused() {
        assert_eq!(segments("all"), Ok(Segments::All));
        assert_eq!(segments("8"), Ok(Segments::Spread { count: 8 }));
        for text in ["", "0", "-1", "every", "8.5"] {
            assert!(segments(text).is_err(), "{text}");
        }
        let stated = epsilon("bf16=0.02").unwrap();
        assert_eq!((stated.dtype, stated.epsilon), (Dtype::Bf16, 0.02));
        for text in ["", "bf16", "bf16=", "i8=0.1", "=1"] {
            assert!(epsilon(text).is_err(), "{text}");
        }
    }

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
