//! A folder with the binaries of one version. Its processes are started by `site`.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a folder must hold: everything that a small scan runs.
const BINARIES: [&str; 5] = [
    "coordinator",
    "node-agent",
    "scanctl",
    "stub-worker",
    "trackscan-decoder",
];

/// The binaries of one version.
#[derive(Debug, Clone)]
pub struct Build {
    folder: PathBuf,
    /// As its scanctl says.
    pub version: String,
}

impl Build {
    /// The build in a folder.
    ///
    /// # Errors
    /// Where a binary is missing or scanctl does not say its version.
    pub fn open(folder: &Path) -> Result<Self> {
        for name in BINARIES {
            let path = folder.join(name);
            ensure!(path.is_file(), "there is no binary `{}`", path.display());
        }
        let said = Command::new(folder.join("scanctl"))
            .arg("--version")
            .output()
            .with_context(|| format!("run scanctl in `{}`", folder.display()))?;
        let said = String::from_utf8(said.stdout)?;
        let version = said.split_whitespace().nth(1);
        Ok(Self {
            folder: folder.to_owned(),
            version: version
                .with_context(|| format!("find a version in `{said}`"))?
                .to_owned(),
        })
    }

    /// The build beside the running program.
    ///
    /// # Errors
    /// Where none of the folders above it holds one.
    pub fn beside_this() -> Result<Self> {
        let own = std::env::current_exe()?;
        let folder = own
            .ancestors()
            .find(|folder| folder.join("scanctl").is_file())
            .context("find the binaries of this version: run `make build`")?;
        Self::open(folder)
    }

    /// A binary.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
