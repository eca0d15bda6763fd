//! Cuts a stream of mono PCM into the windows that the whole track's frames would give, in constant memory.
//!
//! The track is padded with `n_fft / 2` zeros before and after, so that window `k` is samples
//! `k * stride * hop ..` of the padded track; no window is ever padded by itself. The places are those that
//! [`WindowSpec::starts`] names: the last window reaches back so that it ends with the track's last frame, and a track
//! shorter than one window has none.
//!
//! Called by the worker's loop, also for the canary. Never looks at a sample's value.

use bundle::WindowSpec;

/// A window's place in its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// First frame.
    pub start: u64,
    /// How many of its last frames no earlier window of the track had; all of them unless windows overlap.
    pub fresh: u32,
}

/// Cuts one track. Feed it with [`push`](Self::push), take windows with [`cut`](Self::cut) until there is none, and so
/// on; then [`end`](Self::end) and take the rest. Holds at most one window, one hop and what was pushed since the last
/// `cut` gave none.
#[derive(Debug)]
pub struct Cutter {
    spec: WindowSpec,
    held: Vec<f32>,
    /// Place of `held[0]` in the padded track.
    base: u64,
    /// Samples of the track seen.
    samples: u64,
    /// First frame of the next regular window.
    next: u64,
    /// One past the last frame of any window given.
    covered: u64,
    end: End,
}

/// How far the track's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More samples may come.
    Open,
    /// The last sample is here; windows may be left.
    Closing,
    /// Nothing is left.
    Done,
}

impl Cutter {
    /// A cutter at the start of a track. `spec` comes from a checked bundle.
    pub fn new(spec: WindowSpec) -> Self {
        let held = vec![0.0; spec.margin()];
        Self {
            spec,
            held,
            base: 0,
            samples: 0,
            next: 0,
            covered: 0,
            end: End::Open,
        }
    }

    /// Samples of the track seen so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Appends samples of the track.
    ///
    /// # Panics
    /// After [`end`](Self::end).
    pub fn push(&mut self, pcm: &[f32]) {
        assert_eq!(
            self.end,
            End::Open,
            "a track that has ended takes no samples"
        );
        self.forget();
        self.held.extend_from_slice(pcm);
        self.samples += pcm.len() as u64;
    }

    /// Says that the last sample was pushed.
    pub fn end(&mut self) {
        if self.end == End::Open {
            self.held.resize(self.held.len() + self.spec.margin(), 0.0);
            self.end = End::Closing;
        }
    }

    /// The next window that is complete: appends its samples to `out`. A track without samples has none.
    pub fn cut(&mut self, out: &mut Vec<f32>) -> Option<Cut> {
        let start = self.next_start()?;
        let cut = Cut {
            start,
            fresh: self.fresh(start),
        };
        self.append_window(start, out);
        self.covered = start + u64::from(self.spec.frames);
        self.next = start + u64::from(self.spec.stride);
        Some(cut)
    }

    fn next_start(&mut self) -> Option<u64> {
        if self.is_complete(self.next) {
            return Some(self.next);
        }
        match self.end {
            End::Open | End::Done => None,
            End::Closing => {
                self.end = End::Done;
                self.last_start()
            }
        }
    }

    /// Where the track's last window begins, if the track is long enough and the window was not given yet.
    fn last_start(&self) -> Option<u64> {
        let frames = self.spec.track_frames(self.samples);
        let last = frames.checked_sub(u64::from(self.spec.frames))?;
        (self.covered < frames).then_some(last)
    }

    fn is_complete(&self, start: u64) -> bool {
        let end = self.place(start) + self.spec.samples() as u64;
        self.samples > 0 && end <= self.base + self.held.len() as u64
    }

    /// Where frame `start` begins in the padded track.
    fn place(&self, start: u64) -> u64 {
        start * u64::from(self.spec.hop)
    }

    fn fresh(&self, start: u64) -> u32 {
        let old = u32::try_from(self.covered.saturating_sub(start)).unwrap_or(u32::MAX);
        self.spec.frames.saturating_sub(old)
    }

    fn append_window(&self, start: u64, out: &mut Vec<f32>) {
        let size = self.spec.samples();
        let first =
            usize::try_from(self.place(start) - self.base).expect("what is held fits memory");
        out.extend_from_slice(&self.held[first..first + size]);
    }

    /// Drops what no window can need: neither the next regular one, nor one that ends with the track if it ended here.
    fn forget(&mut self) {
        let reach = self.spec.samples() as u64 + u64::from(self.spec.hop);
        let last = (self.base + self.held.len() as u64).saturating_sub(reach);
        let dead = self.place(self.next).min(last).saturating_sub(self.base);
        let dead = usize::try_from(dead).expect("never more than is held");
        // Moving what stays costs less than what was pushed since, once half is dead.
        if dead * 2 >= self.held.len() {
            self.held.drain(..dead);
            self.base += dead as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(n_fft: u32, hop: u32, frames: u32, stride: u32) -> WindowSpec {
        WindowSpec {
            rate_hz: 8_000,
            n_fft,
            hop,
            frames,
            stride,
        }
    }

    /// A track whose sample `i` is `i + 1`, so that a zero is always padding.
    fn track(samples: usize) -> Vec<f32> {
        (0..samples).map(|i| i as f32 + 1.0).collect()
    }

    fn cut_all(spec: WindowSpec, pcm: &[f32], piece: usize) -> Vec<(Cut, Vec<f32>)> {
        let mut cutter = Cutter::new(spec);
        let mut windows = Vec::new();
        let mut take = |cutter: &mut Cutter| {
            let mut out = Vec::new();
            while let Some(cut) = cutter.cut(&mut out) {
                windows.push((cut, std::mem::take(&mut out)));
            }
        };
        for piece in pcm.chunks(piece.max(1)) {
            cutter.push(piece);
            take(&mut cutter);
        }
        cutter.end();
        take(&mut cutter);
        windows
    }

    fn check(spec: WindowSpec, samples: usize, starts: &[u64]) {
        let windows = cut_all(spec, &track(samples), 7);
        let found: Vec<u64> = windows.iter().map(|(cut, _)| cut.start).collect();
        assert_eq!(found, starts, "{spec:?} of {samples} samples");
    }

    #[test]
    fn the_last_window_reaches_back_to_end_with_the_track() {
        // hop 2: a track of n samples has 1 + n / 2 frames.
        let s = spec(4, 2, 4, 4);
        check(s, 0, &[]);
        check(s, 5, &[]);
        check(s, 6, &[0]);
        check(s, 8, &[0, 1]);
        check(s, 14, &[0, 4]);
        check(s, 16, &[0, 4, 5]);
    }

    #[test]
    fn overlapping_windows_say_what_is_fresh() {
        let windows = cut_all(spec(4, 2, 4, 3), &track(13), 100);
        let fresh: Vec<u32> = windows.iter().map(|(cut, _)| cut.fresh).collect();
        assert_eq!(fresh, [4, 3]);
    }

    #[test]
    fn memory_does_not_grow_with_the_track() {
        let s = spec(64, 16, 10, 10);
        let mut cutter = Cutter::new(s);
        let mut out = Vec::new();
        for _ in 0..2_000 {
            cutter.push(&[0.5; 33]);
            while cutter.cut(&mut out).is_some() {}
            out.clear();
            assert!(cutter.held.len() <= 2 * (s.samples() + s.hop as usize) + 33);
        }
    }

    proptest! {
        #[test]
        fn windows_are_those_of_the_whole_track_however_it_comes_in_pieces(
            half in 1u32..9, hop in 1u32..17, frames in 1u32..7, stride in 1u32..7, samples in 0usize..200, piece in 1usize..64,
        ) {
            let s = spec(half * 2, hop.min(half * 2), frames, stride.min(frames));
            let pcm = track(samples);
            let found: Vec<_> = cut_all(s, &pcm, piece).into_iter().map(|(cut, window)| (cut.start, window)).collect();
            let whole: Vec<_> = s.starts(samples as u64).map(|start| (start.frame, s.cut(&pcm, start))).collect();
            prop_assert_eq!(found, whole);
        }

        #[test]
        fn fresh_frames_are_the_tracks_frames(hop in 1u32..9, frames in 1u32..7, samples in 1usize..200) {
            let s = spec(8, hop, frames, frames);
            let fresh: u64 = cut_all(s, &track(samples), 50).iter().map(|(cut, _)| u64::from(cut.fresh)).sum();
            let whole = s.track_frames(samples as u64);
            prop_assert_eq!(fresh, if whole < u64::from(frames) { 0 } else { whole });
        }
    }
}
