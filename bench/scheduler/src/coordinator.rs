//! A coordinator as a process of its own, over a folder on a real disk, with its default settings: found ready by the line
//! that it reports, looked at through `/proc`, killed without a word.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use tempfile::TempDir;
use types::Report as Said;

use crate::machine::{self, Usage};

/// Name under which the folder with the manifest is a source.
pub(crate) const SOURCE: &str = "bench";
/// The manifest in it.
pub(crate) const MANIFEST: &str = "tracks.csv";

/// A data folder with a bundle and a manifest of so many tracks.
pub(crate) struct World {
    root: TempDir,
    binary: PathBuf,
}

/// A running coordinator.
pub(crate) struct Coordinator {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From its start to the line that says it answers.
    pub(crate) started_in: Duration,
}

impl World {
    /// Prepares a folder beside the binaries, which is no file system in memory where those are not.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn new(binaries: &Path, tracks: u32) -> anyhow::Result<Self> {
        let binary = binaries.join("coordinator");
        anyhow::ensure!(
            binary.is_file(),
            "`{}` is not there; build it with `cargo build --release -p coordinator`",
            binary.display()
        );
        let root = tempfile::tempdir_in(binaries).context("make a folder beside the binaries")?;
        let world = Self { root, binary };
        std::fs::create_dir(world.source()).context("make a source")?;
        let manifest = world.source().join(MANIFEST);
        std::fs::write(manifest, manifest_text(tracks)).context("write a manifest")?;
        let (manifest, contents) = (bundle::sample::manifest(), bundle::sample::contents());
        bundle::write(&world.bundle(), manifest, &contents, &bundle::sample::key())
            .context("write a bundle")?;
        Ok(world)
    }

    /// Where all of it lies.
    pub(crate) fn folder(&self) -> &Path {
        self.root.path()
    }

    /// The folder that a coordinator here has as its storage.
    pub(crate) fn storage(&self) -> PathBuf {
        self.root.path().join("data/storage")
    }

    /// Bytes of the store's files.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn store_bytes(&self) -> anyhow::Result<u64> {
        machine::folder_bytes(&self.root.path().join("data/store"))
    }

    /// Starts a coordinator and waits until it says that it answers.
    ///
    /// # Errors
    /// When it ends before; its log is in the folder.
    pub(crate) fn start(&self) -> anyhow::Result<Coordinator> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.root.path().join("coordinator.log"));
        let key = bundle::sample::key().public().to_string();
        let begun = Instant::now();
        let mut child = Command::new(&self.binary)
            .arg("--data")
            .arg(self.root.path().join("data"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--metrics",
                "off",
                "--trusted-key",
                &key,
            ])
            .arg("--default-bundle")
            .arg(self.bundle())
            .arg("--source")
            .arg(format!("{SOURCE}={}", self.source().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.context("open the coordinator's log")?)
            .spawn()
            .context("start the coordinator")?;
        let stdout = child.stdout.take().context("its stdout is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("read its report")?;
        let started_in = begun.elapsed();
        let said: Said = serde_json::from_str(&line).context("it reports in JSON")?;
        let Said::Ready {
            listening: Some(address),
        } = said
        else {
            anyhow::bail!("the coordinator did not start: {line}");
        };
        Ok(Coordinator {
            child,
            address,
            started_in,
        })
    }

    fn source(&self) -> PathBuf {
        self.root.path().join("source")
    }

    fn bundle(&self) -> PathBuf {
        self.root.path().join("bundle")
    }
}

impl Coordinator {
    /// What it uses now.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        machine::usage(self.child.id())
    }

    /// SIGKILL, and the wait for its end.
    ///
    /// # Errors
    /// When it cannot be killed or waited for.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill the coordinator")?;
        self.child.wait().context("wait for its end")?;
        Ok(())
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        // Where it was killed already both find nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tracks that are names only: nobody here opens one.
fn manifest_text(tracks: u32) -> String {
    let mut text = String::from("track_id,key\n");
    for track in 0..tracks {
        text.push_str(&format!("t{track},{:03}/{track:08}.flac\n", track / 1_000));
    }
    text
}
