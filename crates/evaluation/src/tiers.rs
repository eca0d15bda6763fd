//! Operating points by false positive rate: thresholds fitted on known-human tracks, and counted on others that set nothing.

use crate::bound::{Counted, trials_for};

/// The operating points that are offered, from the loosest to the strictest: name, and the share of known-human tracks that
/// may reach it.
pub const TIERS: [(&str, f64); 4] = [
    ("fpr_1e-1", 0.10),
    ("fpr_3e-2", 0.03),
    ("fpr_1e-2", 0.01),
    ("fpr_1e-3", 0.001),
];

/// What a threshold lies above the highest human score by, where none may reach it.
const ABOVE_ALL: f64 = 0.1;

/// The rate of a tier by its name.
#[must_use]
pub fn rate_of(name: &str) -> Option<f64> {
    let tier = TIERS.iter().find(|(known, _)| *known == name);
    tier.map(|(_, rate)| *rate)
}

/// Known-human tracks that a tier needs to be fitted: with fewer, no track may reach it, and where it lies would be a guess.
#[must_use]
pub fn humans_to_fit(rate: f64) -> u64 {
    // Rounding must not ask for one more: 1 / 0.1 is not quite 10 in every form.
    (1.0 / rate - 1e-9).ceil() as u64
}

/// Whether a threshold at `rate` is neither a guess on `fit` human tracks nor beyond what `held` others can bear out with none above it.
#[must_use]
pub fn are_enough(rate: f64, fit: u64, held: u64) -> bool {
    fit >= humans_to_fit(rate) && held >= trials_for(rate)
}

/// What each tier needs, as a sentence's end: `fpr_1e-1 needs 10, ...`.
#[must_use]
pub fn needs() -> String {
    let each = TIERS.map(|(name, rate)| format!("{name} needs {}", humans_to_fit(rate)));
    each.join(", ")
}

/// The lowest edge that at most `rate` of `humans` reach: half way to the next human below, or a tenth above all of them. Scores
/// that are equal fall on the same side. `None` without a human.
#[must_use]
pub fn threshold(humans: &[f64], rate: f64) -> Option<f64> {
    let mut falling = humans.to_vec();
    falling.sort_by(|a, b| b.total_cmp(a));
    let highest = *falling.first()?;
    let allowed = ((rate * falling.len() as f64 + 1e-9) as usize).min(falling.len() - 1);
    let edge = (1..=allowed)
        .rev()
        .find(|&reach| falling[reach - 1] > falling[reach])
        .map(|reach| between(falling[reach], falling[reach - 1]));
    Some(edge.unwrap_or_else(|| (highest + ABOVE_ALL).max(highest.next_up())))
}

/// A score above `low` that `high` reaches.
fn between(low: f64, high: f64) -> f64 {
    let middle = f64::midpoint(low, high);
    if middle > low { middle } else { high }
}

/// A threshold with what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The tier's name.
    pub name: &'static str,
    /// Tracks at or above this score reach it.
    pub score: f64,
    /// Known-human tracks that reach it, of those that set nothing.
    pub counted: Counted,
}

/// Every tier that `fit` has enough known-human tracks for, loosest first, counted on `held`. Scores rise and counts fall.
#[must_use]
pub fn fit(fit: &[f64], held: &[f64]) -> Vec<Fitted> {
    let enough = |rate: f64| fit.len() as u64 >= humans_to_fit(rate);
    let tiers = TIERS.iter().filter(|(_, rate)| enough(*rate));
    tiers
        .filter_map(|&(name, rate)| {
            let score = threshold(fit, rate)?;
            Some(Fitted {
                name,
                score,
                counted: Counted::of(held, |&human| human >= score),
            })
        })
        .collect()
}

/// How many known-human tracks without a hit would bound a tier's rate below what its name says.
#[must_use]
pub fn humans_to_bound(name: &str) -> Option<u64> {
    rate_of(name).map(trials_for)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reached(humans: &[f64], edge: f64) -> usize {
        humans.iter().filter(|&&score| score >= edge).count()
    }

    #[test]
    fn at_most_the_allowed_share_of_humans_reaches_a_threshold() {
        let humans: Vec<f64> = (0..200).map(f64::from).collect();
        for rate in [0.0, 0.004, 0.01, 0.1, 1.0] {
            let edge = threshold(&humans, rate).unwrap();
            let reached = reached(&humans, edge);
            assert!(reached as f64 <= rate * 200.0, "{rate}: {reached}");
            assert!(reached as f64 >= rate * 200.0 - 1.0, "{rate}: {reached}");
        }
        assert_eq!(threshold(&[], 0.1), None);
    }

    #[test]
    fn a_tier_without_enough_tracks_is_not_offered_and_the_numbers_are_said() {
        let humans: Vec<f64> = (0..99).map(f64::from).collect();
        let names: Vec<&str> = fit(&humans, &humans).iter().map(|tier| tier.name).collect();
        assert_eq!(names, ["fpr_1e-1", "fpr_3e-2"]);
        assert_eq!(
            needs(),
            "fpr_1e-1 needs 10, fpr_3e-2 needs 34, fpr_1e-2 needs 100, fpr_1e-3 needs 1000"
        );
        assert_eq!(humans_to_bound("fpr_1e-2"), Some(299));
        let sides = [(100, 299), (99, 299), (100, 298)];
        assert_eq!(
            sides.map(|(fit, held)| are_enough(0.01, fit, held)),
            [true, false, false]
        );
    }

    proptest! {
        #[test]
        fn no_threshold_exceeds_its_tier_on_what_it_was_fitted_on_and_tiers_rise(
            // Few values, so that many are equal.
            humans in prop::collection::vec((0i32..12).prop_map(|n| f64::from(n) * 0.25), 1..1_500),
        ) {
            let tiers = fit(&humans, &humans);
            for tier in &tiers {
                let rate = rate_of(tier.name).unwrap();
                prop_assert!(tier.counted.hits as f64 <= rate * humans.len() as f64 + 1e-9);
                prop_assert!(tier.counted.bound_95 >= tier.counted.hits as f64 / humans.len() as f64);
            }
            for pair in tiers.windows(2) {
                prop_assert!(pair[0].score <= pair[1].score);
                prop_assert!(pair[0].counted.hits >= pair[1].counted.hits);
            }
        }
    }
}
