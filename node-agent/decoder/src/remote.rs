//! A file's bytes as the agent serves them: each read is one request over the control socket.

use audio::Channel;
use audio::protocol::{FromDecoder, ToDecoder};
use audio::source::ReadAt;
use types::Code;

/// The file of the track in hand.
pub(crate) struct Remote<'a> {
    channel: &'a mut Channel,
    bytes: u64,
    /// The socket broke or carried nonsense: the process must end after this track.
    broken: &'a mut bool,
}

impl<'a> Remote<'a> {
    /// The file of `bytes` bytes behind `channel`. `broken` is set when the agent can no longer be understood.
    pub(crate) fn new(channel: &'a mut Channel, bytes: u64, broken: &'a mut bool) -> Self {
        Self {
            channel,
            bytes,
            broken,
        }
    }

    /// Asks and awaits the answer. The outer error is a broken conversation, the inner one the agent's refusal.
    fn ask(&mut self, offset: u64, out: &mut [u8]) -> Result<Result<(), Code>, ()> {
        let length = u32::try_from(out.len()).map_err(drop)?;
        self.channel
            .send(&FromDecoder::ReadAt { offset, length })
            .map_err(drop)?;
        match self.channel.receive().map_err(drop)? {
            Some(ToDecoder::Bytes {
                offset: o,
                length: l,
            }) if (o, l) == (offset, length) => {
                self.channel.receive_bytes(out).map_err(drop).map(Ok)
            }
            Some(ToDecoder::ReadFailed { code }) => Ok(Err(code)),
            Some(ToDecoder::Bytes { .. } | ToDecoder::Decode(_) | ToDecoder::Stop) | None => {
                Err(())
            }
        }
    }
}

impl ReadAt for Remote<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Code> {
        self.ask(offset, out).unwrap_or_else(|()| {
            *self.broken = true;
            Err(Code::Internal)
        })
    }
}
