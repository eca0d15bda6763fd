//! Cuts a stream of interleaved PCM into the segments that a separator is asked for, in the memory of one segment, and brings them
//! to the track's scale; and the batch in which segments of many tracks lie side by side. Called by the worker's loop.
//!
//! A segment that ends behind the track's end lies in the middle of what the network hears, with zeros on both sides: zeros of
//! the scaled track, as the package pads. No sample outside of a segment's own is heard. Never looks at a sample's value.

use std::collections::VecDeque;

use bundle::features::DEVIATION_LEAST;

use crate::seam::{Engine, EngineError, ResidualInfo, Segment, SegmentScore};
use crate::split::{Cap, Outcomes, Ran, halved};

/// What brings a track to mean 0 and deviation 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    /// Mean of the track as one channel, of full scale.
    pub(crate) mean: f64,
    /// Its standard deviation, of full scale.
    pub(crate) deviation: f64,
}

/// Cuts one track. Feed it with [`push`](Self::push), take segments with [`cut`](Self::cut) until there is none, and so on; then
/// [`end`](Self::end) and take the rest. Holds at most one segment and what was pushed since the last `cut` gave none.
#[derive(Debug)]
pub(crate) struct SegmentCutter {
    channels: usize,
    segment: usize,
    scale: Scale,
    /// First frames of what is still to be cut, rising.
    starts: VecDeque<u64>,
    held: Vec<f32>,
    /// Place of `held[0]` among the track's values.
    base: u64,
    ended: bool,
}

impl SegmentCutter {
    /// A cutter at the start of a track, for segments that begin with these frames.
    pub(crate) fn new(info: &ResidualInfo, starts: Vec<u64>, scale: Scale) -> Self {
        Self {
            channels: info.channels as usize,
            segment: info.segment,
            scale: Scale {
                deviation: scale.deviation.max(DEVIATION_LEAST),
                ..scale
            },
            starts: starts.into(),
            held: Vec::new(),
            base: 0,
            ended: false,
        }
    }

    /// Appends interleaved values of the track.
    pub(crate) fn push(&mut self, pcm: &[f32]) {
        self.held.extend_from_slice(pcm);
        self.forget();
    }

    /// Says that the last value was pushed.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// The next segment that is complete: appends its values to `out`. Returns its first frame.
    pub(crate) fn cut(&mut self, out: &mut Vec<f32>) -> Option<(u64, Segment)> {
        loop {
            let start = *self.starts.front()?;
            let there = self.frames_from(start);
            let short = there < self.segment;
            if short && !self.ended {
                return None;
            }
            self.starts.pop_front();
            let cut =
                (there > 0).then(|| (start, self.append(start, there.min(self.segment), out)));
            self.forget();
            if cut.is_some() {
                return cut;
            }
        }
    }

    /// Whole frames that are held from `start` on.
    fn frames_from(&self, start: u64) -> usize {
        let end = self.base + self.held.len() as u64;
        let values = end.saturating_sub(self.place(start));
        usize::try_from(values).unwrap_or(usize::MAX) / self.channels
    }

    fn place(&self, frame: u64) -> u64 {
        frame.saturating_mul(self.channels as u64)
    }

    fn append(&self, start: u64, samples: usize, out: &mut Vec<f32>) -> Segment {
        let before = (self.segment - samples) / 2;
        let from =
            usize::try_from(self.place(start) - self.base).expect("what is held fits memory");
        let values = &self.held[from..from + samples * self.channels];
        let Scale { mean, deviation } = self.scale;
        let end = out.len() + self.segment * self.channels;
        out.resize(out.len() + before * self.channels, 0.0);
        let scaled = |value: &f32| ((f64::from(*value) - mean) / deviation) as f32;
        out.extend(values.iter().map(scaled));
        out.resize(end, 0.0);
        Segment {
            before,
            samples,
            mean,
            deviation,
        }
    }

    /// Drops what no segment needs any more.
    fn forget(&mut self) {
        let needed = self
            .starts
            .front()
            .map_or(u64::MAX, |start| self.place(*start));
        let dead = usize::try_from(needed.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let dead = dead.min(self.held.len());
        self.held.drain(..dead);
        self.base += dead as u64;
    }
}

/// Which segment of which track.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SegmentPlace {
    pub(crate) token: u64,
    pub(crate) start: u64,
    pub(crate) samples: usize,
}

/// Segments waiting for the engine: at the published length 2.8 MB each.
#[derive(Debug)]
pub(crate) struct SegmentBatch {
    pcm: Vec<f32>,
    segments: Vec<Segment>,
    places: Vec<SegmentPlace>,
    cap: Cap,
}

impl SegmentBatch {
    /// An empty batch of at most `max` segments.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            pcm: Vec::new(),
            segments: Vec::new(),
            places: Vec::new(),
            cap: Cap::new(max),
        }
    }

    /// Segments in it.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it takes no more.
    pub(crate) fn is_full(&self) -> bool {
        self.places.len() >= self.cap.now()
    }

    /// Whether this track has segments in it.
    pub(crate) fn holds(&self, token: u64) -> bool {
        self.places.iter().any(|place| place.token == token)
    }

    /// Takes the next segment that `cutter` has ready. False if it has none.
    pub(crate) fn take(&mut self, token: u64, cutter: &mut SegmentCutter) -> bool {
        let Some((start, segment)) = cutter.cut(&mut self.pcm) else {
            return false;
        };
        self.places.push(SegmentPlace {
            token,
            start,
            samples: segment.samples,
        });
        self.segments.push(segment);
        true
    }

    /// Forgets what is in it.
    pub(crate) fn clear(&mut self) {
        self.pcm.clear();
        self.segments.clear();
        self.places.clear();
    }

    /// Separates and empties the batch. Segments come back in the order in which they were taken.
    ///
    /// # Errors
    /// As [`halved`]; the batch is as it was.
    pub(crate) fn run(
        &mut self,
        engine: &mut impl Engine,
    ) -> Result<Ran<SegmentPlace, SegmentScore>, EngineError> {
        let (outcomes, splits) = separate(engine, &self.pcm, &self.segments)?;
        self.cap.learn(self.places.len(), splits);
        self.pcm.clear();
        self.segments.clear();
        Ok((self.places.drain(..).zip(outcomes).collect(), splits))
    }
}

/// Has segments separated; on out of memory the same ones in two halves, down to one. Also returns how often it split.
///
/// # Errors
/// As [`halved`].
pub(crate) fn separate(
    engine: &mut impl Engine,
    pcm: &[f32],
    segments: &[Segment],
) -> Result<(Outcomes<SegmentScore>, u64), EngineError> {
    let values = pcm.len() / segments.len().max(1);
    halved(0..segments.len(), &mut |part| {
        let pcm = &pcm[part.start * values..part.end * values];
        engine.residual(pcm, &segments[part])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stub::StubEngine;
    use proptest::prelude::*;

    const UNSCALED: Scale = Scale {
        mean: 0.0,
        deviation: 1.0,
    };

    fn info(segment: usize) -> ResidualInfo {
        ResidualInfo {
            segment,
            ..StubEngine::plain().info().residual.clone().unwrap()
        }
    }

    /// Two channels whose frame `i` is `(i + 1, -i - 1)`, so that a zero is always padding.
    fn track(frames: usize) -> Vec<f32> {
        (1..=frames).flat_map(|i| [i as f32, -(i as f32)]).collect()
    }

    fn cut_all(
        cutter: &mut SegmentCutter,
        pcm: &[f32],
        piece: usize,
    ) -> Vec<(u64, Segment, Vec<f32>)> {
        let mut found = Vec::new();
        let mut take = |cutter: &mut SegmentCutter| {
            let mut out = Vec::new();
            while let Some((start, segment)) = cutter.cut(&mut out) {
                found.push((start, segment, std::mem::take(&mut out)));
            }
        };
        for piece in pcm.chunks(piece.max(1)) {
            cutter.push(piece);
            take(cutter);
        }
        cutter.end();
        take(cutter);
        found
    }

    #[test]
    fn a_track_shorter_than_a_segment_lies_between_zeros_of_the_scaled_track() {
        let scale = Scale {
            mean: 1.0,
            deviation: 2.0,
        };
        let mut cutter = SegmentCutter::new(&info(5), vec![0], scale);
        let found = cut_all(&mut cutter, &track(2), 3);
        let values = [0.0, 0.0, 0.0, -1.0, 0.5, -1.5, 0.0, 0.0, 0.0, 0.0];
        let segment = Segment {
            before: 1,
            samples: 2,
            mean: 1.0,
            deviation: 2.0,
        };
        assert_eq!(found, [(0, segment, values.to_vec())]);
    }

    #[test]
    fn starts_behind_the_track_s_end_give_no_segment() {
        for (starts, expected) in [(vec![3, 4], vec![3]), (vec![4], vec![]), (vec![9], vec![])] {
            let mut cutter = SegmentCutter::new(&info(2), starts.clone(), UNSCALED);
            let found = cut_all(&mut cutter, &track(4), 100);
            let found: Vec<u64> = found.into_iter().map(|(start, ..)| start).collect();
            assert_eq!(found, expected, "{starts:?}");
        }
    }

    #[test]
    fn a_track_without_deviation_is_divided_by_the_least() {
        let silent = Scale {
            mean: 0.0,
            deviation: 0.0,
        };
        let mut cutter = SegmentCutter::new(&info(1), vec![0], silent);
        let found = cut_all(&mut cutter, &[0.0, 0.0], 2);
        assert_eq!(found[0].1.deviation, DEVIATION_LEAST);
        assert_eq!(found[0].2, [0.0, 0.0]);
    }

    #[test]
    fn memory_is_one_segment_however_long_the_track() {
        let starts = (0..200).map(|at| at * 37).collect();
        let mut cutter = SegmentCutter::new(&info(50), starts, UNSCALED);
        let mut out = Vec::new();
        for _ in 0..1_000 {
            cutter.push(&[0.5; 20]);
            while cutter.cut(&mut out).is_some() {}
            out.clear();
            assert!(cutter.held.len() <= 2 * 50 + 20);
        }
    }

    proptest! {
        #[test]
        fn segments_are_the_track_s_own_frames_however_it_comes_in_pieces(
            frames in 1usize..120, segment in 1usize..40, piece in 1usize..50,
            starts in prop::collection::btree_set(0u64..130, 1..9),
        ) {
            let starts: Vec<u64> = starts.into_iter().collect();
            let pcm = track(frames);
            let mut cutter = SegmentCutter::new(&info(segment), starts.clone(), UNSCALED);
            let found = cut_all(&mut cutter, &pcm, piece);
            let within: Vec<u64> = starts.into_iter().filter(|start| *start < frames as u64).collect();
            prop_assert_eq!(found.iter().map(|(start, ..)| *start).collect::<Vec<_>>(), within);
            for (start, place, values) in found {
                let start = start as usize;
                let counted = segment.min(frames - start);
                prop_assert_eq!((place.samples, place.before), (counted, (segment - counted) / 2));
                let mut expected = vec![0.0; place.before * 2];
                expected.extend_from_slice(&pcm[start * 2..(start + counted) * 2]);
                expected.resize(segment * 2, 0.0);
                prop_assert_eq!(values, expected);
            }
        }
    }
}
