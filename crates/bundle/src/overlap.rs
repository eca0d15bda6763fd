//! Where segments lie on a track that is taken apart: how far each overlaps the next, what pads a short one, how much each
//! sample of one counts. As the package's `apply_model` cuts without its random shifts. Used by the separator and by the
//! manifest, which states the overlap; holds no samples.

use serde::{Deserialize, Serialize};

/// How segments lie over each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlap {
    /// Share of a segment that the next one covers too, from 0 to less than 1.
    pub share: f64,
    /// Power of the triangular weights, at least 1: the higher, the sharper one segment gives way to the next.
    pub power: f64,
}

impl Default for Overlap {
    /// As the package separates where nothing else is asked.
    fn default() -> Self {
        Self {
            share: 0.25,
            power: 1.0,
        }
    }
}

/// One segment of a track: the samples that count, and what the network hears around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// First sample of the track that counts.
    pub first: usize,
    /// How many count: a whole segment but at the track's end.
    pub samples: usize,
    /// Samples in the network's segment before the first that counts: those of the track where it has some, else zeros.
    pub before: usize,
}

impl Overlap {
    /// The cuts of a track, in order; none of an empty one. `segment` is at least 1.
    pub fn cuts(self, samples: usize, segment: usize) -> impl Iterator<Item = Cut> {
        let step = (((1.0 - self.share) * segment as f64) as usize).max(1);
        (0..samples).step_by(step).map(move |first| {
            let counted = segment.min(samples - first);
            Cut {
                first,
                samples: counted,
                before: (segment - counted) / 2,
            }
        })
    }

    /// The weights of a segment's samples: a triangle to the power, largest 1.
    #[must_use]
    pub fn weights(self, segment: usize) -> Vec<f32> {
        let rising = segment / 2;
        let largest = (segment - rising).max(rising).max(1) as f32;
        let place = |at: usize| if at < rising { at + 1 } else { segment - at };
        let weight = |at| (place(at) as f32 / largest).powf(self.power as f32);
        (0..segment).map(weight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(samples: usize, segment: usize, expected: &[(usize, usize, usize)]) {
        let found: Vec<_> = Overlap::default()
            .cuts(samples, segment)
            .map(|cut| (cut.first, cut.samples, cut.before))
            .collect();
        assert_eq!(
            found, expected,
            "{samples} samples in segments of {segment}"
        );
    }

    #[test]
    fn cuts_begin_three_quarters_of_a_segment_apart_and_short_ones_lie_in_the_middle() {
        check(0, 8, &[]);
        check(1, 8, &[(0, 1, 3)]);
        check(6, 8, &[(0, 6, 1)]);
        check(7, 8, &[(0, 7, 0), (6, 1, 3)]);
        check(16, 8, &[(0, 8, 0), (6, 8, 0), (12, 4, 2)]);
        check(3, 1, &[(0, 1, 0), (1, 1, 0), (2, 1, 0)]);
    }

    #[test]
    fn weights_are_a_triangle_of_height_one_for_even_and_odd_segments() {
        let overlap = Overlap::default();
        assert_eq!(overlap.weights(4), [0.5, 1.0, 1.0, 0.5]);
        assert_eq!(overlap.weights(3), [0.5, 1.0, 0.5]);
        assert_eq!(overlap.weights(1), [1.0]);
        let sharp = Overlap {
            power: 2.0,
            ..overlap
        };
        assert_eq!(sharp.weights(4), [0.25, 1.0, 1.0, 0.25]);
    }
}
