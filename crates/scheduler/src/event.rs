//! What the shell tells the core. Calls from people and agents arrive here as typed requests: names are checked,
//! digests parsed, and nothing in them is trusted beyond that.

use crate::record::{Lane, Made, ManifestName, PartKind, VerdictCounts};
use crate::{JobKey, RevocationKey};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use types::{
    ActorId, Attempt, Code, Device, Digest, Epoch, Generation, JobId, JobSpec, Ledger, NodeId,
    Ordinal, PullNo, Requirements, RevocationId, Session, ShardId, SourceName, Stage, TenantId,
    TrackSet, UnixMillis,
};

/// A call that waits for its answer; numbered by the shell, unique while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// A write under way; numbered by the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WriteId(pub u64);

/// A read under way; numbered by the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReadId(pub u64);

/// The revision at which the store last put a key. Compared, never computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct Revision(pub u64);

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// This coordinator leads. The core reads all records of the generation and then says `Ready`.
    Led {
        /// The reign.
        epoch: Epoch,
        /// The generation that the store is in.
        generation: Generation,
    },
    /// The leadership is over or may be. The core drops all state.
    Lost,
    /// A read of [`crate::Action::Read`] came back.
    Read {
        /// Which one.
        id: ReadId,
        /// What it gave.
        outcome: ReadOutcome,
    },
    /// A write of [`crate::Action::Write`] came back.
    Written {
        /// Which one.
        id: WriteId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Somebody calls.
    Call {
        /// Which call the answer belongs to.
        call: CallId,
        /// Whose it is and who makes it.
        caller: Caller,
        /// Wall time at the shell, for records that are shown.
        at: UnixMillis,
        /// What is asked.
        request: Box<Request>,
    },
    /// The cancel marker of [`crate::Action::MarkCancelled`] was put, or was not.
    CancelMarked {
        /// The job.
        job: JobKey,
        /// How it ended. `Done` also where the marker was there.
        outcome: StorageOutcome<()>,
    },
    /// The object of [`crate::Action::MarkRevoked`] was put, or was not.
    RevocationMarked {
        /// The revocation.
        revocation: RevocationKey,
        /// How it ended.
        outcome: StorageOutcome<()>,
    },
    /// The manifest of [`crate::Action::WriteManifest`] was put and read back, or was not.
    ManifestWritten {
        /// The job.
        job: JobKey,
        /// Its name; putting the same bytes twice is the same manifest.
        outcome: StorageOutcome<ManifestName>,
        /// Wall time at the shell.
        at: UnixMillis,
    },
    /// The time of [`crate::Core::next_deadline`] has come. May also come early or twice.
    Tick,
}

/// Whose request it is, and who makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Caller {
    /// Whose data the call may touch.
    pub tenant: TenantId,
    /// Who asks, for the audit trail.
    pub actor: ActorId,
}

/// How an effect on storage ended. Unknown is `Failed`: the effects asked for may be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageOutcome<T> {
    /// It is done and durable.
    Done(T),
    /// It is not known to be done.
    Failed {
        /// `STORAGE_UNAVAILABLE`, `STORAGE_FULL` or `STORAGE_CORRUPT`.
        code: Code,
        /// What the shell saw.
        cause: String,
    },
}

/// How a transaction ended, in the words of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All compares held; the puts are durable at this revision.
    Applied {
        /// The transaction's revision: the new revision of each key put.
        revision: Revision,
    },
    /// A compare did not hold; nothing changed.
    Refused(Refusal),
    /// Certainly nothing changed, and nothing will by this transaction.
    NotApplied {
        /// `STORE_UNAVAILABLE` or `STORE_FULL`.
        code: Code,
        /// What the store said.
        cause: String,
    },
    /// It may have been applied, or may still be.
    Unknown {
        /// What could not be learnt.
        cause: String,
    },
}

/// Which compare did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The epoch no longer leads: the core drops all state and steps down.
    Epoch,
    /// A key was not as compared.
    Key(String),
}

/// One key as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEntry {
    /// The key.
    pub key: String,
    /// Its value.
    #[serde(with = "crate::journal::bytes")]
    pub value: Vec<u8>,
    /// When it was last put.
    pub revision: Revision,
}

/// What a linearizable read gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadOutcome {
    /// A page of a prefix, or those of the keys asked for that exist; keys ascending.
    Page {
        /// The entries.
        entries: Vec<StoredEntry>,
        /// The last key of this page when more follow.
        next: Option<String>,
        /// The revision that this page shows.
        revision: Revision,
    },
    /// The revision asked for is no longer kept: the core begins again.
    Compacted,
    /// The store could not be asked.
    Unavailable {
        /// What the store said.
        cause: String,
    },
    /// A value does not match its checksum: the core refuses to serve.
    Damaged {
        /// Which one.
        key: String,
        /// What the store said.
        cause: String,
    },
}

/// What a call asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Make a job of a specification that storage holds already.
    Submit(Submission),
    /// End a job without a result. Refused from `publishing` on; cancelling a cancelled job is no error.
    Cancel {
        /// The job.
        job: JobId,
        /// Why; shortened to [`crate::record::Closing::REASON_BYTES_MAX`].
        reason: String,
    },
    /// Grant nothing new of a job; what is in hand still counts.
    Pause {
        /// The job.
        job: JobId,
    },
    /// Let a paused job go on.
    Resume {
        /// The job.
        job: JobId,
    },
    /// Change where an open job stands in line; what is `None` stays as it is.
    SetRank {
        /// The job.
        job: JobId,
        /// Its lane.
        lane: Option<Lane>,
        /// Within the lane of its tenant, higher goes first.
        priority: Option<i32>,
        /// By when it is wanted. May be moved, not taken away.
        deadline: Option<UnixMillis>,
    },
    /// Let nothing count that a device made in a span of time, in jobs that do not publish yet. Repeating it changes
    /// nothing.
    Revoke(Revoke),
    /// Let a node take no new work, or let it again.
    SetDuty {
        /// The node.
        node: NodeId,
        /// What it may do from now on.
        duty: crate::record::Duty,
    },
    /// Begin a session.
    Join(AgentInfo),
    /// Ask for work.
    Pull(Pull),
    /// Say what is in hand; renews that and only that.
    Beat(Beat),
    /// Make parts count.
    Commit(Commit),
    /// End the session: all that is not committed returns to the queue at no cost.
    Leave {
        /// The node.
        node: NodeId,
        /// The session that ends.
        session: Session,
    },
}

/// A job to be. The job's name is issued by the shell and stands in the specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// What to do; tenant, actor and generation must be the caller's and the core's.
    pub spec: JobSpec,
    /// SHA-256 of the specification object in storage; the same name with the same digest is the same submit.
    pub spec_sha256: Digest,
    /// Its lane.
    pub lane: Lane,
    /// Within the lane of its tenant, higher goes first.
    pub priority: i32,
    /// By when the result is wanted, where it is wanted by a time.
    pub deadline: Option<UnixMillis>,
    /// What a node must have to be given its tracks.
    pub requires: Requirements,
}

/// What is not to count. Answered when the intent is stored; the records follow by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    /// Its name, drawn by whoever asks: the same name with the same span is the same revocation.
    pub revocation: RevocationId,
    /// The node.
    pub node: NodeId,
    /// The device on it; `None` for all.
    pub device: Option<String>,
    /// Begin of the span by the coordinator's clock, as nodes know it.
    pub from: UnixMillis,
    /// End of the span, itself included.
    pub to: UnixMillis,
    /// Why; shortened to [`crate::record::Closing::REASON_BYTES_MAX`].
    pub reason: String,
}

/// What an agent says of itself at its join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// The node.
    pub node: NodeId,
    /// Drawn once per process life: the same join repeated gets the same session.
    pub nonce: u64,
    /// Version of the agent's package.
    pub version: String,
    /// Its devices.
    pub devices: Vec<Device>,
    /// The stages it can run.
    pub stages: Vec<Stage>,
    /// Sources it can read by its own configuration.
    pub sources: Vec<SourceName>,
    /// Whether it takes source definitions from the coordinator.
    pub accepts_sources: bool,
    /// Decoder children it runs.
    pub decoders: u32,
}

/// A request for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The node.
    pub node: NodeId,
    /// Its session.
    pub session: Session,
    /// From 1, rising; a repeated number gets the same answer.
    pub number: PullNo,
    /// What the whole node does in 1,000 seconds, as lately measured; `None` before anything was.
    pub tracks_per_1000_s: Option<u32>,
    /// Most tracks it wants now; 0 asks for nothing.
    pub want_tracks: u32,
    /// Bundles that its workers have loaded: work for those goes first within a lane.
    pub bundles: Vec<Digest>,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The node.
    pub node: NodeId,
    /// Its session.
    pub session: Session,
    /// From 1, rising; a late one is answered but changes nothing.
    pub number: u64,
    /// Every grant that the node holds.
    pub held: Vec<Held>,
    /// Grants that the node gives back, with the cause.
    pub released: Vec<Released>,
    /// Devices that are out of service, by name, with the code of why.
    pub devices_out: Vec<(String, Code)>,
    /// Why the node cannot store its parts, where it cannot; it tries again by itself.
    #[serde(default)]
    pub storage_trouble: Option<Code>,
    /// The node finishes what it has and takes nothing new.
    pub draining: bool,
}

/// A grant in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The job.
    pub job: JobId,
    /// The shard.
    pub shard: ShardId,
    /// The attempt.
    pub attempt: Attempt,
    /// Tracks being worked on or in an unanswered part.
    pub in_hand: TrackSet,
    /// Answer to `yield at N`: from this ordinal on nothing is in hand, and nothing will be.
    pub yielded_at: Option<Ordinal>,
    /// Workers that died with tracks of this grant in hand since the last answered beat.
    pub deaths: Vec<WorkerDeath>,
    /// Tracks whose rows are made and not yet committed.
    pub unflushed: u32,
}

/// A worker's end that may be a track's doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerDeath {
    /// From 1 within the session, rising, so that a repeated beat counts once.
    pub number: u64,
    /// Tracks that it had in hand.
    pub tracks: TrackSet,
}

/// A grant given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The job.
    pub job: JobId,
    /// The shard.
    pub shard: ShardId,
    /// The attempt.
    pub attempt: Attempt,
    /// Why.
    pub cause: Cause,
}

/// Why a grant is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// The node drains. Costs nothing.
    Drain,
    /// The node's disk or queues are full. Costs nothing.
    BackPressure,
    /// Something more urgent took its place. Costs nothing.
    Preempted,
    /// A worker died. Costs.
    WorkerLost,
    /// The device was taken out. Costs.
    DeviceOut,
    /// The bundle could not be loaded. Costs, and the node is not offered this bundle again in this session.
    Bundle,
    /// A source or storage could not be reached. Costs.
    Storage,
}

/// Parts of one grant that are to count, together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The node.
    pub node: NodeId,
    /// Its session.
    pub session: Session,
    /// The job.
    pub job: JobId,
    /// The generation in whose paths the parts stand.
    pub generation: Generation,
    /// The shard.
    pub shard: ShardId,
    /// The attempt.
    pub attempt: Attempt,
    /// At most [`crate::limits::PARTS_PER_COMMIT_MAX`].
    pub parts: Vec<PartClaim>,
}

/// An object that is to count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartClaim {
    /// What its rows are.
    pub kind: PartKind,
    /// The tracks it covers.
    pub tracks: TrackSet,
    /// SHA-256 of the object; its path follows from this, the attempt and the first track.
    pub sha256: Digest,
    /// Rows: one for each track.
    pub rows: u32,
    /// Its size.
    pub bytes: u64,
    /// How its rows ended; their sum is `rows`, and all zero for an escalation part.
    pub verdicts: VerdictCounts,
    /// What it cost.
    pub ledger: Ledger,
    /// The devices that made it.
    pub made: Vec<Made>,
    /// The checks that its devices passed at this flush: one for each device and stage in `made`, but decode.
    pub canaries: Vec<Canary>,
}

/// A device's check with the bundle's clip of known scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The device on its node.
    pub device: String,
    /// The stage.
    pub stage: Stage,
    /// How it ended.
    pub verdict: CanaryVerdict,
}

/// How a canary ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CanaryVerdict {
    /// The scores were those of the bundle within its tolerance.
    Good,
    /// They were not.
    Bad,
}
