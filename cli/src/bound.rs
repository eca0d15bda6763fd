//! How many of a job's flags may be wrong by what its bundle states: the tier of each rule by which the job's policy lets a track be
//! `likely_ai`, and the sum of their bounds, since a track may be flagged by either. Pure. Asked by every summary of a job, by the
//! report, by `evaluate` and by `calibrate`, so that all of them say the same; it counts no rows.

use bundle::{Gated, Manifest, Rules, Tier};
use evaluation::bound::Counted;
use types::{GateChoice, Purpose, Stages};

/// What stands in the place of counts where nothing can be flagged.
const NO_RULE: &str = "no rule of this job can make a track likely_ai";

/// The tiers that flags of a job rest on, as its bundle states them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stated<'a> {
    /// The screen's, unless every track that reaches it is sent on and ends by something else.
    pub(crate) screen: Option<&'a Tier>,
    /// That of both engines, where tracks are sent on to them and the bundle calibrates the residual.
    pub(crate) both: Option<&'a Tier>,
    /// Whose gate it is and what it takes, where the stages leave it a choice.
    gate: Option<(&'static str, &'static str)>,
}

impl<'a> Stated<'a> {
    /// Those of a bundle under a job's rules.
    pub(crate) fn of(manifest: &'a Manifest, rules: Rules) -> Self {
        let calibration = manifest
            .residual
            .as_ref()
            .and_then(|residual| residual.calibration.as_ref());
        let both = calibration.and_then(|calibration| calibration.verdicts.likely_ai());
        let gate = Gated::of(manifest, rules.gate);
        let (fused, withheld) = match rules.stages {
            // What would go on ends inconclusive.
            Stages::Screen => (None, true),
            // Without a calibration of the residual the screen's verdict stands.
            Stages::Both => (both.filter(|_| !gate.takes_none()), both.is_some()),
        };
        let shown = match manifest.purpose {
            Purpose::Demonstration => rules.accept_demonstration,
            Purpose::Production => true,
        };
        let flags = |tier: &&Tier| shown && !(withheld && takes_all_from(gate, tier.score));
        Self {
            screen: manifest.likely_ai().filter(flags),
            both: fused.filter(|_| shown),
            gate: match rules.stages {
                Stages::Screen => None,
                Stages::Both => Some(named_gate(manifest, rules.gate)),
            },
        }
    }

    /// Upper bound of the share of human-made tracks that are flagged, at 95 % confidence; 0 where no rule can flag.
    pub(crate) fn fpr_95(&self) -> f64 {
        let tiers = [self.screen, self.both].into_iter().flatten();
        let sum = tiers.fold(0.0, |sum, tier| sum + tier.fpr_bound_95);
        f64::min(sum, 1.0)
    }

    /// How it was counted.
    pub(crate) fn counted(&self) -> String {
        let tiers = match (self.screen.map(text), self.both.map(text)) {
            (Some(screen), Some(both)) => format!("screen {screen}; both {both}"),
            (Some(screen), None) => screen,
            (None, Some(both)) => format!("both {both}"),
            (None, None) => return NO_RULE.to_owned(),
        };
        match self.gate {
            Some((whose, takes)) => format!("by the {whose} gate {takes}: {tiers}"),
            None => tiers,
        }
    }

    /// Most wrong flags among so many tracks screened.
    pub(crate) fn allows(&self, screened: u64) -> u64 {
        let bound = Counted {
            hits: 0,
            trials: 0,
            bound_95: self.fpr_95(),
        };
        bound.allows(screened)
    }
}

/// Whose gate it is, and what it takes.
fn named_gate(manifest: &Manifest, choice: Option<GateChoice>) -> (&'static str, &'static str) {
    if let Some(choice) = choice {
        return ("job's", choice.as_str());
    }
    let takes = own_gate(manifest).map_or("of no track", GateChoice::as_str);
    ("bundle's", takes)
}

/// What a bundle's own gate takes; none of one that sends no track on.
pub(crate) fn own_gate(manifest: &Manifest) -> Option<GateChoice> {
    let gate = &manifest.gate;
    match (gate.unsure, gate.positives_from) {
        (Some(_), Some(_)) => Some(GateChoice::Both),
        (Some(_), None) => Some(GateChoice::Unsure),
        (None, Some(_)) => Some(GateChoice::Positives),
        (None, None) => None,
    }
}

/// Whether the gate sends on every track from this score up.
fn takes_all_from(gate: Gated, score: f64) -> bool {
    gate.all_around.is_some() || gate.positives_from.is_some_and(|from| from <= score)
}

fn text(tier: &Tier) -> String {
    let counted = Counted {
        hits: tier.false_positives,
        trials: tier.humans,
        bound_95: tier.fpr_bound_95,
    };
    format!("{}: {}", tier.name, counted.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::calibrated;
    use bundle::sample;

    fn rules(stages: Stages, gate: Option<GateChoice>) -> Rules {
        Rules {
            stages,
            accept_demonstration: true,
            gate,
        }
    }

    #[test]
    fn the_bound_that_a_bundle_states_is_that_of_its_tier() {
        let manifest = sample::manifest();
        let stated = Stated::of(&manifest, rules(Stages::Screen, None));
        assert_eq!(
            stated.counted(),
            "fpr_1e-2: 10 of 1,000: FPR < 1.70 % at 95 %"
        );
        assert!((stated.fpr_95() - 0.017).abs() < 1e-12);
    }

    /// Whether the screen and both engines may flag under a choice of the gate.
    #[track_caller]
    fn check(stages: Stages, gate: Option<GateChoice>, expected: [bool; 2]) {
        let manifest = calibrated();
        let stated = Stated::of(&manifest, rules(stages, gate));
        let found = [stated.screen.is_some(), stated.both.is_some()];
        assert_eq!(found, expected, "{stages:?} {gate:?}");
    }

    #[test]
    fn a_rule_counts_only_where_the_job_lets_it_flag() {
        for gate in [None, Some(GateChoice::Unsure)] {
            check(Stages::Screen, gate, [true, false]);
            check(Stages::Both, gate, [true, true]);
        }
        for gate in [GateChoice::Positives, GateChoice::Both, GateChoice::All] {
            check(Stages::Screen, Some(gate), [false, false]);
            check(Stages::Both, Some(gate), [false, true]);
        }
    }

    #[test]
    fn a_bundle_without_a_calibrated_residual_flags_by_its_screen_whatever_is_sent_on() {
        let manifest = sample::manifest();
        let stated = Stated::of(&manifest, rules(Stages::Both, Some(GateChoice::All)));
        assert!(stated.screen.is_some() && stated.both.is_none());
    }

    #[test]
    fn a_bound_of_both_stages_says_by_whose_gate_it_was_counted() {
        let manifest = calibrated();
        let counted = |stages, gate| Stated::of(&manifest, rules(stages, gate)).counted();
        let own = counted(Stages::Both, None);
        assert!(
            own.starts_with("by the bundle's gate unsure: screen "),
            "{own}"
        );
        let all = counted(Stages::Both, Some(GateChoice::All));
        assert!(all.starts_with("by the job's gate all: both "), "{all}");
        assert!(!counted(Stages::Screen, None).contains("gate"));
    }

    #[test]
    fn verdicts_of_a_demonstration_that_nobody_accepted_have_no_bound() {
        let mut manifest = calibrated();
        manifest.purpose = Purpose::Demonstration;
        for stages in [Stages::Screen, Stages::Both] {
            let told = rules(stages, None);
            assert!(Stated::of(&manifest, told).fpr_95() > 0.0);
            let withheld = Rules {
                accept_demonstration: false,
                ..told
            };
            let stated = Stated::of(&manifest, withheld);
            assert_eq!(
                (stated.allows(1_000), stated.counted().as_str()),
                (0, NO_RULE)
            );
        }
    }

    #[test]
    fn a_job_that_can_flag_nothing_allows_nothing_and_says_why() {
        let manifest = sample::manifest();
        let stated = Stated::of(&manifest, rules(Stages::Screen, Some(GateChoice::All)));
        assert_eq!((stated.allows(1_000), stated.fpr_95()), (0, 0.0));
        assert_eq!(stated.counted(), NO_RULE);
    }
}
