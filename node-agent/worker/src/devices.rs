//! Listing this machine's devices, for people and for an agent that picks one.

use std::io::{self, Write as _};

/// Prints the devices as a JSON array, GPUs first.
///
/// # Errors
/// When stdout is gone.
pub(crate) fn run() -> anyhow::Result<()> {
    let devices = models::device::list();
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &devices)?;
    writeln!(out)?;
    Ok(())
}
