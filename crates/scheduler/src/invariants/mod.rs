//! What must hold, whoever acts: one predicate for each invariant. Those in [`Invariant::COUNTED`] the core asks itself: it
//! refuses or counts what breaks one. The evidence of the others it never sees, or too late: tests and the simulator, which have
//! it, ask those.
//!
//! The numbers are stable; [`Invariant::holder`] says where each is held.

mod evidence;
#[cfg(test)]
mod tests;
mod trail;

pub use evidence::{
    applied_in_its_reign, commit_is_renewed, counted_was_not_collected, held_is_stored, job_change,
    job_has_ended, job_is_its_tenants, orphan_is_unnamed, part_is_stored, shares_are_even,
    traces_agree,
};
pub use trail::{Change, What, changes, changes_are_audited};
pub(crate) use trail::{Seen, says};

use crate::JobKey;
use crate::action::ManifestPlan;
use crate::limits;
use crate::record::{
    Care, Grant, Part, PartKind, RevocationRecord, ShardRecord, Standing, grants_apart, parts_apart,
};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use types::{Epoch, TenantId, TrackSet};

/// An invariant by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// A part that counts is never changed, and dropped only by a revocation that covers it, before publish.
    I1,
    /// A part counts only under a live grant that holds its tracks, in the epoch that writes it.
    I2,
    /// Attempt numbers strictly increase, and the last one is never lowered.
    I3,
    /// At most one live grant per track.
    I4,
    /// What a part that counts names is in storage, of its size and digest.
    I5,
    /// No orphan counts.
    I6,
    /// What was collected never counts.
    I7,
    /// Covered, granted and queued tracks of a shard add up to all of its tracks, each counted once.
    I8,
    /// Rows of the manifest are the rows of its parts are the tracks of the list, each once.
    I9,
    /// What belongs to one tenant stands under its own name.
    I10,
    /// A write of an ended reign is refused.
    I11,
    /// What a leader holds in memory is what the store holds.
    I12,
    /// A track is rejected only after it has died alone often enough.
    I13,
    /// Tenants with backlog have even shares of device time.
    I14,
    /// With faults stopped every job ends.
    I15,
    /// A job's states follow each other only as they may: cancel and publish exclude each other.
    I16,
    /// Every change is audited, once.
    I17,
    /// Records stay within their bounds.
    I18,
    /// An agent commits only under a grant renewed within its life.
    I19,
    /// The same events give the same actions.
    I20,
    /// Not of the protocol: an assumption of this program.
    Internal,
}

/// An invariant that does not hold, and of what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} does not hold: {what}")]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Violation {
    pub(crate) fn internal(what: &str) -> Self {
        Self {
            invariant: Invariant::Internal,
            what: what.to_string(),
        }
    }
}

fn hold(holds: bool, invariant: Invariant, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds {
        return Ok(());
    }
    Err(Violation {
        invariant,
        what: what(),
    })
}

/// All invariants of one shard's change. `before` is `None` where the shard has no key yet.
///
/// # Errors
/// Names the first invariant that the change breaks.
pub fn shard_change(
    before: Option<&ShardRecord>,
    after: &ShardRecord,
    extent: &TrackSet,
    epoch: Epoch,
) -> Result<(), Violation> {
    shard_change_under(before, after, extent, epoch, &[])
}

/// The same, where these open revocations name the shard's job: what they cover may be dropped, and nothing else.
///
/// # Errors
/// Names the first invariant that the change breaks.
pub fn shard_change_under(
    before: Option<&ShardRecord>,
    after: &ShardRecord,
    extent: &TrackSet,
    epoch: Epoch,
    revocations: &[&RevocationRecord],
) -> Result<(), Violation> {
    let empty = ShardRecord::default();
    let before = before.unwrap_or(&empty);
    parts_stay_unless(before, after, revocations)?;
    parts_were_granted(before, after, epoch)?;
    attempts_rise(before, after)?;
    grants_are_disjoint(after)?;
    rejects_are_convicted(before, after)?;
    record_is_bounded(after)?;
    coverage_is_bounded(before, after)?;
    grants_lie_inside(after, extent)?;
    tracks_add_up(after, extent)
}

/// I10: the nodes that hold grants of a shard work for the tenant whose job it is.
///
/// # Errors
/// Names the grant whose node does not.
pub fn grants_are_in_house(job: &JobKey, record: &ShardRecord) -> Result<(), Violation> {
    // Not by the rule that the core goes by: whoever judges must not believe what it judges.
    let stranger = |grant: &&Grant| {
        let fleet = grant.tenant == TenantId::default();
        !fleet && grant.tenant != job.tenant
    };
    let stranger = record.grants.iter().find(stranger);
    hold(stranger.is_none(), Invariant::I10, || {
        format!("`{job}` is worked on by {stranger:?}")
    })
}

/// I1 of an escalation shard that falls: a revocation covers the part that makes it. `made_of` is that part as stored.
///
/// # Errors
/// When none does.
pub fn tombstone_is_revoked(
    before: Option<&ShardRecord>,
    after: &ShardRecord,
    made_of: Option<&Part>,
    revocations: &[&RevocationRecord],
) -> Result<(), Violation> {
    let stands = |record: &ShardRecord| record.standing == Standing::Tombstone;
    if !stands(after) || before.is_some_and(stands) {
        return Ok(());
    }
    let revoked = made_of.is_some_and(|part| revocations.iter().any(|by| by.covers(part)));
    hold(revoked, Invariant::I1, || {
        "an escalation shard falls whose part no revocation covers".to_string()
    })
}

/// I1: each part that counted still counts, unchanged.
///
/// # Errors
/// Names the part that does not.
pub fn parts_stay(before: &ShardRecord, after: &ShardRecord) -> Result<(), Violation> {
    parts_stay_unless(before, after, &[])
}

/// I1 beside revocations: each part that counted still counts, unchanged, unless one of these covers it; a tombstone
/// stays as it is and takes the place of a live escalation shard under a revocation only.
///
/// # Errors
/// Names the part that does not.
pub fn parts_stay_unless(
    before: &ShardRecord,
    after: &ShardRecord,
    revocations: &[&RevocationRecord],
) -> Result<(), Violation> {
    match (before.standing, after.standing) {
        (Standing::Tombstone, _) => {
            return hold(before == after, Invariant::I1, || {
                "a tombstone changed".to_string()
            });
        }
        (Standing::Live, Standing::Tombstone) => {
            let empty = after.parts.is_empty() && after.grants.is_empty();
            let may = empty && !revocations.is_empty();
            return hold(may, Invariant::I1, || {
                "an escalation shard fell without a revocation, or holds something".to_string()
            });
        }
        (Standing::Live, Standing::Live) => {}
    }
    let mut rest = after.parts.iter().peekable();
    for part in &before.parts {
        if rest.next_if(|next| *next == part).is_none() {
            let revoked = revocations.iter().any(|by| by.covers(part));
            hold(revoked, Invariant::I1, || {
                format!("part {:?} is gone or changed", part.sha256)
            })?;
        }
    }
    Ok(())
}

/// The parts of `after` that were not there before: those that follow what was kept.
fn new_parts<'a>(before: &ShardRecord, after: &'a ShardRecord) -> impl Iterator<Item = &'a Part> {
    let mut rest = after.parts.iter().peekable();
    for part in &before.parts {
        rest.next_if(|next| *next == part);
    }
    rest
}

/// I2: each new part lies in a grant that was live before, on its node, and this epoch counts it.
///
/// # Errors
/// Names the part that does not.
pub fn parts_were_granted(
    before: &ShardRecord,
    after: &ShardRecord,
    epoch: Epoch,
) -> Result<(), Violation> {
    let granted = |part: &Part| {
        let grant = before.grant(part.attempt);
        grant.is_some_and(|grant| {
            let inside = part.tracks.len_within(grant.range) == part.tracks.len();
            grant.node == part.node && inside
        })
    };
    for part in new_parts(before, after) {
        hold(granted(part), Invariant::I2, || {
            format!(
                "part {:?} of attempt {} has no live grant",
                part.sha256, part.attempt
            )
        })?;
        hold(part.epoch == epoch, Invariant::I2, || {
            format!("part of epoch {} written in epoch {epoch}", part.epoch)
        })?;
    }
    Ok(())
}

/// I13: a grant that rejects its tracks names one track, convicted by the deaths that the record kept before, where no
/// other node could try it: which there were then, no record says.
///
/// # Errors
/// Names the grant that does not.
pub fn rejects_are_convicted(before: &ShardRecord, after: &ShardRecord) -> Result<(), Violation> {
    let rejects = after
        .grants
        .iter()
        .filter(|grant| grant.care == Care::Reject && before.grant(grant.attempt).is_none());
    for grant in rejects {
        let suspect = crate::suspects::of(&before.suspects, grant.range.first);
        let convicted = suspect.is_some_and(|suspect| suspect.care(&[]) == Care::Reject);
        hold(convicted && grant.range.len() == 1, Invariant::I13, || {
            format!(
                "grant {} rejects {} unconvicted",
                grant.attempt, grant.range
            )
        })?;
    }
    Ok(())
}

/// I18 of the parts that are new: what they cover takes no more bytes than a subset of a shard may.
///
/// # Errors
/// Names the part whose coverage does.
pub fn coverage_is_bounded(before: &ShardRecord, after: &ShardRecord) -> Result<(), Violation> {
    let long = |part: &&Part| part.tracks.to_bytes().len() > limits::COVERAGE_BYTES_MAX;
    let long = new_parts(before, after).find(long);
    hold(long.is_none(), Invariant::I18, || {
        format!(
            "the coverage of {:?} is too long",
            long.map(|part| part.sha256)
        )
    })
}

/// I18 of one record: grants and runs of suspects stay within their bounds.
///
/// # Errors
/// Names what does not.
pub fn record_is_bounded(record: &ShardRecord) -> Result<(), Violation> {
    let bounded = |holds, what: &str| hold(holds, Invariant::I18, || what.to_string());
    bounded(
        record.grants.len() <= limits::GRANTS_PER_SHARD_MAX,
        "a shard has more than 16 live grants",
    )?;
    bounded(
        record.suspects.len() <= limits::SUSPECT_RUNS_MAX,
        "a shard has more than 64 runs of suspects",
    )
}

/// I3: the last attempt is never lowered; a new grant's attempt lies above the old last one.
///
/// # Errors
/// Names the attempt that does not.
pub fn attempts_rise(before: &ShardRecord, after: &ShardRecord) -> Result<(), Violation> {
    hold(
        after.last_attempt >= before.last_attempt,
        Invariant::I3,
        || {
            format!(
                "last attempt {} became {}",
                before.last_attempt, after.last_attempt
            )
        },
    )?;
    let mut last = before.last_attempt;
    for grant in &after.grants {
        if let Some(old) = before.grant(grant.attempt) {
            let same = old.node == grant.node
                && old.range.first == grant.range.first
                && grant.range.end <= old.range.end;
            hold(same, Invariant::I3, || {
                format!("grant {} changed hands or grew", grant.attempt)
            })?;
            continue;
        }
        hold(
            grant.attempt > last && grant.attempt <= after.last_attempt,
            Invariant::I3,
            || format!("attempt {} was given after {last}", grant.attempt),
        )?;
        last = grant.attempt;
    }
    Ok(())
}

/// I4: no track lies in two live grants.
///
/// # Errors
/// When one does.
pub fn grants_are_disjoint(record: &ShardRecord) -> Result<(), Violation> {
    hold(grants_apart(&record.grants), Invariant::I4, || {
        format!("live grants overlap: {:?}", record.grants)
    })
}

/// I8: each live grant begins at a track of the shard and ends with or before its last one.
///
/// # Errors
/// Names the grant that does not.
pub fn grants_lie_inside(record: &ShardRecord, extent: &TrackSet) -> Result<(), Violation> {
    let end = extent.ranges().last().map_or(0, |range| range.end);
    let inside = |grant: &Grant| extent.contains(grant.range.first) && grant.range.end <= end;
    let outside = record.grants.iter().find(|grant| !inside(grant));
    hold(outside.is_none(), Invariant::I8, || {
        format!("{outside:?} lies outside the shard")
    })
}

/// I8: parts are disjoint and within the shard, one row for each track; so covered, granted and queued tracks add up.
///
/// # Errors
/// Names the part that is not.
pub fn tracks_add_up(record: &ShardRecord, extent: &TrackSet) -> Result<(), Violation> {
    for part in &record.parts {
        let inside = part.tracks.is_within(extent);
        hold(inside, Invariant::I8, || {
            format!("part {:?} has tracks outside the shard", part.sha256)
        })?;
        hold(
            u64::from(part.rows) == part.tracks.len(),
            Invariant::I8,
            || {
                format!(
                    "part {:?} has {} rows for {} tracks",
                    part.sha256,
                    part.rows,
                    part.tracks.len()
                )
            },
        )?;
    }
    hold(parts_apart(&record.parts), Invariant::I8, || {
        "two parts cover one track".to_string()
    })
}

/// I9: the manifest's terminal parts cover each track of the list once, with one row each.
///
/// # Errors
/// When a track is missing, doubled, or a part is not terminal.
pub fn manifest_is_whole(plan: &ManifestPlan) -> Result<(), Violation> {
    let terminal = plan
        .parts
        .iter()
        .all(|part| part.kind == PartKind::Terminal);
    hold(terminal, Invariant::I9, || {
        "an escalation part is in the manifest".to_string()
    })?;
    let mut ranges: Vec<_> = plan
        .parts
        .iter()
        .flat_map(|part| part.tracks.ranges().iter().copied())
        .collect();
    ranges.sort_unstable();
    let end = ranges.iter().try_fold(0u32, |next, range| {
        (range.first == next).then_some(range.end)
    });
    hold(end == Some(plan.spec.plan.rows), Invariant::I9, || {
        format!(
            "the manifest does not cover each of {} tracks once",
            plan.spec.plan.rows
        )
    })?;
    let rows: u64 = plan.parts.iter().map(|part| u64::from(part.rows)).sum();
    hold(
        rows == u64::from(plan.spec.plan.rows),
        Invariant::I9,
        || {
            format!(
                "the manifest has {rows} rows for {} tracks",
                plan.spec.plan.rows
            )
        },
    )
}
