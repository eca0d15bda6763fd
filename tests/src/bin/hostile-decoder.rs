//! A decoder that a file has taken over. It speaks the decoder's protocol, decodes plain WAV honestly, and turns on its
//! ring when the file's name tells it how: `truncate`, `rewind`, `overrun`, `race`, `poison`, `surplus`, `shortfall`,
//! `babble`, `overread`, `sleep`, `deaf`, `dribble`, `gush`, `slander` or `die`; `slow` is honest and takes its time. Suites start it in the
//! place of `trackscan-decoder`; it has no sandbox.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use audio::Channel;
use audio::child::{CONTROL_FD, DATA_FD, MEMORY_FD, SPACE_FD};
use audio::protocol::{Decode, Failure, FromDecoder, Summary, ToDecoder, VERSION};
use audio::ring::{RingFds, Writer};
use rustix::mm::{MapFlags, ProtFlags};
use types::{Code, Provenance, Warning};

/// Bytes of a WAV file before its samples, as this repository writes them.
const WAV_HEAD: usize = 44;
/// How long a slow track takes: much longer than its windows.
const SLOWNESS: Duration = Duration::from_secs(1);
/// What sets the title of a terminal's window, and breaks the line.
const ESCAPE: &str = "\u{1b}]0;mine\u{7}\n";
/// Between two signs of a dribbling decoder's progress.
const DRIBBLE_EVERY: Duration = Duration::from_millis(100);

fn main() -> anyhow::Result<()> {
    // SAFETY: the agent starts a decoder with exactly these descriptors, and nothing else here owns them.
    let fd = |number| unsafe { OwnedFd::from_raw_fd(number) };
    let control = UnixStream::from(fd(CONTROL_FD));
    let peer = control.try_clone()?;
    let ring = RingFds::from([fd(MEMORY_FD), fd(DATA_FD), fd(SPACE_FD)]);
    let memory = Memory::map(&ring)?;
    let mut decoder = Hostile {
        channel: Channel::new(control),
        peer,
        writer: Writer::attach(ring.try_clone()?)?,
        memory,
        ring,
        waited: Duration::ZERO,
    };
    decoder
        .channel
        .send(&FromDecoder::Hello { version: VERSION })?;
    while let Some(message) = decoder.channel.receive::<ToDecoder>()? {
        match message {
            ToDecoder::Decode(job) => decoder.decode(&job)?,
            ToDecoder::Bytes { .. } | ToDecoder::ReadFailed { .. } => {}
            ToDecoder::Stop => break,
        }
    }
    Ok(())
}

struct Hostile {
    channel: Channel,
    peer: UnixStream,
    writer: Writer,
    memory: Memory,
    ring: RingFds,
    /// What the writer had waited before the track in hand.
    waited: Duration,
}

impl Hostile {
    fn decode(&mut self, job: &Decode) -> anyhow::Result<()> {
        self.waited = self.writer.waited();
        let trick = job.name.split(['-', '.']).next().unwrap_or_default();
        if trick == "deaf" {
            return self.ask_and_never_listen(job);
        }
        let pcm = self.read(job)?;
        let (first, second) = pcm.split_at(pcm.len() / 2);
        self.writer.write(first, self.peer.as_fd())?;
        let mut frames = pcm.len() as u64;
        match trick {
            "truncate" => self.truncate(),
            "rewind" => return self.rewind(first, job),
            "overrun" => {
                self.memory.head().fetch_add(1 << 40, Ordering::SeqCst);
                return self.done(job, first.len() as u64);
            }
            "race" => return self.race(first, job),
            "poison" => self
                .writer
                .write(&[f32::NAN; 64], self.peer.as_fd())
                .map(|()| 0)?,
            "surplus" => {
                frames -= 1_000;
                0
            }
            "shortfall" => {
                frames += 1_000;
                0
            }
            "babble" => self
                .channel
                .send(&FromDecoder::Hello { version: VERSION })
                .map(|()| 0)?,
            "overread" => self
                .channel
                .send(&FromDecoder::ReadAt {
                    offset: u64::MAX,
                    length: 7,
                })
                .map(|()| 0)?,
            "sleep" => loop {
                std::thread::park();
            },
            "dribble" => self.dribble()?,
            "slow" => {
                std::thread::sleep(SLOWNESS);
                0
            }
            "slander" => return self.slander(job),
            "die" => std::process::abort(),
            _ => 0,
        };
        if trick == "truncate" {
            frames += 1;
        }
        self.writer.write(second, self.peer.as_fd())?;
        match trick {
            "gush" => self.gush(job, frames),
            _ => self.done(job, frames),
        }
    }

    /// Ends as it should, with texts as long as a message may be and made for a terminal.
    fn gush(&mut self, job: &Decode, frames: u64) -> anyhow::Result<()> {
        self.writer.finish();
        let summary = Summary {
            codec: ESCAPE.repeat(1_000),
            provenance: claims(),
            warnings: vec![Warning::Truncated; 1_000],
            ..self.summary(job, frames)?
        };
        Ok(self.channel.send(&FromDecoder::Done(summary))?)
    }

    /// Gives up with such texts.
    fn slander(&mut self, job: &Decode) -> anyhow::Result<()> {
        Ok(self.channel.send(&FromDecoder::Failed(Failure {
            token: job.token,
            code: Code::Damaged,
            detail: ESCAPE.repeat(1_000),
            samples: 0,
            cpu_us: 0,
            retire: false,
            provenance: claims(),
            room_us: 0,
        }))?)
    }

    /// Progress, now and then and without end: a sample for the ring and a question for the agent.
    fn dribble(&mut self) -> anyhow::Result<u64> {
        loop {
            std::thread::sleep(DRIBBLE_EVERY);
            self.writer.write(&[0.0], self.peer.as_fd())?;
            let (offset, length) = (0, 1);
            self.channel.send(&FromDecoder::ReadAt { offset, length })?;
            let answer = self.channel.receive::<ToDecoder>()?;
            anyhow::ensure!(answer.is_some(), "nobody listens");
            self.channel.receive_bytes(&mut [0])?;
        }
    }

    /// Asks for more than the socket holds and takes nothing of it.
    fn ask_and_never_listen(&mut self, job: &Decode) -> anyhow::Result<()> {
        let length = u32::try_from(job.bytes.min(1 << 20))?;
        self.channel
            .send(&FromDecoder::ReadAt { offset: 0, length })?;
        loop {
            std::thread::park();
        }
    }

    /// Reads the file as honestly as any decoder would, in blocks of the largest size.
    fn read(&mut self, job: &Decode) -> anyhow::Result<Vec<f32>> {
        let mut bytes = vec![0; usize::try_from(job.bytes)?];
        let mut offset = 0;
        for block in bytes.chunks_mut(1 << 20) {
            let length = u32::try_from(block.len())?;
            self.channel.send(&FromDecoder::ReadAt { offset, length })?;
            match self.channel.receive::<ToDecoder>()? {
                Some(ToDecoder::Bytes { .. }) => self.channel.receive_bytes(block)?,
                other => anyhow::bail!("{other:?} instead of bytes"),
            }
            offset += u64::from(length);
        }
        let samples = bytes.get(WAV_HEAD..).unwrap_or_default();
        let sample = |pair: &[u8; 2]| f32::from(i16::from_le_bytes(*pair)) / 32_768.0;
        Ok(samples.as_chunks::<2>().0.iter().map(sample).collect())
    }

    /// The ring's memory is sealed: neither end can be cut off under the reader.
    fn truncate(&self) -> u64 {
        let refused = rustix::fs::ftruncate(&self.ring.memory, 0);
        assert!(refused.is_err(), "the seals hold");
        0
    }

    /// The position goes back once the reader has read that far.
    fn rewind(&mut self, pcm: &[f32], job: &Decode) -> anyhow::Result<()> {
        while self.memory.tail().load(Ordering::SeqCst) < self.memory.head().load(Ordering::SeqCst)
        {
            std::thread::yield_now();
        }
        self.memory.head().fetch_sub(1_000, Ordering::SeqCst);
        self.done(job, pcm.len() as u64)
    }

    /// One thread moves the position about while another writes and the worker reads.
    fn race(&mut self, pcm: &[f32], job: &Decode) -> anyhow::Result<()> {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut step = 1_u64;
                while !stop.load(Ordering::Relaxed) {
                    step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    self.memory.head().store(step, Ordering::SeqCst);
                }
            });
            for _ in 0..1_000 {
                let _ = rustix::io::write(&self.ring.data, &1_u64.to_ne_bytes());
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
        self.done(job, pcm.len() as u64)
    }

    fn done(&mut self, job: &Decode, frames: u64) -> anyhow::Result<()> {
        self.writer.finish();
        let summary = self.summary(job, frames)?;
        Ok(self.channel.send(&FromDecoder::Done(summary))?)
    }

    fn summary(&self, job: &Decode, frames: u64) -> anyhow::Result<Summary> {
        let rate_hz = job.output.rate_hz.unwrap_or(16_000);
        Ok(Summary {
            token: job.token,
            frames,
            rate_hz,
            channels: 1,
            source_rate_hz: rate_hz,
            source_channels: 1,
            codec: "pcm_s16le".to_owned(),
            duration_ms: frames * 1_000 / u64::from(rate_hz),
            warnings: Vec::new(),
            provenance: Vec::new(),
            cpu_us: 0,
            retire: false,
            room_us: u64::try_from((self.writer.waited() - self.waited).as_micros())?,
        })
    }
}

fn claims() -> Vec<Provenance> {
    let claim = Provenance {
        tag: ESCAPE.repeat(100),
        value: ESCAPE.repeat(100),
    };
    vec![claim; 100]
}

/// The ring's memory behind the writer's back.
struct Memory(*mut u8);

// SAFETY: plain shared memory; only atomics are made of it.
unsafe impl Sync for Memory {}

impl Memory {
    fn map(ring: &RingFds) -> anyhow::Result<Self> {
        let bytes = usize::try_from(rustix::fs::fstat(&ring.memory)?.st_size)?;
        // SAFETY: a fresh mapping of the whole memory at an address of the kernel's choice, never unmapped.
        let base = unsafe {
            let (flags, access) = (MapFlags::SHARED, ProtFlags::READ | ProtFlags::WRITE);
            rustix::mm::mmap(std::ptr::null_mut(), bytes, access, flags, &ring.memory, 0)?
        };
        Ok(Self(base.cast()))
    }

    /// The writer's position: the first word of the ring's header.
    fn head(&self) -> &AtomicU64 {
        // SAFETY: the mapping is page aligned, longer than a word, and lives as long as the process.
        unsafe { &*self.0.cast::<AtomicU64>() }
    }

    /// The reader's position, on the header's second cache line.
    fn tail(&self) -> &AtomicU64 {
        // SAFETY: the mapping is page aligned, longer than two cache lines, and lives as long as the process.
        unsafe { &*self.0.add(64).cast::<AtomicU64>() }
    }
}
