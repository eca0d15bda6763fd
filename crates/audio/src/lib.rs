//! Probing, decoding and resampling of untrusted audio, and the ring that carries its PCM.
//!
//! Two halves. Without the feature `decode`, what agent and worker need and nothing that parses a file: the ring
//! ([`ring`]), the messages ([`protocol`]), the start of a decoder ([`child`]).
//! With it, what runs inside the sandboxed decoder, and in training on trusted files: the decoding itself.
//! Nothing here opens a file or a connection.

pub mod channel;
pub mod child;
pub mod limits;
pub mod protocol;
pub mod ring;
