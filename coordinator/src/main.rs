//! The coordinator's process, told in order: read the settings, set up logs and metrics, start, serve until the end is
//! asked for, drain, and say how it ended.

use std::process::ExitCode;

use coordinator::Coordinator;
use coordinator::settings::{PROGRAM, Raw, Settings};
use runtime::config::Loaded;
use runtime::process;
use types::Problem;

fn main() -> ExitCode {
    process::main(&PROGRAM, run)
}

fn run(loaded: &Loaded<Raw>) -> Result<(), Problem> {
    let settings = Settings::check(loaded)?;
    let threads = process::threads(settings.log_format, &settings.log)?;
    threads.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), Problem> {
    let shutdown = process::attend(settings.metrics, &PROGRAM).await?;
    let coordinator = Coordinator::start(settings, shutdown).await?;
    process::ready(coordinator.address().ok());
    coordinator.serve().await
}
