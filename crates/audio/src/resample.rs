//! From the file's sample rate to the wanted one, by rubato's FFT resampler.
//!
//! It is fed in blocks of one fixed size, so that the result does not depend on how the input was cut; its delay is cut
//! off, and the output has exactly `round(frames × out / in)` frames.

use audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};
use types::Code;

use crate::fault::Fault;

/// Frames of one block at the input, about: the filter is as long, 23 ms at 44.1 kHz.
const BLOCK_FRAMES: usize = 1024;

/// A stream of planes at one rate on its way to another.
pub(crate) struct Resampler {
    rates: (u64, u64),
    inner: Fft<f32>,
    /// Input that does not fill a block yet.
    waiting: Vec<Vec<f32>>,
    /// One block's output.
    out: Vec<Vec<f32>>,
    /// Frames of delay still to be cut off.
    delay: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// A resampler for `planes` planes.
    pub(crate) fn new(from_hz: u32, to_hz: u32, planes: usize) -> Result<Self, Fault> {
        let inner = Fft::new(
            from_hz as usize,
            to_hz as usize,
            block_frames(from_hz, to_hz),
            planes,
            FixedSync::Both,
        )
        .map_err(|error| {
            Fault::new(
                Code::Internal,
                format!("cannot resample {from_hz} Hz to {to_hz} Hz: {error}"),
            )
        })?;
        let out = vec![vec![0.0; inner.output_frames_max()]; planes];
        let (waiting, delay) = (vec![Vec::new(); planes], inner.output_delay());
        Ok(Self {
            rates: (u64::from(from_hz), u64::from(to_hz)),
            inner,
            waiting,
            out,
            delay,
            taken: 0,
            given: 0,
        })
    }

    /// Takes planes of equal length and hands on what they complete.
    pub(crate) fn push(
        &mut self,
        planes: &[Vec<f32>],
        mut sink: impl FnMut(&[&[f32]]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let frames = planes.first().map_or(0, Vec::len);
        self.taken += frames as u64;
        let block = self.inner.input_frames_next();
        let mut done = 0;
        while done < frames {
            let length = (block - self.waiting[0].len()).min(frames - done);
            for (waiting, plane) in self.waiting.iter_mut().zip(planes) {
                waiting.extend_from_slice(&plane[done..done + length]);
            }
            done += length;
            if self.waiting[0].len() == block {
                self.process(block, u64::MAX, &mut sink)?;
            }
        }
        Ok(())
    }

    /// Hands on what is still inside, up to the exact number of frames.
    pub(crate) fn finish(
        mut self,
        mut sink: impl FnMut(&[&[f32]]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let wanted = frames_after(self.taken, self.rates);
        while self.given < wanted {
            let left = self.waiting[0].len();
            let block = self.inner.input_frames_next();
            self.waiting
                .iter_mut()
                .for_each(|plane| plane.resize(block, 0.0));
            self.process(left, wanted, &mut sink)?;
        }
        Ok(())
    }

    /// Resamples one block of which the first `there` frames count, and hands on the output up to `limit` in all.
    fn process(
        &mut self,
        there: usize,
        limit: u64,
        sink: &mut impl FnMut(&[&[f32]]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let internal =
            |error: String| Fault::new(Code::Internal, format!("the resampler failed: {error}"));
        let (planes, block, room) = (self.waiting.len(), self.waiting[0].len(), self.out[0].len());
        let input = SequentialSliceOfVecs::new(&self.waiting[..], planes, block)
            .map_err(|e| internal(e.to_string()))?;
        let mut output = SequentialSliceOfVecs::new_mut(&mut self.out[..], planes, room)
            .map_err(|e| internal(e.to_string()))?;
        let partial = Indexing::new().partial_len(there);
        let made = self
            .inner
            .process_into_buffer(&input, &mut output, Some(&partial));
        let (_, frames) = made.map_err(|e| internal(e.to_string()))?;
        self.waiting.iter_mut().for_each(Vec::clear);
        let skip = self.delay.min(frames);
        self.delay -= skip;
        let give = ((frames - skip) as u64).min(limit - self.given) as usize;
        self.given += give as u64;
        let planes: Vec<&[f32]> = self
            .out
            .iter()
            .map(|plane| &plane[skip..skip + give])
            .collect();
        if give > 0 { sink(&planes) } else { Ok(()) }
    }
}

/// The block's length: a whole number of pairs of the shortest block that both rates divide. With an odd block, rubato's
/// filter stands between two samples and its stated delay is off by a fraction of one.
fn block_frames(from_hz: u32, to_hz: u32) -> usize {
    let pair = 2 * (from_hz / gcd(from_hz, to_hz).max(1)) as usize;
    BLOCK_FRAMES.next_multiple_of(pair.max(2))
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// `round(frames × to / from)`, halves up.
pub(crate) fn frames_after(frames: u64, (from, to): (u64, u64)) -> u64 {
    let exact = u128::from(frames) * u128::from(to);
    u64::try_from((exact + u128::from(from) / 2) / u128::from(from)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sine(hz: f64, rate: u32, frames: usize) -> Vec<f32> {
        let step = std::f64::consts::TAU * hz / f64::from(rate);
        (0..frames)
            .map(|i| (0.5 * (step * i as f64).sin()) as f32)
            .collect()
    }

    fn resampled(input: &[f32], from: u32, to: u32, cut: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to, 1).unwrap();
        let mut out = Vec::new();
        let mut take = |planes: &[&[f32]]| {
            out.extend_from_slice(planes[0]);
            Ok(())
        };
        for piece in input.chunks(cut) {
            resampler.push(&[piece.to_vec()], &mut take).unwrap();
        }
        resampler.finish(&mut take).unwrap();
        out
    }

    #[test]
    fn a_sine_stays_the_same_sine_in_phase_and_level() {
        #[rustfmt::skip]
        let rows = [
            (44_100, 22_050, 1_000.0), (44_100, 16_000, 3_000.0), (48_000, 44_100, 10_000.0), (96_000, 44_100, 1_000.0),
            (8_000, 44_100, 1_000.0), (192_000, 44_100, 5_000.0), (44_100, 48_000, 440.0), (22_050, 44_100, 5_000.0),
            (44_101, 44_100, 1_000.0),
        ];
        for (from, to, hz) in rows {
            let found = resampled(&sine(hz, from, from as usize * 2), from, to, 1152);
            let expected = sine(hz, to, found.len());
            // The ends ring, since the sine begins and ends at once; a tenth of a second is longer than the filter.
            let edge = to as usize / 10;
            let worst = (edge..found.len() - edge)
                .map(|i| (found[i] - expected[i]).abs())
                .fold(0.0, f32::max);
            assert!(worst < 1e-4, "{from} to {to}: {worst}");
        }
    }

    #[test]
    fn what_the_new_rate_cannot_carry_is_gone() {
        let found = resampled(&sine(15_000.0, 44_100, 88_200), 44_100, 22_050, 4096);
        let worst = found[2_205..found.len() - 2_205]
            .iter()
            .fold(0.0f32, |worst, x| worst.max(x.abs()));
        assert!(worst < 1e-4, "{worst}");
    }

    proptest! {
        #[test]
        fn length_is_exact_and_cuts_do_not_matter(
            frames in 0usize..20_000,
            cut in 1usize..5_000,
            (from, to) in prop::sample::select(vec![(44_100u32, 22_050u32), (44_100, 16_000), (48_000, 44_100), (11_025, 44_100), (96_000, 8_000)]),
        ) {
            let input = sine(300.0, from, frames);
            let whole = resampled(&input, from, to, frames.max(1));
            prop_assert_eq!(whole.len() as u64, frames_after(frames as u64, (u64::from(from), u64::from(to))));
            prop_assert_eq!(whole, resampled(&input, from, to, cut));
        }
    }
}
