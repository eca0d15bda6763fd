//! From measured slices to the grid's tables, and what becomes of the claim.

use std::collections::BTreeMap;
use std::fmt::Write;

use bundle::{Gated, Manifest};
use evaluation::logistic::Logistic;
use serde::{Deserialize, Serialize};

use super::slice::{Clip, Kind, Slice, WORKERS};
use super::{CONDITIONS, Condition, Subject};
use crate::train::engines::{self, Line};
use crate::train::facts::View;
use crate::train::judged::{Heard, Judged, Rules};

/// Ridge of the coarse baseline, per row, as in the report.
const RIDGE: f64 = 1e-3;
/// Edges of the bands of error ratios in decibels.
const BANDS: [f32; 4] = [15.0, 20.0, 25.0, 30.01];
/// Fewest pieces of a class that the claim is made of.
const CLAIM_PIECES: usize = 400;

/// Measured slices.
#[derive(Clone, Debug, PartialEq)]
pub struct Slices(pub(super) Vec<Slice>);

impl Slices {
    fn clips(&self, kind: Kind, condition: Condition) -> Option<&[Clip]> {
        let found = self
            .0
            .iter()
            .find(|slice| slice.kind == kind && slice.condition == condition);
        found.map(|slice| &slice.measured.clips[..])
    }

    /// Seconds of wall time that all of them took; none where one does not say.
    fn seconds(&self) -> Option<f64> {
        let each = self.0.iter().map(|slice| slice.measured.seconds);
        each.sum::<Option<f64>>().filter(|_| !self.0.is_empty())
    }
}

/// How far probabilities of the same clip move from the untreated one to a condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The condition.
    pub condition: String,
    /// Mean distance of the screen's probability.
    pub screen_mean: f64,
    /// The largest.
    pub screen_max: f64,
    /// Mean distance of the fused probability.
    pub both_mean: f64,
    /// The largest.
    pub both_max: f64,
}

/// What the bundle's fixed edges do in a condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operating {
    /// The condition.
    pub condition: String,
    /// Share of human clips that the screen's threshold flags.
    pub screen_flagged: f64,
    /// Share of positives that it finds.
    pub screen_found: f64,
    /// Share of human clips that the fused threshold flags.
    pub both_flagged: f64,
    /// Share of positives that it finds.
    pub both_found: f64,
    /// Share of human clips that the gate sends on.
    pub escalated_humans: f64,
    /// Share of positives that it sends on.
    pub escalated_positives: f64,
}

/// All tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Digest of the weights of both engines that were measured.
    pub engines: String,
    /// The claimed conditions, then all of them together: held-out decoder.
    pub claim: Vec<Line>,
    /// Every condition: held-out decoder.
    pub held_out: Vec<Line>,
    /// Every condition: decoders that training met.
    pub met: Vec<Line>,
    /// Bands of error ratios over the claimed conditions: held-out decoder.
    pub bands: Vec<Line>,
    /// Drift of probabilities.
    pub drift: Vec<Drift>,
    /// The bundle's own edges.
    pub operating: Vec<Operating>,
    /// Conditions that are not measured yet.
    pub missing: Vec<String>,
    /// Seconds of wall time that measuring took, over all runs; none where it is not known of a slice. Of one that was broken off nothing counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The tables of what has been measured.
#[must_use]
pub fn grid(subject: &Subject, slices: &Slices) -> Grid {
    let judge = Judge::of(&subject.manifest);
    let of = |kind| -> Vec<(Condition, Vec<Verdict>)> {
        let with = |condition| Some((condition, judge.condition(slices, kind, condition)?));
        CONDITIONS.into_iter().filter_map(with).collect()
    };
    let (held_out, met) = (of(Kind::HeldOut), of(Kind::Met));
    let lines = |measured: &[(Condition, Vec<Verdict>)], keep: fn(Condition) -> bool| {
        let kept = measured.iter().filter(|(condition, _)| keep(*condition));
        let line = |(condition, clips): &(Condition, Vec<Verdict>)| {
            engines::line(&condition.to_string(), &judged(clips, |_| true))
        };
        kept.filter_map(line).collect::<Vec<_>>()
    };
    let claimed: Vec<Verdict> = held_out
        .iter()
        .filter(|(condition, _)| condition.is_claimed())
        .flat_map(|(_, clips)| clips.iter().cloned())
        .collect();
    let mut claim = lines(&held_out, Condition::is_claimed);
    claim.extend(engines::line("all of these", &judged(&claimed, |_| true)));
    let bands = BANDS.windows(2).filter_map(|edges| {
        let here = |snr: f32| (edges[0]..edges[1]).contains(&snr);
        let name = format!("error {}-{} dB", edges[0], edges[1].floor());
        engines::line(&name, &judged(&claimed, here))
    });
    let missing = CONDITIONS.iter().filter(|condition| {
        let kinds = [Kind::Human, Kind::HeldOut, Kind::Met];
        let there = |kind: &Kind| slices.clips(*kind, **condition).is_some();
        !kinds.iter().all(there)
    });
    Grid {
        engines: subject.engines().to_string(),
        claim,
        met: lines(&met, |_| true),
        bands: bands.collect(),
        drift: drift(&held_out),
        operating: held_out
            .iter()
            .map(|(condition, clips)| judge.operating(*condition, clips))
            .collect(),
        missing: missing.map(ToString::to_string).collect(),
        seconds: slices.seconds(),
        held_out: lines(&held_out, |_| true),
    }
}

/// A clip that was judged.
#[derive(Clone, Debug)]
struct Verdict {
    judged: Judged,
    snr_db: Option<f32>,
}

/// Human clips, and positives whose error ratio `keep` keeps.
fn judged(clips: &[Verdict], keep: impl Fn(f32) -> bool) -> Vec<&Judged> {
    let kept = clips.iter().filter(|clip| clip.snr_db.is_none_or(&keep));
    kept.map(|clip| &clip.judged).collect()
}

/// The bundle's rules.
struct Judge<'a> {
    manifest: &'a Manifest,
    rules: Rules<'a>,
}

impl<'a> Judge<'a> {
    fn of(manifest: &'a Manifest) -> Self {
        Self {
            manifest,
            rules: Rules::of(manifest).expect("a subject has a calibrated residual"),
        }
    }

    /// Human clips and positives of a kind in a condition; none where one of the slices is not there.
    fn condition(&self, slices: &Slices, kind: Kind, condition: Condition) -> Option<Vec<Verdict>> {
        let humans = slices.clips(Kind::Human, condition)?;
        let positives = slices.clips(kind, condition)?;
        let clips: Vec<&Clip> = humans.iter().chain(positives).collect();
        let coarse = coarse(&clips);
        let pairs = clips.into_iter().zip(coarse);
        Some(
            pairs
                .map(|(clip, coarse)| self.clip(clip, coarse))
                .collect(),
        )
    }

    fn clip(&self, clip: &Clip, coarse: f64) -> Verdict {
        Verdict {
            judged: self.rules.judge(Heard {
                piece: clip.piece.to_string(),
                positive: clip.snr_db.is_some(),
                coarse,
                screen: clip.screen,
                features: &clip.features,
            }),
            snr_db: clip.snr_db,
        }
    }

    fn operating(&self, condition: Condition, clips: &[Verdict]) -> Operating {
        let edge = |score: Option<f64>| score.unwrap_or(f64::INFINITY);
        let screen = edge(self.manifest.likely_ai().map(|tier| tier.score));
        let tiers = &self.rules.residual.verdicts;
        let likely = tiers
            .tiers
            .iter()
            .find(|tier| tier.name == tiers.likely_ai_tier);
        let both = edge(likely.map(|tier| tier.score));
        let gate = Gated::of(self.manifest, None);
        let share = |positive: bool, holds: &dyn Fn(&Judged) -> bool| -> f64 {
            let side = clips.iter().map(|clip| &clip.judged);
            let side: Vec<&Judged> = side.filter(|clip| clip.positive == positive).collect();
            let count = side.iter().filter(|clip| holds(clip)).count();
            count as f64 / side.len().max(1) as f64
        };
        let by_screen = |clip: &Judged| clip.screen >= screen;
        let by_both = |clip: &Judged| clip.both >= both;
        let sent_on = |clip: &Judged| gate.takes(clip.screen);
        Operating {
            condition: condition.to_string(),
            screen_flagged: share(false, &by_screen),
            screen_found: share(true, &by_screen),
            both_flagged: share(false, &by_both),
            both_found: share(true, &by_both),
            escalated_humans: share(false, &sent_on),
            escalated_positives: share(true, &sent_on),
        }
    }
}

/// Scores of the coarse baseline, each by a fit on the pieces of the other half.
fn coarse(clips: &[&Clip]) -> Vec<f64> {
    let half = |clip: &Clip| clip.piece % 2;
    let fits = [0, 1].map(|side| {
        let others = clips.iter().filter(|clip| half(clip) != side);
        let (rows, targets): (Vec<Vec<f64>>, Vec<f64>) = others
            .map(|clip| {
                let target = f64::from(u8::from(clip.snr_db.is_some()));
                (View::Coarse.row(&clip.facts), target)
            })
            .unzip();
        Logistic::fit(&rows, &targets, RIDGE)
    });
    let score = |clip: &&Clip| fits[half(clip)].score(&View::Coarse.row(&clip.facts));
    clips.iter().map(score).collect()
}

fn drift(measured: &[(Condition, Vec<Verdict>)]) -> Vec<Drift> {
    let Some((_, untreated)) = measured
        .iter()
        .find(|(condition, _)| *condition == Condition::Wav)
    else {
        return Vec::new();
    };
    let key = |clip: &Verdict| (clip.judged.piece.clone(), clip.judged.positive);
    let untreated: BTreeMap<_, &Verdict> = untreated.iter().map(|clip| (key(clip), clip)).collect();
    let of = |(condition, clips): &(Condition, Vec<Verdict>)| {
        let pairs: Vec<(&Verdict, &Verdict)> = clips
            .iter()
            .filter_map(|clip| Some((clip, *untreated.get(&key(clip))?)))
            .collect();
        let spread = |of: fn(&Verdict) -> f64| {
            let off = || pairs.iter().map(|(a, b)| (of(a) - of(b)).abs());
            let mean = off().sum::<f64>() / pairs.len().max(1) as f64;
            (mean, off().fold(0.0, f64::max))
        };
        let (screen_mean, screen_max) = spread(|clip| clip.judged.probabilities.screen);
        let (both_mean, both_max) = spread(|clip| clip.judged.probabilities.both);
        Drift {
            condition: condition.to_string(),
            screen_mean,
            screen_max,
            both_mean,
            both_max,
        }
    };
    let treated = measured
        .iter()
        .filter(|(condition, _)| *condition != Condition::Wav);
    treated.map(of).collect()
}

impl Grid {
    /// The tables for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (title, lines) in [
            (
                "The claim: held-out decoder, error 15-30 dB below the music",
                &self.claim,
            ),
            ("Held-out decoder, every condition", &self.held_out),
            (
                "Decoders that training met, error 10-35 dB below",
                &self.met,
            ),
            (
                "Held-out decoder by error, over the conditions of the claim",
                &self.bands,
            ),
        ] {
            let _ = writeln!(out, "{title}\n\n{}", engines::text(lines));
        }
        self.write_operating(&mut out);
        self.write_drift(&mut out);
        if !self.missing.is_empty() {
            let _ = writeln!(
                out,
                "Not measured in full yet: {}\n",
                self.missing.join(", ")
            );
        }
        if let Some(seconds) = self.seconds {
            let _ = writeln!(
                out,
                "Measuring took {:.1} minutes, {WORKERS} clips at a time\n",
                seconds / 60.0
            );
        }
        out.push_str(&self.outcome());
        out
    }

    fn write_operating(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "The bundle's own edges, held-out decoder\n\n{:<20} {:>15} {:>13} {:>13} {:>11} {:>16} {:>13}",
            "condition",
            "screen flagged",
            "screen found",
            "both flagged",
            "both found",
            "sent on, human",
            "sent on, ai"
        );
        for row in &self.operating {
            let _ = writeln!(
                out,
                "{:<20} {:>14.1}% {:>12.1}% {:>12.1}% {:>10.1}% {:>15.1}% {:>12.1}%",
                row.condition,
                100.0 * row.screen_flagged,
                100.0 * row.screen_found,
                100.0 * row.both_flagged,
                100.0 * row.both_found,
                100.0 * row.escalated_humans,
                100.0 * row.escalated_positives
            );
        }
        out.push('\n');
    }

    fn write_drift(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "Drift of probability from the untreated clip, prior 0.5\n\n{:<20} {:>12} {:>11} {:>10} {:>9}",
            "condition", "screen mean", "screen max", "both mean", "both max"
        );
        for row in &self.drift {
            let _ = writeln!(
                out,
                "{:<20} {:>12.3} {:>11.3} {:>10.3} {:>9.3}",
                row.condition, row.screen_mean, row.screen_max, row.both_mean, row.both_max
            );
        }
        out.push('\n');
    }

    /// What becomes of the claim, in words.
    #[must_use]
    pub fn outcome(&self) -> String {
        let wanted = CONDITIONS.iter().filter(|one| one.is_claimed()).count();
        // The last line is that of all conditions together.
        let each = &self.claim[..self.claim.len().saturating_sub(1)];
        let few = |line: &Line| line.both.auc.positives.min(line.both.auc.humans) < CLAIM_PIECES;
        if each.len() < wanted || each.iter().any(few) {
            return format!(
                "The claim is not decided: {} of {wanted} conditions are measured, and {CLAIM_PIECES} pieces a class are needed.\n",
                each.len()
            );
        }
        let names = |holds: &dyn Fn(&Line) -> bool| -> String {
            let kept: Vec<&str> = each
                .iter()
                .filter(|line| holds(line))
                .map(|line| line.name.as_str())
                .collect();
            if kept.is_empty() {
                "none".to_owned()
            } else {
                kept.join(", ")
            }
        };
        format!(
            "Both engines against the screen, intervals that hold zero: AUC on {}; found at 1e-2 on {}.\n",
            names(&|line| line.auc_gain.holds_zero()),
            names(&|line| line.found_gain.holds_zero())
        )
    }
}
