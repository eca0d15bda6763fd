//! What each engine achieves on the same held-out tracks: the coarse baseline, the screen, the residual, and both together.
//!
//! Called by calibration and by the evaluation grid. Pure: scored tracks in, tables out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use evaluation::auc::{Auc, auc};
use evaluation::bootstrap::{self, intervals};
use evaluation::curve::Ranked;
use evaluation::reliability::reliability;
use serde::{Deserialize, Serialize};

use super::judged::Judged;

/// The false positive rate that positives are counted at.
const FPR: f64 = 0.01;
/// The bootstrap's seed.
const SEED: u64 = 1;

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

    /// The probability of a track at a prior of one half; none where scores have no meaning of that kind.
    fn probability(self, track: &Judged) -> Option<f64> {
        match self {
            Self::Coarse => None,
            Self::Screen => Some(track.probabilities.screen),
            Self::Residual => Some(track.probabilities.residual),
            Self::Both => Some(track.probabilities.both),
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
    /// Expected calibration error of the probability at a prior of one half; none of the coarse baseline, which has no probability.
    pub calibration_error: Option<f64>,
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
}

/// The line of some tracks; none where a class is missing.
#[must_use]
pub fn line(name: &str, tracks: &[&Judged]) -> Option<Line> {
    let measured = |way| measured(tracks, way);
    let [screen, both] = [measured(Way::Screen)?, measured(Way::Both)?];
    let (auc_gain, found_gain) = gains(tracks, &screen, &both)?;
    Some(Line {
        name: name.to_owned(),
        coarse: measured(Way::Coarse)?,
        screen,
        residual: measured(Way::Residual)?,
        both,
        auc_gain,
        found_gain,
    })
}

fn scores(tracks: &[&Judged], way: Way) -> Vec<f64> {
    tracks.iter().map(|track| way.of(track)).collect()
}

fn labels(tracks: &[&Judged]) -> Vec<bool> {
    tracks.iter().map(|track| track.positive).collect()
}

fn of_class(tracks: &[&Judged], positive: bool, value: impl Fn(&Judged) -> f64) -> Vec<f64> {
    let own = tracks.iter().filter(|track| track.positive == positive);
    own.map(|track| value(track)).collect()
}

fn measured(tracks: &[&Judged], way: Way) -> Option<Measured> {
    let side = |positive| of_class(tracks, positive, |track| way.of(track));
    let ranked = Ranked::new(&scores(tracks, way));
    let worth = ranked.worth(&labels(tracks), &vec![1; tracks.len()], FPR)?;
    Some(Measured {
        auc: auc(&side(true), &side(false))?,
        found: worth.found,
        equal_error: worth.eer,
        calibration_error: calibration_error(tracks, way),
    })
}

/// Mean distance of a probability from the share of positives, over bins and at a prior of one half.
fn calibration_error(tracks: &[&Judged], way: Way) -> Option<f64> {
    let side = |positive| -> Option<Vec<f64>> {
        let own = tracks.iter().filter(|track| track.positive == positive);
        own.map(|track| way.probability(track)).collect()
    };
    Some(reliability(&side(true)?, &side(false)?, 0.5)?.ece)
}

/// Gains of both engines over the screen with their intervals: pieces are drawn with replacement, all versions of a piece together.
fn gains(tracks: &[&Judged], screen: &Measured, both: &Measured) -> Option<(Interval, Interval)> {
    let systems = [Way::Screen, Way::Both].map(|way| scores(tracks, way));
    let spreads = intervals(&systems, &labels(tracks), &pieces(tracks), FPR, SEED)?;
    let gain = spreads.last()?;
    let around = |value: f64, of: bootstrap::Interval| Interval {
        low: of.low,
        value,
        high: of.high,
    };
    Some((
        around(both.auc.value - screen.auc.value, gain.auc_gain),
        around(both.found - screen.found, gain.found_gain),
    ))
}

/// A number for the piece of each track.
fn pieces(tracks: &[&Judged]) -> Vec<u32> {
    let names: BTreeSet<&str> = tracks.iter().map(|track| track.piece.as_str()).collect();
    let number: BTreeMap<&str, u32> = names.into_iter().zip(0..).collect();
    tracks
        .iter()
        .map(|track| number[track.piece.as_str()])
        .collect()
}

/// The lines as two tables for people, in plain text of fixed columns: what is told apart, and by what errors.
#[must_use]
pub fn text(lines: &[Line]) -> String {
    let mut out = areas(lines);
    out.push('\n');
    out.push_str(&errors(lines));
    out
}

fn areas(lines: &[Line]) -> String {
    let mut out = format!(
        "{:<24} {:>5} {:>5}  {:>6} {:>6} {:>8} {:>6}  {:>24}  {:>6} {:>6} {:>6}  {:>24}\n",
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
        "both - screen (95 %)"
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
            "{:<24} {:>5} {:>5}  {:>6.3} {:>6.3} {:>8.3} {:>6.3}  {:>24}  {:>6.3} {:>6.3} {:>6.3}  {:>24}",
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
            range(&line.found_gain)
        );
    }
    out
}

/// The rate at which both errors are equal, and how far probabilities at a prior of one half are from frequencies, of each way.
fn errors(lines: &[Line]) -> String {
    let mut out = format!(
        "{:<24} {:>10} {:>6} {:>8} {:>6}  {:>10} {:>8} {:>6}\n",
        "EER, ECE at prior 0.5",
        "EER coarse",
        "screen",
        "residual",
        "both",
        "ECE screen",
        "residual",
        "both"
    );
    let share = |error: Option<f64>| error.map_or("-".to_owned(), |error| format!("{error:.3}"));
    for line in lines {
        let _ = writeln!(
            out,
            "{:<24} {:>10.3} {:>6.3} {:>8.3} {:>6.3}  {:>10} {:>8} {:>6}",
            line.name,
            line.coarse.equal_error,
            line.screen.equal_error,
            line.residual.equal_error,
            line.both.equal_error,
            share(line.screen.calibration_error),
            share(line.residual.calibration_error),
            share(line.both.calibration_error)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::judged::Probabilities;
    use corpus::dice::Dice;
    use evaluation::platt::logistic;

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
                    probabilities: Probabilities {
                        screen: logistic(screen),
                        residual: logistic(residual),
                        both: logistic(both),
                    },
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
    fn each_engine_has_an_equal_error_rate_and_a_calibration_error_of_its_own() {
        let mut tracks = tracks(400, 1.5);
        for track in &mut tracks {
            track.probabilities.screen = 0.5;
            track.probabilities.residual = if track.positive { 0.1 } else { 0.9 };
        }
        let line = of(&tracks);
        assert!(line.residual.equal_error < line.screen.equal_error);
        assert_eq!(line.coarse.calibration_error, None);
        assert!(line.screen.calibration_error.unwrap() < 1e-9);
        assert!((line.residual.calibration_error.unwrap() - 0.9).abs() < 1e-9);
        let table = text(std::slice::from_ref(&line));
        let second = table.split_once("\n\n").unwrap().1;
        for value in [
            format!("{:.3}", line.coarse.equal_error),
            format!("{:.3}", line.screen.equal_error),
            format!("{:.3}", line.residual.equal_error),
            "0.000".to_owned(),
            "0.900".to_owned(),
        ] {
            assert!(second.contains(&value), "{value}: {second}");
        }
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
            probabilities: Probabilities {
                screen: 0.5,
                residual: 0.5,
                both: 0.5,
            },
        };
        let (human, positive) = (half(false), half(true));
        assert!(calibration_error(&[&human, &positive], Way::Both).unwrap() < 1e-9);
        assert_eq!(calibration_error(&[&human, &human], Way::Both), None);
        assert_eq!(calibration_error(&[&human, &positive], Way::Coarse), None);
    }
}
