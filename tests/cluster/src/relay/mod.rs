//! The relay: a program of ours through which a host's connections pass, so that they can be late, slow, stalled, swallowed or reset
//! while they live (the kernel has no netem everywhere). `shape` has the words, `pump` moves bytes, `serve` is the program, and
//! [`Relay`] is the suite's handle on it.

mod handle;
mod pump;
mod serve;
mod shape;

pub use handle::Relay;
pub use serve::serve;
pub use shape::{Pass, Shape};
