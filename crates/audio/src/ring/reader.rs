//! The worker's end of a ring. It shares memory with a process that may have been taken over by a file.
//!
//! Nothing read from the memory is believed: the writer's position is loaded once per call and checked against what
//! this end remembers privately, the samples are copied by atomic loads and then checked in the private copy.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::memory::{ASLEEP_NEVER, Mapping, RingError, RingFds, clear, signal};

/// A lie found in a ring's memory. The track ends with `RING_VIOLATION` and the decoder is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The writer's position went back.
    #[error("the ring's writer went back from position {before} to {now}")]
    Rewound {
        /// The position seen before.
        before: u64,
        /// The position found now.
        now: u64,
    },
    /// The writer claims to have overtaken the reader by more than the ring holds.
    #[error("the ring's writer claims {claimed} unread samples of {capacity}")]
    Overrun {
        /// How many unread samples the positions claim.
        claimed: u64,
        /// How many samples the ring holds.
        capacity: u64,
    },
    /// A sample was not finite, or too loud for any honest decoder.
    #[error("the ring carried a sample that no decoder sends")]
    Unusable,
}

/// The reading end of a ring.
pub struct Reader {
    map: Mapping,
    data: OwnedFd,
    space: OwnedFd,
    /// Samples read since creation: the truth of this side, never read back from the memory.
    tail: u64,
    /// The highest writer position seen.
    head: u64,
    /// The first lie found; every later call repeats it.
    broken: Option<Violation>,
}

impl Reader {
    /// Attaches to a fresh ring, checking its seals and size.
    ///
    /// # Errors
    /// [`RingError`] when the memory is not a sealed ring or cannot be mapped.
    pub fn attach(fds: RingFds) -> Result<Self, RingError> {
        let map = Mapping::of(&fds.memory)?;
        Ok(Self {
            map,
            data: fds.data,
            space: fds.space,
            tail: 0,
            head: 0,
            broken: None,
        })
    }

    /// How many samples the ring holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.map.capacity()
    }

    /// How many samples were read or skipped since the ring was created.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.tail
    }

    /// How many samples can be read now.
    ///
    /// # Errors
    /// [`Violation`] when the writer's position is impossible; from then on always.
    pub fn available(&mut self) -> Result<usize, Violation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        let head = self.map.header().head.0.load(Ordering::Acquire);
        match unread(self.tail, self.head, head, self.capacity() as u64) {
            Ok(samples) => {
                self.head = head;
                Ok(samples as usize)
            }
            Err(violation) => Err(self.break_with(violation)),
        }
    }

    /// Copies as many samples as are there and fit, and gives their space back. Returns how many; zero when none are there.
    ///
    /// # Errors
    /// [`Violation`] when the position or a sample is impossible; what `out` then holds must not be used.
    pub fn read(&mut self, out: &mut [f32]) -> Result<usize, Violation> {
        let samples = self.available()?.min(out.len());
        let out = &mut out[..samples];
        let start = (self.tail % self.capacity() as u64) as usize;
        let (first, second) = out.split_at_mut(samples.min(self.capacity() - start));
        self.copy(start, first);
        self.copy(0, second);
        self.advance(samples);
        if super::all_usable(out) {
            Ok(samples)
        } else {
            Err(self.break_with(Violation::Unusable))
        }
    }

    /// Passes over up to `samples` unread samples without looking at them. Returns how many.
    ///
    /// # Errors
    /// [`Violation`] when the writer's position is impossible.
    pub fn skip(&mut self, samples: usize) -> Result<usize, Violation> {
        let samples = self.available()?.min(samples);
        self.advance(samples);
        Ok(samples)
    }

    /// Asks the writer to signal [`Reader::data_fd`] once `samples` can be read (at most the capacity) or a track ends,
    /// and returns how many can be read already. The caller sleeps only when that is too few, and not on this descriptor
    /// alone: a track that had ended before gives no signal.
    ///
    /// # Errors
    /// [`Violation`] when the writer's position is impossible.
    pub fn arm(&mut self, samples: usize) -> Result<usize, Violation> {
        clear(&self.data);
        let at = self.tail + samples.clamp(1, self.capacity()) as u64;
        self.map
            .header()
            .wake_reader_at
            .0
            .store(at, Ordering::Relaxed);
        // Pairs with the fence in the writer's publish: either it sees the request or this end sees its samples.
        fence(Ordering::SeqCst);
        self.available()
    }

    /// What becomes readable when an armed request is met.
    #[must_use]
    pub fn data_fd(&self) -> BorrowedFd<'_> {
        self.data.as_fd()
    }

    /// Sleeps until `samples` can be read, a track has ended, or `timeout` has passed; returns how many can be read.
    ///
    /// # Errors
    /// [`Violation`] when the writer's position is impossible.
    pub fn wait(&mut self, samples: usize, timeout: Duration) -> Result<usize, Violation> {
        let ready = self.arm(samples)?;
        // What follows the end of a track comes when the next one begins, which may be long after.
        let ended = ready > 0 && self.ended_at_hint() == self.head;
        if ended || ready >= samples.min(self.capacity()) {
            self.disarm();
            return Ok(ready);
        }
        let mut fds = [PollFd::new(&self.data, PollFlags::IN)];
        // A failed or interrupted poll is an early return, which callers of a bounded wait must expect anyway.
        let _woken = poll(&mut fds, Timespec::try_from(timeout).ok().as_ref());
        self.disarm();
        self.available()
    }

    /// Where the writer says its last finished track ended. A hint for waking up early; the truth comes by socket.
    #[must_use]
    pub fn ended_at_hint(&self) -> u64 {
        self.map.header().ended_at.0.load(Ordering::Relaxed)
    }

    fn disarm(&self) {
        self.map
            .header()
            .wake_reader_at
            .0
            .store(ASLEEP_NEVER, Ordering::Relaxed);
    }

    fn break_with(&mut self, violation: Violation) -> Violation {
        self.broken = Some(violation);
        violation
    }

    fn advance(&mut self, samples: usize) {
        self.tail += samples as u64;
        let header = self.map.header();
        header.tail.0.store(self.tail, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.tail >= header.wake_writer_at.0.load(Ordering::Relaxed) {
            header
                .wake_writer_at
                .0
                .store(ASLEEP_NEVER, Ordering::Relaxed);
            signal(&self.space);
        }
    }

    /// Copies `out.len()` samples from index `start`, two at a time, by loads that a racing writer cannot make undefined.
    fn copy(&self, start: usize, out: &mut [f32]) {
        let Some(last) = out.len().checked_sub(1) else {
            return;
        };
        assert!(
            start + last < self.capacity(),
            "a copied range lies in the ring"
        );
        let odd = (start % 2).min(out.len());
        let (single, rest) = out.split_at_mut(odd);
        let (pairs, tail) = rest.as_chunks_mut::<2>();
        let base = self.map.sample(start);
        for (i, out) in single.iter_mut().enumerate() {
            // SAFETY: within the range asserted above, and aligned for four bytes.
            *out = f32::from_bits(
                unsafe { base.add(i).cast::<AtomicU32>().as_ref() }.load(Ordering::Relaxed),
            );
        }
        for (i, out) in pairs.iter_mut().enumerate() {
            // SAFETY: within the range asserted above; an even index from a page-aligned base is aligned for eight bytes.
            let both = unsafe { base.add(odd + 2 * i).cast::<AtomicU64>().as_ref() }
                .load(Ordering::Relaxed);
            *out = [
                f32::from_bits(both as u32),
                f32::from_bits((both >> 32) as u32),
            ];
        }
        let done = odd + 2 * pairs.len();
        for (i, out) in tail.iter_mut().enumerate() {
            // SAFETY: within the range asserted above, and aligned for four bytes.
            *out = f32::from_bits(
                unsafe { base.add(done + i).cast::<AtomicU32>().as_ref() }.load(Ordering::Relaxed),
            );
        }
    }
}

/// How many samples lie unread, or the lie that the positions tell.
fn unread(tail: u64, before: u64, now: u64, capacity: u64) -> Result<u64, Violation> {
    if now < before {
        return Err(Violation::Rewound { before, now });
    }
    // `tail` never passes `before`, so this cannot wrap.
    let claimed = now - tail;
    if claimed > capacity {
        return Err(Violation::Overrun { claimed, capacity });
    }
    Ok(claimed)
}
