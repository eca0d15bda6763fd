//! One decoder's life: greet, then decode what is asked for, one track at a time, until told to stop or left alone.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use audio::Channel;
use audio::child::{EXIT_PANICKED, EXIT_PROTOCOL};
use audio::decode::{Decoded, Job, Refused, Sink, decode};
use audio::fault::Fault;
use audio::limits::Limits;
use audio::protocol::{
    DETAIL_BYTES_MAX, Decode, Failure, FromDecoder, Summary, ToDecoder, VERSION,
};
use audio::ring::Writer;
use audio::source::Blocks;
use types::Code;

use crate::remote::Remote;
use crate::{limits, watchdog};

/// Packets between two looks at the clock: a quarter of a second of music, in which no packet costs a second.
const PACKETS_A_LOOK: u32 = 16;

/// The decoder between two tracks.
pub(crate) struct Session {
    channel: Channel,
    peer: OwnedFd,
    writer: Writer,
}

/// Why the session goes on or ends.
enum After {
    NextTrack,
    Exit(i32),
}

impl Session {
    /// A session over an inherited socket and ring.
    pub(crate) fn new(channel: Channel, peer: OwnedFd, writer: Writer) -> Self {
        Self {
            channel,
            peer,
            writer,
        }
    }

    /// Serves until the agent says stop or goes away; returns the exit status.
    pub(crate) fn run(mut self) -> i32 {
        if self
            .channel
            .send(&FromDecoder::Hello { version: VERSION })
            .is_err()
        {
            return 0;
        }
        loop {
            match self.channel.receive() {
                Ok(Some(ToDecoder::Decode(job))) => match self.track(&job) {
                    After::NextTrack => {}
                    After::Exit(status) => return status,
                },
                Ok(Some(ToDecoder::Stop) | None) => return 0,
                Ok(Some(ToDecoder::Bytes { .. } | ToDecoder::ReadFailed { .. })) | Err(_) => {
                    return EXIT_PROTOCOL;
                }
            }
        }
    }

    fn track(&mut self, job: &Decode) -> After {
        let (started_us, before) = (cpu_us(), self.writer.position());
        let waited = self.writer.waited();
        watchdog::allow(job.limits.stall_s);
        let mut broken = false;
        let result = catch_unwind(AssertUnwindSafe(|| {
            self.decode(job, started_us, &mut broken)
        }));
        self.writer.finish();
        if broken {
            return After::Exit(EXIT_PROTOCOL);
        }
        let cost = Cost {
            token: job.token,
            samples: self.writer.position() - before,
            cpu_us: cpu_us() - started_us,
            room_us: micros(self.writer.waited() - waited),
            retire: worn_out(),
        };
        let (answer, after) = match result {
            Ok(Ok(decoded)) => (cost.done(decoded), After::NextTrack),
            Ok(Err(refused)) => (cost.failed(refused), After::NextTrack),
            Err(_) => (cost.panicked(), After::Exit(EXIT_PANICKED)),
        };
        match self.channel.send(&answer) {
            Ok(()) => after,
            Err(_) => After::Exit(0),
        }
    }

    fn decode(
        &mut self,
        job: &Decode,
        started_us: u64,
        broken: &mut bool,
    ) -> Result<Decoded, Refused> {
        let mut sink = RingSink {
            writer: &mut self.writer,
            peer: &self.peer,
            meter: Meter {
                started_us,
                limits: job.limits,
                packets: 0,
            },
        };
        let mut blocks = Blocks::new(Remote::new(&mut self.channel, job.bytes, broken));
        let job = Job {
            name: &job.name,
            output: job.output,
            limits: &job.limits,
        };
        decode(&mut blocks, job, &mut sink)
    }
}

/// What goes with either answer.
struct Cost {
    token: u64,
    samples: u64,
    cpu_us: u64,
    room_us: u64,
    retire: bool,
}

impl Cost {
    fn done(self, decoded: Decoded) -> FromDecoder {
        FromDecoder::Done(Summary {
            token: self.token,
            frames: decoded.frames,
            rate_hz: decoded.rate_hz,
            channels: decoded.channels,
            source_rate_hz: decoded.source_rate_hz,
            source_channels: decoded.source_channels,
            codec: decoded.codec,
            duration_ms: decoded.duration_ms,
            warnings: decoded.warnings,
            provenance: decoded.provenance,
            cpu_us: self.cpu_us,
            retire: self.retire,
            room_us: self.room_us,
        })
    }

    fn failed(self, refused: Refused) -> FromDecoder {
        let Refused {
            fault: Fault { code, mut detail },
            provenance,
        } = refused;
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        let Self {
            token,
            samples,
            cpu_us,
            room_us,
            retire,
        } = self;
        FromDecoder::Failed(Failure {
            token,
            code,
            detail,
            samples,
            cpu_us,
            retire,
            provenance,
            room_us,
        })
    }

    fn panicked(self) -> FromDecoder {
        let said = LAST_PANIC.lock().map_or_else(
            |poisoned| poisoned.into_inner().clone(),
            |said| said.clone(),
        );
        let fault = Fault::new(Code::DecodeCrash, format!("the decoder panicked: {said}"));
        Self {
            retire: true,
            ..self
        }
        .failed(Refused {
            fault,
            provenance: Vec::new(),
        })
    }
}

/// The way into the ring, and the meter on it.
struct RingSink<'a> {
    writer: &'a mut Writer,
    peer: &'a OwnedFd,
    meter: Meter,
}

impl Sink for RingSink<'_> {
    fn pcm(&mut self, interleaved: &[f32]) -> Result<(), Fault> {
        let written = self.writer.write(interleaved, self.peer.as_fd());
        written.map_err(|error| Fault::new(Code::Internal, error.to_string()))
    }

    fn progress(&mut self, decoded_s: f64) -> Result<(), Fault> {
        watchdog::progress();
        self.meter.look(decoded_s)
    }
}

/// Holds a track's processor time against what its length allows.
struct Meter {
    started_us: u64,
    limits: Limits,
    packets: u32,
}

impl Meter {
    fn look(&mut self, decoded_s: f64) -> Result<(), Fault> {
        self.packets = self.packets.wrapping_add(1);
        if !self.packets.is_multiple_of(PACKETS_A_LOOK) {
            return Ok(());
        }
        let used_s = (cpu_us() - self.started_us) as f64 / 1e6;
        let allowed_s = f64::from(self.limits.cpu_s)
            + f64::from(self.limits.cpu_s_per_1000_s) * decoded_s / 1000.0;
        if used_s <= allowed_s {
            return Ok(());
        }
        Err(Fault::new(
            Code::DecodeCpuLimit,
            format!("{used_s:.0} s of processor time for {decoded_s:.0} s of audio"),
        ))
    }
}

/// Whether half of this life's processor time is used up.
fn worn_out() -> bool {
    cpu_us() / 1_000_000 > limits::LIFE_CPU_S / 2
}

/// Processor time of this process, user and system, microseconds. By the C library: rustix looks for the kernel's clock
/// page with a system call that the sandbox forbids.
fn cpu_us() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is valid for the call, and this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1000
}

/// A span in microseconds.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What the last panic said.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Keeps panics off stderr, where a file could write through them, and for the answer instead.
pub(crate) fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut said) = LAST_PANIC.lock() {
            *said = info.to_string().replace('\n', " ");
        }
    }));
}
