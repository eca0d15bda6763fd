//! `trackscan-worker`: one process per device, the only one with libtorch.
//!
//! Started by the agent with a socket as descriptor 3 it serves: PCM in, scores out, until the agent says stop or is
//! gone. Started by a person it looks at devices and bundles, measures, and trains, calibrates, evaluates and
//! converts. It opens no network connection and decides no verdict.

mod args;
mod bundles;
mod convert;
mod devices;
mod serve;

use anyhow::Context;
use args::{Args, Command};
use clap::Parser;
use models::train::command::CommandError;
use runtime::telemetry::{self, LogFormat};
use std::io::Write as _;
use std::process::ExitCode;
use types::Problem;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Read { what }) = args.command {
        // Before any log: it has nothing to write to.
        convert::reader::run(what);
    }
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whatever the log's filter lets through, whoever started this sees why it ended. Nobody may be left to see it.
            let _unheard = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    telemetry::logs(LogFormat::Text, &args.log).context("setting up logs")?;
    match args.command.unwrap_or(Command::Serve(args.serve)) {
        Command::Serve(serve) => serve::run(&serve),
        Command::Devices => devices::run(),
        Command::Bundle { command } => bundles::run(command),
        Command::Bench(bench) => Ok(models::bench::run(&bench)?),
        Command::Read { what } => convert::reader::run(what),
        Command::Training(command) => models::train::command::run(&command).map_err(coded),
    }
}

/// A refusal that has a stable code, with the code before its words.
fn coded(error: CommandError) -> anyhow::Error {
    match error.code() {
        Some(code) => anyhow::Error::new(Problem::of(code, &error)),
        None => anyhow::Error::new(error),
    }
}
