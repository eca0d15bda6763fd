//! The coordinator's process, told in order: read the settings, set up logs and metrics, start, serve until the end is
//! asked for, drain, and say how it ended. Where its first words are those of a restore or a probe, it does that instead, and serves nobody.

use std::process::ExitCode;

use coordinator::Coordinator;
use coordinator::probe;
use coordinator::restore::{self, Asked};
use coordinator::settings::{PROGRAM, Raw, Settings};
use runtime::config::Loaded;
use runtime::process;
use types::Problem;

fn main() -> ExitCode {
    match restore::words(std::env::args_os()) {
        Ok((None, args)) => match probe::words(args) {
            (None, args) => process::main_of(&PROGRAM, args, run),
            (Some(depth), args) => {
                process::main_of(&PROGRAM, args, |loaded| probe::run(loaded, depth))
            }
        },
        Ok((Some(asked), args)) => {
            process::main_of(&PROGRAM, args, |loaded| rebuild(loaded, asked))
        }
        Err(problem) => process::refuse(&PROGRAM, &problem),
    }
}

fn rebuild(loaded: &Loaded<Raw>, asked: Asked) -> Result<(), Problem> {
    let settings = Settings::check(loaded)?;
    let threads = process::threads(settings.log_format, &settings.log)?;
    let rebuilt = threads.block_on(restore::run(settings, asked))?;
    process::rebuilt(rebuilt);
    Ok(())
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
