//! From whole tracks to whole stems: tracks are cut into overlapping segments, segments of several tracks share a batch,
//! and what comes back is laid over each other with weights that fall towards a segment's ends. Where the cuts lie, what
//! pads them and how they are weighted is the package's `apply_model` without its random shifts.
//!
//! Switches gradients off. Never judges what it hears: silence and noise are separated like music.

use super::HtDemucs;
use bundle::Cut;
use std::num::NonZeroUsize;
use tch::{Kind, TchError, Tensor};

pub use bundle::Overlap;

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
                .map(|(at, cut)| heard(cut, &tracks[*at], segment))
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

/// What the network hears of a track for a cut: `[channels, segment]`.
fn heard(cut: &Cut, track: &Tensor, segment: usize) -> Result<Tensor, TchError> {
    let first = cut.first.saturating_sub(cut.before);
    let zeros = cut.before - (cut.first - first);
    let end = samples(track).min(cut.first + segment - cut.before);
    let padding = [zeros, segment - zeros - (end - first)].map(|count| count as i64);
    track
        .f_narrow(1, first as i64, (end - first) as i64)?
        .f_constant_pad_nd(padding)
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

    #[test]
    fn a_short_cut_is_heard_with_the_track_before_it_and_zeros_behind() {
        let track = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6., 7.]).unsqueeze(0);
        let heard = |first, samples, before| {
            let cut = Cut {
                first,
                samples,
                before,
            };
            crate::params::values(&super::heard(&cut, &track, 8).unwrap()).unwrap()
        };
        assert_eq!(heard(6, 1, 3), [4., 5., 6., 7., 0., 0., 0., 0.]);
        assert_eq!(heard(0, 7, 0), [1., 2., 3., 4., 5., 6., 7., 0.]);
        assert_eq!(heard(2, 3, 2), [1., 2., 3., 4., 5., 6., 7., 0.]);
        assert_eq!(heard(0, 3, 2), [0., 0., 1., 2., 3., 4., 5., 6.]);
    }
}
