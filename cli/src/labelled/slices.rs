//! What threshold each codec, label or genre would set by its own known-human tracks, beside those of a bundle. Called by `evaluate` and
//! `calibrate`; pure, and no verdict rests on it.

use super::join::{Joined, Known};
use super::judge::{BOTH, Judge, SCREEN};
use bundle::{Tier, Verdicts};
use evaluation::Place;
use evaluation::bound::{Counted, trials_for};
use evaluation::split::Side;
use evaluation::thresholds::{Human, SliceThresholds, Stage, slice_thresholds};
use evaluation::tiers::{Fitted, TIERS, humans_to_fit};
use std::collections::BTreeSet;

/// What tracks score in a stage, and the thresholds that a bundle has for it.
#[derive(Debug, Clone)]
pub(crate) struct Scored {
    /// `screen`, or `both` for the score that verdicts of separated tracks rest on.
    pub(crate) stage: &'static str,
    pub(crate) verdicts: Verdicts,
    /// Of each track, in the order in which they were joined.
    pub(crate) scores: Vec<f64>,
}

impl Scored {
    /// The screen's.
    pub(crate) fn screen(verdicts: Verdicts, scores: Vec<f64>) -> Self {
        Self {
            stage: SCREEN,
            verdicts,
            scores,
        }
    }

    /// Those of both engines.
    pub(crate) fn both(verdicts: Verdicts, scores: Vec<f64>) -> Self {
        Self {
            stage: BOTH,
            verdicts,
            scores,
        }
    }
}

/// What tracks score by a bundle's rules; both engines' where it calibrates the residual and each track was separated.
pub(crate) fn scored(judge: &Judge<'_>, known: &Joined) -> Vec<Scored> {
    let screens = known.tracks.iter().map(|track| track.screen).collect();
    let screen = Scored::screen(judge.manifest.verdicts.clone(), screens);
    std::iter::once(screen).chain(both(judge, known)).collect()
}

fn both(judge: &Judge<'_>, known: &Joined) -> Option<Scored> {
    let calibration = judge.manifest.residual.as_ref()?.calibration.as_ref()?;
    if known.separated() < known.tracks.len() {
        return None;
    }
    let score = |track: &Known| judge.separated(track).map(|[_, both]| both.score);
    let scores: Option<Vec<f64>> = known.tracks.iter().map(score).collect();
    Some(Scored::both(calibration.verdicts.clone(), scores?))
}

/// The thresholds of each slice, fitted on one of these sides and counted on the other.
pub(crate) fn by_slice(known: &Joined, sides: &[Side], scored: &[Scored]) -> SliceThresholds {
    let humans: Vec<Human<'_>> = known
        .tracks
        .iter()
        .zip(sides)
        .enumerate()
        .filter(|(_, (track, _))| !track.ai)
        .map(|(at, (track, side))| Human {
            side: *side,
            place: Place {
                bucket: &track.bucket,
                label: track.label.as_deref(),
                genre: track.genre.as_deref(),
            },
            scores: scored.iter().map(|stage| stage.scores[at]).collect(),
        })
        .collect();
    let stage = |scored: &Scored| Stage {
        name: scored.stage,
        common: scored.verdicts.tiers.iter().filter_map(fitted).collect(),
    };
    let stages: Vec<Stage<'_>> = scored.iter().map(stage).collect();
    slice_thresholds(&humans, &stages)
}

/// A bundle's tier; none of a rate that nothing here is fitted at.
fn fitted(tier: &Tier) -> Option<Fitted> {
    let &(name, _) = TIERS.iter().find(|(name, _)| *name == tier.name)?;
    Some(Fitted {
        name,
        score: tier.score,
        counted: Counted {
            hits: tier.false_positives,
            trials: tier.humans,
            bound_95: tier.fpr_bound_95,
        },
    })
}

/// What must be known beside the table: how many slices are not in it, and in how many the bundle's thresholds do not hold.
pub(crate) fn say_of_slices(found: &SliceThresholds, notes: &mut Vec<String>) {
    let marked = found.slices.iter();
    let marked: BTreeSet<(&str, &str)> = marked
        .filter(|slice| slice.exceeded().next().is_some())
        .map(|slice| (slice.group.as_str(), slice.name.as_str()))
        .collect();
    if !marked.is_empty() {
        notes.push(format!(
            "slices where a threshold of the bundle does not hold: {}; DOES_NOT_HOLD names its tier, and the share of their human tracks that reach it at least, at 95 %",
            marked.len()
        ));
    }
    let [(loosest, rate), ..] = TIERS;
    if found.too_few > 0 {
        notes.push(format!(
            "slices that are not shown, with too few human tracks for a threshold of their own: {}; {loosest} takes {} to fit on and {} others to bear it out",
            found.too_few,
            humans_to_fit(rate),
            trials_for(rate)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::sample;
    use evaluation::split::Identity;

    /// Human tracks of two codecs, half of each on either side; those of the second score higher by four. Four of each have a label.
    fn known(each: usize) -> (Joined, Vec<Side>) {
        let track = |at: usize| {
            let higher = at.is_multiple_of(2);
            Known {
                track_id: format!("t{at:05}"),
                ai: false,
                identity: Identity::default(),
                side: None,
                label: (at < 8).then(|| if higher { "Loud" } else { "Small" }.to_owned()),
                genre: None,
                bucket: if higher { "mp3 64" } else { "flac" }.to_owned(),
                screen: at as f64 / each as f64 - 2.0 + if higher { 4.0 } else { 0.0 },
                features: Vec::new(),
            }
        };
        let joined = Joined {
            tracks: (0..2 * each).map(track).collect(),
            clusters: (0..2 * each as u32).collect(),
            ..Joined::default()
        };
        let side = |at: usize| match at / 2 % 2 {
            0 => Side::Calibrate,
            _ => Side::Test,
        };
        let sides = (0..2 * each).map(side).collect();
        (joined, sides)
    }

    #[test]
    fn a_codec_that_scores_higher_is_marked_and_what_was_left_out_is_said() {
        let manifest = sample::manifest();
        let (joined, sides) = known(120);
        let scored = scored(&Judge::new(&manifest, None), &joined);
        let stages: Vec<&str> = scored.iter().map(|stage| stage.stage).collect();
        assert_eq!(stages, ["screen"]);
        let found = by_slice(&joined, &sides, &scored);
        let marked: Vec<(&str, Vec<&str>)> = found
            .slices
            .iter()
            .map(|slice| {
                let tiers = slice.exceeded().map(|(tier, _)| tier);
                (slice.name.as_str(), tiers.collect())
            })
            .collect();
        assert_eq!(
            marked,
            [
                ("flac", vec![]),
                ("mp3 64", vec!["fpr_1e-1", "fpr_1e-2"]),
                ("Loud", vec!["fpr_1e-1", "fpr_1e-2"]),
            ],
            "the sample's tiers lie at 0.5 and 2; `Loud` is too small for thresholds of its own, and both fail in it"
        );
        let mut notes = Vec::new();
        say_of_slices(&found, &mut notes);
        assert!(
            notes[0].contains("does not hold: 2;") && notes[1].contains("their own: 1;"),
            "{notes:?}"
        );
        assert!(
            notes[1].ends_with("fpr_1e-1 takes 10 to fit on and 29 others to bear it out"),
            "{notes:?}"
        );
    }

    #[test]
    fn a_tier_of_a_name_that_is_not_known_is_compared_with_nothing() {
        let mut manifest = sample::manifest();
        manifest.verdicts.tiers[0].name = "loose".to_owned();
        let (joined, sides) = known(120);
        let scored = scored(&Judge::new(&manifest, None), &joined);
        let found = by_slice(&joined, &sides, &scored);
        let common: Vec<bool> = found.slices[0]
            .tiers
            .iter()
            .map(|tier| tier.common.is_some())
            .collect();
        assert_eq!(common, [false, false, true, false]);
    }

    #[test]
    fn where_every_slice_is_in_the_table_and_holds_there_is_nothing_to_say() {
        let none = SliceThresholds {
            slices: Vec::new(),
            too_few: 0,
            left_out: 0,
        };
        let mut notes = Vec::new();
        say_of_slices(&none, &mut notes);
        assert!(notes.is_empty(), "{notes:?}");
    }
}
