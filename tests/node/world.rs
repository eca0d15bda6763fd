//! A node agent over a folder of tracks, what it is started with, and tracks whose scores are known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use engine::stub::{StubEngine, Trick};
use rustix::process::Signal;
use storage::{ImportFrom, ImportProgress, Part, PartKind, Sources, Storage, paths};
use tests::process::{self, wait_for};
use types::{
    Generation, JobSpec, Ledger, Policy, ShardPlan, SourceName, Stages, TenantId, TrackRow,
    UnixMillis, Verdict,
};

use crate::coordinator::Played;

/// How long a node may take for a handful of short tracks on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The rate at which the stub hears.
pub(crate) const RATE_HZ: u32 = 16_000;

/// A node over a folder of tracks.
pub(crate) struct World {
    _root: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) storage: Storage,
    pub(crate) played: Played,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) agent: Child,
    pub(crate) options: Options,
    /// A file that nobody can open as long as this is held.
    pub(crate) held: Option<Lease>,
}

/// How its agent is started.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) honest_decoder: bool,
    pub(crate) arguments: Vec<&'static str>,
    pub(crate) variables: Vec<(&'static str, String)>,
    /// A track that cannot be opened until the test lets it go.
    pub(crate) held: Option<&'static str>,
    /// Grants that are made until the test allows more; absent: all.
    pub(crate) grants: Option<usize>,
    /// How far the coordinator's wall clock is ahead of this machine's.
    pub(crate) ahead_ms: i64,
    pub(crate) policy: Policy,
    /// Most of the tracks that may go on to the residual; then all of them are one grant.
    pub(crate) escalations_max: Option<u32>,
    /// Storage in the place of a folder of its own: the URL for the test, and that for the agent.
    pub(crate) bucket: Option<[String; 2]>,
}

impl Options {
    /// Where storage lies for the test, and for the agent.
    fn storage(&self, root: &Path) -> [String; 2] {
        let folder = || types::file_url(&root.join("storage"));
        let bucket = self.bucket.clone();
        bucket.unwrap_or_else(|| [folder(), folder()])
    }
}

/// A write lease on a file: whoever opens it waits until the lease is given up, as with a share that does not answer.
pub(crate) struct Lease {
    _file: std::fs::File,
}

impl Lease {
    pub(crate) fn take(path: &Path) -> Self {
        use std::os::fd::AsRawFd as _;
        /// Chooses the signal that tells of somebody who waits (`F_SETSIG`), which the libc crate lacks here.
        const SET_SIGNAL: i32 = 10;
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        // SAFETY: both calls take plain numbers and an open descriptor.
        let refused = unsafe {
            // Nobody minds this signal; the usual one would end the suite.
            libc::fcntl(file.as_raw_fd(), SET_SIGNAL, libc::SIGURG) != 0
                || libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) != 0
        };
        assert!(!refused, "{}", std::io::Error::last_os_error());
        Self { _file: file }
    }
}

impl World {
    /// Imports the tracks as one list and starts an agent.
    pub(crate) fn new(tracks: &[(&str, Vec<i16>)], options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let music = root.join("music");
        std::fs::create_dir_all(&music).unwrap();
        std::fs::create_dir_all(root.join("scratch")).unwrap();
        for (name, samples) in tracks {
            std::fs::write(music.join(name), wav(samples)).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let [ours, _] = options.storage(&root);
        let storage = Storage::open(&ours).unwrap();
        let played = runtime.block_on(async {
            let spec = prepare(&root, &storage, &options.policy).await;
            Played::serve(spec, &options).await
        });
        let held = options.held.map(|name| Lease::take(&music.join(name)));
        let agent = start(&root, &played, &options);
        Self {
            held,
            _root: folder,
            root,
            storage,
            played,
            runtime,
            agent,
            options,
        }
    }

    /// Waits until so many rows are committed, and reads them.
    pub(crate) fn rows(&mut self, count: u32) -> BTreeMap<String, TrackRow> {
        let mut rows = BTreeMap::new();
        let parts = self.parts(count).into_iter();
        let ended = parts.filter(|part| part.footer.kind == PartKind::Terminal);
        for row in ended.flat_map(|part| part.rows) {
            let known = rows.insert(row.key.clone(), row);
            assert!(known.is_none(), "each track has one row: {known:?}");
        }
        rows
    }

    /// Waits until so many rows are committed, and reads their parts in the order of their commits.
    pub(crate) fn parts(&mut self, count: u32) -> Vec<Part> {
        self.wait("rows", |world| {
            world.played.look(|books| books.committed()) >= count
        });
        let commits = self.played.look(|books| books.commits.clone());
        let mut parts = Vec::new();
        for commit in commits {
            for part in &commit.parts {
                let sha256 = part.sha256.parse().unwrap();
                let (job, shard) = (commit.job.parse().unwrap(), commit.shard.parse().unwrap());
                let (tenant, first) = (TenantId::default(), part.tracks[0].first);
                let attempt = types::Attempt(commit.attempt);
                let path = paths::part(&tenant, Generation(1), &job, shard, attempt, first, sha256);
                let read = self
                    .runtime
                    .block_on(self.storage.get_part(&path, sha256))
                    .unwrap();
                parts.push(read);
            }
        }
        parts
    }

    /// What so many rows cost.
    pub(crate) fn ledger(&mut self, count: u32) -> Ledger {
        let parts = self.parts(count);
        let ledgers = parts.iter().map(|part| part.footer.ledger);
        ledgers.fold(Ledger::default(), Ledger::plus)
    }

    /// The decoders' process ids at the moment.
    pub(crate) fn decoders(&self) -> BTreeSet<i32> {
        let decodes = |pid: i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.ends_with(b"hostile-decoder\0")
        };
        let below = process::descendants(self.pid()).into_iter();
        below
            .map(|seen| seen.pid)
            .filter(|pid| decodes(*pid))
            .collect()
    }

    pub(crate) fn wait(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let root = self.root.clone();
        let log = move || std::fs::read_to_string(root.join("agent.log")).unwrap_or_default();
        let until = std::time::Instant::now() + PATIENCE;
        while !done(self) {
            let ended = self.agent.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the agent ended with {ended:?} before {what}:\n{}",
                log()
            );
            assert!(
                std::time::Instant::now() < until,
                "waited for {what}:\n{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.agent.id()).unwrap()
    }

    /// The serving worker's process id; one that only lists devices is none.
    pub(crate) fn worker(&mut self) -> i32 {
        let pid = self.pid();
        let serves = |pid: i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.ends_with(b"stub-worker\0")
        };
        wait_for("a worker", PATIENCE, || {
            let below = process::descendants(pid);
            below
                .into_iter()
                .map(|seen| seen.pid)
                .find(|pid| serves(*pid))
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    pub(crate) fn restart(&mut self) {
        self.agent.kill().unwrap();
        self.agent.wait().unwrap();
        self.agent = start(&self.root, &self.played, &self.options);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

pub(crate) fn start(root: &Path, played: &Played, options: &Options) -> Child {
    let beside = tests::binaries();
    let decoder = match options.honest_decoder {
        true => beside.join("trackscan-decoder"),
        false => beside.join("hostile-decoder"),
    };
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(root.join("agent.log"))
        .unwrap();
    let mut command = Command::new(beside.join("node-agent"));
    command.args([
        "--coordinator",
        &format!("http://{}", played.address),
        "--node",
        "node",
        "--device",
        "auto",
    ]);
    command.args([
        "--flush-secs",
        "1",
        "--decoders",
        "3",
        "--metrics",
        "off",
        "--log",
        "info,agent=debug",
    ]);
    let [_, storage] = options.storage(root);
    command.arg("--data").arg(root.join("node"));
    command.args(["--storage", &storage]);
    command
        .arg("--source")
        .arg(format!("music={}", root.join("music").display()));
    command
        .arg("--trusted-key")
        .arg(bundle::sample::key().public().to_string());
    command
        .arg("--worker")
        .arg(beside.join("stub-worker"))
        .arg("--decoder")
        .arg(decoder);
    command
        .args(&options.arguments)
        .envs(options.variables.iter().map(|(name, value)| (name, value)));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    process::spawn_bound(command)
}

/// Puts bundle and snapshot into storage and makes the job.
pub(crate) async fn prepare(root: &Path, storage: &Storage, policy: &Policy) -> JobSpec {
    let tenant = TenantId::default();
    let folder = root.join("bundle");
    let (manifest, contents) = match policy.stages {
        Stages::Screen => (bundle::sample::manifest(), bundle::sample::contents()),
        Stages::Both => bundle::sample::both(),
    };
    let digest = bundle::write(&folder, manifest, &contents, &bundle::sample::key()).unwrap();
    storage.put_bundle(&tenant, digest, &folder).await.unwrap();
    let source = SourceName::new("music").unwrap();
    let mut sources = Sources::default();
    sources.add(source.clone(), &root.join("music")).unwrap();
    let from = ImportFrom::Folder {
        source,
        prefix: String::new(),
    };
    let progress = Arc::new(ImportProgress::default());
    let imported = storage
        .import(&tenant, from, &sources, &root.join("scratch"), progress)
        .await
        .unwrap();
    JobSpec {
        tenant,
        actor: types::ActorId::default(),
        job: types::JobId::new("job").unwrap(),
        generation: Generation(1),
        catalog: types::CatalogName::new("music").unwrap(),
        list: imported.list,
        plan: ShardPlan::new(imported.rows, Some(64)),
        bundle: digest,
        policy: policy.clone(),
        submitted_at: UnixMillis(0),
        retry: None,
    }
}

/// A 16-bit mono WAV at the stub's rate.
pub(crate) fn wav(samples: &[i16]) -> Vec<u8> {
    let data = u32::try_from(samples.len() * 2).unwrap();
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(RATE_HZ.to_le_bytes());
    file.extend((RATE_HZ * 2).to_le_bytes());
    file.extend(2_u16.to_le_bytes());
    file.extend(16_u16.to_le_bytes());
    file.extend(b"data");
    file.extend(data.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// Five seconds of sound that no other number gives.
pub(crate) fn tone(number: i32) -> Vec<i16> {
    let sample = |at: i32| {
        i16::try_from(at.wrapping_mul(number * 2 + 31).rem_euclid(20_001) - 10_000).unwrap()
    };
    (0..5 * 16_000).map(sample).collect()
}

/// The same with a pattern that makes the stub misbehave.
pub(crate) fn tricked(number: i32, trick: Trick) -> Vec<i16> {
    let mut samples = tone(number);
    samples[40_000..40_008].copy_from_slice(&trick.pattern());
    samples
}

/// The logits that the stub gives a track.
pub(crate) fn logits(samples: &[i16]) -> Vec<f32> {
    let spec = engine::Engine::info(&StubEngine::plain()).window;
    let pcm: Vec<f32> = samples
        .iter()
        .map(|sample| f32::from(*sample) / 32_768.0)
        .collect();
    spec.starts(pcm.len() as u64)
        .map(|start| StubEngine::logit(&spec.cut(&pcm, start)))
        .collect()
}

#[track_caller]
pub(crate) fn assert_scored(row: &TrackRow, samples: &[i16]) {
    assert_ne!(
        row.verdict,
        Verdict::Unscannable,
        "{}: {:?} {:?}",
        row.key,
        row.code,
        row.detail
    );
    let found: Vec<f32> = row.timeline.iter().map(|point| point.logit).collect();
    assert_eq!(found, logits(samples), "{}", row.key);
    assert_eq!(
        row.content_sha256,
        Some(types::Digest::of(&wav(samples))),
        "{}",
        row.key
    );
}
