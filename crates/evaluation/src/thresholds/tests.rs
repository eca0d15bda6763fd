//! Which slices get a threshold, on what it rests, and which slices are marked.

use super::*;
use proptest::prelude::*;

/// Human tracks of a codec: as many on each side, scored evenly from 0 to 1 and `by` higher.
fn humans(bucket: &str, each: usize, by: f64) -> Vec<Human<'_>> {
    let human = |side: Side, at: usize| Human {
        side,
        place: Place {
            bucket,
            label: None,
            genre: None,
        },
        scores: vec![by + at as f64 / each as f64],
    };
    let fit = (0..each).map(|at| human(Side::Calibrate, at));
    fit.chain((0..each).map(|at| human(Side::Test, at)))
        .collect()
}

/// The stage whose thresholds all of these set.
fn stage(all: &[Human<'_>]) -> Stage<'static> {
    let scores = |side: Side| -> Vec<f64> {
        let own = all.iter().filter(|human| human.side == side);
        own.map(|human| human.scores[0]).collect()
    };
    Stage {
        name: "screen",
        common: tiers::fit(&scores(Side::Calibrate), &scores(Side::Test)),
    }
}

fn found(all: &[Human<'_>]) -> SliceThresholds {
    slice_thresholds(all, &[stage(all)])
}

fn marked(slice: &SliceTiers) -> Vec<&str> {
    slice.exceeded().map(|(tier, _)| tier).collect()
}

#[test]
fn a_slice_has_the_thresholds_that_its_tracks_bear_out_and_a_small_one_has_none() {
    let all = [
        humans("flac", 200, 0.0),
        humans("mp3 64", 40, 0.0),
        humans("mp3 128", 28, 0.0),
    ]
    .concat();
    let found = found(&all);
    assert_eq!((found.too_few, found.left_out), (1, 0), "28 bear out none");
    let [flac, mp3] = &found.slices[..] else {
        panic!("{found:?}");
    };
    let own = |slice: &SliceTiers| -> Vec<bool> {
        let tiers = slice.tiers.iter();
        tiers.map(|tier| tier.own.is_some()).collect()
    };
    assert_eq!(
        own(flac),
        [true, true, false, false],
        "200 are enough to fit one in a hundred on and too few to bear it out"
    );
    assert_eq!(own(mp3), [true, false, false, false]);
    assert_eq!((mp3.fitted_on, mp3.counted_on), (40, 40));
    let own = mp3.tiers[0].own.unwrap();
    assert_eq!((own.counted.hits, own.counted.trials), (4, 40));
}

#[test]
fn a_slice_that_is_all_tracks_sets_the_common_thresholds() {
    let all = humans("flac", 3_000, 0.0);
    let found = found(&all);
    let common = stage(&all).common;
    assert_eq!(common.len(), found.slices[0].tiers.len());
    for (tier, common) in found.slices[0].tiers.iter().zip(&common) {
        let own = tier.own.unwrap();
        assert_eq!((own.score, own.counted), (common.score, common.counted));
        assert!(!tier.common.unwrap().exceeded);
    }
}

#[test]
fn a_slice_whose_human_tracks_score_higher_is_marked_and_the_others_are_not() {
    let mut all = humans("mp3 64", 150, 10.0);
    for bucket in ["flac", "mp3 128", "mp3 320"] {
        all.extend(humans(bucket, 150, 0.0));
    }
    let found = found(&all);
    let slices: Vec<(&str, Vec<&str>)> = found
        .slices
        .iter()
        .map(|slice| (slice.name.as_str(), marked(slice)))
        .collect();
    assert_eq!(
        slices,
        [
            ("flac", vec![]),
            ("mp3 128", vec![]),
            ("mp3 320", vec![]),
            ("mp3 64", vec!["fpr_1e-1", "fpr_3e-2"])
        ]
    );
    let tier = &found.slices[3].tiers[0];
    let (own, common) = (tier.own.unwrap(), tier.common.unwrap());
    assert!(own.score > common.score);
    assert_eq!(
        common.counted.hits, 60,
        "one in ten of 600 are all of this slice"
    );
    assert!((common.at_least_95 - 0.332_8).abs() < 1e-3, "{common:?}");
}

#[test]
fn a_slice_that_is_too_small_for_a_tier_is_marked_by_what_reaches_the_common_threshold() {
    let mut all = humans("flac", 2_000, 0.0);
    all.extend(humans("mp3 64", 40, 0.5));
    let found = found(&all);
    let strict = &found.slices[1].tiers[2];
    assert_eq!((strict.tier.as_str(), strict.own), ("fpr_1e-2", None));
    let common = strict.common.unwrap();
    assert!(
        common.exceeded && common.counted.hits > 10,
        "half of its tracks score above all others: {common:?}"
    );
}

#[test]
fn a_slice_without_a_threshold_of_its_own_is_named_where_a_common_one_fails() {
    let mut all = humans("flac", 2_000, 0.0);
    all.extend(humans("mp3 64", 20, 0.5));
    let found = found(&all);
    assert_eq!((found.too_few, found.slices.len()), (0, 2));
    let small = &found.slices[1];
    assert!(small.tiers.iter().all(|tier| tier.own.is_none()));
    assert!(!marked(small).is_empty(), "{small:?}");
}

#[test]
fn a_stage_without_thresholds_has_nothing_in_common_and_slices_keep_their_own() {
    let all = humans("flac", 100, 0.0);
    let none = Stage {
        name: "both",
        common: Vec::new(),
    };
    let found = slice_thresholds(&all, &[none]);
    let tier = &found.slices[0].tiers[0];
    assert!(tier.own.is_some() && tier.common.is_none());
}

proptest! {
    #[test]
    fn no_threshold_is_given_that_its_tracks_cannot_bear_out_and_no_slice_is_lost(
        // Few values, so that many are equal.
        told in prop::collection::vec((0usize..3, any::<bool>(), 0i32..12), 1..900),
    ) {
        let buckets = ["flac", "mp3 64", "mp3 128"];
        let human = |&(bucket, fits, score): &(usize, bool, i32)| Human {
            side: if fits { Side::Calibrate } else { Side::Test },
            place: Place { bucket: buckets[bucket], label: None, genre: None },
            scores: vec![f64::from(score) * 0.25],
        };
        let all: Vec<Human<'_>> = told.iter().map(human).collect();
        let found = found(&all);
        let there = buckets.iter().filter(|name| all.iter().any(|human| human.place.bucket == **name)).count();
        prop_assert_eq!(found.slices.len() as u64 + found.too_few, there as u64);
        for slice in &found.slices {
            let bears = slice.tiers.iter().any(|tier| tier.own.is_some());
            prop_assert!(bears || slice.exceeded().next().is_some());
            for tier in &slice.tiers {
                let rate = tiers::rate_of(&tier.tier).unwrap();
                let enough = slice.fitted_on >= tier.needed_to_fit && slice.counted_on >= tier.needed_to_count;
                prop_assert_eq!(tier.own.is_some(), enough);
                if let Some(own) = tier.own {
                    prop_assert_eq!(own.counted.trials, slice.counted_on);
                }
                if let Some(common) = tier.common {
                    let share = common.counted.share().unwrap();
                    prop_assert!((common.at_least_95..=common.counted.bound_95).contains(&share));
                    prop_assert!(!common.exceeded || share > rate);
                }
            }
        }
    }
}
