//! A machine with music, a bundle of both stages and a data folder, and the processes of any build over them.

use crate::build::Build;
use crate::process::{Process, until};
use anyhow::{Context, Result, bail, ensure};
use bundle::{TensorData, Tensors};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use types::{Report, file_url};

/// The rate at which the stub hears, and of each track.
const RATE_HZ: u32 = 16_000;
/// Samples of a track: four seconds, some windows of the stub.
const SAMPLES: u32 = 4 * RATE_HZ;
/// The catalog that all suites scan, and the source that its tracks are of.
pub const CATALOG: &str = "music";

/// A machine.
pub struct Site {
    root: TempDir,
    /// Tracks of its catalog.
    pub tracks: u32,
}

/// A coordinator that answers.
pub struct Coordinator {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Site {
    /// A machine with so many tracks.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn new(tracks: u32) -> Result<Self> {
        let root = tempfile::tempdir()?;
        let site = Self { root, tracks };
        std::fs::create_dir(site.music())?;
        for number in 0..tracks {
            let name = format!("{number:02}.wav");
            std::fs::write(site.music().join(name), wav(number))?;
        }
        let (manifest, mut contents) = bundle::sample::both();
        contents.insert("separator.safetensors".to_owned(), separator());
        let key = bundle::sample::key();
        bundle::write(&site.folder("bundle"), manifest, &contents, &key)?;
        Ok(site)
    }

    /// The folder of its music.
    #[must_use]
    pub fn music(&self) -> PathBuf {
        self.folder("music")
    }

    /// A folder or file of this machine.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Starts a coordinator of a build over the data folder, and waits until it answers.
    ///
    /// # Errors
    /// Where it does not.
    pub fn coordinator(&self, build: &Build, listen: &str) -> Result<Coordinator> {
        let mut command = Command::new(build.binary("coordinator"));
        command.arg("--data").arg(self.folder("data"));
        command.arg("--journal").arg(self.folder("data/journal"));
        command.args(["--listen", listen, "--metrics", "off"]);
        command.args(["--grant-millis", "2000"]);
        command.args(["--source", &self.source()]);
        command.arg("--default-bundle").arg(self.folder("bundle"));
        command.args(["--trusted-key", &trusted()]);
        let process = Process::start(command, &self.folder("coordinator.log"))?;
        let said = process.report()?;
        let Report::Ready {
            listening: Some(address),
        } = said
        else {
            bail!("the coordinator said {said:?}:\n{}", process.log());
        };
        Ok(Coordinator { process, address })
    }

    /// Starts an agent of a build under a name, which also names its folder.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn agent(
        &self,
        build: &Build,
        name: &str,
        at: SocketAddr,
        window_ms: u32,
        more: &[&str],
    ) -> Result<Process> {
        let mut command = Command::new(build.binary("node-agent"));
        command.args(["--coordinator", &format!("http://{at}"), "--node", name]);
        command.arg("--data").arg(self.folder(name));
        command.args(["--storage", &file_url(&self.folder("data/storage"))]);
        command.args(["--device", "auto", "--decoders", "2", "--flush-secs", "1"]);
        command.args(["--metrics", "off", "--accept-sources"]);
        command.args(["--trusted-key", &trusted()]);
        command.arg("--worker").arg(build.binary("stub-worker"));
        command
            .arg("--decoder")
            .arg(build.binary("trackscan-decoder"));
        command.args(more);
        command.env("TRACKSCAN_STUB_WINDOW_MS", window_ms.to_string());
        Process::start(command, &self.folder(&format!("{name}.log")))
    }

    fn source(&self) -> String {
        format!("{CATALOG}={}", self.music().display())
    }
}

fn trusted() -> String {
    bundle::sample::key().public().to_string()
}

/// The commands of a build's scanctl.
#[derive(Debug, Clone)]
pub struct Scanctl {
    build: Build,
    at: SocketAddr,
}

impl Scanctl {
    /// A build's, for the coordinator at an address.
    #[must_use]
    pub const fn new(build: Build, at: SocketAddr) -> Self {
        Self { build, at }
    }

    /// Runs a command, however it ends.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.build.binary("scanctl"));
        command
            .args(arguments)
            .env("SCANCTL_ADDRESS", format!("http://{}", self.at))
            .env("SCANCTL_QUIET", "true");
        Ok(command.output()?)
    }

    /// Runs a command that must succeed, and reads its JSON.
    ///
    /// # Errors
    /// Where it fails or prints none.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(&[arguments, &["-o", "json"]].concat())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "scanctl {arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).with_context(|| format!("scanctl {arguments:?}"))
    }

    /// Imports the machine's music.
    ///
    /// # Errors
    /// Where it fails.
    pub fn import(&self, site: &Site) -> Result<Value> {
        let music = site.music();
        let music = music.to_str().context("a path of UTF-8")?;
        self.json(&["catalog", "import", CATALOG, music])
    }

    /// Submits a job of both stages over all tracks, and gives its name.
    ///
    /// # Errors
    /// Where it is refused.
    pub fn submit(&self) -> Result<String> {
        let submit = ["scan", "submit", "--catalog", CATALOG];
        let how = ["--stages", "both", "--shard-tracks", "16"];
        let submitted = self.json(&[submit, how].concat())?;
        let job = submitted["job"].as_str();
        Ok(job.context("a submitted job has a name")?.to_owned())
    }

    /// The number in a field of a job.
    ///
    /// # Errors
    /// Where the job or the field is not there.
    pub fn count(&self, job: &str, field: &str) -> Result<u64> {
        let job = self.json(&["scan", "get", job])?;
        job[field]
            .as_u64()
            .with_context(|| format!("`{field}` in {job}"))
    }

    /// Waits until a job has so many tracks with a row that counts.
    ///
    /// # Errors
    /// Where it has not within [`crate::process::PATIENCE`].
    pub fn wait_done(&self, job: &str, tracks: u64) -> Result<()> {
        until("tracks that are done", || {
            let done = self.count(job, "tracks_done").ok()?;
            (done >= tracks).then_some(())
        })
    }

    /// Waits until a job is published and checks that its result is whole: each track of the machine once.
    ///
    /// # Errors
    /// Says what it lacks.
    pub fn whole(&self, job: &str, site: &Site) -> Result<Value> {
        self.wait_done(job, site.tracks.into())?;
        let waited = self.run(&["scan", "wait", job, "--timeout", "2m"])?;
        let said = String::from_utf8_lossy(&waited.stderr);
        ensure!(waited.status.success(), "scan wait {job}: {said}");
        let verified = self.json(&["result", "verify", job])?;
        ensure!(verified["ok"] == true, "{verified}");
        ensure!(verified["rows_found"] == site.tracks, "{verified}");
        ensure!(verified["verdicts"]["unscannable"] == 0, "{verified}");
        let rows = self.json(&["result", "get", job])?;
        let rows = rows["rows"].as_array().context("rows")?.iter();
        let ordinals: Vec<u64> = rows.filter_map(|row| row["ordinal"].as_u64()).collect();
        let expected: Vec<u64> = (0..site.tracks.into()).collect();
        ensure!(ordinals == expected, "the rows are of {ordinals:?}");
        Ok(verified)
    }
}

/// Weights of the sample's separator that a coordinator takes: zeros, for the stub computes without any.
fn separator() -> Vec<u8> {
    let shapes = bundle::sample::separator().shapes().into_iter();
    let zeros = shapes.map(|(name, shape)| TensorData {
        name,
        values: vec![0.0; shape.iter().product()],
        shape,
    });
    Tensors(zeros.collect()).to_bytes()
}

/// A 16-bit mono file that no other number gives.
fn wav(number: u32) -> Vec<u8> {
    let step = 2 * number + 31;
    let sample = |at: u32| i16::try_from(at.wrapping_mul(step) % 20_001).unwrap_or(0) - 10_000;
    let data = SAMPLES * 2;
    let mut file = Vec::from(*b"RIFF");
    file.extend((36 + data).to_le_bytes());
    file.extend(*b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend([1_u16, 1].map(u16::to_le_bytes).concat());
    file.extend([RATE_HZ, RATE_HZ * 2].map(u32::to_le_bytes).concat());
    file.extend([2_u16, 16].map(u16::to_le_bytes).concat());
    file.extend(*b"data");
    file.extend(data.to_le_bytes());
    file.extend((0..SAMPLES).flat_map(|at| sample(at).to_le_bytes()));
    file
}

/// Packs folders of a machine into a file, paths as seen from `root`.
///
/// # Errors
/// Where `tar` fails.
pub fn pack(root: &Path, folders: &[&str], to: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    // What each file was called and when it was written says nothing, and would differ each time.
    tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0"]);
    tar.arg("-C").arg(root).arg("-czf").arg(to).args(folders);
    let packed = tar.output().context("run tar")?;
    let said = String::from_utf8_lossy(&packed.stderr);
    ensure!(
        packed.status.success(),
        "pack into `{}`: {said}",
        to.display()
    );
    Ok(())
}
