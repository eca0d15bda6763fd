//! What the core asks of its shell. Actions are carried out in their order; none waits for another's answer.

use types::{Code, Digest, Ordinal, PullNo, Session, Stage, TrackSet};

use crate::{DeviceNo, GrantKey, PartNo, SlotNo, Token};

/// The actions of one or more events, in order. The shell drains it.
pub type Actions = Vec<Action>;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin a session.
    Join,
    /// Ask for work.
    Pull(PullCall),
    /// Say what is in hand.
    Beat(BeatCall),
    /// Make a part count: the same claim each time.
    Commit {
        /// The part.
        part: PartNo,
        /// The session to name.
        session: Session,
    },
    /// End the session.
    Leave {
        /// The session.
        session: Session,
    },
    /// Read the grant's rows of its list; of an escalation shard also the rows of its escalation part, under their digest. No
    /// track of it starts before.
    Prepare {
        /// The grant.
        grant: GrantKey,
    },
    /// Start the device's worker anew with this bundle; an older worker is stopped.
    Load {
        /// The device.
        device: DeviceNo,
        /// The bundle.
        bundle: Digest,
    },
    /// Stop the device's worker for good and say why.
    TakeOut {
        /// The device.
        device: DeviceNo,
        /// Why.
        code: Code,
    },
    /// Decode and score a track.
    Start {
        /// The try.
        token: Token,
        /// The device.
        device: DeviceNo,
        /// An idle slot of it.
        slot: SlotNo,
        /// The grant.
        grant: GrantKey,
        /// The track.
        ordinal: Ordinal,
    },
    /// Give a try up; nothing more is to be said of it but that its slot is ready again.
    Abort {
        /// The try.
        token: Token,
    },
    /// Make the track's `unscannable` row with this code.
    Reject {
        /// The grant.
        grant: GrantKey,
        /// The track.
        ordinal: Ordinal,
        /// The code.
        code: Code,
    },
    /// Run the canary clip through a stage.
    Sing {
        /// The device.
        device: DeviceNo,
        /// The stage.
        stage: Stage,
        /// Comes back in the answer.
        nonce: u64,
    },
    /// Write these tracks' rows as a part, on disk, then to storage, and check it there. When asked for a second time, with
    /// the same bytes; of a part that was found on disk only its tracks are named.
    ///
    /// Rows that go on to the residual are an object of their own, the escalation part, beside that of the terminal rows. Both
    /// make one part here: they are put, claimed in one commit, forgotten and found together, or neither is.
    WritePart {
        /// The part.
        part: PartNo,
        /// The grant.
        grant: GrantKey,
        /// Its tracks.
        tracks: TrackSet,
        /// Those of them whose rows go into the escalation part.
        onward: TrackSet,
        /// Those that the gate would send on and the job's budget does not: their rows are terminal, inconclusive, reason
        /// `ESCALATION_BUDGET`.
        withheld: TrackSet,
        /// Those of both that would change places where scores differ by as much as devices may: their rows are `borderline`.
        borderline: TrackSet,
        /// The device whose canary stands behind it; none where no track was scored.
        device: Option<DeviceNo>,
    },
    /// Forget a part and its copy on disk. Its object in storage is not touched.
    ForgetPart {
        /// The part.
        part: PartNo,
    },
    /// Forget a grant, its list and its rows.
    Forget {
        /// The grant.
        grant: GrantKey,
    },
    /// End the process in peace.
    Exit,
}

/// A request for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullCall {
    /// The session.
    pub session: Session,
    /// From 1, rising; repeated until answered.
    pub number: PullNo,
    /// What the node does in 1,000 seconds; none before it is measured.
    pub tracks_per_1000_s: Option<u32>,
    /// Most tracks wanted.
    pub want_tracks: u32,
    /// Bundles that are loaded.
    pub bundles: Vec<Digest>,
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeatCall {
    /// The session.
    pub session: Session,
    /// From 1, rising.
    pub number: u64,
    /// Every grant held.
    pub held: Vec<Held>,
    /// Grants given back since the last answered beat.
    pub released: Vec<Released>,
    /// Devices that are out of service, and why.
    pub devices_out: Vec<(DeviceNo, Code)>,
    /// Why parts cannot be stored, where the last write of one failed; it is tried again.
    pub storage_trouble: Option<Code>,
    /// Nothing new is wanted.
    pub draining: bool,
}

/// A grant in a beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The grant.
    pub key: GrantKey,
    /// Tracks being worked on or in an unanswered part.
    pub in_hand: TrackSet,
    /// From this ordinal on nothing is in hand, and nothing will be.
    pub yielded_at: Option<Ordinal>,
    /// Workers' deaths since the last answered beat.
    pub deaths: Vec<WorkerDeath>,
    /// Tracks whose rows are made and not committed.
    pub unflushed: u32,
}

/// A worker's death that may be a track's doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerDeath {
    /// From 1 within the session, rising.
    pub number: u64,
    /// Tracks of this grant that it had in hand.
    pub tracks: TrackSet,
}

/// A grant given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The grant.
    pub key: GrantKey,
    /// Why.
    pub cause: Cause,
}

/// Why a grant is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The node drains.
    Drain,
    /// The device was taken out and there is no other.
    DeviceOut,
    /// The bundle could not be loaded.
    Bundle,
    /// A source or storage could not be reached.
    Storage,
    /// A device has no room for the residual's network.
    NoRoom,
}
