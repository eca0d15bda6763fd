//! Where windows lie on a track: arithmetic on frames and samples that the engine's cutter, training and the tests
//! share, so that a window's frames are the whole track's frames. Pure; holds no audio.
//!
//! A track of `n` samples has `1 + n / hop` frames (at least one sample given). Frame `f` is centred on sample
//! `f * hop` and reaches `n_fft / 2` to either side; beyond the track's ends there are zeros, and nowhere else.

use crate::manifest::Screen;

/// The geometry of windows at the screen's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSpec {
    /// Samples per second of the mono PCM that the screen hears.
    pub rate_hz: u32,
    /// Samples in one transform; even.
    pub n_fft: u32,
    /// Samples from one frame to the next.
    pub hop: u32,
    /// Frames in one window.
    pub frames: u32,
    /// Frames from one window's start to the next one's.
    pub stride: u32,
}

/// Where one window begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowStart {
    /// The window's first frame on the track.
    pub frame: u64,
    /// Its first sample on the track; negative where the window begins in the zeros before the track.
    pub sample: i64,
    /// When its first frame is centred, in milliseconds from the track's start, rounded down.
    pub start_ms: u32,
}

impl WindowSpec {
    /// The geometry that a bundle's screen names.
    #[must_use]
    pub fn of(screen: &Screen) -> Self {
        let (mel, windows) = (&screen.preprocessing, &screen.windows);
        Self {
            rate_hz: mel.rate_hz,
            n_fft: mel.n_fft,
            hop: mel.hop,
            frames: windows.frames,
            stride: windows.stride,
        }
    }

    /// Samples that one window takes: its frames with the context of the first and the last.
    #[must_use]
    pub fn samples(&self) -> usize {
        (self.frames as usize - 1) * self.hop as usize + self.n_fft as usize
    }

    /// Samples between two windows' starts.
    #[must_use]
    pub fn stride_samples(&self) -> usize {
        self.stride as usize * self.hop as usize
    }

    /// Zeros before the track's first sample, and after its last.
    #[must_use]
    pub fn margin(&self) -> usize {
        self.n_fft as usize / 2
    }

    /// Frames of a track of `samples` samples; none where there is no sample.
    #[must_use]
    pub fn track_frames(&self, samples: u64) -> u64 {
        if samples == 0 {
            0
        } else {
            1 + samples / u64::from(self.hop)
        }
    }

    /// How many windows a track of `samples` samples has; none when it is shorter than one window.
    #[must_use]
    pub fn count(&self, samples: u64) -> u64 {
        let frames = self.track_frames(samples);
        match frames.checked_sub(u64::from(self.frames)) {
            None => 0,
            Some(rest) => 1 + rest.div_ceil(u64::from(self.stride)),
        }
    }

    /// Where window `index` of a track of `samples` samples begins. The last window ends with the track's last
    /// frame: it reaches back into its neighbour and is never padded.
    #[must_use]
    pub fn start(&self, index: u64, samples: u64) -> Option<WindowStart> {
        if index >= self.count(samples) {
            return None;
        }
        let last = self.track_frames(samples) - u64::from(self.frames);
        Some(self.at_frame((index * u64::from(self.stride)).min(last)))
    }

    /// Every window of a track of `samples` samples, in order.
    pub fn starts(self, samples: u64) -> impl Iterator<Item = WindowStart> {
        (0..self.count(samples)).filter_map(move |index| self.start(index, samples))
    }

    /// The window whose first frame is `frame`.
    #[must_use]
    pub fn at_frame(&self, frame: u64) -> WindowStart {
        let centre = frame.saturating_mul(u64::from(self.hop));
        let centre_signed = i64::try_from(centre).unwrap_or(i64::MAX);
        WindowStart {
            frame,
            sample: centre_signed.saturating_sub(i64::from(self.n_fft / 2)),
            start_ms: u32::try_from(centre.saturating_mul(1_000) / u64::from(self.rate_hz))
                .unwrap_or(u32::MAX),
        }
    }

    /// Seconds from a window's first centre to its last.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        f64::from(self.frames - 1) * f64::from(self.hop) / f64::from(self.rate_hz)
    }

    /// Copies a window out of a whole track held in memory, zeros beyond its ends: for training, the canary and
    /// tests. The engine's cutter does the same on a stream.
    #[must_use]
    pub fn cut(&self, track: &[f32], start: WindowStart) -> Vec<f32> {
        let mut window = vec![0.0; self.samples()];
        for (at, value) in window.iter_mut().enumerate() {
            let from = start
                .sample
                .saturating_add(i64::try_from(at).unwrap_or(i64::MAX));
            if let Some(sample) = usize::try_from(from).ok().and_then(|from| track.get(from)) {
                *value = *sample;
            }
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(frames: u32, stride: u32) -> WindowSpec {
        WindowSpec {
            rate_hz: 22_050,
            n_fft: 8,
            hop: 4,
            frames,
            stride,
        }
    }

    #[test]
    fn windows_follow_the_stride_and_the_last_one_ends_with_the_track() {
        let check = |samples: u64, frames: u32, stride: u32, expected: &[u64]| {
            let found: Vec<u64> = spec(frames, stride)
                .starts(samples)
                .map(|s| s.frame)
                .collect();
            assert_eq!(
                found, expected,
                "{samples} samples, windows of {frames} every {stride}"
            );
        };
        check(0, 1, 1, &[]);
        check(1, 1, 1, &[0]);
        check(11, 4, 4, &[]);
        check(12, 4, 4, &[0]);
        check(28, 4, 4, &[0, 4]);
        check(32, 4, 4, &[0, 4, 5]);
        check(32, 4, 2, &[0, 2, 4, 5]);
    }

    #[test]
    fn the_first_window_begins_half_a_transform_before_the_track() {
        let start = spec(4, 4).start(0, 100).unwrap();
        assert_eq!((start.sample, start.start_ms), (-4, 0));
        let window = spec(4, 4).cut(&[1.0; 100], start);
        assert_eq!(window, [vec![0.0; 4], vec![1.0; 16]].concat());
    }

    proptest! {
        #[test]
        fn every_frame_lies_in_a_window_and_no_window_leaves_the_track(
            samples in 0u64..5_000, frames in 1u32..40, stride_of in 1u32..40,
        ) {
            let spec = spec(frames, stride_of.min(frames));
            let all = spec.track_frames(samples);
            let mut reached = 0;
            for start in spec.starts(samples) {
                prop_assert!(start.frame <= reached);
                reached = start.frame + u64::from(frames);
                prop_assert!(reached <= all);
            }
            prop_assert!(reached == all || all < u64::from(frames));
        }
    }
}
