//! How much a number would differ for other tracks of the same kind: a paired bootstrap over clusters of tracks. Every system
//! is measured on the same draws, so that a difference between two of them has an interval of its own.

use crate::curve::{Ranked, Worth};
use crate::dice::Dice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Draws where there are few tracks: the ends of a 95 % interval then rest on 50 draws each.
const DRAWS_MAX: usize = 2_000;
/// Draws where there are very many: the interval is narrow then, and its ends need not be sharp.
const DRAWS_MIN: usize = 200;
/// Tracks that are looked at in all draws together: a few seconds of one processor.
const EFFORT_MAX: usize = 200_000_000;

/// An interval that holds the true value in 95 of 100 cases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether a value lies inside.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Intervals of one system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Of the area.
    pub auc: Interval,
    /// Of the share found at the rate.
    pub found: Interval,
    /// Of the area's gain over the first system; the first one gains nothing.
    pub auc_gain: Interval,
    /// Of the found share's gain over the first system.
    pub found_gain: Interval,
}

/// Intervals for each system, whose scores stand in `systems` in the order of the tracks. Clusters are drawn with replacement and
/// whole: as many as there are of human tracks alone, of ai tracks alone, and of both. `None` where a class is missing.
#[must_use]
pub fn intervals(
    systems: &[Vec<f64>],
    ai: &[bool],
    clusters: &[u32],
    rate: f64,
    seed: u64,
) -> Option<Vec<Spread>> {
    let ranked: Vec<Ranked> = systems.iter().map(|scores| Ranked::new(scores)).collect();
    if !(ai.contains(&true) && ai.contains(&false)) {
        return None;
    }
    let strata = strata(ai, clusters);
    let mut dice = Dice::new(seed, "bootstrap");
    let mut drawn: Vec<Vec<Worth>> = vec![Vec::new(); systems.len()];
    for _ in 0..draws(ai.len() * systems.len()) {
        let weights = draw(&strata, ai.len(), &mut dice);
        for (ranked, drawn) in ranked.iter().zip(&mut drawn) {
            drawn.extend(ranked.worth(ai, &weights, rate));
        }
    }
    let first = drawn.first()?.clone();
    Some(drawn.iter().map(|own| spread(own, &first)).collect())
}

fn draws(tracks: usize) -> usize {
    (EFFORT_MAX / tracks.max(1)).clamp(DRAWS_MIN, DRAWS_MAX)
}

/// Clusters with their tracks, by which classes they hold.
fn strata(ai: &[bool], clusters: &[u32]) -> Vec<Vec<Vec<usize>>> {
    let mut by: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (at, cluster) in clusters.iter().enumerate() {
        by.entry(*cluster).or_default().push(at);
    }
    let mut strata: BTreeMap<(bool, bool), Vec<Vec<usize>>> = BTreeMap::new();
    for cluster in by.into_values() {
        let has = |class| cluster.iter().any(|&at| ai[at] == class);
        strata
            .entry((has(false), has(true)))
            .or_default()
            .push(cluster);
    }
    strata.into_values().collect()
}

/// How often each track was drawn.
fn draw(strata: &[Vec<Vec<usize>>], tracks: usize, dice: &mut Dice) -> Vec<u32> {
    let mut weights = vec![0; tracks];
    for stratum in strata {
        for _ in 0..stratum.len() {
            for &at in &stratum[dice.below(stratum.len())] {
                weights[at] += 1;
            }
        }
    }
    weights
}

fn spread(own: &[Worth], first: &[Worth]) -> Spread {
    let gain = |of: fn(&Worth) -> f64| {
        let pairs = own.iter().zip(first);
        middle(pairs.map(|(own, first)| of(own) - of(first)).collect())
    };
    Spread {
        auc: middle(own.iter().map(|worth| worth.auc).collect()),
        found: middle(own.iter().map(|worth| worth.found).collect()),
        auc_gain: gain(|worth| worth.auc),
        found_gain: gain(|worth| worth.found),
    }
}

/// The middle 95 of 100 values.
fn middle(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = |share: f64| {
        let place = (share * last as f64).round() as usize;
        values.get(place).copied().unwrap_or(f64::NAN)
    };
    Interval {
        low: at(0.025),
        high: at(0.975),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tracks of a noisy score and one that tells more.
    fn tracks(count: usize) -> (Vec<Vec<f64>>, Vec<bool>) {
        let mut dice = Dice::new(5, "tracks");
        let mut noise = || (0..6).map(|_| dice.below(1_000) as f64).sum::<f64>() / 1_000.0;
        let ai: Vec<bool> = (0..count).map(|at| at % 2 == 0).collect();
        let mut score = |by: f64| -> Vec<f64> {
            ai.iter()
                .map(|&ai| if ai { by + noise() } else { noise() })
                .collect()
        };
        (vec![score(0.5), score(1.5)], ai)
    }

    fn own(count: usize) -> Vec<u32> {
        (0..count as u32).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_it_holds_what_was_measured() {
        let (systems, ai) = tracks(400);
        let of = |seed| intervals(&systems, &ai, &own(400), 0.1, seed).unwrap();
        let found = of(7);
        assert_eq!(found, of(7));
        assert_ne!(found, of(8));
        for (scores, spread) in systems.iter().zip(&found) {
            let worth = Ranked::new(scores).worth(&ai, &[1; 400], 0.1).unwrap();
            assert!(spread.auc.holds(worth.auc) && spread.found.holds(worth.found));
        }
        assert_eq!(
            found[0].auc_gain,
            Interval {
                low: 0.0,
                high: 0.0
            }
        );
        assert!(found[1].auc_gain.low > 0.0, "{found:?}");
    }

    #[test]
    fn an_interval_shrinks_with_tracks_and_not_with_copies_of_them() {
        let width = |count, clusters: &[u32]| {
            let (systems, ai) = tracks(count);
            let spread = intervals(&systems, &ai, clusters, 0.1, 1).unwrap();
            spread[0].auc.high - spread[0].auc.low
        };
        assert!(width(1_600, &own(1_600)) < 0.7 * width(400, &own(400)));
        // Four copies of each pair of tracks, each four in one cluster, say no more than one.
        let (systems, ai) = tracks(200);
        let copied: Vec<Vec<f64>> = systems.iter().map(|s| s.repeat(4)).collect();
        let clusters = own(200).repeat(4);
        let spread = intervals(&copied, &ai.repeat(4), &clusters, 0.1, 1).unwrap();
        let once = intervals(&systems, &ai, &own(200), 0.1, 1).unwrap();
        assert_eq!(spread[0].auc, once[0].auc);
    }

    #[test]
    fn versions_of_one_piece_stay_together() {
        // What pieces have in common moves both versions alike, and tells nothing of the class.
        let mut dice = Dice::new(3, "pairs");
        let piece: Vec<f64> = (0..300).map(|_| dice.below(1_000) as f64).collect();
        let scores: Vec<f64> = piece.iter().flat_map(|own| [*own, own + 50.0]).collect();
        let ai: Vec<bool> = (0..600).map(|at| at % 2 == 1).collect();
        let width = |clusters: &[u32]| {
            let spread = intervals(std::slice::from_ref(&scores), &ai, clusters, 0.1, 1).unwrap();
            spread[0].auc.high - spread[0].auc.low
        };
        let pairs: Vec<u32> = (0..600).map(|at| at / 2).collect();
        assert!(width(&pairs) < 0.5 * width(&own(600)));
    }

    #[test]
    fn one_class_has_no_interval() {
        assert_eq!(intervals(&[vec![1.0]], &[true], &[0], 0.1, 1), None);
    }
}
