//! Feeds a real worker tracks of PCM through a ring, as agent and decoder do, and prints as one JSON object what they cost
//! the worker and how long they took.
//!
//! `worker_bench WORKER BUNDLE PCM SAMPLES TRACKS`: PCM is a file of single-precision samples, repeated until a track has SAMPLES.
//! The first track warms up and is not counted. Run by the drivers in `bench/` at the root. What feeds is not counted either.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a bench waits for one message and passes over all others"
)]

use std::error::Error;
use std::io::Write as _;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use audio::child::Spawner;
use audio::ring::{RingFds, SAMPLES_DEFAULT, Writer};
use engine::frames::{self, FrameReader};
use engine::{FromWorker, Load, ToWorker, TrackScore};
use types::{DeviceKind, Digest};

type Failed = Box<dyn Error>;

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [worker, bundle, pcm, samples, tracks] = args.as_slice() else {
        return Err("usage: worker_bench WORKER BUNDLE PCM SAMPLES TRACKS".into());
    };
    let pcm = floats(&std::fs::read(pcm)?);
    let samples: usize = samples.parse()?;
    let mut bench = Bench::start(Path::new(worker), bundle)?;
    bench.track(0, &pcm, samples)?;
    let (begun, before) = (Instant::now(), bench.cpu_seconds()?);
    let mut windows = 0;
    for token in 1..=tracks.parse()? {
        windows += bench.track(token, &pcm, samples)?.timeline.len();
    }
    let wall = begun.elapsed().as_secs_f64();
    let spent = bench.cpu_seconds()? - before;
    writeln!(
        std::io::stdout(),
        "{{\"cpu_seconds\":{spent:.6},\"wall_seconds\":{wall:.6},\"windows\":{windows}}}"
    )?;
    bench.stop()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let samples = bytes.as_chunks::<4>().0.iter();
    samples.map(|sample| f32::from_le_bytes(*sample)).collect()
}

/// A worker with one slot and its ring.
struct Bench {
    child: Child,
    socket: FrameReader<UnixStream>,
    writer: Writer,
    /// The worker dies with it.
    _spawner: Spawner,
}

impl Bench {
    fn start(worker: &Path, bundle: &str) -> Result<Self, Failed> {
        let (here, there) = UnixStream::pair()?;
        let spawner = Spawner::start()?;
        let mut command = Command::new(worker);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = spawner.spawn(command, vec![there.into()])?;
        let ring = RingFds::create(SAMPLES_DEFAULT)?;
        let mut bench = Self {
            child,
            socket: FrameReader::new(here),
            writer: Writer::attach(ring.try_clone()?)?,
            _spawner: spawner,
        };
        let manifest = std::fs::read(Path::new(bundle).join(bundle::MANIFEST_FILE))?;
        let load = Load {
            bundle_dir: bundle.to_owned(),
            bundle: Digest::of(&manifest),
            device: DeviceKind::Cpu,
            index: 0,
            dtype: None,
            slots: 1,
            max_batch: None,
        };
        bench.say(&ToWorker::Load(load), &[])?;
        bench.hear("that it has loaded", |said| {
            matches!(said, FromWorker::Loaded(_)).then_some(())
        })?;
        bench.say(&ToWorker::AttachRing { slot: 0 }, &ring.as_fds())?;
        bench.hear("that the ring is attached", |said| {
            matches!(said, FromWorker::Ready { .. }).then_some(())
        })?;
        Ok(bench)
    }

    /// One track from its first sample to its score.
    fn track(&mut self, token: u64, pcm: &[f32], samples: usize) -> Result<TrackScore, Failed> {
        let track = ToWorker::Track {
            slot: 0,
            token,
            samples_max: None,
            patience_ms: None,
        };
        self.say(&track, &[])?;
        let mut left = samples;
        while left > 0 {
            let some = &pcm[..left.min(pcm.len())];
            self.writer.write(some, self.socket.fd())?;
            left -= some.len();
        }
        self.writer.finish();
        let end = ToWorker::EndOfTrack {
            slot: 0,
            token,
            frames: samples as u64,
        };
        self.say(&end, &[])?;
        self.hear("with a score", |said| match said {
            FromWorker::Scored { score, .. } => Some(Ok(score)),
            FromWorker::TrackFailed { code, detail, .. } => Some(Err(format!("{code}: {detail}"))),
            _ => None,
        })?
        .map_err(Failed::from)
    }

    fn say(&self, message: &ToWorker, fds: &[BorrowedFd<'_>]) -> Result<(), Failed> {
        Ok(frames::write(self.socket.fd(), message, fds)?)
    }

    /// The first message that is `wanted`.
    fn hear<T>(
        &mut self,
        what: &str,
        wanted: impl Fn(FromWorker) -> Option<T>,
    ) -> Result<T, Failed> {
        while let Some(said) = self.socket.read::<FromWorker>()? {
            if let Some(found) = wanted(said) {
                return Ok(found);
            }
        }
        Err(format!("the worker ended before it answered {what}").into())
    }

    /// Processor seconds of all threads of the worker so far.
    fn cpu_seconds(&self) -> Result<f64, Failed> {
        let mut sum = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            sum += stat.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(sum as f64 / 1e9)
    }

    fn stop(mut self) -> Result<(), Failed> {
        self.say(&ToWorker::Stop, &[])?;
        self.child.wait()?;
        Ok(())
    }
}
