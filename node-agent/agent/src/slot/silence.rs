//! For how long a decoder has been silent without cause. Called by a slot's thread while it waits for a word; pure, it is handed
//! time and looks.
//!
//! A decoder whose ring is full sleeps until the worker has read half of it, however long that takes: with a slow separator that
//! serves many slots in turn it may be hours. What comes into the ring is a sign of life too. Neither is believed for ever: the
//! worker ends a track whose ring is empty whatever it says, or carries too much, and the node ends a worker that hangs.

use std::time::{Duration, Instant};

use audio::ring::Look;

/// A silence that lasts.
#[derive(Debug)]
pub(super) struct Silence {
    limit: Duration,
    /// When the decoder was last seen to write, or to have no room.
    since: Instant,
    written: u64,
}

impl Silence {
    /// It begins now.
    pub(super) const fn new(limit: Duration, now: Instant, look: Look) -> Self {
        Self {
            limit,
            since: now,
            written: look.written,
        }
    }

    /// Takes a look at the ring, and says whether the silence has lasted for too long.
    pub(super) fn is_over(&mut self, now: Instant, look: Look) -> bool {
        if look.crowded || look.written != self.written {
            (self.since, self.written) = (now, look.written);
        }
        now.saturating_duration_since(self.since) > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio::ring::{Onlooker, Reader, RingFds, SAMPLES_MIN, Writer};

    const LIMIT: Duration = Duration::from_secs(10);
    const LONG: Duration = Duration::from_secs(3_600);

    fn ring() -> (Writer, Reader, Onlooker) {
        let fds = RingFds::create(SAMPLES_MIN).unwrap();
        let onlooker = Onlooker::attach(&fds).unwrap();
        let writer = Writer::attach(fds.try_clone().unwrap()).unwrap();
        (writer, Reader::attach(fds).unwrap(), onlooker)
    }

    /// Puts so many samples into the ring, for which there is room.
    fn put(writer: &mut Writer, samples: usize) {
        assert_eq!(writer.free(samples).unwrap().len(), samples);
        writer.publish(samples);
    }

    #[test]
    fn a_decoder_without_room_in_its_ring_is_never_silent_and_one_with_room_is() {
        let (mut writer, mut reader, ring) = ring();
        let mut now = Instant::now();
        let mut silence = Silence::new(LIMIT, now, ring.look());
        put(&mut writer, SAMPLES_MIN);
        for _ in 0..3 {
            now += LONG;
            assert!(!silence.is_over(now, ring.look()), "the ring is full");
        }
        // What the worker reads first does not wake the decoder yet.
        reader.skip(SAMPLES_MIN / 2 - 1).unwrap();
        now += LONG;
        assert!(!silence.is_over(now, ring.look()), "it still sleeps");
        reader.skip(1).unwrap();
        assert!(!silence.is_over(now + LIMIT, ring.look()));
        assert!(silence.is_over(now + LIMIT * 2, ring.look()));
    }

    #[test]
    fn a_decoder_that_writes_is_not_silent() {
        let (mut writer, _reader, ring) = ring();
        let begun = Instant::now();
        let mut silence = Silence::new(LIMIT, begun, ring.look());
        for turn in 1..=3 {
            put(&mut writer, 1);
            assert!(!silence.is_over(begun + LONG * turn, ring.look()), "{turn}");
        }
        assert!(silence.is_over(begun + LONG * 4, ring.look()));
    }

    #[test]
    fn an_empty_ring_excuses_nothing() {
        let (_writer, _reader, ring) = ring();
        let begun = Instant::now();
        let mut silence = Silence::new(LIMIT, begun, ring.look());
        assert!(!silence.is_over(begun + LIMIT, ring.look()));
        assert!(silence.is_over(begun + LIMIT * 2, ring.look()));
    }
}
