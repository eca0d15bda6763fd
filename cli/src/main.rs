//! scanctl, the operator's command line. Parses, calls the coordinator over gRPC, prints, and ends with a stable exit
//! code. It holds no storage credentials, reads no audio and lists no folder: the coordinator does that.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these macros panic where the reader went away; `output` writes both streams"
)]

mod args;
mod bound;
mod client;
mod commands;
mod failure;
mod labelled;
mod output;
mod progress;
mod report;
mod signals;
mod sink;
mod timeline;
mod up;
mod view;
mod way;

use std::process::ExitCode;

/// Parses, runs, and turns the outcome into an exit code: the whole story of the process.
fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(help_or_usage) => return failure::usage(&help_or_usage),
    };
    let ended = commands::run(cli);
    failure::exit(ended)
}
