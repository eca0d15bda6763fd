//! From whole tracks to whole stems: tracks are cut into overlapping segments, segments of several tracks share a batch,
//! and what comes back is laid over each other with weights that fall towards a segment's ends. Where the cuts lie, what
//! pads them and how they are weighted is the package's `apply_model` without its random shifts.
//!
//! Switches gradients off. Never judges what it hears: silence and noise are separated like music.

use super::HtDemucs;
use std::num::NonZeroUsize;
use tch::{Kind, TchError, Tensor};

/// How segments lie over each other.
#[derive(Debug, Clone, Copy, PartialEq)]
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

/// Separates tracks, each `[channels, samples]` in single precision on the processor, into `[stems, channels, samples]`.
/// At most `batch` segments run at once, whichever tracks they are of.
///
/// # Errors
/// When libtorch refuses: shapes, or no room on the device.
pub fn separate(
    net: &HtDemucs,
    tracks: &[Tensor],
    batch: NonZeroUsize,
    overlap: Overlap,
) -> Result<Vec<Tensor>, TchError> {
    let segment = usize::try_from(net.config().segment).unwrap_or(1);
    tch::no_grad(|| {
        let weights = Tensor::f_from_slice(&overlap.weights(segment))?;
        let mut sums = tracks
            .iter()
            .map(|track| Sum::of(track, net.config().stems()))
            .collect::<Result<Vec<_>, _>>()?;
        let cuts: Vec<(usize, Cut)> = tracks
            .iter()
            .enumerate()
            .flat_map(|(at, track)| {
                let cuts = overlap.cuts(samples(track), segment);
                cuts.map(move |cut| (at, cut))
            })
            .collect();
        for part in cuts.chunks(batch.get()) {
            let heard = part
                .iter()
                .map(|(at, cut)| cut.heard(&tracks[*at], segment))
                .collect::<Result<Vec<_>, _>>()?;
            let mix = Tensor::f_stack(&heard, 0)?.f_to_device(net.device())?;
            let stems = net.forward(&mix)?.f_to_device(tch::Device::Cpu)?;
            for ((at, cut), stems) in part.iter().zip(stems.f_unbind(0)?) {
                sums[*at].add(cut, &stems, &weights)?;
            }
        }
        sums.into_iter().map(Sum::mean).collect()
    })
}

fn samples(track: &Tensor) -> usize {
    let length = track.size().last().copied().unwrap_or(0);
    usize::try_from(length).unwrap_or(0)
}

impl Cut {
    /// What the network hears of the track: `[channels, segment]`.
    fn heard(&self, track: &Tensor, segment: usize) -> Result<Tensor, TchError> {
        let first = self.first.saturating_sub(self.before);
        let zeros = self.before - (self.first - first);
        let end = samples(track).min(self.first + segment - self.before);
        let padding = [zeros, segment - zeros - (end - first)].map(|count| count as i64);
        track
            .f_narrow(1, first as i64, (end - first) as i64)?
            .f_constant_pad_nd(padding)
    }
}

/// Weighted stems of one track, and their weights.
struct Sum {
    stems: Tensor,
    weights: Tensor,
}

impl Sum {
    fn of(track: &Tensor, stems: i64) -> Result<Self, TchError> {
        let size = track.size();
        let options = (Kind::Float, tch::Device::Cpu);
        Ok(Self {
            stems: Tensor::f_zeros([stems, size[0], size[1]], options)?,
            weights: Tensor::f_zeros([size[1]], options)?,
        })
    }

    fn add(&mut self, cut: &Cut, stems: &Tensor, weights: &Tensor) -> Result<(), TchError> {
        let [first, samples, before] =
            [cut.first, cut.samples, cut.before].map(|count| count as i64);
        let weights = weights.f_narrow(0, 0, samples)?;
        let counted = stems.f_narrow(2, before, samples)?;
        let _ = self
            .stems
            .f_narrow(2, first, samples)?
            .f_addcmul_(&counted, &weights)?;
        let _ = self.weights.f_narrow(0, first, samples)?.f_add_(&weights)?;
        Ok(())
    }

    fn mean(mut self) -> Result<Tensor, TchError> {
        self.stems.f_div_(&self.weights)
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
    fn a_short_cut_is_heard_with_the_track_before_it_and_zeros_behind() {
        let track = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6., 7.]).unsqueeze(0);
        let heard = |first, samples, before| {
            let cut = Cut {
                first,
                samples,
                before,
            };
            crate::params::values(&cut.heard(&track, 8).unwrap()).unwrap()
        };
        assert_eq!(heard(6, 1, 3), [4., 5., 6., 7., 0., 0., 0., 0.]);
        assert_eq!(heard(0, 7, 0), [1., 2., 3., 4., 5., 6., 7., 0.]);
        assert_eq!(heard(2, 3, 2), [1., 2., 3., 4., 5., 6., 7., 0.]);
        assert_eq!(heard(0, 3, 2), [0., 0., 1., 2., 3., 4., 5., 6.]);
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
