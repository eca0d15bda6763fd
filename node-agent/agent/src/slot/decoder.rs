//! The decoder of a slot: its start, when it is replaced, and what its end says of the track that it had. Called by the slot's
//! thread ([`super::run`]); it never reads or writes a track.

use std::time::{Duration, Instant};

use agent_core::Death;
use audio::Channel;
use audio::child::{DecoderChild, EXIT_SANDBOX, SpawnError, code_of_death};
use audio::protocol::{FrameError, FromDecoder};
use audio::ring::{Onlooker, SAMPLES_DEFAULT};
use types::Code;

use super::run::Thread;
use super::silence::Silence;
use super::talk::has_ended;
use crate::news::Decoded;
use crate::worker::death_of;

/// Longest time until a decoder has sandboxed itself and said hello.
const HELLO_WITHIN: Duration = Duration::from_secs(20);
/// First wait after a decoder did not start; doubles up to [`START_BACK_OFF_MAX`].
const START_BACK_OFF: Duration = Duration::from_millis(100);
/// Longest such wait.
const START_BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// How often the ring of a silent decoder is looked at: a small part of any patience, and next to no work.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A decoder that has said hello.
pub(super) struct Decoder {
    pub(super) child: DecoderChild,
    pub(super) channel: Channel,
    ring: Onlooker,
    pub(super) tracks: u32,
    /// The worker's life that knows its ring.
    pub(super) attached: Option<u64>,
}

/// Why no decoder is there.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("the decoder's socket cannot be set up")]
    Socket(#[from] std::io::Error),
    #[error("the decoder did not say hello: {0}")]
    Hello(String),
    #[error("the kernel refuses the decoder's sandbox")]
    Sandbox,
}

impl Decoder {
    /// Waits until it says something or closes. False once it has been silent for longer than `limit` without cause, or nobody
    /// wants to hear of its track any more. While its ring is full it waits for the worker, whose own silence ends both.
    pub(super) fn await_word(
        &self,
        limit: Duration,
        is_given_up: impl Fn() -> bool,
    ) -> Result<bool, FrameError> {
        let mut silence = Silence::new(limit, Instant::now(), self.ring.look());
        while !self.channel.await_word(LOOK_EVERY)? {
            if is_given_up() || silence.is_over(Instant::now(), self.ring.look()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Thread {
    /// Sees to a decoder that has said hello.
    pub(super) fn start_decoder(&mut self) -> Result<(), StartError> {
        if self.decoder.is_some() {
            return Ok(());
        }
        let mut child = self
            .spawner
            .spawn_decoder(&self.options.decoder, SAMPLES_DEFAULT)?;
        let ring = Onlooker::attach(&child.ring).map_err(SpawnError::from)?;
        let control = child.control.try_clone()?;
        control.set_read_timeout(Some(HELLO_WITHIN))?;
        let mut channel = Channel::new(control);
        match channel.receive::<FromDecoder>() {
            Ok(Some(FromDecoder::Hello { version })) if version == audio::protocol::VERSION => {}
            Ok(Some(other)) => return Err(StartError::Hello(format!("it said {other:?}"))),
            Ok(None) if child.wait()?.code() == Some(EXIT_SANDBOX) => {
                return Err(StartError::Sandbox);
            }
            Ok(None) => return Err(StartError::Hello("it ended".to_owned())),
            Err(error) => return Err(StartError::Hello(error.to_string())),
        }
        // Both copies of the descriptor share the timeouts. A decoder watches its own processor time; these end one that
        // breaks off within a word, or takes nothing of what it asked for; `await_word` ends one that begins none.
        child.control.set_read_timeout(Some(self.options.silence))?;
        child
            .control
            .set_write_timeout(Some(self.options.silence))?;
        self.decoder = Some(Decoder {
            child,
            channel,
            ring,
            tracks: 0,
            attached: None,
        });
        Ok(())
    }

    /// Ends the decoder if it asked for that, or has had its tracks.
    pub(super) fn retire_if(&mut self, wanted: bool) {
        let old = self
            .decoder
            .as_ref()
            .is_some_and(|decoder| decoder.tracks >= self.options.tracks_per_decoder);
        if wanted || old {
            self.decoder = None;
        }
    }

    /// What a decoder's end means for its track.
    pub(super) fn post_mortem(&mut self, how: &str) -> Decoded {
        let Some(mut decoder) = self.decoder.take() else {
            return Decoded::Died {
                death: Death::Killed,
                code: Code::DecodeCrash,
            };
        };
        // What is ended here, for its silence or for nonsense, did not end by itself.
        let alone = has_ended(decoder.child.pid());
        let (death, code) = match decoder.child.end() {
            Ok(status) if alone => (death_of(status, false), code_of_death(status)),
            Ok(_) => (Death::Hung, Code::DecodeStalled),
            Err(_) => (Death::Own, Code::DecodeCrash),
        };
        tracing::info!(slot = self.options.slot.0, how, ?death, %code, "a decoder ended with a track in hand");
        Decoded::Died { death, code }
    }
}

/// How long to wait before the next start after so many that failed.
pub(super) fn back_off(failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    START_BACK_OFF
        .saturating_mul(1 << failures.saturating_sub(1).min(10))
        .min(START_BACK_OFF_MAX)
}
