//! `trackscan-worker`: one process per device, the only one with libtorch.
//!
//! Started by the agent with a socket as descriptor 3 it serves: PCM in, scores out, until the agent says stop or is
//! gone. Started by a person it looks at devices and bundles, and trains, calibrates and evaluates them. It opens no
//! network connection and decides no verdict.

mod args;
mod bundles;
mod devices;
mod serve;

use anyhow::Context;
use args::{Args, Command};
use clap::Parser;
use runtime::telemetry::{self, LogFormat};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Args::parse()) {
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
        Command::Training(command) => Ok(models::train::command::run(&command)?),
    }
}
