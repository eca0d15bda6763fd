//! A cluster of one machine, made by `scanctl up` from the real binaries on a free port of loopback, and scanctl to
//! command it. Dropping it kills `up`; what remains alive after that is a failure of the product, and is checked.

use crate::process::{self, Seen, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// How long processes may take to come up or go: generous, since two busy cores start libtorch slowly.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How to start a cluster.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Arguments of `scanctl up` beyond those that every suite needs.
    pub arguments: Vec<String>,
    /// Variables of all processes.
    pub variables: Vec<(String, String)>,
    /// Where to listen; a free port of loopback unless given.
    pub listen: Option<String>,
    /// Whether `up` begins with SIGHUP ignored, as below `nohup`.
    pub ignores_hangup: bool,
}

/// scanctl as a terminal starts it, or `nohup`: whoever runs a suite may have signals ignored, as a background job has.
#[must_use]
pub fn heeding(ignores_hangup: bool) -> Command {
    let mut command = Command::new("env");
    command.arg(match ignores_hangup {
        true => "--ignore-signal=HUP",
        false => "--default-signal=HUP,INT,TERM",
    });
    command.arg(crate::binaries().join("scanctl"));
    command
}

/// A running `scanctl up`.
pub struct Cluster {
    up: Child,
    data: PathBuf,
    address: String,
    log: PathBuf,
}

impl Cluster {
    /// Starts it over a data folder and waits until its node is ready.
    ///
    /// # Panics
    /// When it does not come up; its log is in the message.
    #[must_use]
    pub fn start(data: &Path, options: &Options) -> Self {
        let mut cluster = Self::launch(data, options);
        cluster.wait_ready();
        cluster
    }

    /// Starts it and returns at once.
    ///
    /// # Panics
    /// When the process cannot be started.
    #[must_use]
    pub fn launch(data: &Path, options: &Options) -> Self {
        std::fs::create_dir_all(data).expect("the data folder can be made");
        let free = || format!("127.0.0.1:{}", free_port());
        let listen = options.listen.clone().unwrap_or_else(free);
        let log = data.join("up.log");
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the log can be written");
        let mut command = heeding(options.ignores_hangup);
        command
            .args(["up", "--data"])
            .arg(data)
            .args(["--listen", &listen])
            .args(committed_bundle(&options.arguments))
            .args(&options.arguments);
        command.envs(options.variables.iter().cloned());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let up = process::spawn_bound(command);
        Self {
            up,
            data: data.to_owned(),
            address: format!("http://{listen}"),
            log,
        }
    }

    /// Waits until a node is ready.
    ///
    /// # Panics
    /// When none is within [`PATIENCE`].
    pub fn wait_ready(&mut self) {
        wait_for(
            &format!("a ready node; log: {}", self.log.display()),
            PATIENCE,
            || {
                let ended = self.up.try_wait().expect("a child can be asked");
                assert!(ended.is_none(), "up ended with {ended:?}:\n{}", self.log());
                let nodes = self.scanctl(&["node", "ls", "-o", "json"]);
                let nodes: Value = serde_json::from_slice(&nodes.stdout).ok()?;
                nodes["nodes"]
                    .as_array()?
                    .iter()
                    .find(|node| node["state"] == "ready")
                    .map(|_| ())
            },
        );
    }

    /// What `up` and its children said on stderr.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The coordinator's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The number of `up`.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.up.id()).expect("process numbers are small")
    }

    /// The processes of this cluster below `up` whose name begins so.
    #[must_use]
    pub fn processes(&self, name: &str) -> Vec<Seen> {
        process::descendants(self.pid())
            .into_iter()
            .filter(|seen| name.starts_with(&seen.name))
            .collect()
    }

    /// Runs scanctl against this cluster.
    ///
    /// # Panics
    /// When scanctl cannot be started.
    #[must_use]
    pub fn scanctl(&self, arguments: &[&str]) -> Output {
        scanctl(&self.address, arguments)
    }

    /// Runs scanctl and reads its JSON, whatever its exit code.
    ///
    /// # Panics
    /// When it prints no JSON.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.scanctl(&[arguments, &["-o", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!(
                "{}\nscanctl {arguments:?} printed no JSON ({why}): {said}",
                self.log()
            )
        })
    }

    /// Imports a folder as the catalog of that name.
    ///
    /// # Panics
    /// When the import fails.
    pub fn import(&self, catalog: &str, folder: &Path) -> Value {
        self.json(&[
            "catalog",
            "import",
            catalog,
            folder.to_str().expect("test paths are UTF-8"),
        ])
    }

    /// Kills `up` as a power cut would, and waits until nothing of the cluster lives.
    ///
    /// # Panics
    /// When something outlives it.
    pub fn kill(&mut self) {
        let below = process::descendants(self.pid());
        process::signal(self.pid(), Signal::KILL);
        let _ = self.up.wait();
        wait_for("everything below a killed `up` to end", PATIENCE, || {
            let lives =
                |seen: &Seen| process::one(seen.pid).is_some_and(|now| now.name == seen.name);
            (!below.iter().any(lives)).then_some(())
        });
    }

    /// Asks `up` to stop and waits for its exit code.
    ///
    /// # Panics
    /// When it does not stop within [`PATIENCE`].
    pub fn stop(&mut self) -> Option<i32> {
        process::signal(self.pid(), Signal::TERM);
        wait_for("up to stop", PATIENCE, || {
            self.up.try_wait().expect("a child can be asked")
        })
        .code()
    }

    /// The exit code of `up` once it ends by itself.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    pub fn ended(&mut self) -> Option<i32> {
        wait_for("up to end", PATIENCE, || {
            self.up.try_wait().expect("a child can be asked")
        })
        .code()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if matches!(self.up.try_wait(), Ok(None)) {
            process::signal(self.pid(), Signal::KILL);
            let _ = self.up.wait();
        }
    }
}

/// The flags by which the committed bundle is found where the binaries were built elsewhere than in the tree, unless a suite
/// names bundles or keys of its own.
fn committed_bundle(given: &[String]) -> Vec<String> {
    let names_its_own = |flag: &String| flag == "--default-bundle" || flag == "--trusted-key";
    let found_by_itself = crate::binaries().join("../../bundles/demo.pub").is_file();
    if found_by_itself || given.iter().any(names_its_own) {
        return Vec::new();
    }
    let bundles = crate::tree().join("bundles");
    let key = std::fs::read_to_string(bundles.join("demo.pub")).expect("the key is committed");
    let demo = bundles.join("demo").display().to_string();
    let flags = ["--default-bundle", &demo, "--trusted-key", key.trim()];
    flags.map(str::to_owned).into()
}

/// Runs scanctl against an address.
///
/// # Panics
/// When scanctl cannot be started.
#[must_use]
pub fn scanctl(address: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(crate::binaries().join("scanctl"));
    command
        .args(arguments)
        .env("SCANCTL_ADDRESS", address)
        .env("SCANCTL_QUIET", "true")
        .env("NO_COLOR", "1");
    command.output().expect("scanctl starts")
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
