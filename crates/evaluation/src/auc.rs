//! Area under the ROC curve with its standard error.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An area under the curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Auc {
    /// Chance that a positive scores above a human track, ties counting half.
    pub value: f64,
    /// Standard error (Hanley and McNeil, Radiology 143, 1982).
    pub error: f64,
    /// Positives.
    pub positives: usize,
    /// Human tracks.
    pub humans: usize,
}

/// The area for these scores; none where a class is empty.
#[must_use]
pub fn auc(positives: &[f64], humans: &[f64]) -> Option<Auc> {
    if positives.is_empty() || humans.is_empty() {
        return None;
    }
    let mut sorted = humans.to_vec();
    sorted.sort_by(f64::total_cmp);
    let wins: f64 = positives
        .iter()
        .map(|&score| wins_over(&sorted, score))
        .sum();
    let (np, nh) = (positives.len() as f64, humans.len() as f64);
    let value = wins / (np * nh);
    let (q1, q2) = (value / (2.0 - value), 2.0 * value * value / (1.0 + value));
    let variance = (value * (1.0 - value)
        + (np - 1.0) * (q1 - value * value)
        + (nh - 1.0) * (q2 - value * value))
        / (np * nh);
    Some(Auc {
        value,
        error: variance.max(0.0).sqrt(),
        positives: positives.len(),
        humans: humans.len(),
    })
}

fn wins_over(sorted: &[f64], score: f64) -> f64 {
    let below = sorted.partition_point(|&other| other < score);
    let not_above = sorted.partition_point(|&other| other <= score);
    below as f64 + 0.5 * (not_above - below) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn areas_of_known_orders() {
        let check = |positives: &[f64], humans: &[f64], expected: f64| {
            assert!(
                (auc(positives, humans).unwrap().value - expected).abs() < 1e-12,
                "{positives:?} {humans:?}"
            );
        };
        check(&[2.0, 3.0], &[0.0, 1.0], 1.0);
        check(&[0.0, 1.0], &[2.0, 3.0], 0.0);
        check(&[1.0], &[1.0], 0.5);
        check(&[1.0, 3.0], &[2.0, 0.0], 0.75);
        assert_eq!(auc(&[], &[1.0]), None);
    }

    #[test]
    fn the_error_shrinks_with_the_number_of_tracks() {
        let spread = |n: usize, shift: f64| {
            (0..n)
                .map(|i| i as f64 / n as f64 + shift)
                .collect::<Vec<_>>()
        };
        let error = |n| auc(&spread(n, 0.2), &spread(n, 0.0)).unwrap().error;
        assert!(error(400) < 0.6 * error(100) && error(400) > 0.0);
    }

    /// Every pair, as the definition has it.
    fn by_pairs(positives: &[f64], humans: &[f64]) -> f64 {
        let win = |p: f64, h: f64| match p.total_cmp(&h) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        };
        let pairs = positives
            .iter()
            .flat_map(|&p| humans.iter().map(move |&h| win(p, h)));
        pairs.sum::<f64>() / (positives.len() * humans.len()) as f64
    }

    proptest! {
        #[test]
        fn the_area_is_that_of_every_pair(
            positives in prop::collection::vec((-4i32..5).prop_map(f64::from), 1..30),
            humans in prop::collection::vec((-5i32..4).prop_map(f64::from), 1..30),
        ) {
            let area = auc(&positives, &humans).unwrap().value;
            prop_assert!((area - by_pairs(&positives, &humans)).abs() < 1e-12);
        }
    }
}
