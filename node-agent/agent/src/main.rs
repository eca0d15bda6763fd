//! The node agent's process, told in order: read the settings, set up logs and metrics, take the data folder, look for
//! devices, start the node, work until the end is asked for, drain, and say how it ended.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use agent::settings::{PROGRAM, Raw, Settings};
use agent::{Ended, Equipment, FleetClock, GrpcCoordinator, Node};
use runtime::config::Loaded;
use runtime::process;
use rustix::fs::{FlockOperation, flock};
use storage::Storage;
use types::{Code, Problem};

fn main() -> ExitCode {
    process::main(&PROGRAM, run)
}

fn run(loaded: &Loaded<Raw>) -> Result<(), Problem> {
    let settings = Settings::check(loaded)?;
    let threads = process::threads(settings.log_format, &settings.log)?;
    let folder = &settings.node.data;
    let locked = process::once_freed(async || lock(folder));
    let _held_until_the_end = threads.block_on(locked)?;
    let devices = settings
        .device
        .pick(settings.node.dtype, agent::devices(&settings.node.worker)?)?;
    let outcome = threads.block_on(work(settings, devices));
    // Slots wait for their decoders and nothing else; the process's end ends both.
    threads.shutdown_background();
    outcome
}

async fn work(settings: Settings, devices: Vec<types::Device>) -> Result<(), Problem> {
    let shutdown = process::attend(settings.metrics, &PROGRAM).await?;
    let storage =
        Storage::connect(&settings.storage).map_err(|error| Problem::of(error.code(), &error))?;
    let names = devices.iter().map(ToString::to_string).collect();
    let clock = FleetClock::default();
    let coordinator = GrpcCoordinator::new(
        settings.coordinator,
        settings.node.name.clone(),
        names,
        clock.clone(),
    )
    .map_err(|error| Problem::of(Code::ConfigInvalid, &error))?;
    tracing::info!(node = %settings.node.name, devices = devices.len(), decoders = settings.node.decoders, "node starts");
    let equipment = Equipment {
        settings: settings.node,
        devices,
        storage,
        coordinator: Arc::new(coordinator),
        clock,
    };
    let node = Node::start(equipment)?;
    process::ready(None);
    match node.run(shutdown).await? {
        Ended::Asked => {}
        Ended::Drained => process::drained(),
    }
    Ok(())
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
