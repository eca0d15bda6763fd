//! New rules from tracks whose truth is known: what is fitted, what is refused, and that what comes out passes a bundle's checks.

use super::*;
use crate::labelled::{Judge, by_slice, tables};
use bundle::{Overlap, Residual, Segments, Separator, sample};
use evaluation::dice::Dice;
use evaluation::split::Identity;
use proptest::prelude::*;

#[path = "../../../../crates/bundle/tests/common/separator.rs"]
mod separator;

/// A bundle with a separator that nobody has calibrated.
fn with_residual() -> Manifest {
    let mut manifest = sample::manifest();
    manifest.format = bundle::FORMAT_RESIDUAL;
    manifest.residual = Some(Residual {
        architecture: Separator::HtDemucs(separator::config()),
        weights: "residual.safetensors".to_owned(),
        origin: None,
        epsilon: manifest.epsilon,
        segments: Segments::Spread { count: 1 },
        overlap: Overlap {
            share: 0.25,
            power: 1.0,
        },
        canary: None,
        calibration: None,
    });
    manifest
}

/// Known tracks: `humans` and `positives`, each of an artist of its own, scored by noise and by what they are.
struct Making {
    humans: usize,
    positives: usize,
    /// How much the screen tells.
    screen: f64,
    /// How much the residual tells; `None` leaves the tracks unseparated.
    residual: Option<f64>,
}

impl Making {
    fn known(&self) -> Joined {
        let mut dice = Dice::new(11, "known");
        let mut noise = || (0..6).map(|_| dice.below(1_000) as f64).sum::<f64>() / 700.0 - 4.3;
        let tracks: Vec<Known> = (0..self.humans + self.positives)
            .map(|at| {
                let ai = at >= self.humans;
                let tells = |by: f64| if ai { by } else { 0.0 };
                let features = self.residual.map_or_else(Vec::new, |by| {
                    let own = |place: usize| if place == 1 { tells(-by) } else { 0.0 };
                    (0..RESIDUAL_V1.len())
                        .map(|place| (own(place) + noise()) as f32)
                        .collect()
                });
                Known {
                    track_id: format!("t{at:05}"),
                    ai,
                    identity: Identity::new(&format!("artist {at}"), "", &at.to_string(), ""),
                    side: None,
                    label: None,
                    genre: None,
                    bucket: "flac".to_owned(),
                    screen: tells(self.screen) + noise(),
                    features,
                }
            })
            .collect();
        Joined {
            clusters: (0..tracks.len() as u32).collect(),
            labelled: tracks.len() as u64,
            tracks,
            ..Joined::default()
        }
    }
}

/// Tracks of which each engine tells something.
fn both_tell() -> Joined {
    let making = Making {
        humans: 600,
        positives: 300,
        screen: 1.0,
        residual: Some(3.0),
    };
    making.known()
}

fn asked() -> Asked {
    Asked {
        prior: Some(0.1),
        seed: 1,
        likely_ai_tier: None,
        production: false,
    }
}

fn code(refused: Result<Remade, Failure>) -> (String, String) {
    match refused {
        Err(Failure::Problem { code, cause, .. }) => (code, cause),
        other => panic!("{other:?}"),
    }
}

/// The manifest as a folder would hold it, read back and checked.
fn checked(made: &Manifest) -> Manifest {
    let mut whole = made.clone();
    let names = [
        Some(&made.screen.weights),
        Some(&made.canary.clip),
        Some(&made.model_card),
        made.residual.as_ref().map(|residual| &residual.weights),
    ];
    whole.files = names
        .into_iter()
        .flatten()
        .map(|name| bundle::FileEntry {
            name: name.clone(),
            bytes: 1,
            sha256: types::Digest::of(b"x"),
        })
        .collect();
    whole.files.sort_by(|a, b| a.name.cmp(&b.name));
    Manifest::parse(&whole.to_bytes()).expect("it passes the bundle's own checks")
}

#[test]
fn the_screen_gets_calibration_tiers_and_gate_of_its_own_tracks_at_the_prior() {
    let known = Making {
        humans: 400,
        positives: 200,
        screen: 4.0,
        residual: None,
    }
    .known();
    let base = sample::manifest();
    let made = remake(&base, &known, &asked()).unwrap().manifest;
    checked(&made);
    assert_eq!(
        (made.version, made.purpose),
        (base.version + 1, base.purpose)
    );
    assert_eq!(made.screen.calibration.prior, 0.1);
    let names: Vec<&str> = made
        .verdicts
        .tiers
        .iter()
        .map(|tier| tier.name.as_str())
        .collect();
    assert_eq!(names, ["fpr_1e-1", "fpr_3e-2", "fpr_1e-2"]);
    assert_eq!(made.verdicts.likely_ai_tier, "fpr_1e-2");
    let likely = made.likely_ai().unwrap();
    assert_eq!(likely.humans, 200, "half of them set nothing");
    assert_eq!(made.gate.unsure.unwrap().high, likely.score);
    assert!(
        made.gate.positives_from.is_none(),
        "the sample sends no positives on"
    );
    let same = remake(&base, &known, &asked()).unwrap().manifest;
    assert_eq!(same, made);
    let other = Asked { seed: 2, ..asked() };
    assert_ne!(remake(&base, &known, &other).unwrap().manifest, made);
    let production = Asked {
        production: true,
        ..asked()
    };
    let demonstration = Manifest {
        purpose: Purpose::Demonstration,
        ..base.clone()
    };
    let purpose = |asked| {
        remake(&demonstration, &known, asked)
            .unwrap()
            .manifest
            .purpose
    };
    assert_eq!(
        [purpose(&asked()), purpose(&production)],
        [Purpose::Demonstration, Purpose::Production]
    );
}

#[test]
fn a_residual_that_tells_is_fitted_and_both_engines_find_more_than_the_screen() {
    let known = both_tell();
    let base = with_residual();
    let remade = remake(&base, &known, &asked()).unwrap();
    let made = checked(&remade.manifest);
    let calibration = made
        .residual
        .as_ref()
        .unwrap()
        .calibration
        .as_ref()
        .unwrap();
    let weight = |name: &str| {
        let term = calibration.terms.iter().find(|term| term.feature == name);
        term.map_or(0.0, |term| term.weight)
    };
    assert!(weight("band_db_60_250") < -0.5, "{:?}", calibration.terms);
    assert_eq!(weight("mse"), 0.0);
    assert_eq!(calibration.humans.len(), RESIDUAL_V1.len());
    let held = known.only(&remade.sides, Side::Test);
    let (report, _) = tables(&Judge::new(&made, None), &held, 1).unwrap();
    let names: Vec<&str> = report.systems.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["screen", "residual", "both"]);
    let both = &report.systems[2];
    assert!(both.auc_gain_95.unwrap().low > 0.0, "{both:?}");
    assert_eq!(both.reliability.prior, 0.1);
    assert!(both.reliability.ece < 0.1, "{:?}", both.reliability);
}

#[test]
fn a_slice_that_is_all_tracks_sets_the_thresholds_of_the_bundle_in_each_stage() {
    let known = both_tell();
    let remade = remake(&with_residual(), &known, &asked()).unwrap();
    let found = by_slice(&known, &remade.sides, &remade.scored);
    let stages: Vec<&str> = found.slices.iter().map(|s| s.stage.as_str()).collect();
    assert_eq!(stages, ["screen", "both"]);
    for slice in &found.slices {
        assert_eq!((slice.fitted_on, slice.counted_on), (300, 300));
        let own = slice.tiers.iter().filter_map(|tier| tier.own);
        let common = slice.tiers.iter().filter_map(|tier| tier.common);
        let own: Vec<_> = own.map(|own| (own.score, own.counted)).collect();
        let common: Vec<_> = common.map(|own| (own.score, own.counted)).collect();
        assert_eq!((own.len(), &own), (3, &common), "{}", slice.stage);
        assert!(slice.exceeded().next().is_none());
    }
    let tiers = &remade.manifest.verdicts.tiers;
    let counted = |at: usize| found.slices[0].tiers[at].own.unwrap().counted;
    for (at, tier) in tiers.iter().enumerate() {
        let counted = counted(at);
        assert_eq!(
            (counted.hits, counted.bound_95),
            (tier.false_positives, tier.fpr_bound_95)
        );
    }
}

#[test]
fn tracks_of_which_some_were_separated_calibrate_no_residual_and_none_leaves_it() {
    let mut known = Making {
        humans: 400,
        positives: 200,
        screen: 4.0,
        residual: Some(2.0),
    }
    .known();
    known.tracks[7].features.clear();
    let base = with_residual();
    let (found, cause) = code(remake(&base, &known, &asked()));
    assert_eq!(found, "RESIDUAL_PARTIAL");
    assert!(cause.contains("599 of 600"), "{cause}");
    known
        .tracks
        .iter_mut()
        .for_each(|track| track.features.clear());
    let remade = remake(&base, &known, &asked()).unwrap();
    assert_eq!(remade.manifest.residual, base.residual);
    assert!(remade.notes[0].contains("--gate all"), "{:?}", remade.notes);
}

/// Calibrates on tracks that give a screen and no residual: the base's residual stays, and the note says why.
fn keeps_the_residual(known: &Joined, why: &str) {
    let rare = Asked {
        prior: Some(0.02),
        ..asked()
    };
    let base = crate::report::calibrated();
    let remade = remake(&base, known, &rare).unwrap();
    checked(&remade.manifest);
    let mut expected = base.residual.clone().unwrap();
    prior::move_to(0.02, expected.calibration.as_mut().unwrap());
    assert_eq!(remade.manifest.residual, Some(expected));
    assert_ne!(remade.manifest.verdicts, base.verdicts);
    let stages: Vec<&str> = remade.scored.iter().map(|s| s.stage).collect();
    assert_eq!(stages, ["screen"]);
    let note = &remade.notes[0];
    for said in ["keeps its calibration", "thresholds of both engines", why] {
        assert!(note.contains(said), "{note}");
    }
    let bare = remake(&with_residual(), known, &rare).unwrap();
    assert_eq!(bare.manifest.residual.unwrap().calibration, None);
    let note = &bare.notes[0];
    assert!(note.contains("has no calibration"), "{note}");
    assert!(note.contains(why), "{note}");
}

#[test]
fn a_residual_on_too_few_tracks_does_not_keep_the_screen_from_its_calibration() {
    let known = Making {
        humans: 400,
        positives: 60,
        screen: 4.0,
        residual: Some(2.0),
    };
    keeps_the_residual(&known.known(), "a residual's score needs 40");
}

#[test]
fn a_residual_that_tells_nothing_does_not_keep_the_screen_from_its_calibration() {
    let mut known = Making {
        humans: 400,
        positives: 200,
        screen: 4.0,
        residual: Some(2.0),
    }
    .known();
    for track in &mut known.tracks {
        track.features.fill(1.0);
    }
    keeps_the_residual(&known, "of the residual the slope is");
}

/// The calibrated sample, whose verdicts of both engines rest on a stricter tier than those of its screen.
fn stricter_by_both() -> Manifest {
    let mut base = crate::report::calibrated();
    let section = base.residual.as_mut().unwrap();
    let own = &mut section.calibration.as_mut().unwrap().verdicts;
    own.tiers[1].name = "fpr_1e-3".to_owned();
    own.likely_ai_tier = "fpr_1e-3".to_owned();
    base
}

#[test]
fn a_tier_of_both_engines_with_too_few_humans_does_not_keep_the_screen_from_its_calibration() {
    let base = stricter_by_both();
    let remade = remake(&base, &both_tell(), &asked()).unwrap();
    checked(&remade.manifest);
    let made = &remade.manifest;
    assert_ne!(made.screen.calibration, base.screen.calibration);
    let mut expected = base.residual.unwrap();
    prior::move_to(0.1, expected.calibration.as_mut().unwrap());
    assert_eq!(made.residual, Some(expected));
    let note = &remade.notes[0];
    let why = "of both engines verdicts rest on fpr_1e-3, and 300 human tracks";
    for said in ["keeps its calibration", why] {
        assert!(note.contains(said), "{note}");
    }
}

#[test]
fn a_tier_that_is_asked_for_is_said_to_leave_a_kept_residual_as_it_was() {
    let known = Making {
        humans: 400,
        positives: 200,
        screen: 4.0,
        residual: None,
    }
    .known();
    let said = "rest on fpr_1e-3, on which --likely-ai-tier has no effect";
    let noted = |asked: &Asked| {
        let remade = remake(&stricter_by_both(), &known, asked).unwrap();
        remade.notes[0].contains(said)
    };
    let looser = Asked {
        likely_ai_tier: Some("fpr_1e-1".to_owned()),
        ..asked()
    };
    assert_eq!([noted(&asked()), noted(&looser)], [false, true]);
}

#[test]
fn all_probabilities_of_a_new_version_suppose_one_prior_also_where_no_track_was_separated() {
    let known = Making {
        humans: 400,
        positives: 200,
        screen: 4.0,
        residual: None,
    }
    .known();
    let rare = Asked {
        prior: Some(0.02),
        ..asked()
    };
    let base = crate::report::calibrated();
    let made = checked(&remake(&base, &known, &rare).unwrap().manifest);
    let own = made.residual.unwrap().calibration.unwrap();
    let Fusion::V1(rule) = &own.fusion else {
        panic!("{:?}", own.fusion)
    };
    let priors = [
        made.screen.calibration.prior,
        own.probability.prior,
        rule.prior,
    ];
    assert_eq!(priors, [0.02; 3]);
}

#[test]
fn too_few_tracks_one_class_and_scores_that_tell_nothing_are_refused_with_the_numbers() {
    let making = |humans, positives, screen| {
        let known = Making {
            humans,
            positives,
            screen,
            residual: None,
        };
        remake(&sample::manifest(), &known.known(), &asked())
    };
    let (found, cause) = code(making(5, 5, 4.0));
    assert_eq!(found, "LABELS_TOO_FEW");
    assert!(cause.contains("fpr_1e-2 needs 100"), "{cause}");
    let (found, cause) = code(making(150, 60, 4.0));
    assert_eq!(found, "LABELS_TOO_FEW");
    assert!(
        cause.contains("75 human tracks") && cause.contains("fpr_1e-2 needs 100"),
        "{cause}"
    );
    assert_eq!(code(making(300, 0, 4.0)).0, "LABELS_ONE_CLASS");
    assert_eq!(code(making(0, 300, 4.0)).0, "LABELS_ONE_CLASS");
    let mut one_side = Making {
        humans: 400,
        positives: 200,
        screen: 4.0,
        residual: None,
    }
    .known();
    for track in &mut one_side.tracks {
        track.side = Some(Side::Calibrate);
    }
    let (found, cause) = code(remake(&sample::manifest(), &one_side, &asked()));
    assert_eq!(found, "LABELS_TOO_FEW");
    assert!(
        cause.contains("`test`") && cause.contains("no track"),
        "{cause}"
    );
    assert_eq!(code(making(400, 200, -4.0)).0, "SCORES_TELL_NOTHING");
    let looser = Asked {
        likely_ai_tier: Some("fpr_1e-1".to_owned()),
        ..asked()
    };
    let known = Making {
        humans: 150,
        positives: 60,
        screen: 4.0,
        residual: None,
    };
    let remade = remake(&sample::manifest(), &known.known(), &looser).unwrap();
    assert_eq!(remade.manifest.verdicts.likely_ai_tier, "fpr_1e-1");
    assert!(
        remade
            .notes
            .iter()
            .any(|note| note.starts_with("fpr_1e-2 is left out"))
    );
}

#[test]
fn what_a_file_puts_on_both_sides_is_refused_and_named() {
    let mut known = Making {
        humans: 400,
        positives: 200,
        screen: 4.0,
        residual: None,
    }
    .known();
    for (at, track) in known.tracks.iter_mut().enumerate() {
        track.side = Some(if at % 2 == 0 {
            Side::Calibrate
        } else {
            Side::Test
        });
    }
    assert!(remake(&sample::manifest(), &known, &asked()).is_ok());
    known.tracks[3].identity.artist = Some("artist 8".to_owned());
    known.tracks[5].identity.isrc = Some("QZ1".to_owned());
    known.tracks[6].identity.isrc = Some("QZ1".to_owned());
    let (found, cause) = code(remake(&sample::manifest(), &known, &asked()));
    assert_eq!(found, "LABELS_LEAK");
    for said in [
        "ISRC QZ1 of t00006 and t00005",
        "artist artist 8 of t00008 and t00003",
    ] {
        assert!(cause.contains(said), "{cause}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_is_made_passes_a_bundle_s_checks(
        humans in 220usize..500,
        positives in 50usize..300,
        screen in 0.3f64..6.0,
        residual in prop::option::of(-2.0f64..4.0),
    ) {
        let known = Making { humans, positives, screen, residual }.known();
        let base = if residual.is_some() { with_residual() } else { sample::manifest() };
        match remake(&base, &known, &asked()) {
            Ok(remade) => { checked(&remade.manifest); }
            Err(Failure::Problem { code, .. }) => prop_assert!(
                ["SCORES_TELL_NOTHING", "LABELS_TOO_FEW"].contains(&code.as_str()), "{}", code
            ),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }
}
