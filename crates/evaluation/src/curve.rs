//! The ROC curve of weighted tracks: area, rate of found positives at a rate of false ones, and where both errors are equal.
//! Weights are whole numbers, so that a resampled set is the same tracks with other weights, ranked once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tracks by falling score, with where equal scores end.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// Tracks, highest score first.
    order: Vec<u32>,
    /// Places in `order` behind each run of equal scores.
    ends: Vec<u32>,
}

/// What a ranking is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Worth {
    /// Chance that a positive scores above a human track, ties counting half.
    pub auc: f64,
    /// Share of positives found where at most `rate` of the human tracks are.
    pub found: f64,
    /// The rate at which as many positives are missed as human tracks are found.
    pub eer: f64,
}

impl Ranked {
    /// Ranks tracks by their scores, which are finite.
    #[must_use]
    pub fn new(scores: &[f64]) -> Self {
        let count = u32::try_from(scores.len()).unwrap_or(u32::MAX);
        let mut order: Vec<u32> = (0..count).collect();
        let score = |at: &u32| scores[*at as usize];
        order.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.cmp(b)));
        let mut ends: Vec<u32> = (1..count)
            .filter(|&at| score(&order[at as usize - 1]) > score(&order[at as usize]))
            .collect();
        ends.extend((count > 0).then_some(count));
        Self { order, ends }
    }

    /// What the ranking is worth for these labels and weights, with `found` at a rate of false positives of `rate`. `None` where a
    /// class weighs nothing.
    #[must_use]
    pub fn worth(&self, ai: &[bool], weights: &[u32], rate: f64) -> Option<Worth> {
        let of = |class: bool| -> u64 {
            let own = weights.iter().zip(ai).filter(|(_, ai)| **ai == class);
            own.map(|(weight, _)| u64::from(*weight)).sum()
        };
        let (positives, humans) = (of(true), of(false));
        if positives == 0 || humans == 0 {
            return None;
        }
        let allowed = (rate * humans as f64 + 1e-9) as u64;
        let (mut above, mut below_found, mut begin) = ((0u64, 0u64), 0u64, 0usize);
        let (mut wins, mut eer) = (0.0, None);
        for &end in &self.ends {
            let run = &self.order[begin..end as usize];
            begin = end as usize;
            let before = above;
            for &at in run {
                let weight = u64::from(weights[at as usize]);
                if ai[at as usize] {
                    above.0 += weight;
                } else {
                    above.1 += weight;
                }
            }
            let (p, h) = (above.0 - before.0, above.1 - before.1);
            wins += p as f64 * ((humans - above.1) as f64 + 0.5 * h as f64);
            if above.1 <= allowed {
                below_found = above.0;
            }
            let share =
                |(p, h): (u64, u64)| (p as f64 / positives as f64, h as f64 / humans as f64);
            eer = eer.or_else(|| crossing(share(before), share(above)));
        }
        Some(Worth {
            auc: wins / (positives as f64 * humans as f64),
            found: below_found as f64 / positives as f64,
            eer: eer.unwrap_or(1.0),
        })
    }
}

/// Where the piece of the curve between two points (found positives, found humans) meets the line on which as many positives are
/// missed as humans are found.
fn crossing(from: (f64, f64), to: (f64, f64)) -> Option<f64> {
    // Below zero while more is missed than wrongly found.
    let (a, b) = (from.1 - (1.0 - from.0), to.1 - (1.0 - to.0));
    if b < 0.0 {
        return None;
    }
    let along = if b > a { -a / (b - a) } else { 0.0 };
    Some(from.1 + along * (to.1 - from.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auc::auc;
    use proptest::prelude::*;

    fn worth(positives: &[f64], humans: &[f64], rate: f64) -> Worth {
        let scores = [positives, humans].concat();
        let ai: Vec<bool> = (0..scores.len()).map(|at| at < positives.len()).collect();
        let ranked = Ranked::new(&scores);
        ranked.worth(&ai, &vec![1; scores.len()], rate).unwrap()
    }

    #[test]
    fn known_orders_have_their_known_worth() {
        let humans: Vec<f64> = (0..100).map(f64::from).collect();
        let apart = worth(&[200.0; 10], &humans, 0.01);
        assert_eq!((apart.auc, apart.found, apart.eer), (1.0, 1.0, 0.0));
        let reversed = worth(&[-5.0; 10], &humans, 0.01);
        assert_eq!(
            (reversed.auc, reversed.found, reversed.eer),
            (0.0, 0.0, 1.0)
        );
        let same = worth(&[7.0; 9], &[7.0; 4], 0.5);
        assert_eq!((same.auc, same.found, same.eer), (0.5, 0.0, 0.5));
        // One human in ten lies above half of the positives.
        let half = worth(
            &[1.0, 1.0, 3.0, 3.0],
            &[2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            0.05,
        );
        assert_eq!(half.found, 0.5);
    }

    #[test]
    fn a_class_that_weighs_nothing_has_no_worth() {
        let ranked = Ranked::new(&[1.0, 2.0]);
        assert_eq!(ranked.worth(&[true, false], &[1, 0], 0.1), None);
        assert_eq!(Ranked::new(&[]).worth(&[], &[], 0.1), None);
    }

    proptest! {
        #[test]
        fn the_area_is_that_of_the_scores_and_weights_count_as_copies(
            told in prop::collection::vec((any::<bool>(), -6i32..6, 0u32..4), 1..60),
            rate in 0.0f64..0.6,
        ) {
            let scores: Vec<f64> = told.iter().map(|(_, score, _)| f64::from(*score)).collect();
            let ai: Vec<bool> = told.iter().map(|(ai, _, _)| *ai).collect();
            let weights: Vec<u32> = told.iter().map(|(_, _, weight)| *weight).collect();
            let copies = |class: bool| -> Vec<f64> {
                told.iter()
                    .filter(|(ai, _, _)| *ai == class)
                    .flat_map(|(_, score, weight)| vec![f64::from(*score); *weight as usize])
                    .collect()
            };
            let (positives, humans) = (copies(true), copies(false));
            let found = Ranked::new(&scores).worth(&ai, &weights, rate);
            let area = auc(&positives, &humans).map(|auc| auc.value);
            prop_assert_eq!(found.is_some(), area.is_some());
            if let (Some(found), Some(area)) = (found, area) {
                prop_assert!((found.auc - area).abs() < 1e-12);
                prop_assert!((0.0..=1.0).contains(&found.eer));
                let copied = worth(&positives, &humans, rate);
                prop_assert!((found.found - copied.found).abs() < 1e-12 && (found.eer - copied.eer).abs() < 1e-12);
            }
        }
    }
}
