//! What a record's change says in words, and I17 over it: each change that lands leaves one line in the audit trail, once.
//!
//! The core asks it as a write is known to be applied and hands each change to its shell, which writes the line; tests and
//! the simulator ask it of what their stores took. A put that changes nothing but its revision is no change.

use super::{Invariant, Violation, hold};
use crate::RecordKey;
use crate::record::{
    Duty, JobRecord, JobState, NodeRecord, Part, Progress, RecordError, RevocationRecord,
    ShardRecord, Standing, decode,
};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use types::{Attempt, Digest, NodeId, Session, TenantId};

/// One thing that a write changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Whose record, and which.
    pub key: RecordKey,
    /// What became of it.
    pub what: What,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The job is accepted.
    Submitted,
    /// The job gives out nothing new.
    Paused,
    /// The job goes on.
    Resumed,
    /// The job stands elsewhere in line.
    Ranked,
    /// The job ended without a result.
    Cancelled,
    /// The job's manifest is being written.
    Publishing,
    /// The job has its result.
    Published,
    /// The node began a session.
    Joined(Session),
    /// The node's session ended by itself.
    Left,
    /// An operator's word on the node.
    Duty(Duty),
    /// The shard has a live grant of that node.
    Granted(Attempt, NodeId),
    /// The live grant ended, and not with its work.
    Withdrawn(Attempt),
    /// The live grant lost tracks from its end.
    Shrunk(Attempt),
    /// The part of that digest counts.
    Counted(Digest),
    /// The part of that digest counts no more.
    Dropped(Digest),
    /// Tracks of the shard are under suspicion, or a failure is counted; nothing else changed.
    Accused,
    /// The escalation shard is none any more: its part was dropped.
    Tombstoned,
    /// The revocation is under way.
    Revoked,
    /// Nothing that the revocation covers counts.
    Closed,
    /// The record of a job, a node or a revocation is removed.
    Removed,
}

/// A record, as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    Job(&'a JobRecord),
    Node(&'a NodeRecord),
    Shard(&'a ShardRecord),
    Revocation(&'a RevocationRecord),
}

impl RecordKey {
    /// Whose record it is.
    #[must_use]
    pub const fn tenant(&self) -> &TenantId {
        match self {
            Self::Job(key) | Self::Shard(key, _) => &key.tenant,
            Self::Node(key) => &key.tenant,
            Self::Revocation(key) => &key.tenant,
        }
    }
}

/// What a write changed of the record at a key, by its stored forms before and after; `None` where there is none.
///
/// # Errors
/// Where one of them is no record of the key's kind.
pub fn changes(
    key: &RecordKey,
    before: Option<&[u8]>,
    after: Option<&[u8]>,
) -> Result<Vec<Change>, RecordError> {
    let read = |bytes: Option<&[u8]>| bytes.map(|bytes| Owned::read(key, bytes)).transpose();
    let (before, after) = (read(before)?, read(after)?);
    let (before, after) = (before.as_ref(), after.as_ref());
    let said = says(before.map(Owned::seen), after.map(Owned::seen));
    let change = |what| Change {
        key: key.clone(),
        what,
    };
    Ok(said.into_iter().map(change).collect())
}

/// I17: the trail has a line for each change that was stored, once, and for nothing else. A change without a line was heard by
/// nobody: its writer's reign ended before the store's word reached it.
///
/// # Errors
/// Names a change that has a line too many, or one too few.
pub fn changes_are_audited<'a>(
    stored: impl IntoIterator<Item = &'a Change>,
    trail: impl IntoIterator<Item = &'a Change>,
    unheard: impl Fn(&Change) -> bool,
) -> Result<(), Violation> {
    let mut owed: BTreeMap<&Change, i64> = BTreeMap::new();
    for change in stored {
        *owed.entry(change).or_default() += 1;
    }
    for line in trail {
        *owed.entry(line).or_default() -= 1;
    }
    for (change, lines) in owed {
        hold(lines >= 0, Invariant::I17, || {
            format!("{change:?} has {} lines too many", -lines)
        })?;
        hold(lines == 0 || unheard(change), Invariant::I17, || {
            format!("{change:?} was stored and has {lines} lines too few")
        })?;
    }
    Ok(())
}

/// Each thing that differs between two forms of one record.
pub(crate) fn says(before: Option<Seen<'_>>, after: Option<Seen<'_>>) -> Vec<What> {
    let mut said = Vec::new();
    each(before, after, |what| said.push(what));
    said
}

fn each(before: Option<Seen<'_>>, after: Option<Seen<'_>>, mut say: impl FnMut(What)) {
    match (before, after) {
        (None, None) => {}
        // Only a closed job's, which go with it; a job of a hundred thousand shards would fill the trail with them.
        (Some(Seen::Shard(_)), None) => {}
        (Some(_), None) => say(What::Removed),
        (before, Some(Seen::Job(after))) => {
            let before = before.and_then(|before| match before {
                Seen::Job(job) => Some(job),
                Seen::Node(_) | Seen::Shard(_) | Seen::Revocation(_) => None,
            });
            job(before, after).into_iter().for_each(say);
        }
        (before, Some(Seen::Node(after))) => {
            let before = before.and_then(|before| match before {
                Seen::Node(node) => Some(node),
                Seen::Job(_) | Seen::Shard(_) | Seen::Revocation(_) => None,
            });
            node(before, after, say);
        }
        (before, Some(Seen::Shard(after))) => {
            let before = before.and_then(|before| match before {
                Seen::Shard(shard) => Some(shard),
                Seen::Job(_) | Seen::Node(_) | Seen::Revocation(_) => None,
            });
            shard(before, after, say);
        }
        (before, Some(Seen::Revocation(after))) => {
            let closed = after.progress == Progress::Closed;
            match before {
                None => say(What::Revoked),
                Some(Seen::Revocation(before)) if before.progress == Progress::Closed => {}
                Some(_) if closed => say(What::Closed),
                Some(_) => {}
            }
        }
    }
}

fn job(before: Option<&JobRecord>, after: &JobRecord) -> Option<What> {
    let Some(before) = before else {
        return Some(What::Submitted);
    };
    let rank = |record: &JobRecord| (record.lane, record.priority, record.deadline);
    if before.state == after.state {
        return (rank(before) != rank(after)).then_some(What::Ranked);
    }
    Some(match after.state {
        JobState::Running => What::Resumed,
        JobState::Paused => What::Paused,
        JobState::Publishing => What::Publishing,
        JobState::Published(_) => What::Published,
        JobState::Cancelled(_) => What::Cancelled,
    })
}

fn node(before: Option<&NodeRecord>, after: &NodeRecord, mut say: impl FnMut(What)) {
    let joins = before.is_none_or(|before| before.session != after.session);
    if joins {
        say(What::Joined(after.session));
    }
    if after.left && before.is_none_or(|before| !before.left) {
        say(What::Left);
    }
    let duty = before.map_or(Duty::default(), |before| before.duty);
    if duty != after.duty {
        say(What::Duty(after.duty));
    }
}

fn shard(before: Option<&ShardRecord>, after: &ShardRecord, mut say: impl FnMut(What)) {
    let nothing = ShardRecord::default();
    let before = before.unwrap_or(&nothing);
    let mut silent = true;
    let mut tell = |what| {
        silent = false;
        say(what);
    };
    let mut counts = false;
    for part in added(&after.parts, &before.parts) {
        counts = true;
        tell(What::Counted(part.sha256));
    }
    for part in added(&before.parts, &after.parts) {
        tell(What::Dropped(part.sha256));
    }
    for grant in &after.grants {
        match before.grant(grant.attempt) {
            None => tell(What::Granted(grant.attempt, grant.node.clone())),
            Some(had) if had.range != grant.range => tell(What::Shrunk(grant.attempt)),
            Some(_) => {}
        }
    }
    // A grant that ends as parts begin to count has no track left without a row.
    for grant in before.grants.iter().filter(|_| !counts) {
        if after.grant(grant.attempt).is_none() {
            tell(What::Withdrawn(grant.attempt));
        }
    }
    if after.standing == Standing::Tombstone && before.standing != Standing::Tombstone {
        tell(What::Tombstoned);
    }
    if silent && before != after {
        say(What::Accused);
    }
}

/// Parts that others lack. Where they stand at the same place, as they do but where some were dropped, none is looked for.
fn added<'a>(parts: &'a [Part], others: &'a [Part]) -> impl Iterator<Item = &'a Part> {
    let same =
        |one: &Part, other: &Part| one.sha256 == other.sha256 && one.attempt == other.attempt;
    let lacks = move |(at, part): &(usize, &Part)| {
        let there = others.get(*at).is_some_and(|other| same(part, other));
        !there && !others.iter().any(|other| same(part, other))
    };
    let added = parts.iter().enumerate().filter(lacks);
    added.map(|(_, part)| part)
}

/// A record that was read.
enum Owned {
    Job(Box<JobRecord>),
    Node(Box<NodeRecord>),
    Shard(Box<ShardRecord>),
    Revocation(Box<RevocationRecord>),
}

impl Owned {
    fn read(key: &RecordKey, bytes: &[u8]) -> Result<Self, RecordError> {
        Ok(match key {
            RecordKey::Job(_) => Self::Job(Box::new(decode(bytes)?)),
            RecordKey::Node(_) => Self::Node(Box::new(decode(bytes)?)),
            RecordKey::Shard(..) => Self::Shard(Box::new(decode(bytes)?)),
            RecordKey::Revocation(_) => Self::Revocation(Box::new(decode(bytes)?)),
        })
    }

    fn seen(&self) -> Seen<'_> {
        match self {
            Self::Job(job) => Seen::Job(job),
            Self::Node(node) => Seen::Node(node),
            Self::Shard(shard) => Seen::Shard(shard),
            Self::Revocation(revocation) => Seen::Revocation(revocation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Care, Grant, Suspect};
    use crate::{JobKey, NodeKey};
    use alloc::vec;
    use types::{JobId, PullNo, Range, ShardId};

    fn grant(attempt: u32, first: u32, end: u32) -> Grant {
        Grant {
            attempt: Attempt(attempt),
            tenant: TenantId::default(),
            node: NodeId::new("n").unwrap(),
            session: Session(1),
            pull: PullNo(1),
            range: Range { first, end },
            care: Care::Normal,
            apart: None,
        }
    }

    fn with(grants: Vec<Grant>) -> ShardRecord {
        ShardRecord {
            last_attempt: Attempt(9),
            grants,
            ..ShardRecord::default()
        }
    }

    #[test]
    fn a_shards_change_says_what_became_of_each_grant_and_a_put_of_the_same_says_nothing() {
        let node = NodeId::new("n").unwrap();
        let two = with(vec![grant(1, 0, 4), grant(2, 4, 8)]);
        let accused = ShardRecord {
            suspects: vec![Suspect {
                tracks: Range { first: 0, end: 1 },
                deaths: 1,
                together: 1,
                alone: Vec::new(),
            }],
            ..two.clone()
        };
        let shrunk = with(vec![grant(1, 0, 2)]);
        for (before, after, expected) in [
            (
                with(vec![grant(1, 0, 4)]),
                two.clone(),
                vec![What::Granted(Attempt(2), node)],
            ),
            (two.clone(), two.clone(), vec![]),
            (two.clone(), accused, vec![What::Accused]),
            (
                two,
                shrunk,
                vec![What::Shrunk(Attempt(1)), What::Withdrawn(Attempt(2))],
            ),
        ] {
            let (before, after) = (Some(Seen::Shard(&before)), Some(Seen::Shard(&after)));
            assert_eq!(says(before, after), expected);
        }
    }

    #[test]
    fn each_stored_change_has_one_line_unless_nobody_heard_of_it() {
        let job = JobKey {
            tenant: TenantId::default(),
            job: JobId::new("j").unwrap(),
        };
        let node = NodeKey {
            tenant: TenantId::default(),
            node: NodeId::new("n").unwrap(),
        };
        let counted = Change {
            key: RecordKey::Shard(job, ShardId::Root(0)),
            what: What::Counted(Digest::of(b"part")),
        };
        let left = Change {
            key: RecordKey::Node(node),
            what: What::Left,
        };
        let (counted, left) = (&counted, &left);
        for (stored, trail, unheard, holds) in [
            (vec![counted, left], vec![left, counted], false, true),
            (vec![counted], vec![counted, counted], false, false),
            (vec![], vec![counted], true, false),
            (vec![counted, counted], vec![counted], false, false),
            (vec![counted, left], vec![left], true, true),
            (vec![counted, left], vec![left], false, false),
        ] {
            let judged = changes_are_audited(stored, trail, |_| unheard);
            assert_eq!(judged.is_ok(), holds);
        }
    }
}
