//! What a leading core holds in memory: the stored records with their revisions, and beside them what liveness
//! needs and no record keeps (beats, expiry, hunger). Inside, jobs and nodes go by dense numbers of this reign.
//!
//! Only stored records live here. What is being written waits at the desk until it is back.

use crate::desk::Asked;
use crate::key::{JobKey, NodeKey, RevocationKey};
use crate::mutants::{self, Mutant};
use crate::record::{
    Death, Duty, JobRecord, Lane, NodeRecord, Progress, RevocationRecord, ShardRecord,
};
use crate::tally::Tally;
use crate::{CallId, Flush, Revision};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use types::{
    Attempt, Code, Digest, Millis, Ordinal, PullNo, Range, Session, ShardId, Stage, TrackSet,
    UnixMillis,
};

/// A job of this reign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobNo(pub(crate) u32);

/// A node of this reign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeNo(pub(crate) u32);

/// How much served when it was last counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    pub(crate) at: Millis,
    pub(crate) nodes: u64,
    pub(crate) devices: u64,
}

/// A revocation of this reign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RevNo(pub(crate) u32);

/// The place of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Job(JobNo),
    Node(NodeNo),
    Shard(JobNo, ShardId),
    Revocation(RevNo),
}

impl Slot {
    /// The job that must stand still for this record to change.
    pub(crate) const fn job(self) -> Option<JobNo> {
        match self {
            Self::Job(job) | Self::Shard(job, _) => Some(job),
            Self::Node(_) | Self::Revocation(_) => None,
        }
    }
}

/// A grant of this reign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GrantId {
    pub(crate) job: JobNo,
    pub(crate) shard: ShardId,
    pub(crate) attempt: Attempt,
}

/// A record as stored.
#[derive(Debug, Clone)]
pub(crate) struct Versioned<T> {
    pub(crate) record: T,
    pub(crate) revision: Revision,
}

/// The escalation part that makes an escalation shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EscalationPart {
    pub(crate) tracks: TrackSet,
    pub(crate) sha256: Digest,
}

/// A cancel on its way: first its marker, then the job's record. Publish waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Cancelling {
    /// The call that began it; `None` once it waits for the record.
    pub(crate) asked: Option<Asked>,
    /// Calls that ask the same.
    pub(crate) also: Vec<CallId>,
    /// The call that began it, once the marker is put: the job's totals are taken when nothing of it is on its way.
    pub(crate) closing: Option<Asked>,
}

/// How far a revocation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevStep {
    /// Its object is on its way to storage.
    Marking,
    /// Its intent waits for the job records that it names.
    Marked,
    /// Its intent is being written.
    Staged,
    /// Its record says where it stands.
    Stored,
}

/// One revocation.
#[derive(Debug)]
pub(crate) struct Revocation {
    pub(crate) key: RevocationKey,
    /// What its object says; before the record is stored nothing else does.
    pub(crate) asked: Option<RevocationRecord>,
    pub(crate) stored: Option<Versioned<RevocationRecord>>,
    pub(crate) step: RevStep,
    /// The jobs that it names.
    pub(crate) jobs: BTreeSet<JobNo>,
    /// Shards whose stored record holds what it ends, and that are not being changed by it.
    pub(crate) todo: BTreeSet<(JobNo, ShardId)>,
    /// Calls that wait for the intent.
    pub(crate) calls: Vec<CallId>,
}

impl Revocation {
    pub(crate) const fn new(key: RevocationKey) -> Self {
        Self {
            key,
            asked: None,
            stored: None,
            step: RevStep::Marking,
            jobs: BTreeSet::new(),
            todo: BTreeSet::new(),
            calls: Vec::new(),
        }
    }

    /// What it revokes: as stored, or as asked for.
    pub(crate) fn record(&self) -> Option<&RevocationRecord> {
        let stored = self.stored.as_ref().map(|stored| &stored.record);
        stored.or(self.asked.as_ref())
    }

    fn progress(&self) -> Option<Progress> {
        self.stored.as_ref().map(|stored| stored.record.progress)
    }

    /// Whether its intent is stored and it is not closed.
    pub(crate) fn is_open(&self) -> bool {
        self.progress() == Some(Progress::Open)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.progress() == Some(Progress::Closed)
    }
}

/// The manifest's way to storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ManifestStep {
    /// Not publishing, or not begun.
    Idle,
    /// The shell is at it.
    Writing { tries: u32 },
    /// It failed; again at that time.
    Waiting {
        tries: u32,
        until: Millis,
        code: Code,
    },
}

/// One job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) key: JobKey,
    /// `None` while its first write is under way.
    pub(crate) stored: Option<Versioned<JobRecord>>,
    /// Those that have a key; boxed, since a map keeps room for nearly as many as it holds.
    pub(crate) shards: BTreeMap<ShardId, Box<Shard>>,
    /// Root shards that have no key yet, as ranges of their numbers.
    pub(crate) fresh: TrackSet,
    /// Shards with a key, and escalation shards, that have tracks neither covered nor granted.
    pub(crate) ready: BTreeSet<ShardId>,
    /// Escalation shards that exist, by the parts that make them.
    pub(crate) escalations: BTreeMap<ShardId, EscalationPart>,
    /// Those of them whose tracks are not all covered.
    pub(crate) open_escalations: BTreeSet<ShardId>,
    pub(crate) tally: Tally,
    /// The latest revision of any of its records: rises with each change that a watcher is told.
    pub(crate) seen: Revision,
    pub(crate) cancelling: Option<Cancelling>,
    pub(crate) manifest: ManifestStep,
    /// Shards whose keys are being removed; see `publish`.
    pub(crate) removing: usize,
    /// A copy of the write that made its record may still land.
    pub(crate) doubted: bool,
}

/// Where a running job stands in line; the order of the fields is the order of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InLine {
    pub(crate) lane: Lane,
    pub(crate) priority: Reverse<i32>,
    /// The end of time where it has none.
    pub(crate) deadline: UnixMillis,
    pub(crate) submitted_at: UnixMillis,
    pub(crate) no: JobNo,
}

impl Job {
    pub(crate) fn new(key: JobKey) -> Self {
        Self {
            key,
            stored: None,
            shards: BTreeMap::new(),
            fresh: TrackSet::new(),
            ready: BTreeSet::new(),
            escalations: BTreeMap::new(),
            open_escalations: BTreeSet::new(),
            tally: Tally::default(),
            seen: Revision(0),
            cancelling: None,
            manifest: ManifestStep::Idle,
            removing: 0,
            doubted: false,
        }
    }

    pub(crate) fn record(&self) -> Option<&JobRecord> {
        self.stored.as_ref().map(|stored| &stored.record)
    }

    /// Whether its record lets shards change.
    pub(crate) fn is_open(&self) -> bool {
        self.record().is_some_and(|record| record.state.is_open())
    }

    /// Whether its cancel waits for changes of its shards, so that none may begin.
    pub(crate) fn is_closing(&self) -> bool {
        let cancelling = self.cancelling.as_ref();
        cancelling.is_some_and(|cancelling| cancelling.closing.is_some())
    }

    /// The tracks of a shard that exists.
    pub(crate) fn extent(&self, shard: ShardId) -> Option<TrackSet> {
        match shard {
            ShardId::Root(root) => self.record()?.spec.plan.range(root).map(TrackSet::from),
            ShardId::Escalation { .. } => self.escalations.get(&shard).map(|e| e.tracks.clone()),
        }
    }

    /// Whether the shard exists: a root of the list, or an escalation shard whose part counts.
    pub(crate) fn exists(&self, shard: ShardId) -> bool {
        match shard {
            ShardId::Root(root) => self
                .record()
                .is_some_and(|record| record.spec.plan.range(root).is_some()),
            ShardId::Escalation { .. } => self.escalations.contains_key(&shard),
        }
    }

    pub(crate) fn in_line(&self, no: JobNo) -> Option<InLine> {
        let record = self.record()?;
        Some(InLine {
            lane: record.lane,
            priority: Reverse(record.priority),
            deadline: record.deadline.unwrap_or(UnixMillis(i64::MAX)),
            submitted_at: record.spec.submitted_at,
            no,
        })
    }
}

/// One shard that has a key.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) stored: Versioned<ShardRecord>,
    /// What its parts cover: derived.
    pub(crate) covered: TrackSet,
    /// Tracks in live grants that no part covers: derived.
    pub(crate) granted: u64,
    /// Tracks that are neither covered nor granted: derived.
    pub(crate) waiting: u64,
    /// What waits, and until when, after a failure that costs.
    pub(crate) hold: Hold,
}

/// Tracks that are not granted before a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) what: Held,
    pub(crate) until: Millis,
}

/// Which tracks of a shard wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Those under suspicion: the others are not to blame for a death.
    Suspects,
    /// All: what they are read from could not be reached.
    All,
}

impl Shard {
    /// Tracks of the extent that are neither covered nor granted.
    pub(crate) fn free(&self, extent: &TrackSet) -> TrackSet {
        let mut free = extent.difference(&self.covered);
        for grant in &self.stored.record.grants {
            free.remove(grant.range);
        }
        free
    }
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) key: NodeKey,
    /// `None` while its first write is under way.
    pub(crate) stored: Option<Versioned<NodeRecord>>,
    /// When this reign last heard of the session: at its join or a beat.
    pub(crate) last_beat: Option<Millis>,
    /// The number of the last beat that counted.
    pub(crate) beat: u64,
    /// The last pull answered.
    pub(crate) pulled: PullNo,
    /// The pull under way, with calls that repeated it.
    pub(crate) pulling: Option<(PullNo, Vec<CallId>)>,
    /// It got less than it wanted when the work counter stood there.
    pub(crate) hungry_since: Option<u64>,
    pub(crate) holdings: BTreeMap<GrantId, Holding>,
    pub(crate) devices_out: Vec<(String, Code)>,
    /// Why it cannot store its parts, by its last beat.
    pub(crate) storage_trouble: Option<Code>,
    pub(crate) draining: bool,
    /// Bundles that it could not load in this session, or with which it serves no residual, by the stage that it takes no tracks of.
    pub(crate) refused_bundles: BTreeSet<(Digest, Stage)>,
    /// Jobs whose source or storage it could not reach in this session.
    pub(crate) shunned: BTreeMap<JobKey, Shunned>,
    /// Bundles that its workers had loaded at its last pull.
    pub(crate) bundles: Vec<Digest>,
    /// What it does in 1,000 seconds, by its last pull.
    pub(crate) rate: Option<u32>,
    /// Device time that a track of the residual took it, by its commits under this leader; see `pace`.
    pub(crate) residual_us: Option<u64>,
    /// The last worker death counted.
    pub(crate) deaths_seen: u64,
    /// A copy of the write that made its record may still land.
    pub(crate) doubted: bool,
}

/// What the stored record says of a live grant, kept where each beat finds it; `tries` where it is to try suspects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) range: Range,
    /// Tracks of it without a row.
    pub(crate) open: u64,
    pub(crate) tries: bool,
    pub(crate) flush: Flush,
}

/// A job that a node gets nothing of for a while: longer each time, until it commits to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shunned {
    pub(crate) until: Millis,
    pub(crate) times: u32,
}

/// What liveness knows of a live grant.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    pub(crate) terms: Terms,
    /// The number of the last beat of its node's session that named it; 0 for none.
    pub(crate) named: u64,
    /// May be withdrawn from then on.
    pub(crate) expires: Millis,
    /// Beats received since it was stored.
    pub(crate) beats: u32,
    /// Beats in a row that began after it was stored and did not name it.
    pub(crate) missed: u8,
    /// The session that last named or pulled it.
    pub(crate) session: Session,
    /// What the last beat that named it had in hand.
    pub(crate) in_hand: Option<TrackSet>,
    /// How its session ended, where a later one has begun.
    pub(crate) death: Death,
    /// What is wanted back.
    pub(crate) yield_at: Option<Ordinal>,
    /// Answers that carried this wish since the agent last gave something back.
    pub(crate) yield_told: u8,
    /// When beats last showed progress: other tracks in hand, rows made, tracks counted.
    pub(crate) moved_at: Millis,
    pub(crate) unflushed: u32,
    pub(crate) open: u64,
}

impl Node {
    pub(crate) fn new(key: NodeKey) -> Self {
        Self {
            key,
            stored: None,
            last_beat: None,
            beat: 0,
            pulled: PullNo(0),
            pulling: None,
            hungry_since: None,
            holdings: BTreeMap::new(),
            devices_out: Vec::new(),
            storage_trouble: None,
            draining: false,
            refused_bundles: BTreeSet::new(),
            shunned: BTreeMap::new(),
            bundles: Vec::new(),
            rate: None,
            residual_us: None,
            deaths_seen: 0,
            doubted: false,
        }
    }

    pub(crate) fn record(&self) -> Option<&NodeRecord> {
        self.stored.as_ref().map(|stored| &stored.record)
    }

    /// Whether the session lives and has been heard of within the life of a grant.
    pub(crate) fn is_live(&self, now: Millis) -> bool {
        let heard = self
            .last_beat
            .is_some_and(|at| now.since(at) < crate::limits::GRANT_LIVES);
        heard && self.record().is_some_and(|record| !record.left)
    }

    /// Whether it lives and takes work.
    pub(crate) fn serves(&self, now: Millis) -> bool {
        let duty = self.record().map(|record| record.duty);
        self.is_live(now) && !self.draining && duty == Some(Duty::Serving)
    }

    /// Whether it runs a stage.
    pub(crate) fn runs(&self, stage: Stage) -> bool {
        self.record()
            .is_some_and(|record| record.stages.contains(&stage))
    }

    /// Why the first of its devices is out of service, where all are.
    pub(crate) fn all_out(&self) -> Option<Code> {
        let all = self.record().map_or(0, |record| record.devices.len());
        let (_, code) = self.devices_out.first()?;
        (self.devices_out.len() >= all).then_some(*code)
    }
}

/// The half-open range from a grant's first track to `end`.
pub(crate) fn cut(range: Range, end: Ordinal) -> Range {
    Range {
        first: range.first,
        end: match mutants::on(Mutant::YieldExtends) {
            true => end.max(range.first),
            false => range.end.min(end).max(range.first),
        },
    }
}
