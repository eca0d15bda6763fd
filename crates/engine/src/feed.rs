//! One decoder slot: its ring, and the track that the ring carries at the moment.
//!
//! Each step does one small thing (cut one window, read one piece) and says whether there was anything to do, so that
//! the loop can go round all slots and no decoder holds up another. Memory per slot is one cutter, whatever the track's
//! length. Never screens, never waits.

use std::time::Duration;

use audio::ring::{Reader, Violation};
use bundle::WindowSpec;
use types::Code;

use crate::batch::Batch;
use crate::moments::Moments;
use crate::tally::Sound;
use crate::windows::Cutter;

/// Samples read from a ring at once: they stay in a core's cache until they are cut and summed.
pub(crate) const PIECE_SAMPLES: usize = 1 << 16;

/// Seconds of sound that buy a decoder one second for which its ring may be empty, beyond its patience and its excuses. The
/// limit on processor time asks for fifty; this is for a machine ten times as busy as it has cores.
const LEAST_PACE: u32 = 5;

/// What a track may take of the worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// Most samples.
    pub(crate) samples: u64,
    /// For how long, summed over the track, its ring may hold less than a piece while the worker could read. It grows with what
    /// is read ([`LEAST_PACE`]) and with what the agent excuses. It ends what no limit inside a decoder ends any more once a
    /// file has taken it over, also one that gives a little now and then.
    pub(crate) patience: Duration,
}

/// A slot with its ring, once one is attached.
#[derive(Default)]
pub(crate) struct Slot {
    ring: Option<Reader>,
    feed: Option<Feed>,
}

/// The track in a ring.
struct Feed {
    token: u64,
    /// None while the rest of a failed track is thrown away.
    cutter: Option<Cutter>,
    moments: Moments,
    read: u64,
    rate_hz: u32,
    allowance: Allowance,
    announced: Option<u64>,
    /// For how long the ring has held less than a piece.
    hunger: Duration,
}

/// What one step came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing can be done before the decoder or the agent does something.
    Nothing,
    /// Something was done; there may be more.
    Worked,
    /// The track is read to its end; the slot is idle. Sound is absent for a track that had failed before.
    Drained { token: u64, sound: Option<Sound> },
    /// The ring lied or its decoder is beyond its bounds; the ring is dropped and the slot is idle.
    Failed {
        token: u64,
        code: Code,
        detail: String,
    },
}

impl Slot {
    /// Takes a new ring; what the old one carried is forgotten. Returns the track that was not through.
    pub(crate) fn attach(&mut self, ring: Reader) -> Option<u64> {
        self.ring = Some(ring);
        self.feed.take().map(|feed| feed.token)
    }

    /// Begins a track. False where the slot has no ring or is not idle, which the agent must not ask for.
    pub(crate) fn begin(&mut self, token: u64, allowance: Allowance, spec: WindowSpec) -> bool {
        let idle = self.ring.is_some() && self.feed.is_none();
        if idle {
            let cutter = Some(Cutter::new(spec));
            self.feed = Some(Feed {
                token,
                cutter,
                moments: Moments::default(),
                read: 0,
                rate_hz: spec.rate_hz,
                allowance,
                announced: None,
                hunger: Duration::ZERO,
            });
        }
        idle
    }

    /// Counts time that has passed against a decoder that leaves its ring empty. Gives its track up where that was too long.
    pub(crate) fn wait(&mut self, time: Duration) -> Option<Step> {
        let (ring, _) = self.waiting()?;
        let piece = PIECE_SAMPLES.min(ring.capacity() / 2);
        // A lie is found by the next step.
        let hungry = ring.available().is_ok_and(|there| there < piece);
        let feed = self.feed.as_mut().filter(|_| hungry)?;
        feed.hunger = feed.hunger.saturating_add(time);
        let (token, hunger) = (feed.token, feed.hunger);
        (hunger > feed.patience()).then(|| {
            *self = Self::default();
            Step::Failed {
                token,
                code: Code::DecodeStalled,
                detail: format!(
                    "its decoder kept the device waiting for {} s",
                    hunger.as_secs()
                ),
            }
        })
    }

    /// Excuses the track's decoder for so much of the time for which its ring was empty.
    pub(crate) fn excuse(&mut self, token: u64, wait: Duration) {
        if let Some(feed) = self.feed_of(token) {
            feed.allowance.patience = feed.allowance.patience.saturating_add(wait);
        }
    }

    /// Whether a track is in hand.
    pub(crate) fn is_busy(&self) -> bool {
        self.feed.is_some()
    }

    /// Learns the track's length.
    pub(crate) fn announce(&mut self, token: u64, frames: u64) {
        if let Some(feed) = self.feed_of(token) {
            feed.announced = Some(frames);
        }
    }

    /// The track failed elsewhere: from now on its samples are thrown away.
    pub(crate) fn discard(&mut self, token: u64) {
        if let Some(feed) = self.feed_of(token) {
            feed.cutter = None;
        }
    }

    /// Forgets the track and empties the ring.
    pub(crate) fn abort(&mut self, token: u64) {
        if self.feed_of(token).is_none() {
            return;
        }
        self.feed = None;
        let emptied = self.ring.as_mut().map(|ring| ring.skip(usize::MAX));
        if let Some(Err(_lie_of_a_track_already_given_up)) = emptied {
            self.ring = None;
        }
    }

    /// The ring of a slot whose track waits for its decoder, with the samples it waits for: half of the ring. Where worker and
    /// decoder share a core they take turns, and each turn begins with the other's data in the cache: few long ones cost less.
    pub(crate) fn waiting(&mut self) -> Option<(&mut Reader, usize)> {
        let feed = self.feed.as_ref()?;
        if feed.announced.is_some() {
            return None;
        }
        let ring = self.ring.as_mut()?;
        let wanted = ring.capacity() / 2;
        Some((ring, wanted))
    }

    /// Does one small thing for the track in the ring, appending at most one window to `batch`.
    pub(crate) fn step(&mut self, batch: &mut Batch, scratch: &mut [f32]) -> Step {
        let (Some(ring), Some(feed)) = (self.ring.as_mut(), self.feed.as_mut()) else {
            return Step::Nothing;
        };
        let token = feed.token;
        match feed.step(ring, batch, scratch) {
            Ok(Step::Drained { token, sound }) => {
                self.feed = None;
                Step::Drained { token, sound }
            }
            Ok(step) => step,
            Err((code, detail)) => {
                *self = Self::default();
                Step::Failed {
                    token,
                    code,
                    detail,
                }
            }
        }
    }

    fn feed_of(&mut self, token: u64) -> Option<&mut Feed> {
        self.feed.as_mut().filter(|feed| feed.token == token)
    }
}

impl Feed {
    /// For how long the ring may have been empty by now.
    fn patience(&self) -> Duration {
        let pace = u64::from(self.rate_hz.max(1)) * u64::from(LEAST_PACE);
        let bought = Duration::from_secs(self.read / pace);
        self.allowance.patience.saturating_add(bought)
    }

    fn step(
        &mut self,
        ring: &mut Reader,
        batch: &mut Batch,
        scratch: &mut [f32],
    ) -> Result<Step, Wrong> {
        if self
            .cutter
            .as_mut()
            .is_some_and(|cutter| batch.take(self.token, cutter))
        {
            return Ok(Step::Worked);
        }
        match self.announced {
            Some(frames) if self.read >= frames => self.finish(ring, frames, batch),
            announced => self.read(ring, announced, scratch),
        }
    }

    fn read(
        &mut self,
        ring: &mut Reader,
        announced: Option<u64>,
        scratch: &mut [f32],
    ) -> Result<Step, Wrong> {
        let left = announced.map_or(u64::MAX, |frames| frames - self.read);
        let piece = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(scratch.len());
        let read = ring.read(&mut scratch[..piece]).map_err(lie)?;
        self.read += read as u64;
        if self.read > self.allowance.samples {
            let detail = format!(
                "the ring carried more than {} samples",
                self.allowance.samples
            );
            return Err((Code::TooLong, detail));
        }
        self.hear(&scratch[..read]);
        match (read, announced) {
            (0, None) => Ok(Step::Nothing),
            (0, Some(frames)) => Err(violation(format!(
                "{frames} frames were announced, the ring carried {}",
                self.read
            ))),
            _ => Ok(Step::Worked),
        }
    }

    fn hear(&mut self, pcm: &[f32]) {
        if let Some(cutter) = &mut self.cutter {
            cutter.push(pcm);
            self.moments.add(pcm);
        }
    }

    fn finish(&mut self, ring: &mut Reader, frames: u64, batch: &mut Batch) -> Result<Step, Wrong> {
        let surplus = ring.available().map_err(lie)?;
        if surplus > 0 || self.read > frames {
            let carried = self.read + surplus as u64;
            return Err(violation(format!(
                "{frames} frames were announced, the ring carried {carried} or more"
            )));
        }
        let Some(cutter) = &mut self.cutter else {
            return Ok(Step::Drained {
                token: self.token,
                sound: None,
            });
        };
        cutter.end();
        if batch.take(self.token, cutter) {
            return Ok(Step::Worked);
        }
        Ok(Step::Drained {
            token: self.token,
            sound: Some(self.moments.sound()),
        })
    }
}

/// Why a track in a ring is given up: the code and the particulars.
type Wrong = (Code, String);

fn violation(detail: String) -> Wrong {
    (Code::RingViolation, detail)
}

fn lie(lie: Violation) -> Wrong {
    violation(lie.to_string())
}

#[cfg(test)]
mod tests;
