//! A look at a ring from outside, for the agent that gave its two ends away: how much was written, and whether the writer may
//! wait for room. Never reads a sample, changes nothing, and never judges a track: a writer can lie here as it can to the reader,
//! who finds it out.

use std::sync::atomic::Ordering;

use super::memory::{Mapping, RingError, RingFds};

/// Who holds neither end of a ring.
pub struct Onlooker {
    map: Mapping,
}

/// How a ring looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Samples written since creation, as the writer says.
    pub written: u64,
    /// More than half of the ring is unread: a writer that had found it full sleeps until half of it is free.
    pub crowded: bool,
}

impl Onlooker {
    /// Looks at a ring.
    ///
    /// # Errors
    /// [`RingError`] when the memory is not a sealed ring or cannot be mapped.
    pub fn attach(ring: &RingFds) -> Result<Self, RingError> {
        Ok(Self {
            map: Mapping::of(&ring.memory)?,
        })
    }

    /// How it looks now.
    #[must_use]
    pub fn look(&self) -> Look {
        let header = self.map.header();
        let written = header.head.0.load(Ordering::Acquire);
        let read = header.tail.0.load(Ordering::Acquire);
        let unread = written.saturating_sub(read);
        Look {
            written,
            crowded: unread > self.map.capacity() as u64 / 2,
        }
    }
}
