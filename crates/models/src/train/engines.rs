//! What each engine achieves on the same held-out tracks: the coarse baseline, the screen, the residual, and both together.
//!
//! Called by calibration and by the evaluation grid. Pure: scored tracks in, tables out.

use std::collections::BTreeMap;
use std::fmt::Write;

use corpus::dice::Dice;
use serde::{Deserialize, Serialize};

use super::auc::{Auc, auc};

/// Draws of a bootstrap: enough that the ends of a 95 % interval move by a tenth of its width from seed to seed. Tests look at ends that lie
/// far from what they are compared with.
pub const DRAWS: usize = if cfg!(test) { 100 } else { 2_000 };
/// The false positive rate that positives are counted at.
pub const FPR: f64 = 0.01;
/// Bins of the calibration error.
const BINS: usize = 10;

/// One track with what every engine says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The piece it is a version of.
    pub piece: String,
    /// Whether it carries a decoder's error.
    pub positive: bool,
    /// The coarse baseline's score.
    pub coarse: f64,
    /// The screen's score.
    pub screen: f64,
    /// The residual's score.
    pub residual: f64,
    /// The fused score.
    pub both: f64,
    /// Probability of the fused score at a prior of one half.
    pub probability: f64,
}

/// What tells positives from human tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The coarse baseline.
    Coarse,
    /// The screen alone.
    Screen,
    /// The residual alone.
    Residual,
    /// Both engines.
    Both,
}

impl Way {
    /// The score of a track.
    fn of(self, track: &Judged) -> f64 {
        match self {
            Self::Coarse => track.coarse,
            Self::Screen => track.screen,
            Self::Residual => track.residual,
            Self::Both => track.both,
        }
    }
}

/// How one way does on some tracks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Area under the curve.
    pub auc: Auc,
    /// Share of positives above the score that one in a hundred human tracks reaches.
    pub found: f64,
    /// The rate at which as many positives are missed as human tracks are flagged.
    pub equal_error: f64,
}

/// An interval of 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// The value of the tracks as they are.
    pub value: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Whether it says that there is no gain.
    #[must_use]
    pub fn holds_zero(&self) -> bool {
        self.low <= 0.0
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The slice.
    pub name: String,
    /// The coarse baseline.
    pub coarse: Measured,
    /// The screen alone.
    pub screen: Measured,
    /// The residual alone.
    pub residual: Measured,
    /// Both engines.
    pub both: Measured,
    /// How far the area of both lies above the screen's.
    pub auc_gain: Interval,
    /// How far the found share of both lies above the screen's.
    pub found_gain: Interval,
    /// Expected calibration error of the fused probability.
    pub calibration_error: f64,
}

/// The line of some tracks; none where a class is missing.
#[must_use]
pub fn line(name: &str, tracks: &[&Judged]) -> Option<Line> {
    let measured = |way| measured(&sides(tracks, way));
    let (auc_gain, found_gain) = gains(tracks, name)?;
    Some(Line {
        name: name.to_owned(),
        coarse: measured(Way::Coarse)?,
        screen: measured(Way::Screen)?,
        residual: measured(Way::Residual)?,
        both: measured(Way::Both)?,
        auc_gain,
        found_gain,
        calibration_error: calibration_error(tracks),
    })
}

/// Scores of positives and of human tracks.
struct Sides {
    positives: Vec<f64>,
    humans: Vec<f64>,
}

fn sides(tracks: &[&Judged], way: Way) -> Sides {
    let side = |positive: bool| {
        let of_class = tracks.iter().filter(|track| track.positive == positive);
        of_class.map(|track| way.of(track)).collect()
    };
    Sides {
        positives: side(true),
        humans: side(false),
    }
}

fn measured(sides: &Sides) -> Option<Measured> {
    Some(Measured {
        auc: auc(&sides.positives, &sides.humans)?,
        found: found(sides),
        equal_error: equal_error(sides),
    })
}

/// Share of positives above the highest score that more than [`FPR`] of the human tracks stay below or at.
fn found(sides: &Sides) -> f64 {
    let mut falling = sides.humans.clone();
    falling.sort_by(|a, b| b.total_cmp(a));
    let allowed = (FPR * falling.len() as f64) as usize;
    let edge = falling.get(allowed).copied().unwrap_or(f64::NEG_INFINITY);
    share(&sides.positives, |score| score > edge)
}

fn share(scores: &[f64], holds: impl Fn(f64) -> bool) -> f64 {
    let count = scores.iter().filter(|&&score| holds(score)).count();
    count as f64 / scores.len().max(1) as f64
}

fn equal_error(sides: &Sides) -> f64 {
    let mut edges: Vec<f64> = sides
        .positives
        .iter()
        .chain(&sides.humans)
        .copied()
        .collect();
    edges.sort_by(f64::total_cmp);
    let both = |edge: f64| {
        (
            share(&sides.positives, |score| score < edge),
            share(&sides.humans, |score| score >= edge),
        )
    };
    let crossed = edges.partition_point(|&edge| {
        let (missed, flagged) = both(edge);
        missed < flagged
    });
    let around = crossed.saturating_sub(1)..(crossed + 1).min(edges.len());
    let worst = edges[around].iter().map(|&edge| {
        let (missed, flagged) = both(edge);
        0.5 * (missed + flagged)
    });
    worst.fold(0.5, f64::min)
}

/// Mean distance of the fused probability from the share of positives, over ten bins.
fn calibration_error(tracks: &[&Judged]) -> f64 {
    let mut bins = [(0.0, 0.0); BINS];
    for track in tracks {
        let bin = ((track.probability * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += track.probability;
        bins[bin].1 += f64::from(u8::from(track.positive));
    }
    let off: f64 = bins.iter().map(|(sum, hits)| (sum - hits).abs()).sum();
    off / tracks.len().max(1) as f64
}

/// Gains of both engines over the screen with their intervals: pieces are drawn with replacement, all versions of a piece together.
fn gains(tracks: &[&Judged], name: &str) -> Option<(Interval, Interval)> {
    let mut pieces: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for &track in tracks {
        pieces.entry(&track.piece).or_default().push(track);
    }
    let pieces: Vec<Vec<&Judged>> = pieces.into_values().collect();
    let (auc_gain, found_gain) = gain(tracks)?;
    let mut dice = Dice::new(1).child(name);
    let (mut aucs, mut founds) = (Vec::with_capacity(DRAWS), Vec::with_capacity(DRAWS));
    for _ in 0..DRAWS {
        let drawn: Vec<&Judged> = (0..pieces.len())
            .flat_map(|_| pieces[dice.below(pieces.len())].iter().copied())
            .collect();
        if let Some((auc, found)) = gain(&drawn) {
            aucs.push(auc);
            founds.push(found);
        }
    }
    Some((interval(aucs, auc_gain), interval(founds, found_gain)))
}

fn gain(tracks: &[&Judged]) -> Option<(f64, f64)> {
    let [both, screen] = [Way::Both, Way::Screen].map(|way| sides(tracks, way));
    let area = |sides: &Sides| Some(auc(&sides.positives, &sides.humans)?.value);
    Some((area(&both)? - area(&screen)?, found(&both) - found(&screen)))
}

fn interval(mut draws: Vec<f64>, value: f64) -> Interval {
    draws.sort_by(f64::total_cmp);
    let last = draws.len().saturating_sub(1) as f64;
    let at = |share: f64| {
        let place = (share * last).round() as usize;
        draws.get(place).copied().unwrap_or(value)
    };
    Interval {
        low: at(0.025),
        value,
        high: at(0.975),
    }
}

/// The lines as a table for people, in plain text of fixed columns.
#[must_use]
pub fn text(lines: &[Line]) -> String {
    let mut out = format!(
        "{:<24} {:>5} {:>5}  {:>6} {:>6} {:>8} {:>6}  {:>24}  {:>6} {:>6} {:>6}  {:>24}  {:>5} {:>5}\n",
        "AUC and found at 1e-2",
        "ai",
        "human",
        "coarse",
        "screen",
        "residual",
        "both",
        "both - screen (95 %)",
        "screen",
        "resid.",
        "both",
        "both - screen (95 %)",
        "EER",
        "ECE"
    );
    for line in lines {
        let range = |gain: &Interval| {
            format!(
                "{:>+6.3} ({:+.3} to {:+.3})",
                gain.value, gain.low, gain.high
            )
        };
        let _ = writeln!(
            out,
            "{:<24} {:>5} {:>5}  {:>6.3} {:>6.3} {:>8.3} {:>6.3}  {:>24}  {:>6.3} {:>6.3} {:>6.3}  {:>24}  {:>5.3} {:>5.3}",
            line.name,
            line.both.auc.positives,
            line.both.auc.humans,
            line.coarse.auc.value,
            line.screen.auc.value,
            line.residual.auc.value,
            line.both.auc.value,
            range(&line.auc_gain),
            line.screen.found,
            line.residual.found,
            line.both.found,
            range(&line.found_gain),
            line.both.equal_error,
            line.calibration_error
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A human and a positive version of each piece; the residual tells by `step` deviations, the screen by half a deviation.
    fn tracks(pieces: usize, step: f64) -> Vec<Judged> {
        let mut dice = Dice::new(3);
        let mut tracks = Vec::new();
        for piece in 0..pieces {
            for positive in [false, true] {
                let shift = f64::from(u8::from(positive));
                let screen = f64::from(dice.normal()) + 0.5 * shift;
                let residual = f64::from(dice.normal()) + step * shift;
                let both = screen * 0.5 + residual * step;
                tracks.push(Judged {
                    piece: piece.to_string(),
                    positive,
                    coarse: f64::from(dice.normal()),
                    screen,
                    residual,
                    both,
                    probability: 1.0 / (1.0 + (-both).exp()),
                });
            }
        }
        tracks
    }

    fn of(tracks: &[Judged]) -> Line {
        line("all", &tracks.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_residual_that_tells_gains_and_one_that_tells_nothing_holds_zero() {
        let tells = of(&tracks(400, 1.5));
        assert!(!tells.auc_gain.holds_zero() && tells.both.auc.value > tells.screen.auc.value);
        assert!(tells.auc_gain.low < tells.auc_gain.value);
        assert!(tells.auc_gain.value < tells.auc_gain.high);
        assert!(tells.found_gain.value > 0.1, "{tells:?}");
        let silent = of(&tracks(400, 0.0));
        assert!(silent.auc_gain.holds_zero(), "{silent:?}");
        assert!((silent.auc_gain.value).abs() < 1e-9);
    }

    #[test]
    fn of_one_class_there_is_no_line() {
        let tracks = tracks(20, 1.0);
        let humans: Vec<&Judged> = tracks.iter().filter(|track| !track.positive).collect();
        assert_eq!(line("humans", &humans), None);
        assert_eq!(line("none", &[]), None);
    }

    #[test]
    fn at_most_one_human_track_in_a_hundred_lies_above_the_edge_that_positives_are_counted_at() {
        let sides = Sides {
            humans: (0..200).map(f64::from).collect(),
            positives: vec![197.0, 197.5, 198.5, 300.0],
        };
        // Two of 200 may lie above: those of 198 and 199.
        assert!((found(&sides) - 0.75).abs() < 1e-9);
    }

    #[test]
    fn equal_errors_are_a_half_without_a_difference_and_none_with_a_whole_one() {
        let apart = Sides {
            humans: vec![0.0, 1.0, 2.0],
            positives: vec![3.0, 4.0, 5.0],
        };
        assert!(equal_error(&apart) < 1e-9);
        let alike = Sides {
            humans: (0..100).map(f64::from).collect(),
            positives: (0..100).map(f64::from).collect(),
        };
        assert!((equal_error(&alike) - 0.5).abs() < 0.02);
    }

    #[test]
    fn probabilities_that_are_frequencies_have_no_calibration_error() {
        let half = |positive| Judged {
            piece: "a".into(),
            positive,
            coarse: 0.0,
            screen: 0.0,
            residual: 0.0,
            both: 0.0,
            probability: 0.5,
        };
        let (human, positive) = (half(false), half(true));
        assert!(calibration_error(&[&human, &positive]) < 1e-9);
        assert!((calibration_error(&[&human, &human]) - 0.5).abs() < 1e-9);
    }
}
