//! The decoder's end of a ring. It trusts the reader (the worker), so it may write in place by plain stores.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::memory::{ASLEEP_NEVER, Mapping, RingError, RingFds, clear, signal};

/// Why the writer gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriterError {
    /// The other side of the control socket is gone, so nobody will ever read.
    #[error("the ring's reader is gone")]
    Abandoned,
    /// The reader's position is impossible.
    #[error("the ring's reader stands at {tail}, outside of what was written up to {head}")]
    Position {
        /// Samples written.
        head: u64,
        /// The reader's position.
        tail: u64,
    },
    /// Waiting failed.
    #[error("cannot wait for space in the ring")]
    Wait(#[source] io::Error),
}

/// The writing end of a ring.
pub struct Writer {
    map: Mapping,
    data: OwnedFd,
    space: OwnedFd,
    /// Samples written since creation.
    head: u64,
    /// Time spent in [`Writer::wait`] since creation.
    waited: Duration,
}

impl Writer {
    /// Attaches to a fresh ring.
    ///
    /// # Errors
    /// [`RingError`] when the memory is not a sealed ring or cannot be mapped.
    pub fn attach(fds: RingFds) -> Result<Self, RingError> {
        Ok(Self {
            map: Mapping::of(&fds.memory)?,
            data: fds.data,
            space: fds.space,
            head: 0,
            waited: Duration::ZERO,
        })
    }

    /// How many samples the ring holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.map.capacity()
    }

    /// How many samples were written since the ring was created.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.head
    }

    /// How long this end has slept for want of space since the ring was created.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The free samples that lie in one piece, at most `limit`; what is put there becomes visible by [`Writer::publish`].
    ///
    /// # Errors
    /// [`WriterError::Position`] when the reader's position is impossible.
    pub fn free(&mut self, limit: usize) -> Result<&mut [f32], WriterError> {
        let tail = self.map.header().tail.0.load(Ordering::Acquire);
        let unread = self
            .head
            .checked_sub(tail)
            .filter(|n| *n <= self.capacity() as u64);
        let unread = unread.ok_or(WriterError::Position {
            head: self.head,
            tail,
        })? as usize;
        let start = (self.head % self.capacity() as u64) as usize;
        let length = (self.capacity() - unread)
            .min(self.capacity() - start)
            .min(limit);
        if length == 0 {
            return Ok(&mut []);
        }
        // SAFETY: the range lies in the ring, and the reader, which is trusted, looks at nothing beyond the head.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.map.sample(start).as_ptr(), length) })
    }

    /// Makes the next `samples` visible to the reader and wakes it when it waits for them.
    ///
    /// # Panics
    /// When more is published than was free: a mistake of the caller.
    pub fn publish(&mut self, samples: usize) {
        self.head += samples as u64;
        let header = self.map.header();
        let unread = self.head - header.tail.0.load(Ordering::Relaxed).min(self.head);
        assert!(
            unread <= self.capacity() as u64,
            "published samples were free before"
        );
        header.head.0.store(self.head, Ordering::Release);
        // Pairs with the fence in the reader's arm: either it sees the samples or this end sees its request.
        fence(Ordering::SeqCst);
        if self.head >= header.wake_reader_at.0.load(Ordering::Relaxed) {
            self.wake_reader();
        }
    }

    /// Copies all of `samples` into the ring, sleeping while it is full. `peer` is the control socket: when it hangs up, so does this.
    ///
    /// # Errors
    /// [`WriterError`] when the reader is gone or its position is impossible.
    pub fn write(&mut self, mut samples: &[f32], peer: BorrowedFd<'_>) -> Result<(), WriterError> {
        while !samples.is_empty() {
            let free = self.free(samples.len())?;
            let length = free.len();
            let (now, later) = samples.split_at(length);
            free.copy_from_slice(now);
            if length == 0 {
                self.wait(peer)?;
            } else {
                self.publish(length);
            }
            samples = later;
        }
        Ok(())
    }

    /// Sleeps until half of the ring is free (so that one wake-up moves much), or the peer has hung up.
    ///
    /// # Errors
    /// [`WriterError::Abandoned`] when the peer hung up, [`WriterError::Wait`] when the system refuses to wait.
    pub fn wait(&mut self, peer: BorrowedFd<'_>) -> Result<(), WriterError> {
        clear(&self.space);
        let header = self.map.header();
        let at = self.head.saturating_sub(self.capacity() as u64 / 2);
        header.wake_writer_at.0.store(at, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if header.tail.0.load(Ordering::Acquire) >= at {
            header
                .wake_writer_at
                .0
                .store(ASLEEP_NEVER, Ordering::Relaxed);
            return Ok(());
        }
        let mut fds = [
            PollFd::new(&self.space, PollFlags::IN),
            PollFd::from_borrowed_fd(peer, PollFlags::empty()),
        ];
        let begun = Instant::now();
        let woken = poll(&mut fds, None);
        self.waited += begun.elapsed();
        match woken {
            Ok(_) if fds[1].revents().intersects(PollFlags::HUP | PollFlags::ERR) => {
                Err(WriterError::Abandoned)
            }
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(WriterError::Wait(error.into())),
        }
    }

    /// Marks the end of a track at the current position and wakes the reader whatever it waits for.
    pub fn finish(&mut self) {
        self.map
            .header()
            .ended_at
            .0
            .store(self.head, Ordering::Relaxed);
        self.wake_reader();
    }

    fn wake_reader(&self) {
        self.map
            .header()
            .wake_reader_at
            .0
            .store(ASLEEP_NEVER, Ordering::Relaxed);
        signal(&self.data);
    }
}
