//! Serving an agent: the loop is `engine::serve`, the engine is `models::TorchEngine`.

use crate::args::Serve;
use anyhow::{Context, ensure};
use engine::Engine as _;
use models::TorchEngine;
use std::fs;
use types::DeviceKind;

/// Serves the agent at descriptor 3 until it says stop or is gone.
///
/// # Errors
/// When there is no agent, or serving ended otherwise than asked for.
pub(crate) fn run(options: &Serve) -> anyhow::Result<()> {
    let socket = fs::read_link("/proc/self/fd/3").unwrap_or_default();
    ensure!(
        socket.to_string_lossy().starts_with("socket:"),
        "no agent is at descriptor 3; `node-agent` starts workers, see --help for what to do by hand"
    );
    engine::serve(|wanted| {
        if wanted.device == DeviceKind::Cpu {
            // Before libtorch starts its threads, which take after this one.
            audio::turns::take_long().unwrap_or_else(|error| tracing::debug!(%error, "long turns refused"));
        }
        let engine = TorchEngine::load(wanted, options.threads)?;
        tracing::info!(bundle = %wanted.bundle.short(), device = %engine.info().device, "bundle loaded");
        Ok(engine)
    })
    .context("serving the agent")
}
