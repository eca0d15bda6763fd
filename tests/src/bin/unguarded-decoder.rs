//! A decoder that believes what a CAF states: before it decodes one, it makes the buffer that the description asks for, as
//! parsers do that size their buffers from headers. The shipped decoder refuses such a header; this one shows what happens
//! where a header slips through: the allocation fails, the process aborts, and it must be the only one that does.

use audio::Channel;
use audio::child::{CONTROL_FD, DATA_FD, MEMORY_FD, SPACE_FD};
use audio::decode::{Decoded, Job, Refused, Sink, decode};
use audio::fault::Fault;
use audio::protocol::{Decode, Failure, FromDecoder, Summary, ToDecoder, VERSION};
use audio::ring::{RingFds, Writer};
use audio::source::{Blocks, ReadAt};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use types::Code;

/// Address space, bytes: as much as the shipped decoder has.
const ADDRESS_SPACE: u64 = 512 << 20;
/// Where the description of a CAF states the frames of a packet, right behind the file's header.
const FRAMES_PER_PACKET_AT: usize = 40;

fn main() -> anyhow::Result<()> {
    let limit = Rlimit {
        current: Some(ADDRESS_SPACE),
        maximum: Some(ADDRESS_SPACE),
    };
    setrlimit(Resource::As, limit)?;
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    let [control, memory, data, space] = [CONTROL_FD, MEMORY_FD, DATA_FD, SPACE_FD].map(inherited);
    let peer = control.try_clone()?;
    let mut channel = Channel::new(UnixStream::from(control));
    let mut writer = Writer::attach(RingFds {
        memory,
        data,
        space,
    })?;
    channel.send(&FromDecoder::Hello { version: VERSION })?;
    while let Some(ToDecoder::Decode(job)) = channel.receive()? {
        let answer = track(&mut channel, &mut writer, &peer, &job);
        channel.send(&answer)?;
    }
    Ok(())
}

fn inherited(fd: RawFd) -> OwnedFd {
    // SAFETY: the agent passes these numbers, and nothing else in this process owns them.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn track(channel: &mut Channel, writer: &mut Writer, peer: &OwnedFd, job: &Decode) -> FromDecoder {
    let before = writer.position();
    let mut blocks = Blocks::new(Served {
        channel,
        bytes: job.bytes,
    });
    believe(&mut blocks);
    let limits = job.limits;
    let wanted = Job {
        name: &job.name,
        output: job.output,
        limits: &limits,
    };
    let result = decode(&mut blocks, wanted, &mut Ring { writer, peer });
    writer.finish();
    let samples = writer.position() - before;
    match result {
        Ok(decoded) => FromDecoder::Done(summary(job.token, decoded)),
        Err(Refused {
            fault: Fault { code, detail },
            provenance,
        }) => FromDecoder::Failed(Failure {
            token: job.token,
            code,
            detail,
            samples,
            cpu_us: 0,
            retire: false,
            provenance,
            room_us: 0,
        }),
    }
}

/// Makes the buffer of one packet that a CAF states. For 2^30 frames of stereo that is 8 GiB.
fn believe<R: ReadAt>(blocks: &mut Blocks<R>) {
    let mut head = [0; FRAMES_PER_PACKET_AT + 8];
    if blocks
        .read(0, &mut head)
        .is_ok_and(|read| read == head.len())
        && head.starts_with(b"caff")
    {
        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| head[at + i])) as usize;
        let samples = word(FRAMES_PER_PACKET_AT) * word(FRAMES_PER_PACKET_AT + 4);
        std::hint::black_box(vec![1f32; samples]);
    }
}

fn summary(token: u64, decoded: Decoded) -> Summary {
    Summary {
        token,
        frames: decoded.frames,
        rate_hz: decoded.rate_hz,
        channels: decoded.channels,
        source_rate_hz: decoded.source_rate_hz,
        source_channels: decoded.source_channels,
        codec: decoded.codec,
        duration_ms: decoded.duration_ms,
        warnings: decoded.warnings,
        provenance: decoded.provenance,
        cpu_us: 0,
        retire: false,
        room_us: 0,
    }
}

struct Ring<'a> {
    writer: &'a mut Writer,
    peer: &'a OwnedFd,
}

impl Sink for Ring<'_> {
    fn pcm(&mut self, interleaved: &[f32]) -> Result<(), Fault> {
        let written = self.writer.write(interleaved, self.peer.as_fd());
        written.map_err(|error| Fault::new(Code::Internal, error.to_string()))
    }
}

/// A file as the agent serves it.
struct Served<'a> {
    channel: &'a mut Channel,
    bytes: u64,
}

impl ReadAt for Served<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Code> {
        let length = u32::try_from(out.len()).map_err(|_| Code::Internal)?;
        let asked = self.channel.send(&FromDecoder::ReadAt { offset, length });
        asked.map_err(|_| Code::Internal)?;
        match self.channel.receive() {
            Ok(Some(ToDecoder::Bytes { .. })) => {
                self.channel.receive_bytes(out).map_err(|_| Code::Internal)
            }
            Ok(Some(ToDecoder::ReadFailed { code })) => Err(code),
            Ok(Some(ToDecoder::Decode(_) | ToDecoder::Stop) | None) | Err(_) => Err(Code::Internal),
        }
    }
}
