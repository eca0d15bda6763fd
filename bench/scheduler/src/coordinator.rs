//! Coordinators as processes of their own, over a folder on a real disk, with their default settings: found ready by the line
//! that they report, looked at through `/proc`, told to end or killed without a word. Used by whatever measures over gRPC.

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
    /// Storage and the source, where they are not folders here.
    elsewhere: Option<Elsewhere>,
}

/// Storage and the source as URLs.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere {
    /// The storage root.
    pub(crate) storage: String,
    /// The source.
    pub(crate) source: String,
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
        let root = tempfile::tempdir_in(binaries).context("make a folder beside the binaries")?;
        let world = Self {
            root,
            binary: binary(binaries, "coordinator")?,
            elsewhere: None,
        };
        std::fs::create_dir(world.source()).context("make a source")?;
        let manifest = world.source().join(MANIFEST);
        std::fs::write(manifest, manifest_text(tracks)).context("write a manifest")?;
        let (manifest, contents) = (bundle::sample::manifest(), bundle::sample::contents());
        bundle::write(&world.bundle(), manifest, &contents, &bundle::sample::key())
            .context("write a bundle")?;
        Ok(world)
    }

    /// The same with storage and source elsewhere.
    pub(crate) fn with(self, elsewhere: Elsewhere) -> Self {
        Self {
            elsewhere: Some(elsewhere),
            ..self
        }
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

    /// Starts a coordinator over a store of its own and waits until it says that it answers.
    ///
    /// # Errors
    /// When it ends before; its log is in the folder.
    pub(crate) fn start(&self) -> anyhow::Result<Coordinator> {
        self.spawn("data", &[])
    }

    /// Starts a coordinator of that name on an etcd cluster; it answers at once, whoever leads.
    ///
    /// # Errors
    /// When it ends before; its log is in the folder.
    pub(crate) fn start_on(&self, name: &str, etcd: &[String]) -> anyhow::Result<Coordinator> {
        let mut flags = vec!["--store".to_owned(), "etcd".to_owned()];
        for endpoint in etcd {
            flags.extend(["--etcd-endpoint".to_owned(), endpoint.clone()]);
        }
        self.spawn(name, &flags)
    }

    fn spawn(&self, name: &str, flags: &[String]) -> anyhow::Result<Coordinator> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.root.path().join(format!("{name}.log")));
        let key = bundle::sample::key().public().to_string();
        let at = self.addresses();
        let mut command = Command::new(&self.binary);
        command.arg("--data").arg(self.root.path().join(name));
        command.args(["--listen", "127.0.0.1:0", "--metrics", "off"]);
        command.args(["--trusted-key", &key, "--storage", &at.storage]);
        command.arg("--default-bundle").arg(self.bundle());
        command.args(["--source", &format!("{SOURCE}={}", at.source)]);
        command.args(flags).stdin(Stdio::null());
        command.stdout(Stdio::piped());
        command.stderr(log.context("open the coordinator's log")?);
        let begun = Instant::now();
        let child = machine::bound(&mut command)
            .spawn()
            .context("start the coordinator")?;
        ready(child, begun)
    }

    /// Where storage and the source are.
    pub(crate) fn addresses(&self) -> Elsewhere {
        let here = || Elsewhere {
            storage: types::file_url(&self.storage()),
            source: self.source().display().to_string(),
        };
        self.elsewhere.clone().unwrap_or_else(here)
    }

    fn source(&self) -> PathBuf {
        self.root.path().join("source")
    }

    /// The bundle that every coordinator here registers.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.root.path().join("bundle")
    }
}

/// A program that was built.
///
/// # Errors
/// When it is not there.
pub(crate) fn binary(binaries: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = binaries.join(name);
    anyhow::ensure!(
        path.is_file(),
        "`{}` is not there; build it with `cargo build --release`",
        path.display()
    );
    Ok(path)
}

/// Waits for the line that says where it listens.
fn ready(mut child: Child, begun: Instant) -> anyhow::Result<Coordinator> {
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

impl Coordinator {
    /// Asks it to end, and leaves it to end.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn terminate(&self) -> anyhow::Result<()> {
        machine::terminate(self.child.id())
    }

    /// Waits for its end, which was asked for.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(crate) fn wait(mut self) -> anyhow::Result<()> {
        self.child.wait().context("wait for its end")?;
        Ok(())
    }

    /// Kills it, and leaves it to be waited for.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn strike(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill the coordinator")
    }

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
