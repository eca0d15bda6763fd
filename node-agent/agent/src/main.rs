//! The node agent's process, told in order: read the settings, set up logs and metrics, take the data folder, look for
//! devices, start the node, work until the end is asked for, drain, and say how it ended.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use agent::settings::{PROGRAM, Raw, Settings};
use agent::{Equipment, GrpcCoordinator, Node};
use runtime::config::{ConfigError, Loaded};
use runtime::shutdown::Shutdown;
use runtime::telemetry;
use rustix::fs::{FlockOperation, flock};
use storage::Storage;
use types::{Code, Problem};

/// Exit status of a process whose configuration cannot be used: starting it again does not help.
const EXIT_CONFIG: u8 = 2;

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
    let _held_until_the_end = lock(&settings.node.data)?;
    let devices = settings
        .device
        .pick(agent::devices(&settings.node.worker)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Problem::new(Code::Internal, format!("start threads: {error}")))?;
    let outcome = runtime.block_on(work(settings, devices));
    // Slots wait for their decoders and nothing else; the process's end ends both.
    runtime.shutdown_background();
    outcome
}

async fn work(settings: Settings, devices: Vec<types::Device>) -> Result<(), Problem> {
    let shutdown = Shutdown::on_signals();
    let shutdown = shutdown
        .map_err(|error| Problem::new(Code::Internal, format!("watch signals: {error}")))?;
    telemetry::metrics(settings.metrics, PROGRAM.version)
        .map_err(|error| Problem::new(Code::AddressInUse, chain(&error)))?;
    let storage = Storage::open(&settings.storage)
        .map_err(|error| Problem::new(error.code(), chain(&error)))?;
    let names = devices.iter().map(ToString::to_string).collect();
    let coordinator =
        GrpcCoordinator::new(&settings.coordinator, settings.node.name.clone(), names)
            .map_err(|error| config_problem(&error))?;
    tracing::info!(node = %settings.node.name, devices = devices.len(), decoders = settings.node.decoders, "node starts");
    let equipment = Equipment {
        settings: settings.node,
        devices,
        storage,
        coordinator: Arc::new(coordinator),
    };
    Node::start(equipment)?.run(shutdown).await
}

/// Takes the data folder for this process.
fn lock(data: &Path) -> Result<File, Problem> {
    let failed = |error: std::io::Error| {
        Problem::new(
            Code::Internal,
            format!("open folder `{}`: {error}", data.display()),
        )
    };
    std::fs::create_dir_all(data).map_err(failed)?;
    let file = File::create(data.join("lock")).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(Problem::new(
            Code::DataLocked,
            format!("lock folder `{}`", data.display()),
        )),
    }
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
        "node-agent: {}: {}\n  {}\n  {}",
        problem.code,
        problem.message,
        problem.code.cause(),
        problem.code.fix()
    );
    if problem.code == Code::ConfigInvalid {
        ExitCode::from(EXIT_CONFIG)
    } else {
        ExitCode::FAILURE
    }
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
