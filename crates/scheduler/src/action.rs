//! What the core asks of its shell, and what it answers to calls. The shell carries actions out in their order;
//! reads, writes and storage effects may overlap, for the core never sends an answer before what it rests on is back.

use crate::event::{CallId, ReadId, Revision, WriteId};
use crate::invariants::Change;
use crate::record::{Care, JobState, Lane, PartKind, RevocationRecord, Totals, VerdictCounts};
use crate::{Blocked, JobKey, RevocationKey};
use alloc::string::String;
use alloc::vec::Vec;
use types::{
    ActorId, Attempt, DeviceUse, Digest, Epoch, Generation, JobId, JobSpec, Ledger, Millis,
    Ordinal, Problem, PullNo, Range, Session, ShardId, TrackSet, UnixMillis,
};

/// The actions of one or more events, in order. The shell drains it.
pub type Actions = Vec<Action>;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read from the store, linearizably; answer with [`crate::Event::Read`].
    Read {
        /// The read's number.
        id: ReadId,
        /// What to read.
        reading: Reading,
    },
    /// Execute one transaction; answer with [`crate::Event::Written`]. Never to be repeated by the shell.
    Write {
        /// The write's number. A repetition decided by the core has a number of its own.
        id: WriteId,
        /// The transaction.
        txn: Txn,
    },
    /// Answer a call.
    Answer {
        /// Which call.
        call: CallId,
        /// The answer, or why not.
        answer: Result<Answer, Problem>,
    },
    /// Write the line of a change that the store has taken into the audit trail. Comes before any answer that rests on it.
    Audit {
        /// Who made it, where somebody did; `None` for what the core did by itself.
        by: Option<ActorId>,
        /// What changed.
        change: Change,
    },
    /// Put the cancel marker beside the job's specification in storage; answer with [`crate::Event::CancelMarked`].
    MarkCancelled {
        /// The job.
        job: JobKey,
        /// Who cancels.
        by: ActorId,
        /// When.
        at: UnixMillis,
        /// Why.
        reason: String,
    },
    /// Put an object that says what is revoked beside the jobs' specifications, at a path of its own for these bytes (an
    /// old leader's late put must not replace a later one); answer with [`crate::Event::RevocationMarked`].
    MarkRevoked {
        /// The revocation.
        revocation: RevocationKey,
        /// All that the object says.
        record: alloc::boxed::Box<RevocationRecord>,
    },
    /// Write the manifest that this plan makes (its bytes are a function of it) under the name of (job, version,
    /// generation, SHA-256), read it back, and answer with [`crate::Event::ManifestWritten`].
    WriteManifest {
        /// All that the manifest says.
        plan: alloc::boxed::Box<ManifestPlan>,
    },
    /// Recovery is complete: the views show the stored state and calls are answered.
    Ready {
        /// The reign.
        epoch: Epoch,
    },
    /// The core has dropped all state. Stop answering; give up the leadership of this epoch.
    StepDown {
        /// The reign that ended, where one had begun.
        epoch: Epoch,
        /// Why.
        reason: StepDown,
    },
}

/// Why the core stepped down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepDown {
    /// A write was refused because the epoch no longer leads, or the shell said so.
    EpochEnded,
    /// A record is damaged or of a later version: refuse to serve and name it. Needs an operator.
    Unreadable {
        /// The key.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A page of all keys that start with `prefix`.
    Prefix {
        /// The beginning of the keys.
        prefix: String,
        /// Only keys after this one.
        after: Option<String>,
        /// Read as of this revision, that of the page before.
        at: Option<Revision>,
        /// Most entries wanted.
        limit: usize,
    },
    /// These keys, at most [`crate::limits::GROUP_OPS_MAX`].
    Keys(Vec<String>),
}

/// If every compare holds, then every operation, at one revision. At most one operation per key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    /// The reign that must lead.
    pub epoch: Epoch,
    /// All must hold.
    pub compares: Vec<Compare>,
    /// All happen or none.
    pub ops: Vec<Op>,
}

/// A condition on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// It was last put at exactly this revision.
    At {
        /// The key.
        key: String,
        /// The revision.
        revision: Revision,
    },
    /// It does not exist.
    Absent {
        /// The key.
        key: String,
    },
}

/// An effect on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Give it this value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
    },
    /// Remove it. Only keys of closed jobs are removed.
    Delete {
        /// The key.
        key: String,
    },
}

impl Compare {
    /// The key compared.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::At { key, .. } | Self::Absent { key } => key,
        }
    }
}

impl Op {
    /// The key changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// A good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Submit`.
    Submitted {
        /// The job.
        job: JobKey,
        /// Whether this submit made it or an earlier one had.
        existing: bool,
    },
    /// To `Cancel`, `Pause`, `Resume` and `SetRank`.
    Changed {
        /// The job.
        job: JobKey,
        /// Where it stands now.
        state: JobState,
        /// It stood there before.
        existing: bool,
    },
    /// To `Revoke`: the intent is stored.
    Revoked {
        /// The revocation.
        revocation: RevocationKey,
        /// Open jobs that may hold what is revoked; none of them publishes before they do not.
        jobs: usize,
        /// It had been asked for before.
        existing: bool,
    },
    /// To `SetDuty` and `Leave`.
    Done,
    /// To `Join`.
    Joined(JoinAnswer),
    /// To `Pull`.
    Pulled(PullAnswer),
    /// To `Beat`.
    Beaten(BeatAnswer),
    /// To `Commit`.
    Committed(CommitAnswer),
}

/// A session begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAnswer {
    /// Its number.
    pub session: Session,
    /// The reign.
    pub epoch: Epoch,
    /// The generation.
    pub generation: Generation,
    /// Time between two beats.
    pub beat_every: Millis,
    /// How long a grant lives without renewal.
    pub grant_lives: Millis,
}

/// Work, or when to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullAnswer {
    /// The pull answered.
    pub number: PullNo,
    /// The grants; a repeated answer names those that still live.
    pub grants: Vec<Granted>,
    /// The jobs that they belong to, each once.
    pub jobs: Vec<JobSpec>,
    /// Not to ask again before, unless a beat says `pull now`.
    pub again_after: Millis,
    /// Why nothing was granted, where nothing was.
    pub reason: Option<Blocked>,
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The job.
    pub job: JobKey,
    /// The shard.
    pub shard: ShardId,
    /// The fence.
    pub attempt: Attempt,
    /// The reign and generation that part footers state.
    pub epoch: Epoch,
    /// See `epoch`.
    pub generation: Generation,
    /// The grant's ordinals.
    pub range: Range,
    /// Those of them to work on: the others are covered already or not of this shard.
    pub tracks: TrackSet,
    /// How to handle them.
    pub care: Care,
    /// Those of the tracks that are in hand alone, with nothing else on the node, beside what `care` says of all.
    pub apart: TrackSet,
    /// When to flush.
    pub flush: Flush,
    /// Most of the tracks that may go on to the residual, where the job has an escalation budget: then the grant is of all that
    /// is left of its shard, and its parts count together or not at all. `None`: no bound.
    pub escalations_max: Option<u32>,
    /// The escalation part that the shard is made of, where it is one.
    pub escalation: Option<Escalation>,
    /// The job's lane as it was granted: a node works on the fastest first.
    pub lane: Lane,
    /// The job's priority then: within a lane a node works on the highest first.
    pub priority: i32,
}

/// When to flush a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// At intervals, and at its end.
    AsConfigured,
    /// Once, at its end: the shard has many parts already, or is not divided.
    AtEnd,
}

/// The escalation part that a shard is made of; its path follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escalation {
    /// The root shard.
    pub root: u32,
    /// The attempt that wrote it.
    pub attempt: Attempt,
    /// Its first track.
    pub first: Ordinal,
    /// SHA-256 of the object; the footers of the shard's own parts carry it.
    pub sha256: Digest,
}

/// What a node is to do with a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Go on; the grant is renewed.
    Continue,
    /// Answer in a beat from which ordinal `M ≥ at` on nothing is in hand; nothing from there on will be.
    YieldAt {
        /// The least ordinal wanted back.
        at: Ordinal,
    },
    /// Forget the grant and what it made; objects are left to the collector.
    Stop,
}

/// An order with the grant it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantOrder {
    /// The job.
    pub job: JobId,
    /// The shard.
    pub shard: ShardId,
    /// The attempt.
    pub attempt: Attempt,
    /// What to do.
    pub order: Order,
    /// When to flush from now on.
    pub flush: Flush,
}

/// The answer to a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeatAnswer {
    /// The reign.
    pub epoch: Epoch,
    /// One for each grant that the beat named.
    pub orders: Vec<GrantOrder>,
    /// Work has come: pull without waiting.
    pub pull_now: bool,
    /// Finish what is in hand and leave.
    pub drain: bool,
}

/// The answer to a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitAnswer {
    /// How it ended.
    pub outcome: CommitOutcome,
    /// What to do with the rest of the grant.
    pub order: Order,
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The parts count now.
    Counted,
    /// They had counted before: the same digests stand there.
    DoneAlready,
    /// The attempt is not live: forget the parts; objects are left to the collector.
    Superseded,
}

/// All that a manifest says: a function of the job's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPlan {
    /// The job.
    pub job: JobKey,
    /// Its specification.
    pub spec: JobSpec,
    /// SHA-256 of the specification object.
    pub spec_sha256: Digest,
    /// 1 for a job's first manifest.
    pub version: u32,
    /// The generation that writes it.
    pub generation: Generation,
    /// Terminal parts, by (shard, first track).
    pub parts: Vec<ManifestPart>,
    /// What they add up to.
    pub totals: Totals,
    /// What all parts that count used, escalation parts among them, by node, device and stage; empty where that is more than
    /// [`USES_TOLD_MAX`] lines. Where it is not, it sums to the ledger of the totals.
    ///
    /// [`USES_TOLD_MAX`]: crate::limits::USES_TOLD_MAX
    pub uses: Vec<DeviceUse>,
}

/// One terminal part in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPart {
    /// The shard.
    pub shard: ShardId,
    /// The attempt.
    pub attempt: Attempt,
    /// What its rows are: always terminal.
    pub kind: PartKind,
    /// The tracks it covers.
    pub tracks: TrackSet,
    /// SHA-256 of the object.
    pub sha256: Digest,
    /// Its rows.
    pub rows: u32,
    /// Its size.
    pub bytes: u64,
    /// How its rows ended.
    pub verdicts: VerdictCounts,
    /// What it cost.
    pub ledger: Ledger,
}
