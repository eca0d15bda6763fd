//! Which segments of a track are separated: from what the first pass kept of the track to sample positions. Called by
//! whoever asks a worker for a residual. Pure, in whole numbers, so that every machine chooses alike; holds no audio.
//!
//! Segments lie on a grid: each begins where the overlap says, and the last one reaches back to end with the track. A track
//! shorter than one segment is one segment, which is padded on both sides as the package does it. Where fewer are wanted
//! than there are, the wanted ones cut the track's energy into equal parts and each takes the segment around the middle of
//! its part: where it is loud they lie closer, and silence is not separated while there is anything else.

use crate::manifest::Segments;
use crate::overlap::Overlap;

/// Most segments of one track: at the published length with a quarter shared, four hours and a half. A bundle that asks
/// for all of shorter ones gets so many, spread over the track's energy.
pub const TRACK_SEGMENTS_MAX: usize = 4_096;

/// Levels are told apart in steps of a power of two from `2^-LEVELS` of full scale to `2^LEVELS`, 120 dB to either side:
/// below a sample's last bit, above any sample that a decoder passes on.
const LEVELS: i32 = 40;

/// One window that the first pass heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loudness {
    /// Its first sample at the first pass's rate.
    pub start: u64,
    /// Root mean square in dB against full scale; minus infinity for digital silence.
    pub rms_db: f32,
}

/// What the first pass kept of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard<'a> {
    /// Its samples at the first pass's rate.
    pub samples: u64,
    /// That rate, Hz; above zero.
    pub rate_hz: u32,
    /// Its windows, in order; none where it was shorter than one.
    pub windows: &'a [Loudness],
}

/// How segments are cut: at which rate, of which length, how far over each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Samples per second of the segments.
    pub rate_hz: u32,
    /// Samples of one segment; above zero.
    pub segment: u64,
    /// How far each reaches into the next.
    pub overlap: Overlap,
}

impl Segments {
    /// First samples of the segments to separate, at the grid's rate: rising, within the track, at least one unless the
    /// track is empty, at most [`TRACK_SEGMENTS_MAX`].
    ///
    /// The track's length at the grid's rate follows from that at the first pass's, which is off by a few samples where
    /// the rates differ; so the last segment may end as many before or behind the track's end.
    #[must_use]
    pub fn choose(self, grid: Grid, heard: &Heard<'_>) -> Vec<u64> {
        let samples = at_rate(heard.samples, heard.rate_hz, grid.rate_hz);
        let count = grid.count(samples);
        let wanted = match self {
            Self::All => count,
            Self::Spread { count: wanted } => usize::try_from(wanted).unwrap_or(usize::MAX),
        };
        let wanted = wanted.clamp(1, TRACK_SEGMENTS_MAX);
        if wanted >= count {
            return (0..count).map(|at| grid.start(at, samples)).collect();
        }
        let middles = middles(heard, wanted);
        let nearest = middles.into_iter().map(|middle| {
            let middle = at_rate(middle, heard.rate_hz, grid.rate_hz);
            grid.around(middle, samples, count)
        });
        apart(nearest.collect(), count)
            .into_iter()
            .map(|at| grid.start(at, samples))
            .collect()
    }
}

impl Grid {
    /// Samples from one segment's start to the next one's.
    fn step(&self) -> u64 {
        let step = ((1.0 - self.overlap.share) * self.segment as f64) as u64;
        step.clamp(1, self.segment.max(1))
    }

    /// Segments of a track of so many samples.
    fn count(&self, samples: u64) -> usize {
        if samples == 0 {
            return 0;
        }
        let rest = samples.saturating_sub(self.segment);
        usize::try_from(1 + rest.div_ceil(self.step())).unwrap_or(usize::MAX)
    }

    fn start(&self, at: usize, samples: u64) -> u64 {
        (at as u64 * self.step()).min(samples.saturating_sub(self.segment))
    }

    /// The segment whose middle lies nearest.
    fn around(&self, middle: u64, samples: u64, count: usize) -> usize {
        let first = middle.saturating_sub(self.segment / 2);
        let near = (first + self.step() / 2) / self.step();
        let near = usize::try_from(near)
            .unwrap_or(usize::MAX)
            .min(count.saturating_sub(1));
        // The last one may lie closer to its neighbour than a step.
        let off = |at: usize| self.start(at, samples).abs_diff(first);
        let last = count.saturating_sub(1);
        [near.saturating_sub(1), near, (near + 1).min(last)]
            .into_iter()
            .min_by_key(|at| (off(*at), *at))
            .unwrap_or(near)
    }
}

/// Samples at another rate, rounded.
fn at_rate(samples: u64, from: u32, to: u32) -> u64 {
    let (from, to) = (u128::from(from.max(1)), u128::from(to));
    let there = (u128::from(samples) * to + from / 2) / from;
    u64::try_from(there).unwrap_or(u64::MAX)
}

/// Where the middles of so many parts of equal energy lie, in samples of the first pass; parts of equal length where
/// nothing was heard.
fn middles(heard: &Heard<'_>, parts: usize) -> Vec<u64> {
    let spans = spans(heard);
    let total: u128 = spans.iter().map(Span::energy).sum();
    let mut middles = Vec::with_capacity(parts);
    let (mut at, mut before) = (0, 0);
    for part in 0..parts as u128 {
        // Half a part behind the part's begin, as a fraction of the whole.
        let wanted = mul_div(total, 2 * part + 1, 2 * parts as u128);
        while at + 1 < spans.len() && before + spans[at].energy() <= wanted {
            before += spans[at].energy();
            at += 1;
        }
        let span = spans[at];
        let into = (wanted - before) / span.power.max(1);
        let into = u64::try_from(into).unwrap_or(u64::MAX).min(span.samples);
        middles.push(span.start + into);
    }
    middles
}

/// A stretch of one loudness.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u64,
    samples: u64,
    power: u128,
}

impl Span {
    fn energy(&self) -> u128 {
        self.power * u128::from(self.samples)
    }
}

/// The track as stretches, each as loud as the window that begins with it; one stretch where all is silent.
fn spans(heard: &Heard<'_>) -> Vec<Span> {
    let ends = heard.windows.iter().skip(1).map(|window| window.start);
    let stretches = heard.windows.iter().zip(ends.chain([heard.samples]));
    let spans: Vec<Span> = stretches
        .map(|(window, end)| Span {
            start: window.start,
            samples: end.min(heard.samples).saturating_sub(window.start),
            power: power(window.rms_db),
        })
        .collect();
    if spans.iter().any(|span| span.energy() > 0) {
        return spans;
    }
    vec![Span {
        start: 0,
        samples: heard.samples,
        power: 1,
    }]
}

/// A level's power in whole numbers, to the nearest power of two: no logarithm or root of another machine's library enters.
fn power(rms_db: f32) -> u128 {
    if !rms_db.is_finite() {
        return 0;
    }
    // A factor of two is 3.0103 dB.
    let step = (f64::from(rms_db) / 3.010_299_956_639_812).round();
    let step = step.clamp(f64::from(-LEVELS), f64::from(LEVELS)) as i32;
    if step == -LEVELS {
        return 0;
    }
    1 << (step + LEVELS).unsigned_abs()
}

/// `value * by / of` without overflow, for `by < of` and both small.
fn mul_div(value: u128, by: u128, of: u128) -> u128 {
    value / of * by + value % of * by / of
}

/// The same places, each one once: those that fall together move apart, within `count` places.
fn apart(mut places: Vec<usize>, count: usize) -> Vec<usize> {
    for at in 1..places.len() {
        places[at] = places[at].max(places[at - 1] + 1);
    }
    let wanted = places.len();
    for (at, place) in places.iter_mut().enumerate() {
        *place = (*place).min(count - wanted + at);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRID: Grid = Grid {
        rate_hz: 1_000,
        segment: 100,
        overlap: Overlap {
            share: 0.0,
            power: 1.0,
        },
    };

    fn heard(samples: u64, windows: &[Loudness]) -> Heard<'_> {
        Heard {
            samples,
            rate_hz: 1_000,
            windows,
        }
    }

    /// Windows of a hundred samples with these levels.
    fn windows(levels: &[f32]) -> Vec<Loudness> {
        (0..)
            .zip(levels)
            .map(|(at, rms_db)| Loudness {
                start: at * 100,
                rms_db: *rms_db,
            })
            .collect()
    }

    #[track_caller]
    fn check(segments: Segments, samples: u64, levels: &[f32], expected: &[u64]) {
        let found = segments.choose(GRID, &heard(samples, &windows(levels)));
        assert_eq!(found, expected, "{segments:?} of {samples} samples");
    }

    #[test]
    fn all_segments_reach_from_the_track_s_begin_to_its_end() {
        check(Segments::All, 0, &[], &[]);
        check(Segments::All, 1, &[], &[0]);
        check(Segments::All, 100, &[0.0], &[0]);
        check(Segments::All, 101, &[0.0], &[0, 1]);
        check(Segments::All, 350, &[0.0; 3], &[0, 100, 200, 250]);
        let quarter = Grid {
            overlap: Overlap::default(),
            ..GRID
        };
        let found = Segments::All.choose(quarter, &heard(250, &[]));
        assert_eq!(found, [0, 75, 150]);
    }

    #[test]
    fn few_segments_lie_where_the_energy_is() {
        let two = Segments::Spread { count: 2 };
        check(two, 1_000, &[-10.0; 10], &[200, 700]);
        let loud_end = [
            -60.0, -60.0, -60.0, -60.0, -60.0, -60.0, -60.0, -60.0, -6.0, -6.0,
        ];
        check(two, 1_000, &loud_end, &[800, 900]);
        let silent_but_one = [
            f32::NEG_INFINITY,
            f32::NEG_INFINITY,
            -30.0,
            f32::NEG_INFINITY,
        ];
        check(Segments::Spread { count: 1 }, 400, &silent_but_one, &[200]);
    }

    #[test]
    fn of_silence_and_of_tracks_without_windows_segments_are_spread_evenly() {
        let two = Segments::Spread { count: 2 };
        check(two, 1_000, &[f32::NEG_INFINITY; 10], &[200, 700]);
        check(two, 1_000, &[], &[200, 700]);
    }

    #[test]
    fn a_track_s_length_follows_the_rate() {
        let grid = Grid {
            rate_hz: 2_000,
            ..GRID
        };
        let found = Segments::All.choose(grid, &heard(100, &[]));
        assert_eq!(found, [0, 100]);
    }

    #[test]
    fn a_bundle_that_asks_for_more_than_any_track_may_have_gets_the_most() {
        let samples = 100 * (TRACK_SEGMENTS_MAX as u64 + 10);
        let found = Segments::All.choose(GRID, &heard(samples, &[]));
        assert_eq!(found.len(), TRACK_SEGMENTS_MAX);
        assert!(found.is_sorted_by(|a, b| a < b));
    }

    fn levels() -> impl Strategy<Value = Vec<f32>> {
        let level = prop_oneof![-150f32..20.0, Just(f32::NEG_INFINITY), Just(f32::NAN)];
        prop::collection::vec(level, 0..40)
    }

    proptest! {
        #[test]
        fn segments_rise_within_the_track_and_short_tracks_give_all_of_theirs(
            levels in levels(), more in 0u64..300, count in 1u32..50, segment in 10u64..500, share in 0.0f64..0.5,
            rate_hz in prop::sample::select(vec![500u32, 1_000, 2_205]),
        ) {
            let grid = Grid { rate_hz, segment, overlap: Overlap { share, power: 1.0 } };
            let windows = windows(&levels);
            let heard = heard(windows.len() as u64 * 100 + more, &windows);
            let samples = at_rate(heard.samples, heard.rate_hz, rate_hz);
            let all = Segments::All.choose(grid, &heard);
            let some = Segments::Spread { count }.choose(grid, &heard);
            prop_assert_eq!(some.len(), all.len().min(count as usize));
            for starts in [&all, &some] {
                prop_assert!(starts.is_sorted_by(|a, b| a < b), "{starts:?}");
                prop_assert!(starts.iter().all(|start| start + segment <= samples || *start == 0), "{starts:?}");
                prop_assert!(starts.iter().all(|start| all.contains(start)));
                prop_assert_eq!(starts.is_empty(), samples == 0);
            }
            let reached = all.iter().try_fold(0, |reached, start| (*start <= reached).then_some(start + segment));
            prop_assert!(samples == 0 || reached.is_some_and(|reached| reached >= samples), "{all:?}");
            let again = Segments::Spread { count }.choose(grid, &heard);
            prop_assert_eq!(some, again);
        }

        #[test]
        fn no_segment_is_separated_in_silence_while_another_is_heard(loud in 0usize..20, count in 1u32..2) {
            let mut levels = vec![f32::NEG_INFINITY; 20];
            levels[loud] = -20.0;
            let windows = windows(&levels);
            let found = Segments::Spread { count }.choose(GRID, &heard(2_000, &windows));
            prop_assert_eq!(found, vec![loud as u64 * 100]);
        }
    }
}
