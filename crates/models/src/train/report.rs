//! What a screen achieves on held-out tracks, with the guards that say whether the numbers may be believed.
//!
//! Pure: scored tracks in, a report out. Written into the bundle as JSON and text, printed by `evaluate`.

use std::collections::BTreeSet;
use std::fmt::Write;

use corpus::manifest::Label;
use serde::{Deserialize, Serialize};

use super::auc::{Auc, auc};
use super::facts::View;
use super::logistic::Logistic;
use super::score::Scored;

/// Largest distance of a guard's area from one half.
pub const GUARD_LIMIT: f64 = 0.05;
/// Fewest pieces of each class, in training and held out, for a guard: with 400 a side the area's standard error is 0.02.
pub const GUARD_PIECES: usize = 400;
/// Ridge of the guards' and the baseline's fits, per row.
const RIDGE: f64 = 1e-3;
/// Edges of the bands of error ratios in decibels.
const SNR_EDGES: [f32; 6] = [10.0, 15.0, 20.0, 25.0, 30.0, 35.01];
/// Bins of the calibration error.
const CALIBRATION_BINS: usize = 10;

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
    let baseline = fit(View::Coarse, train);
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

fn reliability(test: &[Scored], rule: Rule) -> Reliability {
    let mut bins = [(0.0, 0.0, 0.0); CALIBRATION_BINS];
    let mut brier = 0.0;
    for track in test {
        let p = 1.0 / (1.0 + (-(rule.slope * track.score + rule.intercept)).exp());
        let label = f64::from(u8::from(is_positive(track)));
        let bin = &mut bins[((p * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1)];
        *bin = (bin.0 + 1.0, bin.1 + p, bin.2 + label);
        brier += (p - label) * (p - label);
    }
    let count = test.len().max(1) as f64;
    let ece = bins
        .iter()
        .map(|(_, p, label)| (p - label).abs())
        .sum::<f64>()
        / count;
    Reliability {
        ece,
        brier: brier / count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::facts::Facts;
    use corpus::dice::Dice;
    use corpus::manifest::{Entry, Split};

    fn track(index: usize, label: Label, score: f64, rms_db: f32) -> Scored {
        let positive = label == Label::Ai;
        let entry = Entry {
            path: format!("{index}"),
            label,
            piece: format!("{index}"),
            split: Split::Test,
            seconds: None,
            codec: Some(["mp3", "aac", "vorbis"][index % 3].to_owned()),
            kbps: Some([96, 112][index % 2]),
            snr_db: positive.then_some(10.0 + (index % 25) as f32),
            decoder: positive.then(|| ["a", "b"][index % 2].to_owned()),
            unseen: (index % 2 == 1).then(|| {
                if positive {
                    "bitrate+decoder".to_owned()
                } else {
                    "bitrate".to_owned()
                }
            }),
        };
        let facts = Facts {
            samples: 1,
            rms_db,
            peak_db: rms_db + 10.0,
            crest_db: 10.0,
            thirds: vec![-20.0; corpus::shape::BANDS],
            bytes_per_second: 12_000.0,
            edge: 20,
            codec: entry.codec.clone().unwrap_or_default(),
        };
        Scored {
            entry,
            facts,
            score,
        }
    }

    fn tracks(seed: u64, level_tells: bool) -> Vec<Scored> {
        let mut dice = Dice::new(seed);
        (0..900)
            .map(|index| {
                let label = if (index / 2) % 2 == 0 {
                    Label::Human
                } else {
                    Label::Ai
                };
                let shift = if label == Label::Ai { 1.0 } else { 0.0 };
                let level = -20.0 + dice.normal() + if level_tells { 2.0 * shift } else { 0.0 };
                track(index, label, f64::from(dice.normal() + 1.5 * shift), level)
            })
            .collect()
    }

    const RULE: Rule = Rule {
        likely_ai: 2.0,
        slope: 1.0,
        intercept: -0.75,
    };

    #[test]
    fn matched_classes_pass_the_guards_and_a_level_that_tells_is_refused() {
        assert!(report(&tracks(1, false), &tracks(2, false), RULE).may_be_believed());
        let told = report(&tracks(1, true), &tracks(2, true), RULE);
        assert!(!told.may_be_believed());
        assert!(
            !told.guards[0].passed && told.guards[1].passed,
            "{:?}",
            told.guards
        );
    }

    #[test]
    fn a_guard_that_was_fitted_on_one_class_does_not_pass() {
        let one_class: Vec<Scored> = tracks(1, true)
            .into_iter()
            .filter(|track| !is_positive(track))
            .collect();
        for train in [one_class, Vec::new()] {
            assert!(!report(&train, &tracks(2, true), RULE).may_be_believed());
        }
    }

    #[test]
    fn too_few_held_out_tracks_pass_no_guard() {
        let few: Vec<Scored> = tracks(2, false).into_iter().take(600).collect();
        assert!(!report(&tracks(1, false), &few, RULE).may_be_believed());
    }

    #[test]
    fn one_piece_in_many_versions_passes_no_guard() {
        let versions = |mut tracks: Vec<Scored>| {
            for (index, track) in tracks.iter_mut().enumerate() {
                track.entry.piece = format!("{}", index % 40);
            }
            tracks
        };
        for (train, test) in [
            (versions(tracks(1, false)), tracks(2, false)),
            (tracks(1, false), versions(tracks(2, false))),
        ] {
            assert!(!report(&train, &test, RULE).may_be_believed());
        }
    }

    #[test]
    fn the_table_has_every_slice_with_the_counts_of_its_tracks() {
        let report = report(&tracks(1, false), &tracks(2, false), RULE);
        let find = |group: &str, name: &str| {
            report
                .rows
                .iter()
                .find(|row| row.group == group && row.name == name)
                .unwrap()
        };
        assert_eq!(find("held-out pieces", "all").screen.positives, 450);
        assert_eq!(
            find("codec", "aac").screen.positives
                + find("codec", "mp3").screen.positives
                + find("codec", "vorbis").screen.positives,
            450
        );
        assert_eq!(find("decoder", "b (held out)").screen.humans, 450);
        assert_eq!(
            find("kbps", "112 (held out)").screen,
            find("held-out bitrates", "all").screen
        );
        let all = find("held-out pieces", "all");
        assert!(all.margin() > 0.2 && all.found.unwrap() > all.flagged.unwrap());
        assert!(report.text().contains("frames") || report.text().contains("b (held out)"));
    }
}
