//! What a screen achieves on held-out tracks, with the guards that say whether the numbers may be believed.
//!
//! Pure: scored tracks in, a report out. Written into the bundle as JSON and text, printed by `evaluate`.

use std::collections::BTreeSet;
use std::fmt::Write;

use corpus::manifest::Label;
use evaluation::auc::{Auc, auc};
use evaluation::logistic::Logistic;
use evaluation::platt::logistic;
use serde::{Deserialize, Serialize};

use super::facts::View;
use super::score::Scored;

/// Largest distance of a guard's area from one half.
pub const GUARD_LIMIT: f64 = 0.05;
/// Fewest pieces of each class, in training and held out, for a guard: with 400 a side the area's standard error is 0.02.
pub const GUARD_PIECES: usize = 400;
/// Ridge of the guards' and the baseline's fits, per row.
const RIDGE: f64 = 1e-3;
/// Edges of the bands of error ratios in decibels.
pub(super) const SNR_EDGES: [f32; 6] = [10.0, 15.0, 20.0, 25.0, 30.0, 35.01];

/// A check that a shortcut tells nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// What it looks at: `level` or `codec`.
    pub name: String,
    /// Its area on held-out tracks; none where a class is missing.
    pub auc: Option<Auc>,
    /// Whether the area lies within the limit and enough tracks were scored.
    pub passed: bool,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which part of the table it belongs to.
    pub group: String,
    /// The slice.
    pub name: String,
    /// The screen's area.
    pub screen: Auc,
    /// The coarse baseline's area on the same tracks.
    pub coarse: Auc,
    /// Share of positives that reach the tier of `likely_ai`; none before a threshold is set.
    pub found: Option<f64>,
    /// Share of human tracks that do.
    pub flagged: Option<f64>,
}

impl Row {
    /// What is claimed: how much better than the coarse baseline.
    pub fn margin(&self) -> f64 {
        self.screen.value - self.coarse.value
    }
}

/// How far probabilities are from frequencies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Expected calibration error over ten bins of equal width.
    pub ece: f64,
    /// Mean squared difference of probability and label.
    pub brier: f64,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The guards.
    pub guards: Vec<Guard>,
    /// The table.
    pub rows: Vec<Row>,
    /// The calibration on held-out tracks, at a prior of one half.
    pub reliability: Reliability,
}

/// Threshold and calibration that the report judges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Score of the tier of `likely_ai`.
    pub likely_ai: f64,
    /// Slope of the calibration.
    pub slope: f64,
    /// Intercept of the calibration at a prior of one half.
    pub intercept: f64,
}

/// Reports on `test`; guards and baseline are fitted on `train`.
pub fn report(train: &[Scored], test: &[Scored], rule: Rule) -> Report {
    let guards = [View::Level, View::Codec]
        .map(|view| guard(view, train, test))
        .to_vec();
    let baseline = baseline(train);
    let coarse: Vec<f64> = test
        .iter()
        .map(|track| baseline.score(&View::Coarse.row(&track.facts)))
        .collect();
    let train_coarse: Vec<f64> = train
        .iter()
        .map(|track| baseline.score(&View::Coarse.row(&track.facts)))
        .collect();
    let table = Table {
        tracks: test,
        coarse: &coarse,
        likely_ai: rule.likely_ai,
    };
    let mut rows = table.rows();
    rows.extend(
        Table {
            tracks: train,
            coarse: &train_coarse,
            likely_ai: rule.likely_ai,
        }
        .row("fitted on", "training pieces", |_| true),
    );
    Report {
        guards,
        rows,
        reliability: reliability(test, rule),
    }
}

impl Report {
    /// Whether every guard passed.
    pub fn may_be_believed(&self) -> bool {
        self.guards.iter().all(|guard| guard.passed)
    }

    /// The report as a table for people, in plain text of fixed columns.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{:<22} {:<20} {:>5} {:>5}  {:>13}  {:>13}  {:>6}  {:>5}  {:>7}",
            "group",
            "slice",
            "ai",
            "human",
            "screen AUC",
            "coarse AUC",
            "margin",
            "found",
            "flagged"
        );
        for row in &self.rows {
            let share = |share: Option<f64>| {
                share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}%", 100.0 * share))
            };
            let _ = writeln!(
                out,
                "{:<22} {:<20} {:>5} {:>5}  {}  {}  {:>+6.3}  {:>5}  {:>7}",
                row.group,
                row.name,
                row.screen.positives,
                row.screen.humans,
                area(&row.screen),
                area(&row.coarse),
                row.margin(),
                share(row.found),
                share(row.flagged)
            );
        }
        let _ = writeln!(out);
        for guard in &self.guards {
            let found = guard.auc.map_or_else(
                || "not scored".to_owned(),
                |auc| {
                    format!(
                        "{} of {} ai and {} human",
                        area(&auc),
                        auc.positives,
                        auc.humans
                    )
                },
            );
            let _ = writeln!(
                out,
                "guard {:<6} {found}; within 0.5 ± {GUARD_LIMIT}: {}",
                guard.name,
                if guard.passed { "yes" } else { "NO" }
            );
        }
        let _ = writeln!(
            out,
            "calibration at prior 0.5: expected error {:.3}, Brier score {:.3}",
            self.reliability.ece, self.reliability.brier
        );
        out
    }
}

fn area(auc: &Auc) -> String {
    format!("{:.3} ± {:.3}", auc.value, auc.error)
}

fn is_positive(track: &Scored) -> bool {
    track.entry.label == Label::Ai
}

/// The coarse baseline, fitted on `train`.
pub(super) fn baseline(train: &[Scored]) -> Logistic {
    fit(View::Coarse, train)
}

fn fit(view: View, train: &[Scored]) -> Logistic {
    let rows: Vec<Vec<f64>> = train.iter().map(|track| view.row(&track.facts)).collect();
    let targets: Vec<f64> = train
        .iter()
        .map(|track| f64::from(u8::from(is_positive(track))))
        .collect();
    Logistic::fit(&rows, &targets, RIDGE)
}

/// Pieces of a class: what was encoded ten ways is heard once.
fn pieces(tracks: &[Scored], positive: bool) -> usize {
    let of_class = tracks.iter().filter(|track| is_positive(track) == positive);
    let names: BTreeSet<&str> = of_class.map(|track| track.entry.piece.as_str()).collect();
    names.len()
}

fn guard(view: View, train: &[Scored], test: &[Scored]) -> Guard {
    let fit = fit(view, train);
    let side = |positive: bool| -> Vec<f64> {
        test.iter()
            .filter(|track| is_positive(track) == positive)
            .map(|track| fit.score(&view.row(&track.facts)))
            .collect()
    };
    let found = auc(&side(true), &side(false));
    // Fitted on one class, or on none, a guard says nothing and scores one half.
    let enough = [true, false]
        .iter()
        .all(|&positive| pieces(train, positive).min(pieces(test, positive)) >= GUARD_PIECES);
    let passed = found.is_some_and(|auc| enough && (auc.value - 0.5).abs() <= GUARD_LIMIT);
    Guard {
        name: view.name().to_owned(),
        auc: found,
        passed,
    }
}

/// Tracks with both scores, from which lines are made.
struct Table<'a> {
    tracks: &'a [Scored],
    coarse: &'a [f64],
    likely_ai: f64,
}

impl Table<'_> {
    fn rows(&self) -> Vec<Row> {
        let met = |track: &Scored| track.entry.unseen.is_none();
        let mut rows: Vec<Row> = self
            .row("held-out pieces", "all", |_| true)
            .into_iter()
            .collect();
        rows.extend(self.row("held-out pieces", "nothing else unseen", met));
        for band in SNR_EDGES.windows(2) {
            let name = format!("{}-{} dB", band[0], band[1].floor());
            rows.extend(self.row("error below music", &name, |track| {
                track
                    .entry
                    .snr_db
                    .is_none_or(|snr| (band[0]..band[1]).contains(&snr))
            }));
        }
        for codec in self.named(|track| track.entry.codec.clone()) {
            rows.extend(self.row("codec", &codec, |track| {
                track.entry.codec.as_deref() == Some(&codec)
            }));
        }
        for kbps in self.named(|track| track.entry.kbps.map(|kbps| format!("{kbps:>3}"))) {
            let here = |track: &Scored| {
                track.entry.kbps.map(|kbps| format!("{kbps:>3}")).as_ref() == Some(&kbps)
            };
            let unseen = self
                .tracks
                .iter()
                .any(|track| here(track) && track.entry.is_unseen("bitrate"));
            let mark = if unseen { " (held out)" } else { "" };
            rows.extend(self.row("kbps", &format!("{kbps}{mark}"), here));
        }
        rows.extend(self.row("held-out bitrates", "all", |track| {
            track.entry.is_unseen("bitrate")
        }));
        for decoder in self.named(|track| track.entry.decoder.clone()) {
            let here = |track: &Scored| {
                track
                    .entry
                    .decoder
                    .as_ref()
                    .is_none_or(|name| *name == decoder)
            };
            let unseen = self.tracks.iter().any(|track| {
                track.entry.decoder.as_ref() == Some(&decoder) && track.entry.is_unseen("decoder")
            });
            let mark = if unseen { " (held out)" } else { "" };
            rows.extend(self.row("decoder", &format!("{decoder}{mark}"), here));
        }
        rows
    }

    /// Every value that `of` gives, in order.
    fn named(&self, of: impl Fn(&Scored) -> Option<String>) -> Vec<String> {
        let mut names: Vec<String> = self.tracks.iter().filter_map(of).collect();
        names.sort();
        names.dedup();
        names
    }

    /// One line over the tracks that `keep` keeps; none where a class is missing. A slice by what only positives have (decoder, error)
    /// keeps every human track.
    fn row(&self, group: &str, name: &str, keep: impl Fn(&Scored) -> bool) -> Option<Row> {
        let kept: Vec<(&Scored, f64)> = self
            .tracks
            .iter()
            .zip(self.coarse)
            .filter(|(track, _)| keep(track))
            .map(|(track, &coarse)| (track, coarse))
            .collect();
        let side = |positive: bool, of: &dyn Fn(&(&Scored, f64)) -> f64| -> Vec<f64> {
            kept.iter()
                .filter(|(track, _)| is_positive(track) == positive)
                .map(of)
                .collect()
        };
        let (positives, humans) = (
            side(true, &|(track, _)| track.score),
            side(false, &|(track, _)| track.score),
        );
        let reached = |scores: &[f64]| {
            scores
                .iter()
                .filter(|&&score| score >= self.likely_ai)
                .count() as f64
                / scores.len() as f64
        };
        Some(Row {
            group: group.to_owned(),
            name: name.to_owned(),
            screen: auc(&positives, &humans)?,
            coarse: auc(
                &side(true, &|(_, coarse)| *coarse),
                &side(false, &|(_, coarse)| *coarse),
            )?,
            found: Some(reached(&positives)),
            flagged: Some(reached(&humans)),
        })
    }
}

/// The calibration at a prior of one half; without error where a class is missing, of which a guard tells.
fn reliability(test: &[Scored], rule: Rule) -> Reliability {
    let of = |positive: bool| -> Vec<f64> {
        test.iter()
            .filter(|track| is_positive(track) == positive)
            .map(|track| logistic(rule.slope * track.score + rule.intercept))
            .collect()
    };
    let found = evaluation::reliability::reliability(&of(true), &of(false), 0.5);
    found.map_or(
        Reliability {
            ece: 0.0,
            brier: 0.0,
        },
        |found| Reliability {
            ece: found.ece,
            brier: found.brier,
        },
    )
}

#[cfg(test)]
mod tests;
