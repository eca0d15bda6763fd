//! The loop with nothing to do: waiting without a busy turn, and the signs of life that go out meanwhile.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{ServeError, Worker};
use crate::feed::Slot;
use crate::protocol::{BEAT_MS, FromWorker};
use crate::seam::Engine;

impl<E: Engine> Worker<E> {
    /// Sleeps until a message or samples come, or a beat is due.
    pub(super) fn wait(&mut self) -> Result<(), ServeError> {
        let begun = Instant::now();
        let due = Duration::from_millis(BEAT_MS).saturating_sub(self.last_beat.elapsed());
        let mut ready = false;
        let mut rings = Vec::new();
        for slot in &mut self.slots {
            if let Some((ring, wanted)) = slot.waiting() {
                // A lie counts as ready: the next step finds it again and ends the track.
                ready |= !ring.arm(wanted).is_ok_and(|there| there < wanted);
                rings.push(PollFd::from_borrowed_fd(ring.data_fd(), PollFlags::IN));
            }
        }
        rings.push(PollFd::from_borrowed_fd(self.socket.fd(), PollFlags::IN));
        let timeout = if ready { Duration::ZERO } else { due };
        let timeout = Timespec::try_from(timeout).expect("a second fits a timespec");
        let waited = poll(&mut rings, Some(&timeout));
        // Without a track in hand nobody is waited for.
        if self.slots.iter().any(Slot::is_busy) {
            self.stats.wait_seconds += begun.elapsed().as_secs_f64();
        }
        match waited {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(ServeError::Wait(errno.into())),
        }
    }

    pub(super) fn beat(&mut self) -> Result<(), ServeError> {
        if self.last_beat.elapsed() < Duration::from_millis(BEAT_MS) {
            return Ok(());
        }
        let since = std::mem::replace(&mut self.last_beat, Instant::now()).elapsed();
        self.note_hunger(since)?;
        self.say(&FromWorker::Beat(self.stats))
    }

    /// Counts the time since the last beat against decoders that leave their rings empty.
    fn note_hunger(&mut self, since: Duration) -> Result<(), ServeError> {
        for at in 0..self.slots.len() {
            if let Some(step) = self.slots[at].wait(since) {
                self.settle(at, step)?;
            }
        }
        Ok(())
    }
}
