//! Sums and peaks over samples, in lanes. Every sample of every track passes here, and a single chain of additions would wait for each
//! one before it begins the next. Called by the slots and by the batch; never by an engine.

/// Independent chains: enough to hide the time that an addition takes, few enough that three sets of them stay in registers.
const LANES: usize = 8;

/// What one pass over samples comes to. The same samples give the same sums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums {
    /// Of the samples, in double precision.
    pub(crate) values: f64,
    /// Of their squares, in double precision.
    pub(crate) squares: f64,
    /// The largest magnitude of finite samples; zero where there are none.
    pub(crate) peak: f32,
}

/// Sums and peak of `pcm`, read once.
pub(crate) fn sums(pcm: &[f32]) -> Sums {
    let (groups, rest) = pcm.as_chunks::<LANES>();
    let (mut values, mut squares, mut peaks) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for group in groups {
        for (lane, &sample) in group.iter().enumerate() {
            let value = f64::from(sample);
            values[lane] += value;
            squares[lane] += value * value;
            peaks[lane] = larger(peaks[lane], sample.abs());
        }
    }
    let more = rest.iter().map(|&sample| f64::from(sample));
    let highest = rest.iter().map(|sample| sample.abs());
    Sums {
        values: values.into_iter().chain(more.clone()).sum(),
        squares: squares
            .into_iter()
            .chain(more.map(|value| value * value))
            .sum(),
        peak: peaks.into_iter().chain(highest).fold(0.0, larger),
    }
}

/// The sum of all squares, in double precision.
pub(crate) fn squares(pcm: &[f32]) -> f64 {
    let (groups, rest) = pcm.as_chunks::<LANES>();
    let square = |&sample: &f32| f64::from(sample) * f64::from(sample);
    let mut lanes = [0.0; LANES];
    for group in groups {
        for (lane, sample) in lanes.iter_mut().zip(group) {
            *lane += square(sample);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(square).sum::<f64>()
}

/// The larger of two finite values. `f32::max` also looks for NaN, which costs as much as the rest.
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lanes_give_what_one_chain_gives(pcm in prop::collection::vec(-2.0f32..2.0, 0..200)) {
            let values: f64 = pcm.iter().map(|&x| f64::from(x)).sum();
            let powers: f64 = pcm.iter().map(|&x| f64::from(x).powi(2)).sum();
            let found = sums(&pcm);
            prop_assert!((found.values - values).abs() < 1e-12);
            prop_assert!((found.squares - powers).abs() < 1e-12 && (squares(&pcm) - powers).abs() < 1e-12);
            prop_assert_eq!(found.peak, pcm.iter().fold(0.0, |peak: f32, x| peak.max(x.abs())));
        }
    }
}
