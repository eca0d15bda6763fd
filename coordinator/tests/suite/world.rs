//! A folder with music, a bundle and a data folder, and coordinators over it: in this process, or as a child that can
//! be killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use coordinator::Coordinator;
use coordinator::settings::{PROGRAM, Raw, Settings};
use runtime::shutdown::Shutdown;
use store::Store;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use types::Problem;

/// How long a child may take to listen: a hundred times what it takes on an idle machine.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct World {
    root: TempDir,
}

/// A coordinator in this process.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), Problem>>,
}

/// A coordinator in a process of its own.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
    child: Child,
}

impl World {
    /// A world with this many tracks.
    pub(crate) fn new(tracks: usize) -> Self {
        let world = Self {
            root: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(world.music()).unwrap();
        for n in 0..tracks {
            std::fs::write(
                world.music().join(format!("track-{n:04}.wav")),
                format!("audio {n}"),
            )
            .unwrap();
        }
        let key = bundle::sample::key();
        let (manifest, contents) = (bundle::sample::manifest(), bundle::sample::contents());
        bundle::write(&world.bundle(), manifest, &contents, &key).unwrap();
        world
    }

    pub(crate) fn music(&self) -> PathBuf {
        self.root.path().join("music")
    }

    /// Everything that a coordinator keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.root.path().join("bundle")
    }

    /// The folder that storage is on.
    pub(crate) fn storage_folder(&self) -> PathBuf {
        self.root.path().join("data/storage")
    }

    /// Takes away what storage has seen of the store's revisions; whose storage it is stays known.
    pub(crate) fn forget_revisions(&self) {
        let marks = self.storage_folder().join("_cluster");
        for cluster in std::fs::read_dir(marks).unwrap() {
            let cluster = cluster.unwrap().path();
            std::fs::remove_dir_all(&cluster).unwrap();
            std::fs::create_dir(&cluster).unwrap();
            let lowest = format!("{:010}-{:020}", 1, 0);
            std::fs::write(cluster.join(lowest), []).unwrap();
        }
    }

    /// The same storage that the coordinator has, as an agent opens it.
    pub(crate) fn storage(&self) -> storage::Storage {
        storage::Storage::open_folder(&self.storage_folder()).unwrap()
    }

    /// Flags that most coordinators here get: those of all, and the sample bundle.
    fn flags(&self, more: &[&str]) -> Vec<String> {
        let bundle = self.bundle();
        let bundle = ["--default-bundle", bundle.to_str().unwrap()];
        self.bare_flags(&[&bundle, more].concat())
    }

    /// Flags that every coordinator here gets: a free port unless one is given, and trust in the sample bundle's key.
    fn bare_flags(&self, more: &[&str]) -> Vec<String> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let key = bundle::sample::key().public().to_string();
        let mut flags: Vec<String> = Vec::new();
        if !more.contains(&"--data") {
            flags.extend(["--data".to_owned(), text(&self.root.path().join("data"))]);
        }
        flags.extend(["--metrics", "off", "--trusted-key", &key].map(str::to_owned));
        if !more.contains(&"--listen") {
            flags.extend(["--listen", "127.0.0.1:0"].map(str::to_owned));
        }
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        flags
    }

    /// Starts a coordinator in this process, or says why it does not start.
    pub(crate) async fn try_start(&self, more: &[&str]) -> Result<Running, Problem> {
        run(self.flags(more)).await
    }

    /// The same, but without the sample bundle.
    pub(crate) async fn try_start_bare(&self, more: &[&str]) -> Result<Running, Problem> {
        run(self.bare_flags(more)).await
    }

    pub(crate) async fn start(&self, more: &[&str]) -> Running {
        self.try_start(more).await.unwrap()
    }

    /// Flags of one of several coordinators: a folder of its own, and the storage of all.
    pub(crate) fn among_others(&self, name: &str) -> Vec<String> {
        self.among_others_over(name, &types::file_url(&self.storage_folder()))
    }

    /// The same over a storage that is named.
    fn among_others_over(&self, name: &str, storage: &str) -> Vec<String> {
        let own = self.root.path().join(name);
        let flags = [
            "--folder-sources",
            "--data",
            own.to_str().unwrap(),
            "--storage",
            storage,
        ];
        flags.map(str::to_owned).to_vec()
    }

    /// Starts one of several coordinators in this process, on a store that they share.
    pub(crate) async fn start_on(&self, store: Arc<dyn Store>, name: &str) -> Running {
        self.start_on_with(store, name, &[]).await
    }

    /// The same with more flags.
    pub(crate) async fn start_on_with(
        &self,
        store: Arc<dyn Store>,
        name: &str,
        more: &[&str],
    ) -> Running {
        let more = more.iter().map(|flag| (*flag).to_owned());
        let flags = self.among_others(name).into_iter().chain(more).collect();
        let (started, shutdown) = self.started_on(store, flags).await;
        serve(started, shutdown)
    }

    /// Starts one of several coordinators over a storage that is named. `meanwhile` is done once it has looked at that storage, and before it
    /// may lead.
    pub(crate) async fn start_over(
        &self,
        store: Arc<dyn Store>,
        name: &str,
        storage: &str,
        meanwhile: impl FnOnce(),
    ) -> Running {
        let flags = self.among_others_over(name, storage);
        let (started, shutdown) = self.started_on(store, flags).await;
        meanwhile();
        serve(started, shutdown)
    }

    /// Starts two coordinators on stores of their own and one storage, neither of which may lead before both may.
    pub(crate) async fn start_at_once<S: Store>(&self, [one, other]: [Arc<S>; 2]) -> [Running; 2] {
        let one = self.started_on(one, self.among_others("one")).await;
        let other = self.started_on(other, self.among_others("other")).await;
        [one, other].map(|(started, shutdown)| serve(started, shutdown))
    }

    async fn started_on(
        &self,
        store: Arc<dyn Store>,
        flags: Vec<String>,
    ) -> (Coordinator, Shutdown) {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let settings = settings(self.flags(&flags)).unwrap();
        let shutdown = Shutdown::new();
        let started = Coordinator::start_on(store, settings, shutdown.clone()).await;
        (started.unwrap(), shutdown)
    }

    /// A coordinator as a process that is not started yet.
    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator"));
        command
            .args(self.flags(more))
            .args(["--log-format", "json"]);
        command
    }

    /// Starts a coordinator as a process and waits until it listens.
    pub(crate) fn spawn(&self, more: &[&str]) -> Process {
        let mut command = self.command(more);
        command.stderr(Stdio::piped());
        // SAFETY: between fork and exec one signal is set to be ignored, which is async-signal-safe. By default it ends a
        // process that writes past `limit_files`, which no full disk does.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (found, address) = mpsc::channel();
        let (stderr, kept) = (child.stderr.take().unwrap(), lines.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = listening(&line) {
                    let _ = found.send(address);
                }
                kept.lock().unwrap().push(line);
            }
        });
        let address = address.recv_timeout(START_TIMEOUT);
        let address =
            address.unwrap_or_else(|_| panic!("no address in {:#?}", lines.lock().unwrap()));
        Process {
            address,
            lines,
            child,
        }
    }
}

async fn run(flags: Vec<String>) -> Result<Running, Problem> {
    let shutdown = Shutdown::new();
    let coordinator = Coordinator::start(settings(flags)?, shutdown.clone()).await?;
    Ok(serve(coordinator, shutdown))
}

fn settings(flags: Vec<String>) -> Result<Settings, Problem> {
    let args = std::iter::once("coordinator".to_owned()).chain(flags);
    Settings::check(&PROGRAM.load_from::<Raw>(args, |_| None).unwrap())
}

fn serve(coordinator: Coordinator, shutdown: Shutdown) -> Running {
    Running {
        address: coordinator.address().unwrap(),
        shutdown,
        serving: tokio::spawn(coordinator.serve()),
    }
}

/// The address in a log line that tells of one.
fn listening(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str().unwrap().parse().unwrap())
}

impl Running {
    pub(crate) async fn channel(&self) -> Channel {
        channel(self.address).await
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.serving.is_finished()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) -> Result<(), Problem> {
        self.serving.await.unwrap()
    }

    /// Asks for its end.
    pub(crate) fn ask(&self) {
        self.shutdown.ask();
    }

    /// Drains it.
    pub(crate) async fn stop(self) -> Result<(), Problem> {
        self.shutdown.ask();
        self.serving.await.unwrap()
    }
}

impl Process {
    pub(crate) async fn channel(&self) -> Channel {
        channel(self.address).await
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets the process write no file beyond so many bytes, or lets it write again.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let limit = libc::rlimit {
            rlim_cur: bytes.unwrap_or(libc::RLIM_INFINITY),
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: the limit outlives the call, and nothing is asked for in return.
        let set = unsafe { libc::prlimit(pid, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut()) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }

    /// SIGTERM, and whether it then ended well.
    pub(crate) fn terminate(mut self) -> bool {
        self.send(libc::SIGTERM);
        self.child.wait().unwrap().success()
    }

    /// SIGSTOP: it stands still.
    pub(crate) fn pause(&self) {
        self.send(libc::SIGSTOP);
    }

    /// SIGCONT: it goes on and does not know for how long it stood.
    pub(crate) fn go_on(&self) {
        self.send(libc::SIGCONT);
    }

    fn send(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: a signal to a child that was not waited for yet, so that its number is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0);
    }

    /// Log lines of the audit trail so far, as `action outcome`.
    pub(crate) fn audit(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let parsed = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let audit = parsed.filter(|line| line["target"] == "audit");
        audit
            .map(|line| {
                format!(
                    "{} {}",
                    line["action"].as_str().unwrap(),
                    line["outcome"].as_str().unwrap()
                )
            })
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed leaves no child behind; one that ended its child finds it gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}
