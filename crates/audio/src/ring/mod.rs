//! The ring that carries PCM from one decoder to one worker: a sealed memfd, two positions, two eventfds.
//!
//! The agent creates it ([`RingFds::create`]), the decoder attaches the [`Writer`] end, the worker the [`Reader`] end.
//! The decoder parses hostile bytes, so the reader believes nothing that lies in the memory: positions are read once,
//! checked and remembered privately; samples are copied out by atomic loads and must be finite; the size is sealed, so
//! a mapped page cannot vanish. A lie ends the ring with a [`Violation`], never the process that reads.
//!
//! Positions count samples (interleaved `f32` values) since the ring was created and never go back: tracks follow
//! each other without a reset, and both sides are told each track's length on their own sockets. A decoder that dies
//! takes its ring with it: a new decoder gets a new one.
//!
//! The eventfds' `O_NONBLOCK` lives in an open file description that the decoder shares; its seccomp filter has no
//! `fcntl`, so it cannot make the other side block.

mod memory;
mod onlooker;
mod reader;
mod writer;

pub use memory::{RingError, RingFds, SAMPLES_DEFAULT, SAMPLES_MAX, SAMPLES_MIN};
pub use onlooker::{Look, Onlooker};
pub use reader::{Reader, Violation};
pub use writer::{Writer, WriterError};

/// The largest magnitude that a ring carries: 96 dB over full scale, what 16-bit integers stored unscaled as floats
/// reach. The decoder silences anything louder or not finite and warns; the reader treats it as a violation.
pub const SAMPLE_LIMIT: f32 = 65_536.0;

/// Whether every sample is finite and within [`SAMPLE_LIMIT`].
#[must_use]
pub fn all_usable(samples: &[f32]) -> bool {
    // A fold without early exit, in blocks: the compiler turns it into vector compares.
    samples.chunks(1024).all(|block| {
        block
            .iter()
            .fold(true, |good, x| good & (x.abs() <= SAMPLE_LIMIT))
    })
}

#[cfg(test)]
mod tests;
