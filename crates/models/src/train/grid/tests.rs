//! The grid's tables from slices whose truth is known.

use bundle::features::RESIDUAL_V1;
use bundle::{Tensors, Verdicts};
use corpus::dice::Dice;
use types::Purpose;

use super::slice::{Clip, Measured, Slice};
use super::{CONDITIONS, Condition, Grid, Kind, Slices, Subject, grid};
use crate::train::calibrate::draft;
use crate::train::facts::Facts;
use crate::train::fusion::{self, Known, Splits};
use crate::train::recipe::Recipe;
use crate::train::second::residual_of;
use crate::train::separator::SeparatorRecipe;

/// Clips of a kind; screen and residual each tell the held-out decoder by so many deviations.
fn clips(kind: Kind, pieces: usize, screen: f32, residual: f32) -> Vec<Clip> {
    let mut dice = Dice::new(7).child(&format!("{kind:?}"));
    let class = f32::from(u8::from(kind != Kind::Human));
    let mut clip = |piece| {
        let mut features: Vec<f32> = RESIDUAL_V1.iter().map(|_| dice.normal()).collect();
        features[0] += residual * class;
        Clip {
            piece,
            snr_db: (kind != Kind::Human).then(|| dice.uniform(15.0, 30.0)),
            screen: f64::from(dice.normal() + screen * class),
            features,
            facts: Facts {
                samples: 1_000,
                rms_db: -20.0,
                peak_db: -6.0,
                crest_db: 10.0 + dice.normal(),
                thirds: vec![-20.0; 28],
                bytes_per_second: 1.0,
                edge: 27,
                codec: String::new(),
            },
        }
    };
    (0..pieces).map(&mut clip).collect()
}

fn known(pieces: usize, screen: f32, residual: f32) -> Vec<Known> {
    let of = |kind| clips(kind, pieces, screen, residual);
    let all = of(Kind::Human).into_iter().chain(of(Kind::HeldOut));
    all.map(|clip| Known {
        positive: clip.snr_db.is_some(),
        screen: clip.screen,
        features: clip.features,
    })
    .collect()
}

fn subject() -> Subject {
    let mut manifest = draft(&Recipe::default(), Purpose::Demonstration);
    let mut residual = residual_of(&SeparatorRecipe::default());
    let split = known(300, 1.0, 2.0);
    let splits = Splits {
        train: &split,
        calibrate: &split,
        test: &split,
    };
    residual.calibration = Some(fusion::fit(splits, 0.5, 1e-4).unwrap());
    manifest.residual = Some(residual);
    Subject {
        manifest,
        screen: Tensors::default(),
        separator: Tensors::default(),
    }
}

fn slices(pieces: usize, conditions: &[Condition], residual: impl Fn(Condition) -> f32) -> Slices {
    let of = |condition: Condition| {
        let kinds = [Kind::Human, Kind::HeldOut, Kind::Met];
        let residual = residual(condition);
        kinds.map(|kind| Slice {
            condition,
            kind,
            measured: Measured {
                seconds: Some(30.0),
                clips: clips(kind, pieces, 0.3, residual),
            },
        })
    };
    Slices(conditions.iter().copied().flat_map(of).collect())
}

fn measured(pieces: usize, conditions: &[Condition], residual: f32) -> Grid {
    grid(&subject(), &slices(pieces, conditions, |_| residual))
}

#[test]
fn a_residual_that_tells_decides_the_claim_and_one_that_does_not_holds_zero() {
    let tells = measured(400, &CONDITIONS, 2.0);
    assert!(tells.missing.is_empty(), "{:?}", tells.missing);
    assert_eq!(tells.claim.len(), 9);
    assert_eq!(tells.held_out.len(), CONDITIONS.len());
    assert!(
        tells.outcome().contains("AUC on none"),
        "{}",
        tells.outcome()
    );
    let silent = measured(400, &CONDITIONS, 0.0);
    assert!(silent.outcome().contains("mp3 64"), "{}", silent.outcome());
}

#[test]
fn with_few_pieces_or_conditions_the_claim_is_not_decided() {
    let few = measured(40, &CONDITIONS, 2.0);
    assert!(few.outcome().contains("not decided"), "{}", few.outcome());
    let part = measured(400, &CONDITIONS[..4], 2.0);
    assert!(part.outcome().contains("not decided"), "{}", part.outcome());
    assert_eq!(part.missing.len(), CONDITIONS.len() - 4);
    assert!(part.text().contains("Not measured in full yet"));
}

#[test]
fn clips_that_a_condition_leaves_alone_do_not_drift() {
    let conditions = [
        Condition::Wav,
        Condition::Gain(-12.0),
        Condition::Noise(25.0),
    ];
    let moved = |condition| {
        if condition == Condition::Noise(25.0) {
            0.0
        } else {
            2.0
        }
    };
    let found = grid(&subject(), &slices(60, &conditions, moved));
    let [gain, noise] = &found.drift[..] else {
        panic!("{:?}", found.drift);
    };
    assert!(gain.both_max.abs() < 1e-12 && gain.screen_max.abs() < 1e-12);
    assert!(
        noise.both_mean > 0.05 && noise.screen_max.abs() < 1e-12,
        "{noise:?}"
    );
}

#[test]
fn the_bundle_s_own_edges_are_counted_on_either_class() {
    let found = measured(200, &[Condition::Wav], 3.0);
    let row = &found.operating[0];
    assert!(row.both_found > row.both_flagged, "{row:?}");
    let subject = subject();
    let calibration = subject
        .manifest
        .residual
        .as_ref()
        .unwrap()
        .calibration
        .as_ref();
    let Verdicts { tiers, .. } = &calibration.unwrap().verdicts;
    assert!(tiers.windows(2).all(|pair| pair[0].score <= pair[1].score));
}

#[test]
fn what_measuring_took_is_said_where_every_slice_knows_it() {
    let mut slices = slices(40, &[Condition::Wav, Condition::Gain(-12.0)], |_| 1.0);
    let found = grid(&subject(), &slices);
    assert_eq!(found.seconds, Some(180.0));
    assert!(found.text().contains("took 3.0 minutes, 2 clips"));
    slices.0[0].measured.seconds = None;
    let found = grid(&subject(), &slices);
    assert_eq!(found.seconds, None);
    assert!(!found.text().contains("minutes"));
    assert_eq!(grid(&subject(), &Slices(Vec::new())).seconds, None);
}
