//! What threshold each codec, label or genre would set by its own known-human tracks, and where the one that all have in common does
//! not hold. Called by scanctl's `evaluate` and `calibrate`; no verdict rests on it. A number that its tracks cannot bear out is never
//! given: it would look exact and bound nothing.

use crate::bound::{Counted, lower_bound_95, trials_for};
use crate::slicing::{Group, Place, groups, page};
use crate::split::Side;
use crate::tiers::{self, Fitted, TIERS, humans_to_fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A known-human track.
#[derive(Clone, Debug, PartialEq)]
pub struct Human<'a> {
    /// Slices set thresholds on one side, and count on the other.
    pub side: Side,
    /// What it is sliced by.
    pub place: Place<'a>,
    /// What it scores in each stage, in the order of the stages.
    pub scores: Vec<f64>,
}

/// A stage with the thresholds that all slices have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its thresholds, as they were counted.
    pub common: Vec<Fitted>,
}

/// Thresholds by slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SliceThresholds {
    /// The slices that have tracks enough for a tier or in which a common threshold does not hold, largest first within their kind, each
    /// with its stages.
    pub slices: Vec<SliceTiers>,
    /// Slices that have too few for any tier, and in which no common threshold is seen to fail.
    pub too_few: u64,
    /// Such slices beyond the most that are shown.
    pub left_out: u64,
}

/// A slice in a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SliceTiers {
    /// `codec`, `label` or `genre`.
    pub group: String,
    /// The value that its tracks share.
    pub name: String,
    /// The stage.
    pub stage: String,
    /// Its known-human tracks on the side that thresholds are fitted on.
    pub fitted_on: u64,
    /// Its known-human tracks on the other side.
    pub counted_on: u64,
    /// Each tier, the loosest first.
    pub tiers: Vec<SliceTier>,
}

/// A tier in a slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SliceTier {
    /// Its name.
    pub tier: String,
    /// Known-human tracks that it takes to fit it.
    pub needed_to_fit: u64,
    /// Known-human tracks that it takes to bear it out, none of them above.
    pub needed_to_count: u64,
    /// The threshold that the slice's own tracks set; none with fewer than these.
    pub own: Option<OwnThreshold>,
    /// The threshold that all slices have in common; none where the stage has none.
    pub common: Option<CommonThreshold>,
}

/// A threshold that a slice's own tracks set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OwnThreshold {
    /// Tracks at or above this score reach it.
    pub score: f64,
    /// The slice's known-human tracks that reach it, of those that set nothing.
    pub counted: Counted,
}

/// The common threshold in a slice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommonThreshold {
    /// Tracks at or above this score reach it.
    pub score: f64,
    /// The slice's known-human tracks that reach it, of those that set nothing.
    pub counted: Counted,
    /// Lower bound of their rate at 95 % confidence (one-sided, exact binomial).
    pub at_least_95: f64,
    /// Whether it does not hold in the slice: the lower bound lies above both the tier's rate and the bound that was counted over all
    /// slices, and the slice's own threshold, where it has one, lies higher.
    pub exceeded: bool,
}

impl SliceTiers {
    /// The tiers whose common threshold does not hold here.
    pub fn exceeded(&self) -> impl Iterator<Item = (&str, &CommonThreshold)> {
        self.tiers.iter().filter_map(|tier| {
            let common = tier.common.as_ref().filter(|common| common.exceeded)?;
            Some((tier.tier.as_str(), common))
        })
    }
}

/// The thresholds of every slice that has human tracks enough for one, or in which a common one does not hold, in each stage.
#[must_use]
pub fn slice_thresholds(humans: &[Human<'_>], stages: &[Stage<'_>]) -> SliceThresholds {
    let places: Vec<Place<'_>> = humans.iter().map(|human| human.place).collect();
    let mut found = groups(&places);
    let all = found.len();
    found.retain(|group| bears_a_tier(humans, group) || is_exceeded(humans, group, stages));
    let too_few = (all - found.len()) as u64;
    let (shown, left_out) = page(found);
    let slices = shown.iter().flat_map(|group| {
        let stages = stages.iter().enumerate();
        stages.map(move |(at, stage)| of_slice(humans, group, at, stage))
    });
    SliceThresholds {
        slices: slices.collect(),
        too_few,
        left_out,
    }
}

fn bears_a_tier(humans: &[Human<'_>], group: &Group<'_>) -> bool {
    let count = |side: Side| {
        let own = group.tracks.iter();
        own.filter(|&&at| humans[at].side == side).count() as u64
    };
    let (fit, held) = (count(Side::Calibrate), count(Side::Test));
    let mut rates = TIERS.iter().map(|(_, rate)| *rate);
    rates.any(|rate| tiers::are_enough(rate, fit, held))
}

/// Whether a common threshold does not hold there, which takes no threshold of the slice's own.
fn is_exceeded(humans: &[Human<'_>], group: &Group<'_>, stages: &[Stage<'_>]) -> bool {
    let mut stages = stages.iter().enumerate();
    stages.any(|(at, stage)| {
        let slice = of_slice(humans, group, at, stage);
        slice.exceeded().next().is_some()
    })
}

fn of_slice(humans: &[Human<'_>], group: &Group<'_>, at: usize, stage: &Stage<'_>) -> SliceTiers {
    let scores = |side: Side| -> Vec<f64> {
        let own = group.tracks.iter().map(|&track| &humans[track]);
        own.filter(|human| human.side == side)
            .map(|human| human.scores[at])
            .collect()
    };
    let (fit, held) = (scores(Side::Calibrate), scores(Side::Test));
    SliceTiers {
        group: group.kind.name().to_owned(),
        name: group.name.to_owned(),
        stage: stage.name.to_owned(),
        fitted_on: fit.len() as u64,
        counted_on: held.len() as u64,
        tiers: of_tiers(&fit, &held, &stage.common),
    }
}

fn of_tiers(fit: &[f64], held: &[f64], common: &[Fitted]) -> Vec<SliceTier> {
    let fitted = tiers::fit(fit, held);
    let of = |tiers: &[Fitted], name: &str| tiers.iter().find(|tier| tier.name == name).cloned();
    let tier = |&(name, rate): &(&'static str, f64)| {
        let enough = tiers::are_enough(rate, fit.len() as u64, held.len() as u64);
        let own = of(&fitted, name).filter(|_| enough);
        let own = own.map(|Fitted { score, counted, .. }| OwnThreshold { score, counted });
        SliceTier {
            tier: name.to_owned(),
            needed_to_fit: humans_to_fit(rate),
            needed_to_count: trials_for(rate),
            own,
            common: of(common, name).map(|common| in_slice(&common, rate, held, own)),
        }
    };
    TIERS.iter().map(tier).collect()
}

/// What a common threshold comes to among the slice's human tracks that set nothing.
fn in_slice(
    common: &Fitted,
    rate: f64,
    held: &[f64],
    own: Option<OwnThreshold>,
) -> CommonThreshold {
    let counted = Counted::of(held, |&human| human >= common.score);
    let at_least_95 = lower_bound_95(counted.hits, counted.trials);
    // Who reads the tier expects its rate; where too few tracks bear that out, no more was said than the bound.
    let said = rate.max(common.counted.bound_95);
    let lies_higher = own.is_none_or(|own| own.score > common.score);
    CommonThreshold {
        score: common.score,
        counted,
        at_least_95,
        exceeded: at_least_95 > said && lies_higher,
    }
}

#[cfg(test)]
#[path = "thresholds/tests.rs"]
mod tests;
