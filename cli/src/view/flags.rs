//! Flags, and beside them how many wrong ones the bundle's bound allows: the same words in every summary of a job.
//!
//! *Screened* is a track that the screen gave a score, whatever became of it. The coordinator counts these over the parts of a job and
//! over the rows that it verifies, [`is_screened`] over rows that are read here, and the report over the lines of its table that have
//! a score: all say the same of the same result.

use crate::bound::Stated;
use evaluation::bound::{Counted, grouped, percent};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;
use types::Policy;

/// Whether the row is of a track that was screened.
pub(crate) fn is_screened(row: &v1::Row) -> bool {
    row.screen.is_some()
}

/// How a job is scanned; none where this version cannot read it.
pub(super) fn policy(spec: &v1::JobSpec) -> Option<Policy> {
    Policy::try_from(spec.policy?).ok()
}

/// What the verdicts of a job go by; none of a policy that this version cannot read.
pub(crate) fn rules(spec: &v1::JobSpec) -> Option<bundle::Rules> {
    policy(spec).as_ref().map(Into::into)
}

/// The bound on false positives that a bundle states for the verdicts of a job.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// How it was counted.
    counted: String,
    /// At 95 % confidence.
    fpr_95: f64,
}

impl Bound {
    /// That of a bundle, for jobs under these rules.
    pub(crate) fn of(manifest: &bundle::Manifest, rules: bundle::Rules) -> Self {
        let stated = Stated::of(manifest, rules);
        Self {
            counted: stated.counted(),
            fpr_95: stated.fpr_95(),
        }
    }

    /// Flags under it.
    pub(crate) fn over(&self, likely_ai: u64, screened: u64) -> Flags {
        Flags::new(likely_ai, screened, self.fpr_95, self.counted.clone())
    }
}

/// Flags over all tracks of the job, and how many of them may be wrong.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Flags {
    /// Tracks that are `likely_ai`; where a bundle is judged, by its own gate.
    pub(crate) likely_ai: u64,
    /// Tracks that the screen gave a score.
    pub(crate) screened: u64,
    /// Upper bound of the false positive rate at 95 % confidence, over the rules by which the job lets a track be `likely_ai`.
    pub(crate) fpr_bound_95: f64,
    /// How it was counted.
    pub(crate) counted: String,
    /// Most wrong flags that the bound allows among the tracks screened.
    pub(crate) wrong_at_most: u64,
}

impl Flags {
    /// Flags under a bound.
    pub(crate) fn new(likely_ai: u64, screened: u64, fpr_bound_95: f64, counted: String) -> Self {
        let bound = Counted {
            hits: 0,
            trials: 0,
            bound_95: fpr_bound_95,
        };
        Self {
            likely_ai,
            screened,
            fpr_bound_95,
            counted,
            wrong_at_most: bound.allows(screened),
        }
    }

    /// As people read it, beside the word `likely_ai`.
    pub(super) fn beside(&self) -> String {
        let (likely_ai, screened) = (grouped(self.likely_ai), grouped(self.screened));
        if self.fpr_bound_95 <= 0.0 {
            return format!(
                "{likely_ai} of {screened} tracks screened; {}",
                self.counted
            );
        }
        format!(
            "{likely_ai} of {screened} tracks screened; the bound of {} allows {} wrong {} among so many ({})",
            percent(self.fpr_bound_95),
            grouped(self.wrong_at_most),
            if self.wrong_at_most == 1 {
                "one"
            } else {
                "ones"
            },
            self.counted
        )
    }

    /// The same as a line.
    pub(super) fn text(&self) -> String {
        format!("likely_ai: {}", self.beside())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The bound of the sample, 0.017, for a job as most are.
    pub(crate) fn bound() -> Bound {
        let rules = (&Policy::default()).into();
        Bound::of(&bundle::sample::manifest(), rules)
    }

    #[test]
    fn a_job_whose_policy_cannot_be_read_has_no_rules() {
        let spec = v1::JobSpec::default();
        assert!(rules(&spec).is_none());
        let told = v1::JobSpec {
            policy: Some(Policy::default().into()),
            ..spec
        };
        assert!(rules(&told).is_some_and(|rules| rules.gate.is_none()));
    }

    #[test]
    fn one_wrong_flag_is_one() {
        let text = bound().over(1, 50).text();
        assert!(text.contains("allows 1 wrong one among so many"), "{text}");
    }

    #[test]
    fn wrong_ones_are_allowed_by_how_many_were_screened_and_not_by_how_many_are_flagged() {
        // The sample: 10 of 1,000 known-human tracks.
        let bound = bound();
        let flags = bound.over(37, 1_240);
        assert_eq!(
            (flags.wrong_at_most, bound.over(0, 1_240).wrong_at_most),
            (22, 22)
        );
        assert_eq!(
            flags.text(),
            "likely_ai: 37 of 1,240 tracks screened; the bound of 1.70 % allows 22 wrong ones among so many (fpr_1e-2: 10 of 1,000: FPR < 1.70 % at 95 %)"
        );
    }

    #[test]
    fn a_job_that_can_flag_nothing_says_so_and_speaks_of_no_bound() {
        let policy = Policy {
            gate: Some(types::GateChoice::All),
            ..Policy::default()
        };
        let bound = Bound::of(&bundle::sample::manifest(), (&policy).into());
        assert_eq!(
            bound.over(0, 1_240).text(),
            "likely_ai: 0 of 1,240 tracks screened; no rule of this job can make a track likely_ai"
        );
    }

    #[test]
    fn a_track_is_screened_where_it_has_a_score_whatever_its_verdict() {
        let row = |screen: Option<v1::Score>| v1::Row {
            verdict: v1::Verdict::Unscannable.into(),
            screen,
            ..v1::Row::default()
        };
        assert!(is_screened(&row(Some(v1::Score::default()))) && !is_screened(&row(None)));
    }
}
