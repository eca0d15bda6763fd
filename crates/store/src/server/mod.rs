//! Real etcd servers for suites: one member or three, started on free ports of this machine, killed, stopped and started again.
//!
//! Called by suites alone: those of this crate, and those of other packages through the feature `server`; no shipped process carries it. A
//! server that is missing fails the test that asks for it, by name and with the command that makes it. Every server dies with its
//! [`Cluster`], and with the test process.

mod certificates;
mod process;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions};

pub use self::certificates::{Authority, Dates};
use self::process::{Process, Signal, free_port};
use crate::{EtcdSettings, EtcdTls};

/// For a server to begin to serve, or a cluster to have a leader: seconds on an idle machine, and suites share theirs.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Times that a server is started on new ports where one of them was taken in between.
const STARTS_MAX: usize = 5;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The one of the operating system's package, an older one: for the conformance suite, and for what is said of old ones.
    OsPackage,
    /// The newest 3.6 that `tests/etcd/v3.6` pins.
    V3_6,
    /// The newest 3.7 that `tests/etcd/v3.7` pins: what everything else runs on.
    V3_7,
}

impl Line {
    /// The program of this line.
    ///
    /// # Panics
    /// When it is not there; the message says which command makes it.
    #[must_use]
    pub fn program(self) -> PathBuf {
        let (found, what) = match self {
            Self::OsPackage => (on_the_path("etcd"), "`etcd` of the OS package".to_owned()),
            Self::V3_6 => built("v3.6"),
            Self::V3_7 => built("v3.7"),
        };
        found.unwrap_or_else(|| panic!("there is no {what}: run `make setup`, which puts it there"))
    }
}

fn on_the_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    found.find(|program| program.is_file())
}

/// The program that `scripts/etcd.sh` built of a line, and where it looks for it.
fn built(line: &str) -> (Option<PathBuf>, String) {
    let manifest =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/etcd/{line}/go.mod"));
    let text = std::fs::read_to_string(&manifest).unwrap_or_default();
    let pinned = text.lines().find_map(|line| {
        let required = line.trim_start_matches("require ").trim();
        required.strip_prefix("go.etcd.io/etcd/server/v3 v")
    });
    let version = pinned.unwrap_or("(pinned nowhere)").to_owned();
    let program = cache().join(&version).join("etcd");
    let what = format!("etcd {version} at `{}`", program.display());
    (program.is_file().then_some(program), what)
}

/// Where built servers lie, by version: the same place that `scripts/etcd.sh` computes.
fn cache() -> PathBuf {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    named.unwrap_or_else(home).join("trackscan/etcd")
}

/// How a cluster is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which server.
    pub line: Line,
    /// How many members.
    pub members: usize,
    /// Bytes that a member's file may have, where it is to be full soon.
    pub quota_bytes: Option<u64>,
    /// Bytes that a member takes in one request, where it is to take less than it does by default.
    pub request_bytes: Option<u64>,
    /// The authority that signs the members' certificates and ours; none for plain connections.
    pub authority: Option<Authority>,
    /// The dates of the members' certificates.
    pub dates: Dates,
}

impl Options {
    /// One member of a line, without certificates.
    #[must_use]
    pub const fn one(line: Line) -> Self {
        Self {
            line,
            members: 1,
            quota_bytes: None,
            request_bytes: None,
            authority: None,
            dates: Dates::Valid,
        }
    }

    /// Three members of a line, without certificates.
    #[must_use]
    pub fn three(line: Line) -> Self {
        Self {
            members: 3,
            ..Self::one(line)
        }
    }
}

/// One etcd cluster.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    folder: PathBuf,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    client_port: u16,
    peer_port: u16,
    process: Option<Process>,
}

impl Cluster {
    /// Starts a cluster whose files lie in `folder`, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(folder: &Path, options: Options) -> Self {
        for attempt in 1..=STARTS_MAX {
            let folder = folder.join(format!("attempt-{attempt}"));
            let mut cluster = Self::new(&folder, options.clone());
            for member in 0..cluster.members.len() {
                cluster.spawn(member);
            }
            if cluster.is_ready().await {
                return cluster;
            }
        }
        panic!(
            "etcd did not begin to serve; its words lie in `{}`",
            folder.display()
        );
    }

    fn new(folder: &Path, options: Options) -> Self {
        std::fs::create_dir_all(folder).expect("the test's folder can be written");
        let member = |_| Member {
            client_port: free_port(),
            peer_port: free_port(),
            process: None,
        };
        Self {
            members: (0..options.members).map(member).collect(),
            folder: folder.to_owned(),
            options,
        }
    }

    /// The members' client addresses.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.members.len())
            .map(|member| self.endpoint(member))
            .collect()
    }

    /// The client address of one member.
    #[must_use]
    pub fn endpoint(&self, member: usize) -> String {
        let scheme = if self.options.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{}", self.members[member].client_port)
    }

    /// Settings for a store under a prefix of this cluster, with a certificate of the name `coordinator` where it asks for one.
    #[must_use]
    pub fn settings(&self, prefix: &str) -> EtcdSettings {
        let mut settings = EtcdSettings::new(self.endpoints(), prefix);
        settings.tls = self.options.authority.as_ref().map(|authority| EtcdTls {
            ca: authority.certificate(),
            client: Some(authority.client("coordinator", Dates::Valid)),
        });
        settings
    }

    /// The folder in which the members' files lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends a member at once, as a power cut would.
    pub fn kill(&mut self, member: usize) {
        self.members[member].process = None;
    }

    /// Lets a member stand still, with its connections open. It does when this returns.
    pub async fn stop(&self, member: usize) {
        self.process(member).stop().await;
    }

    /// Lets a member that stands still go on.
    pub fn go_on(&self, member: usize) {
        self.process(member).signal(Signal::CONT);
    }

    fn process(&self, member: usize) -> &Process {
        let process = self.members[member].process.as_ref();
        process.expect("the member has been started")
    }

    /// Starts a killed member again, on its ports and files, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub async fn restart(&mut self, member: usize) {
        self.spawn(member);
        assert!(self.is_ready().await, "etcd did not begin to serve again");
    }

    /// Ends all members and puts another, empty cluster in their place, behind the same addresses.
    ///
    /// # Panics
    /// When it does not begin to serve.
    pub async fn replace(&mut self) {
        self.folder = self.folder.join("replaced");
        std::fs::create_dir_all(&self.folder).expect("the test's folder can be written");
        for member in 0..self.members.len() {
            self.kill(member);
        }
        for member in 0..self.members.len() {
            self.spawn(member);
        }
        assert!(self.is_ready().await, "etcd did not begin to serve again");
    }

    /// Ends a member, keeps a copy of its files, and starts it again.
    ///
    /// # Panics
    /// When it does not begin to serve again.
    pub async fn copy(&mut self, member: usize) -> PathBuf {
        self.kill(member);
        let copy = self.folder.join(format!("copy-of-{member}"));
        copy_folder(&self.data_of(member), &copy);
        self.restart(member).await;
        copy
    }

    /// Ends a member, puts a copy of its files in their place, and starts it again: what was written since is gone, and nothing says so.
    ///
    /// # Panics
    /// When it does not begin to serve again.
    pub async fn put_back(&mut self, member: usize, copy: &Path) {
        self.kill(member);
        let data = self.data_of(member);
        std::fs::remove_dir_all(&data).expect("the test's folder can be written");
        copy_folder(copy, &data);
        self.restart(member).await;
    }

    fn data_of(&self, member: usize) -> PathBuf {
        self.folder.join(format!("member-{member}"))
    }

    /// Which living member leads.
    ///
    /// # Panics
    /// When none does for long.
    pub async fn leader(&self) -> usize {
        let until = Instant::now() + READY_WITHIN;
        loop {
            for member in self.living() {
                if let Some((own, leader)) = self.status(member).await
                    && own == leader
                {
                    return member;
                }
            }
            assert!(Instant::now() < until, "no member of etcd leads");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A client of one member, without the store's deadlines: to look behind its back.
    ///
    /// # Panics
    /// When the member does not serve.
    pub async fn client(&self, member: usize) -> Client {
        let connected =
            Client::connect([self.endpoint(member)], Some(self.connect_options())).await;
        connected.expect("a connection is made when it is used")
    }

    fn connect_options(&self) -> ConnectOptions {
        let options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(1))
            .with_timeout(Duration::from_secs(5));
        match &self.options.authority {
            Some(authority) => options.with_tls(authority.client_options("root")),
            None => options,
        }
    }

    fn living(&self) -> impl Iterator<Item = usize> {
        let living = |(_, member): &(usize, &Member)| member.process.is_some();
        self.members
            .iter()
            .enumerate()
            .filter(living)
            .map(|(n, _)| n)
    }

    /// A member's own number and its leader's; none where it does not answer or knows no leader.
    async fn status(&self, member: usize) -> Option<(u64, u64)> {
        let asked = async {
            let mut client = self.client(member).await;
            client.status().await.ok()
        };
        let status = tokio::time::timeout(Duration::from_secs(5), asked)
            .await
            .ok()??;
        let own = status.header()?.member_id();
        (status.leader() != 0).then_some((own, status.leader()))
    }

    /// Whether every living member serves and knows a leader, in time and without ending.
    async fn is_ready(&mut self) -> bool {
        if self.options.authority.is_some() && self.options.dates == Dates::Past {
            return self.are_listening().await;
        }
        let until = Instant::now() + READY_WITHIN;
        for member in self.living().collect::<Vec<_>>() {
            while self.status(member).await.is_none() {
                if self.has_ended(member) || Instant::now() > until {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        true
    }

    /// Nobody can speak with a server whose certificate has run out: it is enough that it listens.
    async fn are_listening(&mut self) -> bool {
        let until = Instant::now() + READY_WITHIN;
        for member in self.living().collect::<Vec<_>>() {
            let address = ("127.0.0.1", self.members[member].client_port);
            while tokio::net::TcpStream::connect(address).await.is_err() {
                if self.has_ended(member) || Instant::now() > until {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        true
    }

    fn has_ended(&mut self, member: usize) -> bool {
        let process = self.members[member].process.as_mut();
        process.is_none_or(Process::has_ended)
    }

    fn spawn(&mut self, member: usize) {
        let program = self.options.line.program();
        let log = self.folder.join(format!("member-{member}.log"));
        let process = Process::start(&program, &self.arguments(member), &log);
        self.members[member].process = Some(process);
    }

    fn arguments(&self, member: usize) -> Vec<String> {
        let peer = |n: usize| format!("http://127.0.0.1:{}", self.members[n].peer_port);
        let cluster: Vec<String> = (0..self.members.len())
            .map(|n| format!("m{n}={}", peer(n)))
            .collect();
        let data = self.data_of(member);
        let token = self.folder.display().to_string();
        let mut arguments = vec![
            format!("--name=m{member}"),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={}", self.endpoint(member)),
            format!("--advertise-client-urls={}", self.endpoint(member)),
            format!("--listen-peer-urls={}", peer(member)),
            format!("--initial-advertise-peer-urls={}", peer(member)),
            format!("--initial-cluster={}", cluster.join(",")),
            format!("--initial-cluster-token={token}"),
            "--logger=zap".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        if let Some(bytes) = self.options.quota_bytes {
            arguments.push(format!("--quota-backend-bytes={bytes}"));
        }
        if let Some(bytes) = self.options.request_bytes {
            arguments.push(format!("--max-request-bytes={bytes}"));
        }
        if let Some(authority) = &self.options.authority {
            let (certificate, key) = authority.server(self.options.dates);
            arguments.extend([
                format!("--cert-file={}", certificate.display()),
                format!("--key-file={}", key.display()),
                format!("--trusted-ca-file={}", authority.certificate().display()),
                "--client-cert-auth".to_owned(),
            ]);
        }
        arguments
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the test's folder can be written");
    for entry in std::fs::read_dir(from).expect("a member has a folder") {
        let entry = entry.expect("a member's folder can be read");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy_folder(&from, &to),
            false => drop(std::fs::copy(&from, &to).expect("a member's file can be copied")),
        }
    }
}
