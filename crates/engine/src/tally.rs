//! What is known of one track while its windows are scored: sums and the timeline, nothing of the size of its audio.

use types::Code;

use crate::batch::Place;
use crate::picture::Pool;
use crate::protocol::{TrackScore, WindowPoint};
use crate::seam::{EngineInfo, WindowScore};

/// What reading a track to its end told of its samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sound {
    /// How many.
    pub(crate) samples: u64,
    /// Their mean.
    pub(crate) mean: f64,
    /// Their sample standard deviation.
    pub(crate) deviation: f64,
    /// The largest magnitude.
    pub(crate) peak: f32,
}

/// What windows cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    /// Seconds inside the engine.
    pub(crate) device_seconds: f64,
    /// Processor seconds of this process in that time, all threads.
    pub(crate) cpu_seconds: f64,
}

impl Used {
    /// An even share of it for each of so many windows.
    pub(crate) fn share(self, windows: usize) -> Self {
        let windows = windows.max(1) as f64;
        Self {
            device_seconds: self.device_seconds / windows,
            cpu_seconds: self.cpu_seconds / windows,
        }
    }
}

/// Scores of one track's windows so far.
pub(crate) struct Tally {
    timeline: Vec<WindowPoint>,
    heard: u32,
    features: Vec<f64>,
    embedding: Vec<f64>,
    picture: Pool,
    used: Used,
    pub(crate) sound: Option<Sound>,
}

impl Tally {
    /// Nothing scored yet.
    pub(crate) fn new(info: &EngineInfo) -> Self {
        Self {
            timeline: Vec::new(),
            heard: 0,
            features: Vec::new(),
            embedding: Vec::new(),
            picture: Pool::new(info.picture_rows),
            used: Used::default(),
            sound: None,
        }
    }

    /// Adds one window's score. Windows come in order.
    ///
    /// # Errors
    /// `SCORE_NOT_FINITE` when any number of the score is NaN or infinite.
    pub(crate) fn add(
        &mut self,
        place: &Place,
        score: &WindowScore,
        used: Used,
        info: &EngineInfo,
    ) -> Result<(), Code> {
        if !is_finite(score) {
            return Err(Code::ScoreNotFinite);
        }
        self.timeline.push(WindowPoint {
            start: place.cut.start,
            logit: score.logit,
            rms_db: place.rms_db,
        });
        self.picture
            .add_window(&score.picture, place.cut.fresh, info.window.frames);
        self.used.device_seconds += used.device_seconds;
        self.used.cpu_seconds += used.cpu_seconds;
        if f64::from(place.rms_db) >= info.silent_below_db {
            self.heard += 1;
            add_to(
                &mut self.features,
                score.features.iter().map(|&x| f64::from(x)),
            );
            add_to(
                &mut self.embedding,
                score.embedding.iter().flatten().map(|x| x.to_f64()),
            );
        }
        Ok(())
    }

    /// The track's score, once it is read to its end and none of its windows is in a batch.
    pub(crate) fn finish(self) -> TrackScore {
        let heard = f64::from(self.heard.max(1));
        let sound = self.sound.expect("the track is read to its end");
        TrackScore {
            samples: sound.samples,
            timeline: self.timeline,
            mean: sound.mean,
            deviation: sound.deviation,
            peak: sound.peak,
            features: self
                .features
                .iter()
                .map(|sum| (sum / heard) as f32)
                .collect(),
            embedding: self
                .embedding
                .iter()
                .map(|sum| half::f16::from_f64(sum / heard).to_bits())
                .collect(),
            picture: self.picture.finish(),
            device_seconds: self.used.device_seconds,
            cpu_seconds: self.used.cpu_seconds,
        }
    }
}

fn is_finite(score: &WindowScore) -> bool {
    let embedding = score.embedding.iter().flatten().all(|x| x.is_finite());
    score.logit.is_finite() && score.features.iter().all(|x| x.is_finite()) && embedding
}

fn add_to(sums: &mut Vec<f64>, values: impl Iterator<Item = f64>) {
    for (at, value) in values.enumerate() {
        match sums.get_mut(at) {
            Some(sum) => *sum += value,
            None => sums.push(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::FRAME_BYTES_MAX;
    use crate::protocol::FromWorker;

    #[test]
    fn the_longest_track_under_the_densest_bundle_fits_a_message() {
        assert_eq!(
            bundle::TRACK_SECONDS_MAX,
            u64::from(audio::limits::DURATION_S)
        );
        // A second more than four hours may be read, which is less than a hundred windows on top.
        let windows = usize::try_from(bundle::TRACK_WINDOWS_MAX).unwrap() + 100;
        let point = WindowPoint {
            start: u64::MAX,
            logit: 0.1,
            rms_db: -0.1,
        };
        let score = TrackScore {
            samples: u64::MAX,
            timeline: vec![point; windows],
            mean: 0.1,
            deviation: 0.1,
            peak: 0.1,
            features: vec![0.1; 16],
            // Twice the widest layer that a bundle may name.
            embedding: vec![u16::MAX; 2_048],
            picture: Some(types::Thumbnail {
                bands: 64,
                columns: 64,
                levels: vec![255; types::Thumbnail::MAX_BYTES],
            }),
            device_seconds: 0.1,
            cpu_seconds: 0.1,
        };
        let mut message = Vec::new();
        let scored = FromWorker::Scored {
            token: u64::MAX,
            score,
        };
        minicbor::encode(&scored, &mut message).unwrap();
        assert!(message.len() <= FRAME_BYTES_MAX, "{}", message.len());
    }
}
