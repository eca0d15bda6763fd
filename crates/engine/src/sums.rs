//! Sums and peaks over samples, in lanes. Every sample of every track passes here, and a single chain of additions would wait for each
//! one before it begins the next. Called by the slots and by the batch; never by an engine.

/// Independent chains: enough to hide the time that an addition takes, few enough to stay in registers.
const LANES: usize = 16;

/// The sum of `term` over all samples, in double precision. The same samples give the same sum.
pub(crate) fn sum(pcm: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let (groups, rest) = pcm.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for group in groups {
        for (sum, &sample) in sums.iter_mut().zip(group) {
            *sum += term(f64::from(sample));
        }
    }
    let rest: f64 = rest.iter().map(|&sample| term(f64::from(sample))).sum();
    sums.iter().sum::<f64>() + rest
}

/// The largest magnitude of finite samples; zero where there are none.
pub(crate) fn peak(pcm: &[f32]) -> f32 {
    let (groups, rest) = pcm.as_chunks::<LANES>();
    let mut peaks = [0.0; LANES];
    for group in groups {
        for (peak, &sample) in peaks.iter_mut().zip(group) {
            *peak = larger(*peak, sample.abs());
        }
    }
    let rest = rest.iter().map(|sample| sample.abs());
    peaks.into_iter().chain(rest).fold(0.0, larger)
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
            let squares: f64 = pcm.iter().map(|&x| f64::from(x).powi(2)).sum();
            prop_assert!((sum(&pcm, |x| x * x) - squares).abs() < 1e-12);
            prop_assert_eq!(peak(&pcm), pcm.iter().fold(0.0, |peak: f32, x| peak.max(x.abs())));
        }
    }
}
