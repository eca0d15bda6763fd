//! Windows of many tracks side by side, on their way to the engine.

use bundle::WindowSpec;

use crate::seam::{Engine, EngineError, WindowScore};
use crate::split::{Cap, Outcomes, Ran, halved};
use crate::sums;
use crate::windows::{Cut, Cutter};

/// Windows waiting for the engine.
pub(crate) struct Batch {
    spec: WindowSpec,
    pcm: Vec<f32>,
    places: Vec<Place>,
    cap: Cap,
}

/// Which window of which track.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) token: u64,
    pub(crate) cut: Cut,
    pub(crate) rms_db: f32,
}

/// One window's outcome: a score, or the device's words for why this window alone did not fit.
pub(crate) type Outcome = Result<WindowScore, String>;

impl Batch {
    /// An empty batch of at most `max` windows.
    pub(crate) fn new(spec: WindowSpec, max: usize) -> Self {
        Self {
            spec,
            pcm: Vec::new(),
            places: Vec::new(),
            cap: Cap::new(max),
        }
    }

    /// Windows in it.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it takes no more.
    pub(crate) fn is_full(&self) -> bool {
        self.places.len() >= self.cap.now()
    }

    /// Windows that this track has in it.
    pub(crate) fn holds(&self, token: u64) -> bool {
        self.places.iter().any(|place| place.token == token)
    }

    /// Takes the next window that `cutter` has ready. False if it has none.
    pub(crate) fn take(&mut self, token: u64, cutter: &mut Cutter) -> bool {
        let from = self.pcm.len();
        let Some(cut) = cutter.cut(&mut self.pcm) else {
            return false;
        };
        let rms_db = rms_db(&self.pcm[from..]);
        self.places.push(Place { token, cut, rms_db });
        true
    }

    /// Screens and empties the batch. Windows come back in the order in which they were taken.
    ///
    /// # Errors
    /// An error that ends the worker; out of memory is not one.
    pub(crate) fn run(
        &mut self,
        engine: &mut impl Engine,
    ) -> Result<Ran<Place, WindowScore>, EngineError> {
        let (outcomes, splits) = screen(engine, &self.pcm, self.places.len(), self.spec.samples())?;
        self.cap.learn(self.places.len(), splits);
        self.pcm.clear();
        Ok((self.places.drain(..).zip(outcomes).collect(), splits))
    }
}

/// Screens `windows` windows; on out of memory the same windows in two halves, down to one. Also returns how often it split.
///
/// # Errors
/// An error that ends the worker.
pub(crate) fn screen(
    engine: &mut impl Engine,
    pcm: &[f32],
    windows: usize,
    samples: usize,
) -> Result<(Outcomes<WindowScore>, u64), EngineError> {
    halved(0..windows, &mut |part| {
        let pcm = &pcm[part.start * samples..part.end * samples];
        engine.screen(pcm, part.len())
    })
}

/// Root mean square in dB against full scale; minus infinity for digital silence.
fn rms_db(pcm: &[f32]) -> f32 {
    let power = sums::squares(pcm) / pcm.len().max(1) as f64;
    (10.0 * power.log10()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::{Canary, EngineInfo, ResidualCanary, Segment, SegmentScore};
    use crate::stub::StubEngine;

    /// Fits `fits` windows and fails any window whose first sample is above one half.
    struct Small {
        inner: StubEngine,
        fits: usize,
        tried: Vec<usize>,
    }

    impl Engine for Small {
        fn info(&self) -> &EngineInfo {
            self.inner.info()
        }

        fn canary(&self) -> &Canary {
            self.inner.canary()
        }

        fn screen(&mut self, pcm: &[f32], batch: usize) -> Result<Vec<WindowScore>, EngineError> {
            self.tried.push(batch);
            let size = pcm.len() / batch;
            let poison = pcm.chunks(size).any(|window| window[0] > 0.5);
            if batch > self.fits || poison {
                return Err(EngineError::OutOfMemory {
                    batch,
                    detail: "full".to_owned(),
                });
            }
            self.inner.screen(pcm, batch)
        }

        fn residual_canary(&self) -> Option<&ResidualCanary> {
            self.inner.residual_canary()
        }

        fn residual(
            &mut self,
            pcm: &[f32],
            segments: &[Segment],
        ) -> Result<Vec<SegmentScore>, EngineError> {
            self.inner.residual(pcm, segments)
        }
    }

    fn windows(first: &[f32]) -> (Vec<f32>, usize) {
        let size = StubEngine::plain().info().window.samples();
        let one = |&value: &f32| {
            std::iter::once(value)
                .chain(std::iter::repeat_n(0.1, size - 1))
                .collect::<Vec<f32>>()
        };
        (first.iter().flat_map(one).collect(), size)
    }

    #[test]
    fn a_batch_that_does_not_fit_gives_the_same_scores_in_halves() {
        let (pcm, size) = windows(&[0.0, 0.1, 0.2, 0.3, 0.4]);
        let whole = screen(&mut StubEngine::plain(), &pcm, 5, size).unwrap().0;
        let mut small = Small {
            inner: StubEngine::plain(),
            fits: 2,
            tried: Vec::new(),
        };
        let (halves, splits) = screen(&mut small, &pcm, 5, size).unwrap();
        assert_eq!(halves, whole);
        assert_eq!((small.tried, splits), (vec![5, 2, 3, 1, 2], 2));
    }

    #[test]
    fn only_the_window_that_never_fits_fails() {
        let (pcm, size) = windows(&[0.0, 0.9, 0.2]);
        let mut small = Small {
            inner: StubEngine::plain(),
            fits: 8,
            tried: Vec::new(),
        };
        let outcomes = screen(&mut small, &pcm, 3, size).unwrap().0;
        let fitted: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(fitted, [true, false, true]);
    }

    #[test]
    fn levels_are_decibels_of_full_scale() {
        assert_eq!(rms_db(&[1.0; 4]), 0.0);
        assert!((rms_db(&[0.1; 4]) + 20.0).abs() < 1e-4);
        assert_eq!(rms_db(&[0.0; 4]), f32::NEG_INFINITY);
    }
}
