//! One node agent as a process, with the stub worker and decoders that files have taken over; the test plays the
//! coordinator. What a hostile file can do, what a node commits, and what is left when it is killed.

#![expect(
    clippy::unwrap_used,
    reason = "a suite's helpers fail loudly, as its tests do"
)]

mod coordinator;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use coordinator::Played;
use engine::stub::{StubEngine, Trick};
use rustix::process::Signal;
use storage::{ImportFrom, ImportProgress, Sources, Storage, paths};
use tests::process::{self, wait_for};
use types::{
    Code, Generation, JobSpec, Policy, ShardPlan, SourceName, TenantId, TrackRow, UnixMillis,
    Verdict,
};

/// How long a node may take for a handful of short tracks on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The rate at which the stub hears.
const RATE_HZ: u32 = 16_000;

/// A node over a folder of tracks.
struct World {
    _root: tempfile::TempDir,
    root: PathBuf,
    storage: Storage,
    played: Played,
    runtime: tokio::runtime::Runtime,
    agent: Child,
    options: Options,
    /// A file that nobody can open as long as this is held.
    held: Option<Lease>,
}

/// How its agent is started.
#[derive(Clone, Default)]
struct Options {
    honest_decoder: bool,
    arguments: Vec<&'static str>,
    variables: Vec<(&'static str, String)>,
    /// A track that cannot be opened until the test lets it go.
    held: Option<&'static str>,
}

/// A write lease on a file: whoever opens it waits until the lease is given up, as with a share that does not answer.
struct Lease {
    _file: std::fs::File,
}

impl Lease {
    fn take(path: &Path) -> Self {
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
    fn new(tracks: &[(&str, Vec<i16>)], options: Options) -> Self {
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
        let storage = Storage::open_folder(&root.join("storage")).unwrap();
        let played =
            runtime.block_on(async { Played::serve(prepare(&root, &storage).await).await });
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
    fn rows(&mut self, count: u32) -> BTreeMap<String, TrackRow> {
        self.wait("rows", |world| {
            world.played.look(|books| books.committed()) >= count
        });
        let commits = self.played.look(|books| books.commits.clone());
        let mut rows = BTreeMap::new();
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
                for row in read.rows {
                    let known = rows.insert(row.key.clone(), row);
                    assert!(known.is_none(), "each track has one row: {known:?}");
                }
            }
        }
        rows
    }

    fn wait(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
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

    fn pid(&self) -> i32 {
        i32::try_from(self.agent.id()).unwrap()
    }

    /// The serving worker's process id; one that only lists devices is none.
    fn worker(&mut self) -> i32 {
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

    fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    fn restart(&mut self) {
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

fn start(root: &Path, played: &Played, options: &Options) -> Child {
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
        "cpu",
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
    command.arg("--data").arg(root.join("node"));
    command
        .arg("--storage")
        .arg(format!("file://{}", root.join("storage").display()));
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
async fn prepare(root: &Path, storage: &Storage) -> JobSpec {
    let tenant = TenantId::default();
    let folder = root.join("bundle");
    let (manifest, contents) = (bundle::sample::manifest(), bundle::sample::contents());
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
        policy: Policy::default(),
        submitted_at: UnixMillis(0),
    }
}

/// A 16-bit mono WAV at the stub's rate.
fn wav(samples: &[i16]) -> Vec<u8> {
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
fn tone(number: i32) -> Vec<i16> {
    let sample = |at: i32| {
        i16::try_from(at.wrapping_mul(number * 2 + 31).rem_euclid(20_001) - 10_000).unwrap()
    };
    (0..5 * 16_000).map(sample).collect()
}

/// The same with a pattern that makes the stub misbehave.
fn tricked(number: i32, trick: Trick) -> Vec<i16> {
    let mut samples = tone(number);
    samples[40_000..40_008].copy_from_slice(&trick.pattern());
    samples
}

/// The logits that the stub gives a track.
fn logits(samples: &[i16]) -> Vec<f32> {
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
fn assert_scored(row: &TrackRow, samples: &[i16]) {
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

#[test]
fn a_decoder_that_turns_on_its_ring_costs_its_track_and_nothing_else() {
    let tricks = [
        "truncate",
        "rewind",
        "overrun",
        "race",
        "poison",
        "surplus",
        "shortfall",
        "babble",
        "overread",
    ];
    let mut tracks: Vec<(String, Vec<i16>)> = Vec::new();
    for (number, trick) in (0..).zip(tricks) {
        tracks.push((format!("{trick}-{number}.wav"), tone(number)));
        tracks.push((format!("good-{number}.wav"), tone(100 + number)));
    }
    let named: Vec<(&str, Vec<i16>)> = tracks
        .iter()
        .map(|(name, samples)| (name.as_str(), samples.clone()))
        .collect();
    let mut world = World::new(&named, Options::default());
    let worker = world.worker();
    let rows = world.rows(18);
    assert_eq!(world.worker(), worker, "the worker's process stays");
    for (name, samples) in &tracks {
        match name.starts_with("good") {
            true => assert_scored(&rows[name], samples),
            false => assert_eq!(
                rows[name].code,
                Some(Code::RingViolation),
                "{name}: {:?}",
                rows[name].detail
            ),
        }
    }
}

#[test]
fn a_decoder_that_sleeps_or_takes_nothing_of_what_it_asked_for_costs_its_track_and_nothing_else() {
    let (long, good) = (tone(1).repeat(8), tone(2));
    let tracks = [
        ("deaf.wav", long),
        ("good.wav", good.clone()),
        ("sleep.wav", tone(3)),
    ];
    let options = Options {
        arguments: vec!["--decoder-silence-secs", "3"],
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let worker = world.worker();
    let rows = world.rows(3);
    for name in ["deaf.wav", "sleep.wav"] {
        assert_eq!(rows[name].code, Some(Code::DecodeStalled), "{name}");
    }
    assert_scored(&rows["good.wav"], &good);
    assert_eq!(world.worker(), worker);
}

#[test]
fn a_source_that_stalls_and_then_answers_costs_no_track_and_no_worker() {
    let tracks: Vec<(&str, Vec<i16>)> = (0..)
        .zip(["a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "held.wav"])
        .map(|(number, name)| (name, tone(number)))
        .collect();
    let options = Options {
        arguments: vec!["--source-silence-secs", "2"],
        held: Some("held.wav"),
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let worker = world.worker();
    let log = world.root.join("agent.log");
    world.wait("slots to be given up", |_| {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.matches("a source does not answer").count() >= 2
    });
    // Every thread that waited wakes at once, while other threads have its slot.
    world.held = None;
    let rows = world.rows(6);
    for (name, samples) in &tracks {
        assert_scored(&rows[*name], samples);
    }
    assert_eq!(world.worker(), worker, "the worker's process stays");
}

#[test]
fn a_decoder_that_dies_on_a_track_is_tried_once_more_and_then_the_track_is_typed() {
    let (bad, good) = (tone(1), tone(2));
    let mut world = World::new(
        &[("die.wav", bad), ("good.wav", good.clone())],
        Options::default(),
    );
    let worker = world.worker();
    let rows = world.rows(2);
    assert_eq!(rows["die.wav"].code, Some(Code::DecodeCrash));
    assert_scored(&rows["good.wav"], &good);
    assert_eq!(world.worker(), worker);
}

#[test]
fn a_track_that_kills_workers_is_found_among_its_neighbours_which_all_finish() {
    let mut tracks = vec![("kills.wav", tricked(9, Trick::Die))];
    for (number, name) in (1..).zip(["a.wav", "b.wav", "c.wav", "d.wav", "e.wav"]) {
        tracks.push((name, tone(number)));
    }
    let mut world = World::new(&tracks, Options::default());
    let rows = world.rows(6);
    assert_eq!(rows["kills.wav"].code, Some(Code::WorkerDied));
    for (name, samples) in &tracks[1..] {
        assert_scored(&rows[*name], samples);
    }
}

#[test]
fn a_hanging_worker_is_replaced_and_the_track_that_hangs_it_is_typed() {
    let good = tone(1);
    let tracks = [
        ("good.wav", good.clone()),
        ("hangs.wav", tricked(2, Trick::Hang)),
    ];
    let options = Options {
        arguments: vec!["--silence-secs", "3"],
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let rows = world.rows(2);
    assert_eq!(rows["hangs.wav"].code, Some(Code::WorkerDied));
    assert_scored(&rows["good.wav"], &good);
}

#[test]
fn what_a_device_says_of_one_track_is_that_tracks_code() {
    let good = tone(3);
    let tracks = [
        ("full.wav", tricked(1, Trick::OutOfMemory)),
        ("nan.wav", tricked(2, Trick::NotFinite)),
        ("good.wav", good.clone()),
    ];
    let mut world = World::new(&tracks, Options::default());
    let rows = world.rows(3);
    assert_eq!(rows["full.wav"].code, Some(Code::DeviceOutOfMemory));
    assert_eq!(rows["nan.wav"].code, Some(Code::ScoreNotFinite));
    assert_scored(&rows["good.wav"], &good);
}

#[test]
fn a_failed_canary_takes_the_device_out_and_nothing_of_it_is_committed() {
    let sick = tempfile::NamedTempFile::new().unwrap();
    let path = sick.path().display().to_string();
    let options = Options {
        variables: vec![("TRACKSCAN_STUB_CANARY_FAILS_IF", path)],
        ..Options::default()
    };
    let mut world = World::new(&[("a.wav", tone(1)), ("b.wav", tone(2))], options);
    world.wait("the device to go out", |world| {
        world
            .played
            .look(|books| books.beats.iter().any(|beat| !beat.devices_out.is_empty()))
    });
    let out = world
        .played
        .look(|books| books.beats.last().unwrap().devices_out.clone());
    assert_eq!(
        (out[0].device.as_str(), out[0].code.as_str()),
        ("cpu:0", "CANARY_FAILED")
    );
    assert_eq!(world.played.look(|books| books.commits.len()), 0);
}

#[test]
fn kill_9_of_worker_decoders_and_agent_loses_no_track_and_leaves_no_orphan() {
    let names: Vec<String> = (0..24).map(|number| format!("{number:02}.wav")).collect();
    let tracks: Vec<(&str, Vec<i16>)> = (0..)
        .zip(&names)
        .map(|(number, name)| (name.as_str(), tone(number)))
        .collect();
    let options = Options {
        variables: vec![("TRACKSCAN_STUB_WINDOW_MS", "30".to_owned())],
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let worker = world.worker();
    process::signal(worker, Signal::KILL);
    world.wait("some rows", |world| {
        world.played.look(|books| books.committed()) >= 4
    });
    let pid = world.pid();
    for decoder in process::descendants(pid)
        .iter()
        .filter(|seen| "hostile-decoder".starts_with(&seen.name))
    {
        process::signal(decoder.pid, Signal::KILL);
    }
    world.wait("more rows", |world| {
        world.played.look(|books| books.committed()) >= 8
    });
    let below = process::descendants(pid);
    let dead = world
        .played
        .look(|books| std::mem::take(&mut books.commits));
    world.restart();
    wait_for("the children of a killed agent to end", PATIENCE, || {
        below
            .iter()
            .all(|seen| process::one(seen.pid).is_none())
            .then_some(())
    });
    world.played.look(|books| books.commits = dead);
    // What the dead agent had in hand is granted again, as a coordinator does after two beats without it.
    world.played.look(coordinator::Books::grant_again);
    let rows = world.rows(24);
    for (name, samples) in &tracks {
        assert_scored(&rows[*name], samples);
    }
}

#[test]
fn a_part_without_an_answer_is_offered_again_by_the_agents_next_life() {
    let (a, b) = (tone(1), tone(2));
    let mut world = World::new(
        &[("a.wav", a.clone()), ("b.wav", b.clone())],
        Options::default(),
    );
    world.played.look(|books| books.deaf = true);
    let parts = world.root.join("node/parts");
    world.wait("a part on disk", |_| {
        std::fs::read_dir(&parts).is_ok_and(|files| {
            files.flatten().any(|file| {
                file.path()
                    .extension()
                    .is_some_and(|suffix| suffix == "part")
            })
        })
    });
    world.restart();
    world.played.look(|books| books.deaf = false);
    let rows = world.rows(2);
    assert_scored(&rows["a.wav"], &a);
    assert_scored(&rows["b.wav"], &b);
    world.wait("an empty shelf", |_| {
        std::fs::read_dir(&parts).is_ok_and(|files| files.count() == 0)
    });
}

#[test]
fn sigterm_commits_what_is_in_hand_and_leaves() {
    let names: Vec<String> = (0..40).map(|number| format!("{number:02}.wav")).collect();
    let tracks: Vec<(&str, Vec<i16>)> = (0..)
        .zip(&names)
        .map(|(number, name)| (name.as_str(), tone(number)))
        .collect();
    let options = Options {
        variables: vec![("TRACKSCAN_STUB_WINDOW_MS", "20".to_owned())],
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    world.wait("a first row", |world| {
        world.played.look(|books| books.committed()) >= 1
    });
    world.signal(Signal::TERM);
    let status = wait_for("the agent to end", PATIENCE, || {
        world.agent.try_wait().unwrap()
    });
    assert!(status.success(), "{status:?}");
    assert!(world.played.look(|books| books.left));
    assert_eq!(
        std::fs::read_dir(world.root.join("node/parts"))
            .unwrap()
            .count(),
        0,
        "nothing stays unanswered"
    );
}

#[test]
fn the_sandboxed_decoder_and_the_stub_agree_on_a_whole_track() {
    let good = tone(5);
    let options = Options {
        honest_decoder: true,
        ..Options::default()
    };
    let mut world = World::new(
        &[("good.wav", good.clone()), ("noise.bin", vec![77; 9_000])],
        options,
    );
    let rows = world.rows(2);
    assert_scored(&rows["good.wav"], &good);
    assert_eq!(rows["good.wav"].sample_rate_hz, Some(RATE_HZ));
}
