//! What the records of a job add up to. Derived from them alone: a change of a record replaces what that record
//! contributed, and the tests hold the running sum against a fresh count.

use crate::record::{Grant, PartKind, ShardRecord, Totals, VerdictCounts};
use types::{ShardId, TrackSet};

/// Running totals of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) totals: Totals,
    /// Tracks of root shards that a terminal or escalation part covers.
    pub(crate) roots_covered: u64,
    /// Tracks that went through a pass: rows of every part, so that one whose residual is done counts twice.
    pub(crate) passed: u64,
    /// Live grants.
    pub(crate) live_grants: u64,
}

/// What one shard adds: a record whose parts cover `covered` of the extent, and `granted` tracks that they do not.
pub(crate) fn contribution(
    shard: ShardId,
    record: &ShardRecord,
    extent: &TrackSet,
    covered: &TrackSet,
    granted: u64,
) -> Tally {
    let mut tally = Tally {
        live_grants: record.grants.len() as u64,
        ..Tally::default()
    };
    let totals = &mut tally.totals;
    totals.granted = granted;
    for part in &record.parts {
        totals.parts += 1;
        totals.ledger = totals.ledger.plus(part.ledger);
        tally.passed += part.tracks.len();
        if part.kind == PartKind::Terminal {
            totals.done += part.tracks.len();
            totals.verdicts = totals.verdicts.plus(part.verdicts);
        }
    }
    if matches!(shard, ShardId::Root(_)) {
        tally.roots_covered = covered.len();
        totals.shards_done = u32::from(covered.len() == extent.len());
    }
    tally
}

/// Tracks of a live grant that no part covers; what parts cover lies in the extent.
pub(crate) fn open(grant: &Grant, extent: &TrackSet, covered: &TrackSet) -> u64 {
    let granted = extent.len_within(grant.range);
    granted.saturating_sub(covered.len_within(grant.range))
}

impl Tally {
    /// Adds what a shard contributes.
    pub(crate) fn add(&mut self, other: &Self) {
        let (mine, theirs) = (&mut self.totals, &other.totals);
        mine.done += theirs.done;
        mine.granted += theirs.granted;
        mine.shards_done += theirs.shards_done;
        mine.parts += theirs.parts;
        mine.verdicts = mine.verdicts.plus(theirs.verdicts);
        mine.ledger = mine.ledger.plus(theirs.ledger);
        self.roots_covered += other.roots_covered;
        self.passed += other.passed;
        self.live_grants += other.live_grants;
    }

    /// Takes back what a shard contributed before.
    pub(crate) fn remove(&mut self, other: &Self) {
        let (mine, theirs) = (&mut self.totals, &other.totals);
        mine.done -= theirs.done;
        mine.granted -= theirs.granted;
        mine.shards_done -= theirs.shards_done;
        mine.parts -= theirs.parts;
        mine.verdicts = verdicts_minus(mine.verdicts, theirs.verdicts);
        mine.ledger = mine.ledger.minus(theirs.ledger);
        self.roots_covered -= other.roots_covered;
        self.passed -= other.passed;
        self.live_grants -= other.live_grants;
    }
}

const fn verdicts_minus(a: VerdictCounts, b: VerdictCounts) -> VerdictCounts {
    VerdictCounts {
        likely_ai: a.likely_ai.saturating_sub(b.likely_ai),
        no_evidence: a.no_evidence.saturating_sub(b.no_evidence),
        inconclusive: a.inconclusive.saturating_sub(b.inconclusive),
        unscannable: a.unscannable.saturating_sub(b.unscannable),
    }
}
