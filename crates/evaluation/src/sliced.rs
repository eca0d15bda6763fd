//! What each system is worth on the tracks that share a codec, a label or a genre. Called by the report, which hands all tracks in. It draws
//! no interval: slices are many, and most are small.

use crate::auc::{Auc, auc};
use crate::curve::{Ranked, Worth};
use crate::reliability::reliability;
use crate::report::{COMPARED_AT, Escalated, FEW, Flagged, Heard, Labelled, Options};
use crate::report::{counts, flagged, of, values};
use crate::slicing::{Group, Place, groups, page};
use crate::tiers::{TIERS, humans_to_fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A slice of the tracks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slice {
    /// `codec`, `label` or `genre`.
    pub group: String,
    /// The value that its tracks share.
    pub name: String,
    /// Known-human tracks.
    pub humans: u64,
    /// Positives.
    pub positives: u64,
    /// Tracks that the gate sends on.
    pub escalated: Escalated,
    /// Each system on them.
    pub systems: Vec<Sliced>,
}

/// A system on a slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sliced {
    /// Its name.
    pub name: String,
    /// Area under the ROC curve; none where a class is missing.
    pub auc: Option<Auc>,
    /// Share of positives found at a rate of false positives; none with fewer than ten tracks of a class.
    pub found: Option<Found>,
    /// Rate at which as many positives are missed as human tracks are found; none with fewer than ten tracks of a class.
    pub eer: Option<f64>,
    /// Expected calibration error at the report's prior; none with fewer than ten tracks of a class.
    pub ece: Option<f64>,
    /// What it makes `likely_ai`; none of a system that has no threshold.
    pub flagged: Option<Flagged>,
    /// Mean probability of the known-human tracks at the report's prior.
    pub humans_mean: Option<f64>,
    /// Mean probability of the positives at the report's prior.
    pub positives_mean: Option<f64>,
}

/// The share of a slice's positives found at the one rate that its known-human tracks are compared at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// The tier's name: `fpr_1e-2`, or the loosest one with too few known-human tracks for that.
    pub tier: String,
    /// The share.
    pub share: f64,
}

/// Every slice, largest first within its kind, and how many there were beyond the most.
pub(crate) fn slices(tracks: &[&Labelled], options: &Options<'_>) -> (Vec<Slice>, u64) {
    let places: Vec<Place<'_>> = tracks.iter().map(|track| track.place()).collect();
    let (shown, left_out) = page(groups(&places));
    let slice_of = |group: &Group<'_>| {
        let own: Vec<&Labelled> = group.tracks.iter().map(|&at| tracks[at]).collect();
        slice(group.kind.name(), group.name, &own, options)
    };
    (shown.iter().map(slice_of).collect(), left_out)
}

fn slice(group: &str, name: &str, tracks: &[&Labelled], options: &Options<'_>) -> Slice {
    let (humans, positives) = counts(tracks);
    let systems = options.systems.iter().enumerate().map(|(at, system)| {
        let (positives, humans) = (of(tracks, at, true), of(tracks, at, false));
        sliced(system, &positives, &humans, options.prior)
    });
    Slice {
        group: group.to_owned(),
        name: name.to_owned(),
        humans,
        positives,
        escalated: Escalated::of(tracks),
        systems: systems.collect(),
    }
}

fn sliced(name: &str, positives: &[Heard], humans: &[Heard], prior: f64) -> Sliced {
    let enough = positives.len().min(humans.len()) as u64 >= FEW;
    let tier = tier(humans.len() as u64).filter(|_| enough);
    let worth = tier.and_then(|(_, rate)| worth(positives, humans, rate));
    let scores = |heard: &[Heard]| values(heard, |heard| heard.score);
    let probabilities = |heard: &[Heard]| values(heard, |heard| heard.probability);
    let calibration = reliability(&probabilities(positives), &probabilities(humans), prior);
    Sliced {
        name: name.to_owned(),
        auc: auc(&scores(positives), &scores(humans)),
        found: tier.zip(worth).map(|((tier, _), worth)| Found {
            tier: tier.to_owned(),
            share: worth.found,
        }),
        eer: worth.map(|worth| worth.eer),
        ece: calibration.filter(|_| enough).map(|found| found.ece),
        flagged: flagged(positives, humans),
        humans_mean: mean(humans),
        positives_mean: mean(positives),
    }
}

/// The tier that so many human tracks are compared at: that of [`COMPARED_AT`], else the loosest; none with too few for any.
fn tier(humans: u64) -> Option<(&'static str, f64)> {
    let enough = |rate: f64| humans >= humans_to_fit(rate);
    let compared = TIERS.iter().find(|(_, rate)| *rate == COMPARED_AT);
    let loosest = TIERS.first();
    let each = [compared, loosest].into_iter().flatten();
    each.copied().find(|(_, rate)| enough(*rate))
}

fn worth(positives: &[Heard], humans: &[Heard], rate: f64) -> Option<Worth> {
    let all = positives.iter().chain(humans);
    let scores: Vec<f64> = all.map(|heard| heard.score).collect();
    let ai: Vec<bool> = (0..scores.len()).map(|at| at < positives.len()).collect();
    Ranked::new(&scores).worth(&ai, &vec![1; scores.len()], rate)
}

fn mean(heard: &[Heard]) -> Option<f64> {
    let sum: f64 = heard.iter().map(|heard| heard.probability).sum();
    (!heard.is_empty()).then(|| sum / heard.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tracks of a codec: human ones score from 0 below 1, positives as much higher as is said.
    fn tracks(bucket: &str, humans: usize, positives: usize, higher: f64) -> Vec<Labelled> {
        let track = |at: usize, of: usize, ai: bool| {
            let score = at as f64 / of as f64 + if ai { higher } else { 0.0 };
            Labelled {
                ai,
                cluster: at as u32,
                bucket: bucket.to_owned(),
                label: None,
                genre: None,
                escalated: false,
                heard: vec![Heard {
                    score,
                    probability: if score >= 1.0 { 1.0 } else { 0.0 },
                    flagged: None,
                }],
            }
        };
        let own = (0..humans).map(|at| track(at, humans, false));
        own.chain((0..positives).map(|at| track(at, positives, true)))
            .collect()
    }

    fn of_codecs(tracks: &[Labelled]) -> Vec<(String, Sliced)> {
        let options = Options {
            systems: &["screen"],
            prior: 0.5,
            seed: 1,
        };
        let all: Vec<&Labelled> = tracks.iter().collect();
        let (found, left_out) = slices(&all, &options);
        assert_eq!(left_out, 0);
        let system = |slice: Slice| (slice.name, slice.systems.into_iter().next().unwrap());
        found.into_iter().map(system).collect()
    }

    #[test]
    fn a_codec_that_hides_the_traces_is_seen_to_find_less_beside_one_that_does_not() {
        let apart = tracks("flac", 100, 100, 1.0);
        let mixed = tracks("mp3 64", 100, 50, 0.0);
        let codecs = of_codecs(&[apart, mixed].concat());
        let [(flac, clear), (mp3, hidden)] = &codecs[..] else {
            panic!("{codecs:?}");
        };
        assert_eq!((flac.as_str(), mp3.as_str()), ("flac", "mp3 64"));
        let found = |of: &Sliced| of.found.clone().map(|found| (found.tier, found.share));
        assert_eq!(found(clear), Some(("fpr_1e-2".to_owned(), 1.0)));
        assert_eq!((clear.eer, clear.ece), (Some(0.0), Some(0.0)));
        let (tier, share) = found(hidden).unwrap();
        assert!(tier == "fpr_1e-2" && share < 0.1, "{hidden:?}");
        assert!((hidden.eer.unwrap() - 0.5).abs() < 0.05, "{hidden:?}");
        // All of them are said to be human, and half of them are not.
        assert!((hidden.ece.unwrap() - 0.5).abs() < 1e-9, "{hidden:?}");
    }

    #[test]
    fn a_codec_of_fewer_human_tracks_is_compared_at_the_loosest_tier_and_one_of_few_tracks_not_at_all()
     {
        let tier = |humans: usize, positives: usize| {
            let codecs = of_codecs(&tracks("flac", humans, positives, 0.5));
            let [(_, one)] = &codecs[..] else {
                panic!("{codecs:?}");
            };
            let found = one.found.clone().map(|found| found.tier);
            let there = [found.is_some(), one.eer.is_some(), one.ece.is_some()];
            assert!(there.iter().all(|one| *one == there[0]), "{one:?}");
            assert!(one.auc.is_some(), "{one:?}");
            found
        };
        let each = [(100, 10), (99, 10), (10, 10), (9, 10), (100, 9)];
        let tiers = each.map(|(humans, positives)| tier(humans, positives));
        let expected = [
            Some("fpr_1e-2"),
            Some("fpr_1e-1"),
            Some("fpr_1e-1"),
            None,
            None,
        ];
        assert_eq!(tiers.each_ref().map(Option::as_deref), expected);
    }
}
