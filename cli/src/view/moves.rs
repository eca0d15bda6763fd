//! How verdicts move from one bundle's rules to another's over the rows of a job. Counted by `calibrate`, shown beside the flags; judges
//! nothing itself.

use crate::output::Records;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use types::Verdict;

/// The verdicts that a track with a score can have.
const SHOWN: [Verdict; 3] = [
    Verdict::LikelyAi,
    Verdict::NoEvidence,
    Verdict::Inconclusive,
];

/// Tracks that have one verdict by the base's rules and one by the new rules.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Move {
    /// The verdict before.
    pub(crate) before: String,
    /// The verdict now; the same one where nothing moved.
    pub(crate) now: String,
    /// How many tracks.
    pub(crate) tracks: u64,
}

/// Counts of verdicts before and now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moves(BTreeMap<(Verdict, Verdict), u64>);

impl Moves {
    /// Counts a track.
    pub(crate) fn count(&mut self, before: Verdict, now: Verdict) {
        *self.0.entry((before, now)).or_default() += 1;
    }

    /// Tracks whose verdict is another one.
    pub(crate) fn moved(&self) -> u64 {
        let moved = self.0.iter().filter(|((before, now), _)| before != now);
        moved.map(|(_, tracks)| tracks).sum()
    }

    /// Tracks that are flagged by one of the two rules and not by the other.
    pub(crate) fn flags_changed(&self) -> u64 {
        let is_flag = |verdict: &Verdict| *verdict == Verdict::LikelyAi;
        let changed = self
            .0
            .iter()
            .filter(|((before, now), _)| is_flag(before) != is_flag(now));
        changed.map(|(_, tracks)| tracks).sum()
    }

    /// Each pair of verdicts that a track has.
    pub(crate) fn each(&self) -> Vec<Move> {
        let each = self.0.iter().map(|((before, now), tracks)| Move {
            before: before.as_str().to_owned(),
            now: now.as_str().to_owned(),
            tracks: *tracks,
        });
        each.collect()
    }
}

/// A line for each verdict before, a column for each one now.
pub(super) fn matrix(moves: &[Move]) -> Records {
    let tracks = |before: Verdict, now: Verdict| {
        let is = |one: &&Move| one.before == before.as_str() && one.now == now.as_str();
        moves.iter().find(is).map_or(0, |one| one.tracks)
    };
    let row = |before: Verdict| -> Vec<String> {
        let counts = SHOWN.map(|now| tracks(before, now).to_string());
        std::iter::once(before.as_str().to_owned())
            .chain(counts)
            .collect()
    };
    Records {
        header: vec!["BEFORE", "LIKELY_AI", "NO_EVIDENCE", "INCONCLUSIVE"],
        rows: SHOWN.map(row).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_without_a_flag_on_either_side_is_a_move_and_changes_no_flag() {
        let mut moves = Moves::default();
        moves.count(Verdict::NoEvidence, Verdict::Inconclusive);
        moves.count(Verdict::NoEvidence, Verdict::NoEvidence);
        moves.count(Verdict::Inconclusive, Verdict::LikelyAi);
        moves.count(Verdict::Inconclusive, Verdict::LikelyAi);
        assert_eq!((moves.moved(), moves.flags_changed()), (3, 2));
        let rows = matrix(&moves.each()).rows;
        let expected = [
            ["likely_ai", "0", "0", "0"],
            ["no_evidence", "0", "1", "1"],
            ["inconclusive", "2", "0", "0"],
        ];
        assert_eq!(rows, expected);
    }
}
