//! The tables over labelled tracks: what each system is worth, with intervals; how far its probabilities are from frequencies;
//! how far its probabilities drift between buckets. Slices are made beside it. Bounded, whatever is asked for.

use crate::auc::{Auc, auc};
use crate::bootstrap::{self, Interval};
use crate::bound::Counted;
use crate::curve::Ranked;
use crate::reliability::{Reliability, reliability};
use crate::sliced::{Slice, slices};
use crate::slicing::Place;
use crate::tiers::{TIERS, humans_to_fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Fewest tracks of a class in a slice whose mean, rates or calibration say anything: one track is a tenth of so many.
pub const FEW: u64 = 10;
/// The rate of false positives at which systems are compared where there are tracks enough for it.
pub(crate) const COMPARED_AT: f64 = 0.01;

/// What a system says of a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// Its score; finite.
    pub score: f64,
    /// Its probability at the report's prior.
    pub probability: f64,
    /// Whether it makes the track `likely_ai`; none of a system that has no threshold.
    pub flagged: Option<bool>,
}

/// A track of which the truth is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// Whether a machine made it.
    pub ai: bool,
    /// Tracks of the same one are drawn together.
    pub cluster: u32,
    /// Codec and bitrate.
    pub bucket: String,
    /// Its label where known.
    pub label: Option<String>,
    /// Its genre where known.
    pub genre: Option<String>,
    /// Whether the gate sends it on.
    pub escalated: bool,
    /// What each system says, in the order of [`Options::systems`].
    pub heard: Vec<Heard>,
}

impl Labelled {
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            bucket: &self.bucket,
            label: self.label.as_deref(),
            genre: self.genre.as_deref(),
        }
    }
}

/// How tracks are reported on.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Names of the systems; the others are compared with the first one.
    pub systems: &'a [&'a str],
    /// Share of positives that probabilities suppose.
    pub prior: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// The tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Known-human tracks.
    pub humans: u64,
    /// Positives.
    pub positives: u64,
    /// Tracks that the gate sends on.
    pub escalated: Escalated,
    /// Clusters of tracks that share artist, label, content or ISRC; intervals are over these.
    pub clusters: u64,
    /// Share of positives that every probability here supposes.
    pub prior: f64,
    /// Rate of false positives at which systems are compared; none with too few known-human tracks for any.
    pub compared_at: Option<f64>,
    /// Each system over all tracks.
    pub systems: Vec<System>,
    /// Each system by bucket, label and genre, largest slice first.
    pub slices: Vec<Slice>,
    /// Slices beyond the most that are shown.
    pub slices_left_out: u64,
    /// How far mean probabilities differ between buckets.
    pub drift: Vec<Drift>,
}

/// A system over all tracks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct System {
    /// Its name.
    pub name: String,
    /// Area under the ROC curve.
    pub auc: Auc,
    /// 95 % interval of the area, by bootstrap over clusters.
    pub auc_95: Interval,
    /// Rate at which as many positives are missed as human tracks are found.
    pub eer: f64,
    /// Share of positives found at each tier's rate of false positives.
    pub found: Vec<Rate>,
    /// What it makes `likely_ai`; none of a system that has no threshold.
    pub flagged: Option<Flagged>,
    /// Calibration at the report's prior.
    pub reliability: Reliability,
    /// 95 % interval of the area's gain over the first system, on the same draws; none for the first.
    pub auc_gain_95: Option<Interval>,
    /// 95 % interval of the found share's gain over the first system at `compared_at`; none for the first.
    pub found_gain_95: Option<Interval>,
}

/// The share of positives found at a rate of false positives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// The tier's name.
    pub tier: String,
    /// Known-human tracks that are needed to say anything.
    pub humans_needed: u64,
    /// The share; none with too few known-human tracks.
    pub share: Option<f64>,
    /// Its 95 % interval, where systems are compared at this rate.
    pub interval_95: Option<Interval>,
}

/// What a system makes `likely_ai`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Flagged {
    /// Known-human tracks, wrongly.
    pub humans: Counted,
    /// Positives, rightly.
    pub positives: u64,
    /// Share of the positives; none without any.
    pub share: Option<f64>,
}

impl Flagged {
    /// Counts what is flagged of each class.
    #[must_use]
    pub fn of(positives: &[bool], humans: &[bool]) -> Self {
        let found = Counted::of(positives, |flagged| *flagged);
        Self {
            humans: Counted::of(humans, |flagged| *flagged),
            positives: found.hits,
            share: found.share(),
        }
    }
}

/// Tracks of each class that the gate sends on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Escalated {
    /// Known-human tracks.
    pub humans: u64,
    /// Positives.
    pub positives: u64,
}

impl Escalated {
    /// Counts these tracks.
    pub(crate) fn of(tracks: &[&Labelled]) -> Self {
        let sent_on = tracks.iter().filter(|track| track.escalated);
        let positives = sent_on.clone().filter(|track| track.ai).count();
        Self {
            humans: (sent_on.count() - positives) as u64,
            positives: positives as u64,
        }
    }
}

/// How far the mean probability of a class differs between buckets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// The system.
    pub system: String,
    /// Whether of positives; else of known-human tracks.
    pub ai: bool,
    /// Buckets with tracks enough.
    pub buckets: u64,
    /// Mean distance of a bucket's mean from that of all, weighted by tracks.
    pub mean: f64,
    /// Largest such distance.
    pub max: f64,
    /// The bucket that lies so far away.
    pub furthest: String,
}

/// Reports on tracks; none where a class is missing.
#[must_use]
pub fn report(tracks: &[Labelled], options: &Options<'_>) -> Option<Report> {
    let all: Vec<&Labelled> = tracks.iter().collect();
    let (humans, positives) = counts(&all);
    let enough = |rate: f64| humans >= humans_to_fit(rate);
    let mut rates = TIERS.iter().rev().map(|(_, rate)| *rate);
    let compared_at = rates.find(|rate| *rate >= COMPARED_AT && enough(*rate));
    let clusters: BTreeSet<u32> = tracks.iter().map(|track| track.cluster).collect();
    let (slices, slices_left_out) = slices(&all, options);
    let systems = systems(&all, options, compared_at)?;
    Some(Report {
        humans,
        positives,
        escalated: Escalated::of(&all),
        clusters: clusters.len() as u64,
        prior: options.prior,
        compared_at,
        systems,
        slices,
        slices_left_out,
        drift: drifts(&all, options),
    })
}

/// Known-human tracks and positives.
pub(crate) fn counts(tracks: &[&Labelled]) -> (u64, u64) {
    let positives = tracks.iter().filter(|track| track.ai).count();
    ((tracks.len() - positives) as u64, positives as u64)
}

/// What a system says of the tracks of a class.
pub(crate) fn of(tracks: &[&Labelled], system: usize, ai: bool) -> Vec<Heard> {
    let own = tracks.iter().filter(|track| track.ai == ai);
    own.filter_map(|track| track.heard.get(system).copied())
        .collect()
}

pub(crate) fn values(heard: &[Heard], of: impl Fn(&Heard) -> f64) -> Vec<f64> {
    heard.iter().map(of).collect()
}

pub(crate) fn flagged(positives: &[Heard], humans: &[Heard]) -> Option<Flagged> {
    let flags = |heard: &[Heard]| heard.iter().map(|heard| heard.flagged).collect();
    let (positives, humans): (Option<Vec<bool>>, Option<Vec<bool>>) =
        (flags(positives), flags(humans));
    Some(Flagged::of(&positives?, &humans?))
}

fn systems(
    tracks: &[&Labelled],
    options: &Options<'_>,
    compared_at: Option<f64>,
) -> Option<Vec<System>> {
    let ai: Vec<bool> = tracks.iter().map(|track| track.ai).collect();
    let clusters: Vec<u32> = tracks.iter().map(|track| track.cluster).collect();
    let scores: Vec<Vec<f64>> = (0..options.systems.len())
        .map(|at| tracks.iter().map(|track| track.heard[at].score).collect())
        .collect();
    let rate = compared_at.unwrap_or(COMPARED_AT);
    let spreads = bootstrap::intervals(&scores, &ai, &clusters, rate, options.seed)?;
    let each = options.systems.iter().zip(&scores).zip(&spreads);
    each.enumerate()
        .map(|(at, ((name, scores), spread))| {
            let (positives, humans) = (of(tracks, at, true), of(tracks, at, false));
            let ranked = Ranked::new(scores);
            let weights = vec![1; scores.len()];
            let auc = auc(
                &values(&positives, |heard| heard.score),
                &values(&humans, |heard| heard.score),
            )?;
            let found = TIERS.iter().map(|&(tier, rate)| Rate {
                tier: tier.to_owned(),
                humans_needed: humans_to_fit(rate),
                share: (humans.len() as u64 >= humans_to_fit(rate))
                    .then(|| ranked.worth(&ai, &weights, rate))
                    .flatten()
                    .map(|worth| worth.found),
                interval_95: (compared_at == Some(rate)).then_some(spread.found),
            });
            Some(System {
                name: (*name).to_owned(),
                auc,
                auc_95: spread.auc,
                eer: ranked.worth(&ai, &weights, rate)?.eer,
                found: found.collect(),
                flagged: flagged(&positives, &humans),
                reliability: reliability(
                    &values(&positives, |heard| heard.probability),
                    &values(&humans, |heard| heard.probability),
                    options.prior,
                )?,
                auc_gain_95: (at > 0).then_some(spread.auc_gain),
                found_gain_95: (at > 0 && compared_at.is_some()).then_some(spread.found_gain),
            })
        })
        .collect()
}

fn drifts(tracks: &[&Labelled], options: &Options<'_>) -> Vec<Drift> {
    let each = options.systems.iter().enumerate();
    each.flat_map(|(at, system)| [false, true].map(|ai| drift(tracks, at, system, ai)))
        .flatten()
        .collect()
}

/// The drift of a class; none with fewer than two buckets that have tracks enough.
fn drift(tracks: &[&Labelled], at: usize, system: &str, ai: bool) -> Option<Drift> {
    let mut by: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for track in tracks.iter().filter(|track| track.ai == ai) {
        let sum = by.entry(&track.bucket).or_default();
        sum.0 += 1.0;
        sum.1 += track.heard.get(at)?.probability;
    }
    by.retain(|_, (count, _)| *count >= FEW as f64);
    if by.len() < 2 {
        return None;
    }
    let (count, sum) = by
        .values()
        .fold((0.0, 0.0), |all, own| (all.0 + own.0, all.1 + own.1));
    let middle = sum / count;
    let away = |(own, sum): &(f64, f64)| (sum / own - middle).abs();
    let (furthest, max) = by
        .iter()
        .map(|(bucket, sums)| (*bucket, away(sums)))
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(a.0)))?;
    Some(Drift {
        system: system.to_owned(),
        ai,
        buckets: by.len() as u64,
        mean: by.values().map(|sums| sums.0 * away(sums)).sum::<f64>() / count,
        max,
        furthest: furthest.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slicing::SLICES_MAX;

    /// Tracks whose score is their probability, of two buckets; the second one is scored lower by 0.2.
    fn tracks(humans: usize, positives: usize) -> Vec<Labelled> {
        let track = |at: usize, ai: bool| {
            let far = at % 2 == 1;
            let p =
                if ai { 0.8 } else { 0.3 } + (at % 10) as f64 / 100.0 - if far { 0.2 } else { 0.0 };
            Labelled {
                ai,
                cluster: at as u32,
                bucket: if far { "mp3 64" } else { "flac" }.to_owned(),
                label: at.is_multiple_of(3).then(|| "north".to_owned()),
                genre: None,
                escalated: at.is_multiple_of(4),
                heard: vec![
                    Heard {
                        score: p,
                        probability: p,
                        flagged: Some(p >= 0.7),
                    },
                    Heard {
                        score: if ai { 1.0 } else { 0.0 },
                        probability: if ai { 0.9 } else { 0.1 },
                        flagged: Some(ai),
                    },
                ],
            }
        };
        let humans_of = (0..humans).map(|at| track(at, false));
        humans_of
            .chain((humans..humans + positives).map(|at| track(at, true)))
            .collect()
    }

    const OPTIONS: Options<'_> = Options {
        systems: &["screen", "fused"],
        prior: 0.5,
        seed: 1,
    };

    #[test]
    fn the_tables_count_what_there_is_and_compare_with_the_first_system() {
        let report = report(&tracks(200, 100), &OPTIONS).unwrap();
        assert_eq!(
            (report.humans, report.positives, report.clusters),
            (200, 100, 300)
        );
        assert_eq!(report.compared_at, Some(0.01));
        let [screen, fused] = &report.systems[..] else {
            panic!("two systems");
        };
        assert_eq!((fused.auc.value, fused.eer), (1.0, 0.0));
        let flagged = |system: &System| {
            let flagged = system.flagged.unwrap();
            (flagged.humans.hits, flagged.positives)
        };
        assert_eq!([flagged(screen), flagged(fused)], [(0, 50), (0, 100)]);
        assert!(screen.auc_gain_95.is_none() && fused.auc_gain_95.is_some());
        let shares: Vec<bool> = screen
            .found
            .iter()
            .map(|rate| rate.share.is_some())
            .collect();
        assert_eq!(
            shares,
            [true, true, true, false],
            "200 humans bear three tiers"
        );
        assert!(screen.found[2].interval_95.is_some() && screen.found[0].interval_95.is_none());
    }

    #[test]
    fn slices_add_up_and_drift_is_how_far_a_bucket_s_mean_lies_from_all() {
        let report = report(&tracks(200, 100), &OPTIONS).unwrap();
        let of = |group: &str| -> u64 {
            let own = report.slices.iter().filter(|slice| slice.group == group);
            own.map(|slice| slice.humans + slice.positives).sum()
        };
        assert_eq!((of("codec"), of("label"), of("genre")), (300, 100, 0));
        let codecs = report.slices.iter().take(2);
        let escalated: Vec<[u64; 2]> = codecs
            .map(|slice| [slice.escalated.humans, slice.escalated.positives])
            .collect();
        assert_eq!(escalated, [[50, 25], [0, 0]], "the gate sends on one codec");
        let all = report.escalated;
        assert_eq!((all.humans, all.positives), (50, 25));
        let drift = |system: &str, ai: bool| {
            let mut all = report.drift.iter();
            all.find(|drift| drift.system == system && drift.ai == ai)
                .unwrap()
        };
        // Odd tracks lie 0.2 lower, and 0.01 higher by their own numbers.
        assert!((drift("screen", true).max - 0.095).abs() < 1e-9);
        assert!((drift("screen", false).mean - 0.095).abs() < 1e-9);
        assert_eq!(drift("fused", false).max, 0.0);
    }

    #[test]
    fn a_page_of_slices_is_shown_and_the_rest_is_counted() {
        let mut tracks = tracks(60, 60);
        for (at, track) in tracks.iter_mut().enumerate() {
            track.genre = Some(format!("genre {at}"));
        }
        let report = report(&tracks, &OPTIONS).unwrap();
        assert_eq!(report.slices_left_out, 120 - SLICES_MAX as u64);
    }

    #[test]
    fn one_class_has_no_report_and_few_humans_bear_few_tiers() {
        assert_eq!(report(&tracks(50, 0), &OPTIONS), None);
        assert_eq!(
            report(&tracks(40, 40), &OPTIONS).unwrap().compared_at,
            Some(0.03)
        );
        assert_eq!(report(&tracks(9, 40), &OPTIONS).unwrap().compared_at, None);
    }
}
