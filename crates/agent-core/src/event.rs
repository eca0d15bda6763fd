//! What the shell tells the core. Each call that an action asked for is answered by exactly one event, be it only that no
//! answer came; events about tokens, parts or devices that the core has forgotten are ignored.

use types::{Code, Digest, Millis, Ordinal, PullNo, Range, Session, Stage, TrackId, TrackSet};

use crate::{DeviceNo, GrantKey, PartNo, SlotNo, Token};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Answer to `Join`.
    Joined(Result<Joined, CallError>),
    /// Answer to `Pull`.
    Pulled {
        /// The session that the call named.
        session: Session,
        /// The pull's number.
        number: PullNo,
        /// How it ended.
        answer: Result<Pulled, CallError>,
    },
    /// Answer to `Beat`.
    Beaten {
        /// The session that the call named.
        session: Session,
        /// The beat's number.
        number: u64,
        /// How it ended.
        answer: Result<Beaten, CallError>,
    },
    /// Answer to `Commit`.
    Committed {
        /// The part.
        part: PartNo,
        /// How it ended.
        answer: Result<Committed, CallError>,
    },
    /// Answer to `Leave`; whether it arrived is no matter after a few tries.
    Left(Result<(), CallError>),
    /// A part of an earlier life was found on disk, perhaps stored, perhaps even committed. Told before the first join.
    Found(Found),
    /// Answer to `Prepare`: the grant's rows are read, those of its escalation part included, or not.
    Prepared {
        /// The grant.
        grant: GrantKey,
        /// How it ended.
        outcome: Result<(), Unready>,
    },
    /// Answer to `Load`: the device's worker runs with the bundle.
    DeviceReady {
        /// The device.
        device: DeviceNo,
        /// What is loaded.
        bundle: Digest,
    },
    /// The device's worker does not serve a stage with its bundle, and no other device of this node would. Told before the worker is
    /// ready; it serves the other stages.
    StageUnserved {
        /// The device.
        device: DeviceNo,
        /// What it loads.
        bundle: Digest,
        /// The stage.
        stage: Stage,
    },
    /// Answer to `Load`: the bundle is not to be had on this node. Not a fault of the device. With [`Unready::Never`] also of a loaded
    /// one whose files are not what they were: all that the worker had in hand is lost.
    BundleUnready {
        /// The device.
        device: DeviceNo,
        /// The bundle.
        bundle: Digest,
        /// Whether another try may help.
        why: Unready,
    },
    /// The device's worker is gone, or could not be started. All that it had in hand is lost.
    WorkerDied {
        /// The device.
        device: DeviceNo,
        /// How.
        death: Death,
    },
    /// A decoder and its ring are idle and known to the device's worker.
    SlotReady {
        /// The device.
        device: DeviceNo,
        /// The slot.
        slot: SlotNo,
    },
    /// A track that was started came to an end.
    TrackEnded {
        /// The try.
        token: Token,
        /// How.
        outcome: TrackOutcome,
    },
    /// Answer to `Sing`.
    CanarySung {
        /// The device.
        device: DeviceNo,
        /// The request's number.
        nonce: u64,
        /// Whether the scores were the known ones.
        good: bool,
    },
    /// The device has no room for the residual's network: what it had in hand for it, a canary included, has no answer. It screens on.
    NoRoom {
        /// The device.
        device: DeviceNo,
    },
    /// A part is on the node's disk, be it written just now or found there.
    PartSaved {
        /// The part.
        part: PartNo,
        /// Bytes of its file.
        bytes: u64,
    },
    /// Answer to `WritePart`: the part is in storage and checked, or not.
    PartWritten {
        /// The part.
        part: PartNo,
        /// The code of why it is not there, where it is not.
        outcome: Result<(), Code>,
    },
    /// Finish what is in hand, take nothing new, leave.
    Drain,
    /// The time for that is over: give up what is in hand, and leave with all that is held.
    DrainOver,
    /// The time of `next_deadline` has come. May also come early or twice.
    Tick,
}

/// Why a call gave no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// No answer came; what was asked may have happened.
    Unanswered,
    /// The coordinator refused.
    Refused(Code),
}

/// A session begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its number.
    pub session: Session,
    /// Time between two beats.
    pub beat_every: Millis,
    /// How long a grant lives without renewal.
    pub grant_lives: Millis,
}

/// Work, or when to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The grants.
    pub grants: Vec<Granted>,
    /// Not to ask again before, counted from the answer.
    pub again_after: Millis,
}

/// One grant, as far as the core needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its name.
    pub key: GrantKey,
    /// Its ordinals.
    pub range: Range,
    /// Those of them to work on.
    pub tracks: TrackSet,
    /// The job's bundle.
    pub bundle: Digest,
    /// Tracks of a whole shard of the job, for the flush rule.
    pub shard_tracks: u32,
    /// How to handle the tracks.
    pub care: Care,
    /// Those of the tracks that are suspects of a machine's death beside others that are not: each runs with nothing else on the
    /// node.
    pub apart: TrackSet,
    /// When to flush.
    pub flush: Flush,
    /// Most of the tracks that may go on to the residual, where the job has an escalation budget. The grant is then of all that
    /// is left of its shard: it is flushed once, when each track has its row, and given back whole or not at all.
    pub escalations_max: Option<u32>,
    /// Where the job stands in line.
    pub rank: Rank,
}

/// Where a grant stands among those that a node holds: the least goes first, and among equals the one that came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// The lane: 0 is the fastest.
    pub lane: u8,
    /// The higher goes first.
    pub priority: core::cmp::Reverse<i32>,
}

impl Default for Rank {
    /// The slowest lane, priority 0.
    fn default() -> Self {
        Self {
            lane: u8::MAX,
            priority: core::cmp::Reverse(0),
        }
    }
}

/// How a grant's tracks are to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Like any.
    Normal,
    /// Suspects: one at a time, with nothing else on the device.
    Apart,
    /// Not to be run: their rows say `WORKER_DIED`.
    Reject,
}

/// When to flush a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// At intervals, and at its end.
    AsConfigured,
    /// Once, at its end.
    AtEnd,
}

/// The answer to a beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    /// One for each grant that the beat named.
    pub orders: Vec<GrantOrder>,
    /// Work has come: pull without waiting.
    pub pull_now: bool,
    /// Finish what is in hand and leave.
    pub drain: bool,
}

/// An order about one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantOrder {
    /// The grant.
    pub key: GrantKey,
    /// What to do.
    pub order: Order,
    /// When to flush from now on.
    pub flush: Flush,
}

/// What to do with a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on; the grant is renewed.
    Continue,
    /// Go on, but say from which ordinal on, at or after this one, nothing is in hand.
    YieldAt(Ordinal),
    /// Forget the grant and what it made.
    Stop,
}

/// The answer to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// How it ended.
    pub outcome: CommitOutcome,
    /// What to do with the rest of the grant.
    pub order: Order,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The part counts now.
    Counted,
    /// It had counted before.
    DoneAlready,
    /// The attempt is not live: forget the part. Its object is left to the collector.
    Superseded,
}

/// A part that an earlier life of this agent left on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its grant.
    pub grant: GrantKey,
    /// Its tracks.
    pub tracks: TrackSet,
    /// The part's number in this life, given by the shell: counted from 0 in the order found.
    pub part: PartNo,
}

/// Why something is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    /// Out of reach at the moment.
    Later,
    /// It will not come by waiting.
    Never,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// By its own fault: a signal of its own making, a status, an error of the device.
    Own,
    /// It hung and was killed by the watchdog.
    Hung,
    /// SIGKILL or SIGTERM from elsewhere: an operator, the kernel's out-of-memory killer.
    Killed,
}

/// How a track ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackOutcome {
    /// The device scored it; the shell holds its row.
    Scored,
    /// The device screened it and the gate sends it on to the residual; the shell holds its screen row. Of tracks of a root
    /// shard only: what comes from the residual is scored.
    Escalated(Escalation),
    /// The device screened it and the gate lets it be, so close to an edge that on another device it might go on: what goes on of
    /// its shard might then be another track. The shell holds its row.
    Spared(Spared),
    /// It cannot be scanned; the shell holds its row with a code.
    Unscannable,
    /// Its decoder died on it; the code is the row's, should it come to that.
    DecoderDied {
        /// How.
        death: Death,
        /// What the death means.
        code: Code,
    },
    /// Its source is out of reach at the moment, and with it all that lies there.
    Unreachable,
    /// Its bytes cannot be had, while others of its source can.
    Unreadable,
}

/// Where a track that the gate sends on stands among the others of its shard: the least goes first. A function of the track and
/// its scores alone, so that every node has the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Escalation {
    /// Its distance from what the gate takes first.
    pub distance: u64,
    /// Its name, among those of the same distance.
    pub track: TrackId,
    /// Where it may stand on another device.
    pub reach: Reach,
}

/// Where a track may stand on devices whose scores differ by as much as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    /// Its least distance from what the gate takes first.
    pub nearest: u64,
    /// Its greatest one.
    pub farthest: u64,
    /// Whether the gate sends it on everywhere.
    pub certain: bool,
}

impl Reach {
    /// That of a track whose score differs nowhere.
    #[must_use]
    pub const fn exact(distance: u64) -> Self {
        Self {
            nearest: distance,
            farthest: distance,
            certain: true,
        }
    }
}

/// A track that the gate lets be here and might send on elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spared {
    /// The least distance that it would have there.
    pub nearest: u64,
    /// Its name.
    pub track: TrackId,
}
