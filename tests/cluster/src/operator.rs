//! The operator of a suite: scanctl on a host, as a person would use it. It submits, looks and verifies; it repairs nothing.

use crate::host::Shell;
use crate::process::Program;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How long one command may take, as scanctl reads it: it looks for a leader for fifteen seconds by itself.
const PATIENCE: &str = "60s";

/// The same of a command that is given again where it fails: work must not wait for one that asks a coordinator which stands still.
const PATIENCE_OF_ONE_TRY: &str = "10s";

/// A command that ended with another code than 0.
#[derive(Debug)]
pub struct Ended {
    /// With which, as docs/reference/scanctl.md lists them; none where a signal ended it.
    pub code: Option<i32>,
    /// What was asked, and what was said.
    pub said: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Ended {}

/// Runs scanctl.
#[derive(Debug, Clone)]
pub struct Operator {
    shell: Shell,
    scanctl: PathBuf,
    addresses: Vec<String>,
    commands: Arc<AtomicUsize>,
}

impl Operator {
    /// An operator who knows these coordinators, parted by commas.
    #[must_use]
    pub fn new(shell: Shell, scanctl: &Path, addresses: &str) -> Self {
        Self {
            shell,
            scanctl: scanctl.to_owned(),
            addresses: addresses.split(',').map(str::to_owned).collect(),
            commands: Arc::default(),
        }
    }

    /// The answer of a command in JSON.
    ///
    /// # Errors
    /// Where the command fails, or what it says is no JSON.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        self.answer(words, PATIENCE)
    }

    /// The same, soon or not at all.
    ///
    /// # Errors
    /// As [`Operator::ask`].
    pub fn try_ask(&self, words: &[&str]) -> Result<Value> {
        self.answer(words, PATIENCE_OF_ONE_TRY)
    }

    /// Carries a command out that answers by its exit code.
    ///
    /// # Errors
    /// Where it ends with another code than 0, as [`Ended`]; what it said is in the text.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        self.run_within(words, PATIENCE)
    }

    fn answer(&self, words: &[&str], patience: &str) -> Result<Value> {
        let said = self.run_within(&[words, &["-o", "json"]].concat(), patience)?;
        serde_json::from_str(&said).with_context(|| format!("read what `scanctl {words:?}` says"))
    }

    fn run_within(&self, words: &[&str], patience: &str) -> Result<String> {
        let program = Program::new("scanctl", self.scanctl.clone(), words)
            .with("SCANCTL_ADDRESS", &self.addresses())
            .with("SCANCTL_QUIET", "true")
            .with("SCANCTL_TIMEOUT", patience);
        let output = self.shell.run(&program)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let out = text(&output.stdout);
        if !output.status.success() {
            let (status, errors) = (output.status, text(&output.stderr));
            let said = format!("`scanctl {words:?}` ended with {status}: {errors}{out}");
            let code = status.code();
            return Err(Ended { code, said }.into());
        }
        Ok(out)
    }

    /// All addresses, each command beginning with the next: scanctl waits for whom it asks first, and a coordinator that stands still
    /// takes its connection and says nothing.
    fn addresses(&self) -> String {
        let mut addresses = self.addresses.clone();
        let turn = self.commands.fetch_add(1, Ordering::Relaxed);
        addresses.rotate_left(turn % self.addresses.len().max(1));
        addresses.join(",")
    }
}
