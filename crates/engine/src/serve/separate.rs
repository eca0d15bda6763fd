//! The loop's half for the residual: tracks whose segments are taken apart, from the agent's word to the answer.

use std::time::Instant;

use bundle::TRACK_SEGMENTS_MAX;
use types::Code;

use super::{ServeError, Worker, cpu_seconds};
use crate::feed::{Allowance, Pass};
use crate::protocol::{FromWorker, LoadedResidual, ResidualPass};
use crate::seam::{Engine, EngineError, EngineInfo, SegmentScore};
use crate::segments::{Scale, SegmentCutter, SegmentPlace};
use crate::separation::Separation;
use crate::tally::{Sound, Tally, Used};

/// What is known of a track in hand, by the pass that it is there for.
pub(super) enum Track {
    Screened(Tally),
    Separated(Separation),
}

impl Track {
    /// Learns what reading it to its end told.
    pub(super) fn is_read(&mut self, sound: Sound) {
        match self {
            Self::Screened(tally) => tally.sound = Some(sound),
            Self::Separated(separation) => separation.frames = Some(sound.samples),
        }
    }

    /// Whether it is read to its end.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Screened(tally) => tally.sound.is_some(),
            Self::Separated(separation) => separation.frames.is_some(),
        }
    }

    /// The answer of a track that is read to its end and of which nothing waits any more.
    pub(super) fn answer(self, token: u64) -> FromWorker {
        match self {
            Self::Screened(tally) => FromWorker::Scored {
                token,
                score: tally.finish(),
            },
            Self::Separated(separation) => match separation.finish() {
                Some(residual) => FromWorker::Separated { token, residual },
                None => FromWorker::TrackFailed {
                    token,
                    code: Code::NoSamples,
                    detail: "no segment begins within the track".to_owned(),
                },
            },
        }
    }
}

/// What is said of the residual of a loaded bundle.
pub(super) fn loaded(info: &EngineInfo) -> Option<LoadedResidual> {
    let residual = info.residual.as_ref()?;
    Some(LoadedResidual {
        rate_hz: residual.rate_hz,
        channels: residual.channels,
        segment: residual.segment as u64,
        max_batch: u32::try_from(residual.max_batch).unwrap_or(u32::MAX),
    })
}

/// What is wrong with a residual's pass, if anything is.
fn flaw(pass: &ResidualPass) -> Option<&'static str> {
    let starts = &pass.starts;
    if starts.is_empty() || starts.len() > TRACK_SEGMENTS_MAX {
        return Some("no segment, or more than any track may have");
    }
    if !starts.is_sorted_by(|a, b| a < b) {
        return Some("segments that do not rise");
    }
    let scaled = pass.mean.is_finite() && pass.deviation.is_finite() && pass.deviation >= 0.0;
    (!scaled).then_some("a scale that is none")
}

impl<E: Engine> Worker<E> {
    pub(super) fn begin_residual(
        &mut self,
        slot: u32,
        token: u64,
        allowance: Allowance,
        asked: ResidualPass,
    ) -> Result<(), ServeError> {
        let refuse =
            |why: &str| ServeError::Protocol(format!("the residual of track {token} with {why}"));
        if let Some(flaw) = flaw(&asked) {
            return Err(refuse(flaw));
        }
        let Some(info) = self.engine.info().residual.clone() else {
            return Err(refuse("a bundle that has none"));
        };
        let scale = Scale {
            mean: asked.mean,
            deviation: asked.deviation,
        };
        let cutter = SegmentCutter::new(&info, asked.starts, scale);
        let pass = Pass::residual(&info, cutter);
        let track = Track::Separated(Separation::default());
        self.begin(slot, token, allowance, pass, track)
    }

    /// Runs the batch of segments.
    pub(super) fn separate(&mut self) -> Result<(), ServeError> {
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let outcome = self.batches.segments.run(&mut self.engine);
        let used = Used {
            device_seconds: begun.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - cpu,
        };
        self.stats.engine_seconds += used.device_seconds;
        if let Err(EngineError::NoRoom { detail }) = outcome {
            return self.forget_residuals(detail);
        }
        let (outcomes, splits) = self.survive(outcome)?;
        self.stats.segments += outcomes.len() as u64;
        self.stats.batches += 1;
        self.stats.splits += splits;
        let each = used.share(outcomes.len());
        let mut tokens: Vec<u64> = outcomes.iter().map(|(place, _)| place.token).collect();
        for (place, outcome) in outcomes {
            self.count_segment(&place, outcome, each)?;
        }
        tokens.dedup();
        tokens.into_iter().try_for_each(|token| self.finish(token))
    }

    /// Nothing here can be separated for want of room: the tracks that are there for it are forgotten, and read past.
    pub(super) fn forget_residuals(&mut self, detail: String) -> Result<(), ServeError> {
        self.batches.segments.clear();
        let tracks = self.tracks.iter();
        let tokens: Vec<u64> = tracks
            .filter(|(_, track)| matches!(track, Track::Separated(_)))
            .map(|(token, _)| *token)
            .collect();
        for token in tokens {
            self.forget(token);
        }
        self.say(&FromWorker::NoRoom { detail })
    }

    fn count_segment(
        &mut self,
        place: &SegmentPlace,
        outcome: Result<SegmentScore, String>,
        used: Used,
    ) -> Result<(), ServeError> {
        let Some(Track::Separated(separation)) = self.tracks.get_mut(&place.token) else {
            return Ok(());
        };
        let added = match outcome {
            Err(detail) => Err((Code::DeviceOutOfMemory, detail)),
            Ok(score) => separation
                .add(place, score, used)
                .map_err(|code| (code, format!("segment at sample {}", place.start))),
        };
        match added {
            Ok(()) => Ok(()),
            Err((code, detail)) => self.fail(place.token, code, detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_without_rising_segments_or_a_scale_is_refused() {
        let check = |starts: &[u64], mean: f64, deviation: f64, sound: bool| {
            let pass = ResidualPass {
                starts: starts.to_vec(),
                mean,
                deviation,
            };
            assert_eq!(flaw(&pass).is_none(), sound, "{pass:?}");
        };
        check(&[0, 7], 0.1, 0.2, true);
        check(&[5], 0.0, 0.0, true);
        check(&[], 0.0, 1.0, false);
        check(&[7, 7], 0.0, 1.0, false);
        check(&[7, 0], 0.0, 1.0, false);
        check(&[0], f64::NAN, 1.0, false);
        check(&[0], 0.0, f64::INFINITY, false);
        check(&[0], 0.0, -1.0, false);
        let too_many: Vec<u64> = (0..=TRACK_SEGMENTS_MAX as u64).collect();
        check(&too_many, 0.0, 1.0, false);
    }
}
