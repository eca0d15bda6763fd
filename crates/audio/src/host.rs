//! A plain parent for one decoder, without a runtime: serves a file, drains the ring, waits for the end.
//!
//! For tests, benches and tools; the agent has its own, which drives many. It must never be used where a decoder's
//! silence may not block: a decoder that neither computes nor answers is waited for up to [`SILENCE_MAX`].

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use types::Code;

use crate::channel::Channel;
use crate::child::{DecoderChild, SpawnError, Spawner, code_of_death};
use crate::protocol::{
    Decode, Failure, FrameError, FromDecoder, READ_BYTES_MAX, Summary, ToDecoder, VERSION,
};
use crate::ring::{Reader, RingError, Violation};
use crate::source::ReadAt;

/// How long a decoder may say nothing at all: longer than its own limits allow it to compute on a busy machine.
pub const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How a track ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Decoded; every sample went to the caller.
    Done(Summary),
    /// Refused by the decoder with a code.
    Failed(Failure),
    /// The decoder died, or broke the rules; a new one serves the next track.
    Died(Code, String),
}

impl Outcome {
    /// The code of a track that was not decoded.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Done(_) => None,
            Self::Failed(failure) => Some(failure.code),
            Self::Died(code, _) => Some(*code),
        }
    }
}

/// Why no outcome can be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// No decoder could be started.
    #[error("cannot start a decoder")]
    Spawn(#[from] SpawnError),
    /// The ring could not be attached.
    #[error("cannot attach the decoder's ring")]
    Ring(#[from] RingError),
    /// The system refused something.
    #[error("cannot wait for the decoder")]
    System(#[from] std::io::Error),
    /// The decoder did not greet, or speaks another version.
    #[error("the decoder does not speak version {VERSION}")]
    Greeting,
}

/// A parent with one decoder, replaced when it dies.
pub struct Host {
    binary: PathBuf,
    ring_samples: usize,
    spawner: Spawner,
    decoder: Option<Attached>,
    scratch: Vec<f32>,
}

struct Attached {
    child: DecoderChild,
    channel: Channel,
    reader: Reader,
}

/// What ends the conversation about a track before its decoder said `Done` or `Failed`.
enum Break {
    /// The socket closed or carried nonsense: the decoder's own death tells why.
    Died,
    Silent,
    /// The summary tells of another number of samples than came.
    Miscounted,
    Violation(Violation),
    System(std::io::Error),
}

impl From<FrameError> for Break {
    fn from(_: FrameError) -> Self {
        Self::Died
    }
}

impl From<Violation> for Break {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl Host {
    /// Starts the decoder at `binary` with a ring of `ring_samples` values.
    ///
    /// # Errors
    /// [`HostError`] when it cannot be started or does not greet.
    pub fn start(binary: &Path, ring_samples: usize) -> Result<Self, HostError> {
        let spawner = Spawner::start()?;
        let mut host = Self {
            binary: binary.into(),
            ring_samples,
            spawner,
            decoder: None,
            scratch: Vec::new(),
        };
        host.scratch.resize(ring_samples, 0.0);
        host.decoder = Some(host.attach()?);
        Ok(host)
    }

    /// The process id of the decoder that served the last track; none after it died.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.decoder.as_ref().map(|decoder| decoder.child.pid())
    }

    /// Decodes one file; `pcm` gets its samples in order.
    ///
    /// # Errors
    /// [`HostError`] when there is no decoder to ask; everything a decoder does is an [`Outcome`].
    pub fn decode<R: ReadAt>(
        &mut self,
        file: &mut R,
        job: &Decode,
        pcm: &mut dyn FnMut(&[f32]),
    ) -> Result<Outcome, HostError> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.attach()?,
        };
        match decoder.converse(file, job, &mut self.scratch, pcm) {
            Ok(outcome) => {
                let retires = matches!(
                    &outcome,
                    Outcome::Done(Summary { retire: true, .. })
                        | Outcome::Failed(Failure { retire: true, .. })
                );
                self.decoder = (!retires).then_some(decoder);
                Ok(outcome)
            }
            Err(Break::System(error)) => Err(error.into()),
            Err(Break::Violation(violation)) => {
                Ok(Outcome::Died(Code::RingViolation, violation.to_string()))
            }
            Err(Break::Miscounted) => Ok(Outcome::Died(
                Code::RingViolation,
                "the summary tells of another number of samples".into(),
            )),
            Err(Break::Silent) => Ok(Outcome::Died(
                Code::DecodeStalled,
                "the decoder neither computed nor answered".into(),
            )),
            Err(Break::Died) => {
                let status = decoder.child.wait()?;
                Ok(Outcome::Died(code_of_death(status), status.to_string()))
            }
        }
    }

    fn attach(&self) -> Result<Attached, HostError> {
        let child = self
            .spawner
            .spawn_decoder(&self.binary, self.ring_samples)?;
        let reader = Reader::attach(child.ring.try_clone()?)?;
        let mut channel = Channel::new(child.control.try_clone()?);
        match channel.receive() {
            Ok(Some(FromDecoder::Hello { version: VERSION })) => Ok(Attached {
                child,
                channel,
                reader,
            }),
            _ => Err(HostError::Greeting),
        }
    }
}

impl Attached {
    fn converse<R: ReadAt>(
        &mut self,
        file: &mut R,
        job: &Decode,
        scratch: &mut [f32],
        pcm: &mut dyn FnMut(&[f32]),
    ) -> Result<Outcome, Break> {
        let start = self.reader.position();
        self.channel.send(&ToDecoder::Decode(job.clone()))?;
        loop {
            self.drain(scratch, pcm)?;
            if !self.wait()? {
                continue;
            }
            match self.channel.receive()? {
                Some(FromDecoder::ReadAt { offset, length }) => {
                    self.serve(file, job.bytes, offset, length)?
                }
                Some(FromDecoder::Done(summary)) if summary.token == job.token => {
                    self.drain(scratch, pcm)?;
                    let told = summary.frames.checked_mul(u64::from(summary.channels));
                    let agrees = told == Some(self.reader.position() - start);
                    return if agrees {
                        Ok(Outcome::Done(summary))
                    } else {
                        Err(Break::Miscounted)
                    };
                }
                Some(FromDecoder::Failed(failure)) if failure.token == job.token => {
                    self.reader.skip(usize::MAX)?;
                    return Ok(Outcome::Failed(failure));
                }
                Some(FromDecoder::Hello { .. } | FromDecoder::Done(_) | FromDecoder::Failed(_))
                | None => return Err(Break::Died),
            }
        }
    }

    /// Hands on what is there.
    fn drain(&mut self, scratch: &mut [f32], pcm: &mut dyn FnMut(&[f32])) -> Result<(), Break> {
        loop {
            let read = self.reader.read(scratch)?;
            if read == 0 {
                return Ok(());
            }
            pcm(&scratch[..read]);
        }
    }

    /// Sleeps until half of the ring is full or the decoder says something; true when it says something.
    fn wait(&mut self) -> Result<bool, Break> {
        let wanted = self.reader.capacity() / 2;
        if self.reader.arm(wanted)? >= wanted {
            return Ok(false);
        }
        let mut fds = [
            PollFd::from_borrowed_fd(self.channel.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.reader.data_fd(), PollFlags::IN),
        ];
        let limit = Timespec::try_from(SILENCE_MAX).ok();
        match poll(&mut fds, limit.as_ref()) {
            Ok(0) => Err(Break::Silent),
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(Break::System(error.into())),
        }
    }

    fn serve<R: ReadAt>(
        &mut self,
        file: &mut R,
        bytes: u64,
        offset: u64,
        length: u32,
    ) -> Result<(), Break> {
        let inside = offset
            .checked_add(u64::from(length))
            .is_some_and(|end| end <= bytes);
        if !inside || !(1..=READ_BYTES_MAX).contains(&length) {
            return Err(Break::Died);
        }
        let mut block = vec![0; length as usize];
        match file.read_at(offset, &mut block) {
            Ok(()) => self
                .channel
                .send_with(&ToDecoder::Bytes { offset, length }, &block)?,
            Err(code) => self.channel.send(&ToDecoder::ReadFailed { code })?,
        }
        Ok(())
    }
}
