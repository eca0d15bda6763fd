//! What is counted over all rows, and the lines with the most evidence, of which no more are held than are shown. However long a
//! list is, memory holds [`TABLE_LINES_MAX`] lines and a number for each code.

use super::line::Line;
use super::rules::Rules;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use types::Verdict;

/// Lines of the table at most: what a browser still sorts at once. The rest is named, with the command that exports it.
pub(crate) const TABLE_LINES_MAX: usize = 5_000;
/// Kinds of codes counted apart: twice those that there are. Of an unknown future each further kind counts as one.
const KINDS_MAX: usize = 128;
/// What further kinds are counted as.
const OTHERS: &str = "OTHERS";

/// Counts over all rows, and the lines that are shown.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// All rows.
    pub(crate) tracks: u64,
    /// By verdict.
    pub(crate) verdicts: BTreeMap<Verdict, u64>,
    /// Those screened: with a score, as `view::Flags` counts them.
    pub(crate) scored: u64,
    /// Those that went on to the residual.
    pub(crate) separated: u64,
    /// Those whose verdict rests on both engines.
    pub(crate) fused: u64,
    /// Those that another device might decide otherwise.
    pub(crate) borderline: u64,
    /// Inconclusive ones by reason.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Unscannable ones by code.
    pub(crate) codes: BTreeMap<String, u64>,
    /// Decoded audio in milliseconds.
    pub(crate) audio_ms: u64,
    top: BinaryHeap<Ranked>,
}

impl Tally {
    /// Counts a line and keeps it while it is among the first.
    pub(crate) fn add(&mut self, line: Line, rules: &Rules) {
        self.tracks += 1;
        *self.verdicts.entry(line.verdict).or_default() += 1;
        self.scored += u64::from(line.score.is_some());
        self.separated += u64::from(line.separated);
        let fused = line.score.is_some_and(|score| score.fused) && rules.fusion().is_some();
        self.fused += u64::from(fused);
        self.borderline += u64::from(line.borderline);
        self.audio_ms = self.audio_ms.saturating_add(line.duration_ms.unwrap_or(0));
        match line.verdict {
            Verdict::Inconclusive => count(&mut self.reasons, &line.why),
            Verdict::Unscannable => count(&mut self.codes, &line.why),
            Verdict::LikelyAi | Verdict::NoEvidence => {}
        }
        self.top.push(Ranked(line));
        if self.top.len() > TABLE_LINES_MAX {
            self.top.pop();
        }
    }

    /// How many tracks ended so.
    pub(crate) fn ended(&self, verdict: Verdict) -> u64 {
        self.verdicts.get(&verdict).copied().unwrap_or(0)
    }

    /// The lines that are shown, the most evidence first; then, by their places, those without a score.
    pub(crate) fn lines(&mut self) -> Vec<Line> {
        let ranked = std::mem::take(&mut self.top).into_sorted_vec();
        ranked.into_iter().map(|Ranked(line)| line).collect()
    }
}

fn count(kinds: &mut BTreeMap<String, u64>, kind: &str) {
    let known = kinds.contains_key(kind) || kinds.len() < KINDS_MAX;
    let kind = if known { kind } else { OTHERS };
    *kinds.entry(kind.to_owned()).or_default() += 1;
}

/// A line by its place in the table: the greater, the later.
#[derive(Debug)]
struct Ranked(Line);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let evidence = |line: &Line| line.score.map_or(f64::NEG_INFINITY, |score| score.evidence);
        let (own, its) = (evidence(&self.0), evidence(&other.0));
        let by_place = || self.0.ordinal.cmp(&other.0.ordinal);
        its.total_cmp(&own).then_with(by_place)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use super::super::line::tests::line;
    use super::super::rules::tests::{manifest, of, policy};
    use super::*;

    fn tally(lines: impl IntoIterator<Item = Line>) -> Tally {
        let (rules, mut tally) = (of(&manifest(), policy()), Tally::default());
        lines.into_iter().for_each(|line| tally.add(line, &rules));
        tally
    }

    #[test]
    fn the_most_evidence_comes_first_whatever_the_order_and_equals_by_their_places() {
        let scores = [None, Some(1.0), Some(3.0), None, Some(3.0), Some(-2.0)];
        let lines = || {
            (0..)
                .zip(scores)
                .map(|(ordinal, score)| line(ordinal, score))
        };
        let ordinals = |mut tally: Tally| -> Vec<u32> {
            tally.lines().iter().map(|line| line.ordinal).collect()
        };
        assert_eq!(ordinals(tally(lines())), [2, 4, 1, 5, 0, 3]);
        let mut backwards: Vec<Line> = lines().collect();
        backwards.reverse();
        assert_eq!(ordinals(tally(backwards)), [2, 4, 1, 5, 0, 3]);
    }

    #[test]
    fn no_more_lines_are_held_than_are_shown_and_all_are_counted() {
        let many = TABLE_LINES_MAX as u32 + 10;
        let mut tally = tally((0..many).map(|ordinal| line(ordinal, Some(f64::from(ordinal)))));
        assert_eq!(tally.tracks, u64::from(many));
        let lines = tally.lines();
        assert_eq!(lines.len(), TABLE_LINES_MAX);
        assert_eq!(
            (lines[0].ordinal, lines[TABLE_LINES_MAX - 1].ordinal),
            (many - 1, 10)
        );
    }

    #[test]
    fn kinds_beyond_the_bound_are_counted_together() {
        let failed = |ordinal: u32| Line {
            verdict: Verdict::Unscannable,
            why: format!("CODE_{ordinal}"),
            ..line(ordinal, None)
        };
        let tally = tally((0..200).map(failed));
        assert_eq!(tally.codes.len(), KINDS_MAX + 1);
        assert_eq!(tally.codes[OTHERS], 200 - KINDS_MAX as u64);
    }
}
