//! The operator of the run: scanctl on a host of its own, as a person would use it. It submits, looks and verifies; it repairs nothing.

use anyhow::{Context, Result, ensure};
use cluster::{Program, Shell};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How long one command may take, as scanctl reads it: it looks for a leader for fifteen seconds by itself.
const PATIENCE: &str = "60s";

/// Runs scanctl.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    shell: Shell,
    scanctl: PathBuf,
    addresses: String,
}

impl Operator {
    pub(crate) fn new(shell: Shell, scanctl: &Path, addresses: &str) -> Self {
        Self {
            shell,
            scanctl: scanctl.to_owned(),
            addresses: addresses.to_owned(),
        }
    }

    /// The answer of a command in JSON.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<Value> {
        let said = self.run(&[words, &["-o", "json"]].concat())?;
        serde_json::from_str(&said).with_context(|| format!("read what `scanctl {words:?}` says"))
    }

    /// Carries a command out that answers by its exit code.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        let program = Program::new("scanctl", self.scanctl.clone(), words)
            .with("SCANCTL_ADDRESS", &self.addresses)
            .with("SCANCTL_QUIET", "true")
            .with("SCANCTL_TIMEOUT", PATIENCE);
        let output = self.shell.run(&program)?;
        let (out, errors) = (&output.stdout, &output.stderr);
        ensure!(
            output.status.success(),
            "`scanctl {words:?}` ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(errors),
            String::from_utf8_lossy(out)
        );
        Ok(String::from_utf8_lossy(out).into_owned())
    }
}
