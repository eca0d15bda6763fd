//! One decoder slot: its ring, and the track that the ring carries at the moment.
//!
//! Each step does one small thing (cut one window, read one piece) and says whether there was anything to do, so that
//! the loop can go round all slots and no decoder holds up another. Memory per slot is one cutter, whatever the track's
//! length: one window, or one segment where the track is there for its residual. Never screens, never waits.

use std::time::Duration;

use audio::ring::{Reader, Violation};
use bundle::WindowSpec;
use types::Code;

use crate::batch::Batch;
use crate::moments::Moments;
use crate::seam::ResidualInfo;
use crate::segments::{SegmentBatch, SegmentCutter};
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
    /// Most values, those of each channel counted.
    pub(crate) samples: u64,
    /// For how long, summed over the track, its ring may hold less than a piece while the worker could read. It grows with what
    /// is read ([`LEAST_PACE`]) and with what the agent excuses. It ends what no limit inside a decoder ends any more once a
    /// file has taken it over, also one that gives a little now and then.
    pub(crate) patience: Duration,
}

impl Allowance {
    /// What a message allows; what it leaves out is not bounded.
    pub(crate) fn of(samples_max: Option<u64>, patience_ms: Option<u64>) -> Self {
        Self {
            samples: samples_max.unwrap_or(u64::MAX),
            patience: patience_ms.map_or(Duration::MAX, Duration::from_millis),
        }
    }
}

/// A slot with its ring, once one is attached.
#[derive(Default)]
pub(crate) struct Slot {
    ring: Option<Reader>,
    feed: Option<Feed>,
}

/// What is cut out of a track, and for which engine.
#[derive(Debug)]
enum Cut {
    Windows(Cutter),
    Segments(SegmentCutter),
}

/// One pass over a track: what is cut out of it, and what its ring carries.
#[derive(Debug)]
pub(crate) struct Pass {
    cut: Cut,
    rate_hz: u32,
    channels: u32,
}

impl Pass {
    /// A screen of a track.
    pub(crate) fn screen(spec: WindowSpec) -> Self {
        Self {
            cut: Cut::Windows(Cutter::new(spec)),
            rate_hz: spec.rate_hz,
            channels: 1,
        }
    }

    /// A residual of a track.
    pub(crate) fn residual(info: &ResidualInfo, cutter: SegmentCutter) -> Self {
        Self {
            cut: Cut::Segments(cutter),
            rate_hz: info.rate_hz,
            channels: info.channels,
        }
    }
}

/// What waits for the engine, by stage.
pub(crate) struct Batches {
    pub(crate) windows: Batch,
    pub(crate) segments: SegmentBatch,
}

impl Batches {
    /// Whether either takes no more: then the engine is to be asked before anything more is read.
    pub(crate) fn is_full(&self) -> bool {
        self.windows.is_full() || self.segments.is_full()
    }

    /// Whether anything of this track waits.
    pub(crate) fn holds(&self, token: u64) -> bool {
        self.windows.holds(token) || self.segments.holds(token)
    }

    /// Takes the next window or segment that is ready. False if there is none.
    fn take(&mut self, token: u64, cut: &mut Cut) -> bool {
        match cut {
            Cut::Windows(cutter) => self.windows.take(token, cutter),
            Cut::Segments(cutter) => self.segments.take(token, cutter),
        }
    }
}

/// The track in a ring.
struct Feed {
    token: u64,
    /// None while the rest of a failed track is thrown away.
    cut: Option<Cut>,
    moments: Moments,
    /// Values read, those of each channel counted.
    read: u64,
    rate_hz: u32,
    channels: u32,
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
    pub(crate) fn begin(&mut self, token: u64, allowance: Allowance, pass: Pass) -> bool {
        let idle = self.ring.is_some() && self.feed.is_none();
        if idle {
            self.feed = Some(Feed {
                token,
                cut: Some(pass.cut),
                moments: Moments::default(),
                read: 0,
                rate_hz: pass.rate_hz,
                channels: pass.channels,
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
            feed.announced = Some(frames.saturating_mul(u64::from(feed.channels)));
        }
    }

    /// The track failed elsewhere: from now on its samples are thrown away.
    pub(crate) fn discard(&mut self, token: u64) {
        if let Some(feed) = self.feed_of(token) {
            feed.cut = None;
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

    /// Does one small thing for the track in the ring, appending at most one window or segment to `batches`.
    pub(crate) fn step(&mut self, batches: &mut Batches, scratch: &mut [f32]) -> Step {
        let (Some(ring), Some(feed)) = (self.ring.as_mut(), self.feed.as_mut()) else {
            return Step::Nothing;
        };
        let token = feed.token;
        match feed.step(ring, batches, scratch) {
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
        let second = u64::from(self.rate_hz.max(1)) * u64::from(self.channels.max(1));
        let pace = second * u64::from(LEAST_PACE);
        let bought = Duration::from_secs(self.read / pace);
        self.allowance.patience.saturating_add(bought)
    }

    fn step(
        &mut self,
        ring: &mut Reader,
        batches: &mut Batches,
        scratch: &mut [f32],
    ) -> Result<Step, Wrong> {
        let token = self.token;
        if self
            .cut
            .as_mut()
            .is_some_and(|cut| batches.take(token, cut))
        {
            return Ok(Step::Worked);
        }
        match self.announced {
            Some(values) if self.read >= values => self.finish(ring, values, batches),
            announced => self.read(ring, announced, scratch),
        }
    }

    fn read(
        &mut self,
        ring: &mut Reader,
        announced: Option<u64>,
        scratch: &mut [f32],
    ) -> Result<Step, Wrong> {
        let left = announced.map_or(u64::MAX, |values| values - self.read);
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
            (0, Some(values)) => Err(violation(format!(
                "{values} samples were announced, the ring carried {}",
                self.read
            ))),
            _ => Ok(Step::Worked),
        }
    }

    fn hear(&mut self, pcm: &[f32]) {
        match &mut self.cut {
            Some(Cut::Windows(cutter)) => {
                cutter.push(pcm);
                self.moments.add(pcm);
            }
            Some(Cut::Segments(cutter)) => cutter.push(pcm),
            None => {}
        }
    }

    fn finish(
        &mut self,
        ring: &mut Reader,
        values: u64,
        batches: &mut Batches,
    ) -> Result<Step, Wrong> {
        let surplus = ring.available().map_err(lie)?;
        if surplus > 0 || self.read > values {
            let carried = self.read + surplus as u64;
            return Err(violation(format!(
                "{values} samples were announced, the ring carried {carried} or more"
            )));
        }
        let token = self.token;
        let Some(cut) = &mut self.cut else {
            return Ok(Step::Drained { token, sound: None });
        };
        match cut {
            Cut::Windows(cutter) => cutter.end(),
            Cut::Segments(cutter) => cutter.end(),
        }
        if batches.take(token, cut) {
            return Ok(Step::Worked);
        }
        let sound = match cut {
            Cut::Windows(_) => self.moments.sound(),
            // The first pass has measured it.
            Cut::Segments(_) => Sound {
                samples: self.read / u64::from(self.channels.max(1)),
                ..self.moments.sound()
            },
        };
        Ok(Step::Drained {
            token,
            sound: Some(sound),
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
