//! The gate: which tracks the screen sends on to the residual, and how far a track's score lies from what the gate asks
//! for. Called by the verdict's rule, by whoever spends an escalation budget, and by whoever takes a job. Pure; the bundle's edges
//! are track scores.

use crate::manifest::{Band, Manifest};
use types::GateChoice;

/// What the gate may say of a track elsewhere, where its score differs by as much as scores may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// Its least distance from what the gate asks for first.
    pub nearest: f64,
    /// Its greatest one.
    pub farthest: f64,
    /// Whether it is sent on everywhere.
    pub certain: bool,
}

/// What a gate takes: each part that is there, or everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gated {
    /// Scores that are unsure.
    pub unsure: Option<Band>,
    /// The score from which on a track is sent on as corroboration.
    pub positives_from: Option<f64>,
    /// The score around which everything is taken, where everything is.
    pub all_around: Option<f64>,
}

impl Gated {
    /// What the gate of a bundle takes under a job's choice; without one, what the bundle says.
    #[must_use]
    pub fn of(bundle: &Manifest, choice: Option<GateChoice>) -> Self {
        let likely = bundle.likely_ai().map(|tier| tier.score);
        let between = bundle.verdicts.no_evidence_below.zip(likely);
        let between = between
            .filter(|(low, high)| low < high)
            .map(|(low, high)| Band { low, high });
        let unsure = bundle.gate.unsure.or(between);
        let positives_from = bundle.gate.positives_from.or(likely);
        let none = Self {
            unsure: None,
            positives_from: None,
            all_around: None,
        };
        match choice {
            None => Self {
                unsure: bundle.gate.unsure,
                positives_from: bundle.gate.positives_from,
                ..none
            },
            Some(GateChoice::Unsure) => Self { unsure, ..none },
            Some(GateChoice::Positives) => Self {
                positives_from,
                ..none
            },
            Some(GateChoice::Both) => Self {
                unsure,
                positives_from,
                ..none
            },
            Some(GateChoice::All) => Self {
                all_around: unsure.map(middle).or(likely).or(Some(0.0)),
                ..none
            },
        }
    }

    /// Whether it sends no track on, whatever its score.
    #[must_use]
    pub const fn takes_none(&self) -> bool {
        self.unsure.is_none() && self.positives_from.is_none() && self.all_around.is_none()
    }

    /// Whether a track of this score is sent on.
    #[must_use]
    pub fn takes(&self, score: f64) -> bool {
        self.distance(score).is_some()
    }

    /// How far a track that is sent on lies from what the gate asks for first: from the middle of the unsure ones, from the
    /// edge of the positives, whichever is nearer. None of a track that is not sent on.
    #[must_use]
    pub fn distance(&self, score: f64) -> Option<f64> {
        let unsure = self
            .unsure
            .filter(|band| band.low <= score && score < band.high)
            .map(|band| (score - middle(band)).abs());
        let positive = self
            .positives_from
            .filter(|from| score >= *from)
            .map(|from| score - from);
        let all = self.all_around.map(|around| (score - around).abs());
        [unsure, positive, all]
            .into_iter()
            .flatten()
            .min_by(f64::total_cmp)
    }

    /// What the gate may say of a score that differs by up to `epsilon`. None where it sends the track on nowhere. Bounds: no
    /// distance lies outside, and near an edge the outermost ones need not be reached.
    #[must_use]
    pub fn reach(&self, score: f64, epsilon: f64) -> Option<Reach> {
        let (low, high) = (score - epsilon, score + epsilon);
        let around = |middle: f64, certain: bool| Reach {
            nearest: ((score - middle).abs() - epsilon).max(0.0),
            farthest: (score - middle).abs() + epsilon,
            certain,
        };
        let unsure = self
            .unsure
            .filter(|band| band.low <= high && low < band.high)
            .map(|band| around(middle(band), band.low <= low && high < band.high));
        let positive = self
            .positives_from
            .filter(|from| high >= *from)
            .map(|from| around(from, low >= from));
        let all = self.all_around.map(|middle| around(middle, true));
        [unsure, positive, all]
            .into_iter()
            .flatten()
            .reduce(Reach::or)
    }

    /// The scores at which a track comes in or falls out.
    pub(crate) fn edges(&self) -> impl Iterator<Item = f64> {
        let band = self.unsure;
        [
            band.map(|band| band.low),
            band.map(|band| band.high),
            self.positives_from,
        ]
        .into_iter()
        .flatten()
    }
}

impl Reach {
    /// Where two parts of the gate may take the track: the nearer one counts wherever it takes it.
    fn or(self, other: Self) -> Self {
        let farthest = match (self.certain, other.certain) {
            (true, true) => self.farthest.min(other.farthest),
            (true, false) => self.farthest,
            (false, true) => other.farthest,
            (false, false) => self.farthest.max(other.farthest),
        };
        Self {
            nearest: self.nearest.min(other.nearest),
            farthest,
            certain: self.certain || other.certain,
        }
    }
}

fn middle(band: Band) -> f64 {
    f64::midpoint(band.low, band.high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    /// The sample: unsure from -1 to 1, likely from 2 on.
    #[track_caller]
    fn check(choice: Option<GateChoice>, expected: [Option<f64>; 4]) {
        let gated = Gated::of(&sample::manifest(), choice);
        let found = [-2.0, -0.5, 1.0, 2.5].map(|score| gated.distance(score));
        assert_eq!(found, expected, "{choice:?}");
    }

    #[test]
    fn a_choice_takes_what_its_name_says_and_nearest_first() {
        check(None, [None, Some(0.5), None, None]);
        check(Some(GateChoice::Unsure), [None, Some(0.5), None, None]);
        check(Some(GateChoice::Positives), [None, None, None, Some(0.5)]);
        check(Some(GateChoice::Both), [None, Some(0.5), None, Some(0.5)]);
        check(
            Some(GateChoice::All),
            [Some(2.0), Some(0.5), Some(1.0), Some(2.5)],
        );
    }

    /// Each gate, and one whose parts touch.
    fn gates() -> Vec<Gated> {
        let choices = [None, Some(GateChoice::Positives), Some(GateChoice::Both)];
        let all = choices.into_iter().chain([Some(GateChoice::All)]);
        let mut gates: Vec<Gated> = all
            .map(|choice| Gated::of(&sample::manifest(), choice))
            .collect();
        gates.push(Gated {
            positives_from: Some(1.0),
            ..gates[0]
        });
        gates
    }

    #[test]
    fn no_distance_of_a_score_within_epsilon_lies_outside_its_reach() {
        let steps = |from: i32, to: i32| (from..=to).map(|step| f64::from(step) / 64.0);
        for gated in gates() {
            for (score, epsilon) in
                steps(-200, 200).flat_map(|score| [0.0, 0.125, 0.5].map(|by| (score, by)))
            {
                let reach = gated.reach(score, epsilon);
                let moved = steps(-32, 32).filter(|by| by.abs() <= epsilon);
                let found: Vec<Option<f64>> = moved.map(|by| gated.distance(score + by)).collect();
                let what = format!("{score} by {epsilon} at {gated:?}: {reach:?}");
                let Some(reach) = reach else {
                    assert!(found.iter().all(Option::is_none), "{what}");
                    continue;
                };
                let within = |at: &f64| reach.nearest <= *at && *at <= reach.farthest;
                assert!(found.iter().flatten().all(within), "{what}: {found:?}");
                assert!(!reach.certain || !found.contains(&None), "{what}");
            }
        }
    }

    #[test]
    fn a_score_that_differs_nowhere_has_its_distance_alone_for_a_reach() {
        for gated in gates() {
            for score in [-3.0, -1.0, -0.25, 0.5, 1.0, 2.0, 2.5] {
                let expected = gated.distance(score).map(|at| (at, at, true));
                let reach = gated.reach(score, 0.0);
                let found = reach.map(|of| (of.nearest, of.farthest, of.certain));
                assert_eq!(found, expected, "{score} at {gated:?}");
            }
        }
    }

    #[test]
    fn without_edges_of_its_own_a_gate_lies_between_the_verdicts() {
        let mut bundle = sample::manifest();
        bundle.gate.unsure = None;
        assert!(!Gated::of(&bundle, None).takes(0.0));
        assert!(!Gated::of(&bundle, Some(GateChoice::Unsure)).takes(0.0));
        let takes_none = |choice| Gated::of(&bundle, choice).takes_none();
        assert!(takes_none(None) && takes_none(Some(GateChoice::Unsure)));
        let some = [GateChoice::Positives, GateChoice::Both, GateChoice::All];
        assert!(!some.into_iter().any(|choice| takes_none(Some(choice))));
        bundle.verdicts.no_evidence_below = Some(-3.0);
        let gated = Gated::of(&bundle, Some(GateChoice::Unsure));
        assert_eq!(gated.distance(-0.5), Some(0.0));
        assert!(!gated.takes(2.0));
    }
}
