//! Probing, decoding and resampling of untrusted audio, and the ring that carries its PCM.
//!
//! Two halves. Without the feature `decode`, what agent and worker need and nothing that parses a file: the ring
//! ([`ring`]), the messages ([`protocol`], [`Channel`]), the start of a decoder ([`child`]), a plain parent for tests and
//! benches ([`host`]), long turns on the processor ([`turns`]). With it, what runs inside
//! the sandboxed decoder, and in training on trusted files: [`mod@decode`]. Nothing here opens a file or a connection.

mod channel;
pub mod child;
pub mod fault;
pub mod host;
pub mod limits;
pub mod protocol;
pub mod ring;
pub mod source;
mod text;
pub mod turns;

#[cfg(feature = "decode")]
pub mod decode;
#[cfg(feature = "decode")]
mod mix;
#[cfg(feature = "decode")]
mod plan;
#[cfg(feature = "decode")]
mod resample;
#[cfg(feature = "decode")]
mod splice;
#[cfg(feature = "decode")]
mod tags;

pub use channel::Channel;
