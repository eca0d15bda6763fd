//! Which devices this machine has: asked of the worker's binary, the only one that can open a GPU.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use audio::child::Spawner;
use types::{Code, Device, Problem};

/// How long the worker may take to look: a driver that must be woken takes some seconds.
const PROBE_DEADLINE: Duration = Duration::from_secs(60);
/// Longest list: a machine with more than a thousand devices is none.
const LIST_BYTES_MAX: u64 = 1 << 20;
/// How often the child is asked whether it has ended.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// The devices of this machine, GPUs first. Blocks.
///
/// # Errors
/// `DEVICE_ABSENT` when the worker cannot tell.
pub fn devices(worker: &Path) -> Result<Vec<Device>, Problem> {
    let failed = |cause: String| {
        Problem::new(
            Code::DeviceAbsent,
            format!("ask `{}` for devices: {cause}", worker.display()),
        )
    };
    let mut command = Command::new(worker);
    command
        .arg("devices")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // A driver may hang for long: whatever ends this process ends the child too.
    let spawner = Spawner::start().map_err(|error| failed(error.to_string()))?;
    let mut child = spawner
        .spawn(command, Vec::new())
        .map_err(|error| failed(error.to_string()))?;
    let mut list = Vec::new();
    let out = child
        .stdout
        .take()
        .ok_or_else(|| failed("it has no output".to_owned()))?;
    let reader = std::thread::spawn(move || {
        out.take(LIST_BYTES_MAX)
            .read_to_end(&mut list)
            .map(|_| list)
    });
    let until = Instant::now() + PROBE_DEADLINE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => std::thread::sleep(POLL_EVERY),
            Ok(None) => {
                let _ended_anyway = child.kill();
                return Err(failed("it did not answer in time".to_owned()));
            }
            Err(error) => return Err(failed(error.to_string())),
        }
    };
    if !status.success() {
        return Err(failed(format!("it ended with {status}")));
    }
    let list = reader
        .join()
        .map_err(|_| failed("its output was not read".to_owned()))?;
    let list = list.map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&list)
        .map_err(|error| failed(format!("its list makes no sense: {error}")))
}
