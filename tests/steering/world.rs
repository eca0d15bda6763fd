//! A real coordinator with real node agents over a folder of short tracks. The agents' workers are stubs that take a known time
//! for each window, so that a job lasts as long as a test needs.

use rustix::process::{Pid, Resource, Rlimit};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tests::cluster::scanctl;
use tests::music;
use tests::process::{self, wait_for};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Seconds of each track: more than one window of the stub, and less than two.
const TRACK_SECONDS: f32 = 1.2;
/// Time that the stub takes for a window: with two of them a track, a few hundred tracks last half a minute.
const WINDOW_MS: &str = "40";

/// A cluster; dropping it ends its processes.
pub(crate) struct World {
    folder: tempfile::TempDir,
    coordinator: Child,
    address: String,
    agents: Vec<Child>,
}

impl World {
    /// Makes so many tracks and starts a coordinator; agents come by [`World::agent`].
    pub(crate) fn new(tracks: usize, flags: &[&str]) -> Self {
        Self::over(flags, |music| music::folder(music, tracks, TRACK_SECONDS))
    }

    /// The same over tracks that are made in the music folder.
    pub(crate) fn over(flags: &[&str], make: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        make(&root.join("music"));
        let (manifest, contents) = (bundle::sample::manifest(), bundle::sample::contents());
        bundle::write(
            &root.join("bundle"),
            manifest,
            &contents,
            &bundle::sample::key(),
        )
        .unwrap();
        let mut command = program(&root, "coordinator", &root.join("data"));
        command.args(["--listen", "127.0.0.1:0"]);
        command.args(["--share-window-secs", "10"]);
        if !flags.contains(&"--grant-millis") {
            command.args(["--grant-millis", "200"]);
        }
        command.arg("--default-bundle").arg(root.join("bundle"));
        command.args(flags).stdout(Stdio::piped());
        let mut coordinator = process::spawn_bound(command);
        let address = listening(&mut coordinator);
        Self {
            folder,
            coordinator,
            address: format!("http://{address}"),
            agents: Vec::new(),
        }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The tracks' folder.
    pub(crate) fn music(&self) -> PathBuf {
        self.root().join("music")
    }

    /// Starts an agent and waits until its node is ready.
    pub(crate) fn agent(&mut self, node: &str) {
        self.agent_over(node, node);
        self.wait("a ready node", |world| world.node(node)["state"] == "ready");
    }

    /// Starts an agent of a node over a data folder of that name, and waits for nothing.
    pub(crate) fn agent_over(&mut self, node: &str, data: &str) {
        let mut command = program(self.root(), "node-agent", &self.root().join(data));
        command.args(["--coordinator", &self.address, "--node", node]);
        command.args(["--device", "cpu", "--decoders", "2", "--flush-secs", "1"]);
        let storage = self.root().join("data/storage");
        command
            .arg("--storage")
            .arg(format!("file://{}", storage.display()));
        command
            .arg("--worker")
            .arg(tests::binaries().join("stub-worker"));
        command.env("TRACKSCAN_STUB_WINDOW_MS", WINDOW_MS);
        command.stdout(Stdio::null());
        self.agents.push(process::spawn_bound(command));
    }

    /// What an agent over a data folder of that name has logged.
    pub(crate) fn said(&self, data: &str) -> String {
        let log = self.root().join(data).with_extension("log");
        std::fs::read_to_string(log).unwrap_or_default()
    }

    /// Kills an agent as a power cut would.
    pub(crate) fn kill(&mut self, agent: usize) {
        self.agents[agent].kill().unwrap();
        self.agents[agent].wait().unwrap();
    }

    /// Runs scanctl.
    pub(crate) fn run(&self, line: &str) -> Output {
        scanctl(&self.address, &line.split(' ').collect::<Vec<_>>())
    }

    /// Runs scanctl and reads its JSON, whatever its exit code.
    pub(crate) fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} -o json"));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!(
                "scanctl {line} printed no JSON ({why}): {said}\n{}",
                self.log()
            )
        })
    }

    /// Lets an agent write no file beyond so many bytes, or lets it write again.
    pub(crate) fn limit_files(&self, agent: usize, bytes: Option<u64>) {
        let pid = i32::try_from(self.agents[agent].id()).unwrap();
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        rustix::process::prlimit(Pid::from_raw(pid), Resource::Fsize, limit).unwrap();
    }

    /// Imports all tracks as the catalog `music` of the tenant that the flags name.
    pub(crate) fn import(&self, flags: &str) {
        self.import_folder("music", &self.music(), flags);
    }

    /// Imports a folder as a catalog of the tenant that the flags name.
    pub(crate) fn import_folder(&self, catalog: &str, folder: &Path, flags: &str) {
        let line = format!("catalog import {catalog} {}{flags}", folder.display());
        let imported = self.json(&line);
        assert!(
            imported["snapshot"]["rows"].as_u64() > Some(0),
            "{imported:#}"
        );
    }

    /// Submits a job over that catalog in shards of four tracks.
    pub(crate) fn submit(&self, flags: &str) -> String {
        self.submit_over("music", flags)
    }

    /// The same over another catalog.
    pub(crate) fn submit_over(&self, catalog: &str, flags: &str) -> String {
        self.submit_in(4, catalog, flags)
    }

    /// The same in shards of so many tracks.
    pub(crate) fn submit_in(&self, tracks: u32, catalog: &str, flags: &str) -> String {
        let line = format!("scan submit --catalog {catalog} --shard-tracks {tracks}{flags}");
        self.json(&line)["job"].as_str().expect("a job").to_owned()
    }

    /// Each change of a job from now to its end.
    pub(crate) fn watch(&self, job: &str) -> impl Iterator<Item = Value> {
        let mut command = Command::new(tests::binaries().join("scanctl"));
        command.args(["scan", "watch", job, "-o", "json"]);
        command.env("SCANCTL_ADDRESS", &self.address);
        command.stdout(Stdio::piped());
        let stdout = process::spawn_bound(command).stdout.take();
        let changes = serde_json::Deserializer::from_reader(stdout.expect("a pipe"));
        changes.into_iter::<Value>().map(Result::unwrap)
    }

    pub(crate) fn job(&self, job: &str) -> Value {
        self.json(&format!("scan get {job}"))
    }

    pub(crate) fn node(&self, node: &str) -> Value {
        let nodes = self.json("node ls");
        let mut nodes = nodes["nodes"].as_array().expect("nodes").iter();
        let found = nodes.find(|one| one["name"] == node);
        found.cloned().unwrap_or_default()
    }

    /// The codes of why a job stands where it stands.
    pub(crate) fn reasons(&self, job: &str) -> Vec<String> {
        let explained = self.json(&format!("scan explain {job}"));
        let reasons = explained["reasons"].as_array().expect("reasons");
        let code = |reason: &Value| reason["code"].as_str().expect("a code").to_owned();
        reasons.iter().map(code).collect()
    }

    /// Waits until a job has ended; it must be published, with each of its tracks once. What names it may be followed by flags.
    pub(crate) fn published(&self, job: &str) -> Value {
        let ended = self.json(&format!("scan wait {job} --timeout 5m"));
        assert_eq!(ended["state"], "published", "{ended:#}\n{}", self.log());
        let verified = self.json(&format!("result verify {job}"));
        assert_eq!(verified["ok"], true, "{verified:#}");
        assert_eq!(verified["rows_found"], ended["tracks"], "{verified:#}");
        verified
    }

    /// Looks until it is so.
    ///
    /// # Panics
    /// When it is not within [`PATIENCE`]; what coordinator and agents said is in the message.
    pub(crate) fn wait(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !so(self) {
            assert!(
                Instant::now() < until,
                "waited {PATIENCE:?} for {what}:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until that agent's process has ended by itself.
    pub(crate) fn wait_exit(&mut self, agent: usize) -> Option<i32> {
        let child = &mut self.agents[agent];
        let ended = wait_for("the agent's end", PATIENCE, || child.try_wait().unwrap());
        ended.code()
    }

    /// What all of them have logged.
    fn log(&self) -> String {
        let files = std::fs::read_dir(self.root()).into_iter().flatten();
        let files = files.filter_map(|file| Some(file.ok()?.path()));
        let logs = files.filter(|path| path.extension().is_some_and(|end| end == "log"));
        logs.filter_map(|path| std::fs::read_to_string(path).ok())
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.agents.iter_mut().chain([&mut self.coordinator]) {
            let _gone_already = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// What coordinator and agents are told alike. Each logs into a file beside its data folder. They go on where the system refuses to
/// let a file grow, as on a full disk: by default a limit ends a process with a signal.
fn program(root: &Path, name: &str, data: &Path) -> Command {
    let log = File::options()
        .create(true)
        .append(true)
        .open(data.with_extension("log"))
        .unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    command.arg(tests::binaries().join(name));
    command.arg("--data").arg(data).args(["--metrics", "off"]);
    let key = bundle::sample::key().public().to_string();
    command.args(["--trusted-key", &key]);
    let music = root.join("music");
    command
        .arg("--source")
        .arg(format!("music={}", music.display()));
    command.stdin(Stdio::null()).stderr(log);
    command
}

/// The address that a coordinator reports when it is ready.
fn listening(coordinator: &mut Child) -> SocketAddr {
    let stdout = coordinator.stdout.take().expect("its stdout is a pipe");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    match serde_json::from_str(&line) {
        Ok(types::Report::Ready { listening }) => listening.expect("a coordinator listens"),
        other => panic!("the coordinator said `{line}`: {other:?}"),
    }
}
