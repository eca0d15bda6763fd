//! The second pass over a track: from its screen row to the segments that are separated, and from what they gave to its row.
//! Pure: which segments and what is said of them is the bundle's rule.

use bundle::{
    Bundle, Epsilon, Grid, Heard, Loudness, Manifest, Residual, Rules, Screened, Separated, fuse,
};
use engine::{Loaded, LoadedResidual, ResidualPass, TrackResidual};
use types::{
    Code, Digest, InconclusiveReason, JobSpec, Ledger, ResidualSegment, Score, StageUse, TrackRow,
    Verdict,
};

use audio::limits::Limits;
use audio::protocol::Summary;

use crate::news::{Reading, Refusal};
use crate::rows::{Scorer, decoding, millis};

/// A bundle's residual on a device that has loaded it; or why it is not served there, since nothing could prove what the device makes
/// of it.
pub(crate) fn served<'a>(
    manifest: &'a Manifest,
    loaded: &Loaded,
) -> Result<(&'a Residual, LoadedResidual), &'static str> {
    let residual = manifest.residual.as_ref();
    let residual = residual.ok_or("the bundle has no residual")?;
    let canary = residual.canary.as_ref();
    let canary = canary.ok_or("the bundle's residual has no canary")?;
    let of = |epsilon: &Epsilon| epsilon.of(loaded.dtype);
    let known = of(&residual.epsilon).and(of(&canary.epsilon));
    known.ok_or("the bundle's residual has no epsilon for this number format")?;
    let loaded = loaded.residual;
    let loaded = loaded.ok_or("the worker has no way to hear this separator's tracks")?;
    Ok((residual, loaded))
}

/// Rows tell times in milliseconds: samples at this rate.
const ROW_RATE_HZ: u32 = 1_000;

/// What the screen gave of a track that goes on: a row of an escalation part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScreenRow {
    /// All of it.
    pub(crate) row: TrackRow,
    score: Score,
    mean: f64,
    deviation: f64,
}

impl ScreenRow {
    /// A row with all that a second pass needs; none where something of that is missing.
    pub(crate) fn of(row: TrackRow) -> Option<Self> {
        Some(Self {
            score: row.screen?,
            mean: f64::from(row.mean?),
            deviation: f64::from(row.deviation?),
            row,
        })
    }

    /// Which segments of the track are separated, and what brings them to scale.
    pub(crate) fn pass(&self, residual: &Residual, loaded: LoadedResidual) -> ResidualPass {
        let grid = Grid {
            rate_hz: loaded.rate_hz,
            segment: loaded.segment.max(1),
            overlap: residual.overlap,
        };
        let windows: Vec<Loudness> = self
            .row
            .timeline
            .iter()
            .map(|point| Loudness {
                start: point.start_ms.into(),
                rms_db: point.rms_db.unwrap_or(f32::NEG_INFINITY),
            })
            .collect();
        // A length is what a decoder said. One that is none, or beyond any that is decoded, is not believed.
        let longest = u64::from(Limits::default().duration_s) * u64::from(ROW_RATE_HZ);
        let heard = Heard {
            samples: self.row.duration_ms.unwrap_or(0).clamp(1, longest),
            rate_hz: ROW_RATE_HZ,
            windows: &windows,
        };
        let mut starts = residual.segments.choose(grid, &heard);
        if starts.is_empty() {
            starts.push(0);
        }
        ResidualPass {
            starts,
            mean: self.mean,
            deviation: self.deviation,
        }
    }

    /// The refusal of the second pass; of a track whose bytes are others than those that were screened it is that.
    pub(crate) fn refused(&self, refusal: Refusal) -> Refusal {
        match (refusal.sha256, self.row.content_sha256) {
            (Some(found), Some(screened)) if found != screened => Refusal {
                code: Code::SourceChanged,
                detail: format!("`{}` is not what was screened", self.row.key),
                ..refusal
            },
            (Some(_) | None, Some(_) | None) => refusal,
        }
    }

    /// The row of a track whose second pass failed: what the screen found stands beside the code, and what decoding took now is
    /// added. None where the bytes are not those that were screened, of which the screen says nothing.
    pub(crate) fn failed(&self, code: Code, detail: &str, cpu_us: u64) -> Option<TrackRow> {
        if code == Code::SourceChanged {
            return None;
        }
        let mut row = self.row.clone();
        row.verdict = Verdict::Unscannable;
        row.reason = None;
        row.code = Some(code);
        row.detail = Some(detail.to_owned()).filter(|text| !text.is_empty());
        row.decode_us = row.decode_us.saturating_add(cpu_us);
        Some(row)
    }

    /// The row of a track of which segments were separated; or the refusal where its bytes are not those that were screened.
    pub(crate) fn separated(
        &self,
        spec: &JobSpec,
        bundle: &Bundle,
        scorer: &Scorer,
        (summary, reading, sha256): (&Summary, &Reading, Digest),
        residual: TrackResidual,
    ) -> Result<(TrackRow, Ledger), Refusal> {
        if self
            .row
            .content_sha256
            .is_some_and(|screened| screened != sha256)
        {
            return Err(self.refused(Refusal {
                code: Code::SourceChanged,
                detail: String::new(),
                provenance: summary.provenance.clone(),
                cpu_us: summary.cpu_us,
                sha256: Some(sha256),
            }));
        }
        let rate_hz = scorer.residual.map_or(ROW_RATE_HZ, |loaded| loaded.rate_hz);
        let ledger = Ledger {
            residual: used(&residual, rate_hz),
            ..decoding(summary.cpu_us, summary.duration_ms, reading)
        };
        Ok((
            self.row_with(spec, bundle, scorer, summary, residual, rate_hz),
            ledger,
        ))
    }

    fn row_with(
        &self,
        spec: &JobSpec,
        bundle: &Bundle,
        scorer: &Scorer,
        summary: &Summary,
        residual: TrackResidual,
        rate_hz: u32,
    ) -> TrackRow {
        // A worker chooses its number format by itself, and all of them alike: the screen's was the same.
        let screened = Screened {
            score: self.score,
            dtype: scorer.dtype,
        };
        let measured = Separated {
            features: &residual.features,
            segments: u32::try_from(residual.segments.len()).unwrap_or(u32::MAX),
            dtype: scorer.dtype,
        };
        let fused = fuse(
            &bundle.manifest,
            screened,
            measured,
            Rules::from(&spec.policy),
        );
        let mut row = self.row.clone();
        row.verdict = fused.verdict;
        row.reason = fused.reason;
        row.code = fused.code;
        row.residual = fused.residual;
        row.fused = fused.score;
        row.borderline |= fused.borderline.is_some();
        row.residual_us = micros(residual.device_seconds);
        row.decode_us = row.decode_us.saturating_add(summary.cpu_us);
        row.device = scorer.device.clone();
        row.residual_features = residual.features;
        let segments = residual.segments.into_iter();
        row.segments = segments
            .map(|segment| ResidualSegment {
                start_ms: millis(segment.start, rate_hz),
                features: segment.features,
            })
            .collect();
        if row.verdict == Verdict::NoEvidence {
            row.features = Vec::new();
            row.thumbnail = None;
        }
        row
    }
}

/// What the device did for a track. Its sound is that of its segments: where they overlap, and where they leave something out, it is
/// not that of the track.
fn used(residual: &TrackResidual, rate_hz: u32) -> StageUse {
    let samples = residual.segments.iter();
    let samples: u64 = samples.map(|segment| u64::from(segment.samples)).sum();
    StageUse {
        device_us: micros(residual.device_seconds),
        cpu_us: micros(residual.cpu_seconds),
        tracks: 1,
        audio_ms: samples.saturating_mul(1_000) / u64::from(rate_hz.max(1)),
        ..StageUse::default()
    }
}

/// What the job's budget has no room for ends here, whatever its screen says.
pub(crate) fn withhold(row: &mut TrackRow) {
    row.verdict = Verdict::Inconclusive;
    row.reason = Some(InconclusiveReason::EscalationBudget);
    row.code = None;
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

#[cfg(test)]
pub(crate) mod tests;
