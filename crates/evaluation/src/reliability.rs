//! How far probabilities are from frequencies, at the prior that they suppose: each class weighs what the prior says it does,
//! whatever its share among the labelled tracks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bins of equal width between 0 and 1.
pub const BINS: usize = 10;

/// Tracks of about the same probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bin {
    /// Lowest probability inside.
    pub low: f64,
    /// Lowest probability above; 1 lies in the last one.
    pub high: f64,
    /// Tracks inside.
    pub tracks: u64,
    /// Their share of all, at the prior.
    pub weight: f64,
    /// Their mean probability, at the prior; 0 where there is no track.
    pub probability: f64,
    /// The share of positives among them, at the prior; 0 where there is no track.
    pub share: f64,
}

/// How far probabilities are from frequencies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reliability {
    /// The share of positives that was supposed.
    pub prior: f64,
    /// Expected calibration error over the bins.
    pub ece: f64,
    /// Mean squared difference of probability and label.
    pub brier: f64,
    /// The bins, lowest first.
    pub bins: Vec<Bin>,
}

/// The reliability of probabilities at `prior`; none where a class is empty.
#[must_use]
pub fn reliability(positives: &[f64], humans: &[f64], prior: f64) -> Option<Reliability> {
    if positives.is_empty() || humans.is_empty() {
        return None;
    }
    let weights = [
        (1.0 - prior) / humans.len() as f64,
        prior / positives.len() as f64,
    ];
    let mut sums = [(0u64, 0.0, 0.0, 0.0); BINS];
    let mut brier = 0.0;
    for (class, probabilities) in [humans, positives].into_iter().enumerate() {
        let (label, weight) = (class as f64, weights[class]);
        for &p in probabilities {
            let bin = &mut sums[((p * BINS as f64) as usize).min(BINS - 1)];
            bin.0 += 1;
            bin.1 += weight;
            bin.2 += weight * p;
            bin.3 += weight * label;
            brier += weight * (p - label).powi(2);
        }
    }
    let bins: Vec<Bin> = sums
        .iter()
        .enumerate()
        .map(|(at, sum)| bin(at, *sum))
        .collect();
    let ece = sums.iter().map(|(_, _, p, label)| (p - label).abs()).sum();
    Some(Reliability {
        prior,
        ece,
        brier,
        bins,
    })
}

fn bin(at: usize, (tracks, weight, p, label): (u64, f64, f64, f64)) -> Bin {
    let mean = |sum: f64| if weight > 0.0 { sum / weight } else { 0.0 };
    Bin {
        low: at as f64 / BINS as f64,
        high: (at + 1) as f64 / BINS as f64,
        tracks,
        weight,
        probability: mean(p),
        share: mean(label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_that_are_frequencies_have_no_error() {
        // Of ten tracks at 0.7 seven are positives.
        let found = reliability(&[0.7; 7], &[0.7; 3], 0.7).unwrap();
        assert!(found.ece < 1e-12, "{found:?}");
        assert!((found.brier - 0.21).abs() < 1e-12);
        assert_eq!(found.bins[7].tracks, 10);
        let sure = reliability(&[1.0; 5], &[0.0; 5], 0.5).unwrap();
        assert_eq!((sure.ece, sure.brier, sure.bins[9].tracks), (0.0, 0.0, 5));
        assert_eq!(reliability(&[], &[0.1], 0.5), None);
    }

    #[test]
    fn classes_weigh_what_the_prior_says_however_many_tracks_they_have() {
        let few = reliability(&[0.7; 7], &[0.7; 3], 0.5).unwrap();
        assert!((few.ece - 0.2).abs() < 1e-12 && (few.bins[7].share - 0.5).abs() < 1e-12);
        let many = reliability(&[0.7; 70], &[0.7; 3], 0.5).unwrap();
        assert!((many.ece - few.ece).abs() < 1e-12 && (many.brier - few.brier).abs() < 1e-12);
    }
}
