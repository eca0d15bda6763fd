//! Area under the ROC curve with its standard error, and the exact bound of a rate that was counted.

/// An area under the curve.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
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

/// Upper bound at 95 % confidence (one-sided, exact binomial) of a rate counted as `hits` of `trials`; with no hit it is close to three
/// over the trials.
pub fn upper_bound_95(hits: u64, trials: u64) -> f64 {
    if hits >= trials {
        return 1.0;
    }
    let (mut low, mut high) = (hits as f64 / trials as f64, 1.0);
    // Halving sixty times ends below the spacing of double precision.
    for _ in 0..60 {
        let rate = 0.5 * (low + high);
        if at_most(hits, trials, rate) > 0.05 {
            low = rate
        } else {
            high = rate
        }
    }
    high
}

/// Chance of at most `hits` in `trials` at `rate`, summed from logarithms.
fn at_most(hits: u64, trials: u64, rate: f64) -> f64 {
    let mut term = trials as f64 * (1.0 - rate).ln();
    let mut sum = term.exp();
    for k in 1..=hits {
        term += ((trials - k + 1) as f64 / k as f64).ln() + (rate / (1.0 - rate)).ln();
        sum += term.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn bounds_follow_the_rule_of_three_and_the_exact_table() {
        let check = |hits, trials, expected: f64| {
            let found = upper_bound_95(hits, trials);
            assert!(
                (found - expected).abs() < 2e-4,
                "{hits} of {trials}: {found}"
            );
        };
        check(0, 300, 0.00994);
        check(0, 3_000, 0.000_998);
        check(1, 100, 0.0466);
        check(5, 100, 0.1023);
        check(10, 10, 1.0);
    }
}
