//! What is known of one track while its segments are separated: their features, nothing of the size of its audio.

use types::Code;

use crate::protocol::{SegmentPoint, TrackResidual};
use crate::seam::SegmentScore;
use crate::segments::SegmentPlace;
use crate::tally::Used;

/// Scores of one track's segments so far.
#[derive(Debug, Default)]
pub(crate) struct Separation {
    segments: Vec<SegmentPoint>,
    used: Used,
    /// Frames of the track, once it is read to its end.
    pub(crate) frames: Option<u64>,
}

impl Separation {
    /// Adds one segment's score. Segments come in order.
    ///
    /// # Errors
    /// `SCORE_NOT_FINITE` when a feature is NaN or infinite.
    pub(crate) fn add(
        &mut self,
        place: &SegmentPlace,
        score: SegmentScore,
        used: Used,
    ) -> Result<(), Code> {
        if !score.features.iter().all(|value| value.is_finite()) {
            return Err(Code::ScoreNotFinite);
        }
        self.segments.push(SegmentPoint {
            start: place.start,
            samples: u32::try_from(place.samples).unwrap_or(u32::MAX),
            features: score.features,
        });
        self.used.device_seconds += used.device_seconds;
        self.used.cpu_seconds += used.cpu_seconds;
        Ok(())
    }

    /// What the track's segments come to. None where none was separated.
    pub(crate) fn finish(self) -> Option<TrackResidual> {
        let frames = self.frames?;
        let width = self.segments.first()?.features.len();
        let count = self.segments.len() as f64;
        let mean = |at: usize| {
            let values = self
                .segments
                .iter()
                .filter_map(|segment| segment.features.get(at));
            (values.map(|value| f64::from(*value)).sum::<f64>() / count) as f32
        };
        Some(TrackResidual {
            frames,
            features: (0..width).map(mean).collect(),
            segments: self.segments,
            device_seconds: self.used.device_seconds,
            cpu_seconds: self.used.cpu_seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::FRAME_BYTES_MAX;
    use crate::protocol::FromWorker;
    use bundle::TRACK_SEGMENTS_MAX;
    use bundle::features::RESIDUAL_V1;

    fn place(start: u64) -> SegmentPlace {
        SegmentPlace {
            token: 1,
            start,
            samples: 9,
        }
    }

    fn score(features: &[f32]) -> SegmentScore {
        SegmentScore {
            features: features.to_vec(),
        }
    }

    #[test]
    fn a_track_s_features_are_the_mean_over_its_segments() {
        let mut separation = Separation {
            frames: Some(18),
            ..Separation::default()
        };
        separation
            .add(&place(0), score(&[1.0, -2.0]), Used::default())
            .unwrap();
        separation
            .add(&place(9), score(&[2.0, 4.0]), Used::default())
            .unwrap();
        let found = separation.finish().unwrap();
        assert_eq!(found.features, [1.5, 1.0]);
        assert_eq!(found.segments[1].start, 9);
        let nothing = Separation {
            frames: Some(18),
            ..Separation::default()
        };
        assert!(nothing.finish().is_none());
    }

    #[test]
    fn a_feature_that_is_no_number_is_typed() {
        let mut separation = Separation::default();
        for odd in [f32::NAN, f32::INFINITY] {
            let found = separation.add(&place(0), score(&[0.0, odd]), Used::default());
            assert_eq!(found, Err(Code::ScoreNotFinite));
        }
    }

    #[test]
    fn the_residual_of_the_longest_track_fits_a_message() {
        let segment = SegmentPoint {
            start: u64::MAX,
            samples: u32::MAX,
            features: vec![0.1; RESIDUAL_V1.len()],
        };
        let residual = TrackResidual {
            frames: u64::MAX,
            features: vec![0.1; RESIDUAL_V1.len()],
            segments: vec![segment; TRACK_SEGMENTS_MAX],
            device_seconds: 0.1,
            cpu_seconds: 0.1,
        };
        let separated = FromWorker::Separated {
            token: u64::MAX,
            residual,
        };
        let mut message = Vec::new();
        minicbor::encode(&separated, &mut message).unwrap();
        assert!(message.len() <= FRAME_BYTES_MAX, "{}", message.len());
    }
}
