//! The coordinator's process, told in order: read the settings, set up logs and metrics, start, serve until the end is
//! asked for, drain, and say how it ended.

use std::process::ExitCode;

use coordinator::Coordinator;
use coordinator::settings::{PROGRAM, Raw, Settings};
use runtime::config::{ConfigError, Loaded};
use runtime::shutdown::Shutdown;
use runtime::telemetry;
use types::{Code, Problem};

fn main() -> ExitCode {
    let loaded = match PROGRAM.load::<Raw>() {
        Ok(loaded) => loaded,
        Err(ConfigError::Flags(error)) => error.exit(),
        Err(error) => return fail(&config_problem(&error)),
    };
    if loaded.print_only {
        return print(&loaded);
    }
    match run(&loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(&problem),
    }
}

fn run(loaded: &Loaded<Raw>) -> Result<(), Problem> {
    let settings = Settings::check(loaded)?;
    telemetry::logs(settings.log_format, &settings.log).map_err(|error| config_problem(&error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Problem::new(Code::Internal, format!("start threads: {error}")))?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), Problem> {
    let shutdown = Shutdown::on_signals();
    let shutdown = shutdown
        .map_err(|error| Problem::new(Code::Internal, format!("watch signals: {error}")))?;
    telemetry::metrics(settings.metrics, PROGRAM.version)
        .map_err(|error| Problem::new(Code::AddressInUse, chain(&error)))?;
    let coordinator = Coordinator::start(settings, shutdown).await?;
    coordinator.serve().await
}

#[expect(
    clippy::print_stdout,
    reason = "the configuration that was asked for is this program's data"
)]
fn print(loaded: &Loaded<Raw>) -> ExitCode {
    print!("{}", loaded.print());
    ExitCode::SUCCESS
}

/// Says on stderr why the process ends; logs may not be set up.
fn fail(problem: &Problem) -> ExitCode {
    eprintln!(
        "coordinator: {}: {}\n  {}\n  {}",
        problem.code,
        problem.message,
        problem.code.cause(),
        problem.code.fix()
    );
    ExitCode::FAILURE
}

fn config_problem(error: &dyn std::error::Error) -> Problem {
    Problem::new(Code::ConfigInvalid, chain(error))
}

/// An error with its causes, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
