//! One part on its way: a good canary, then the write, then the commit, each repeated until answered.

use types::{Code, Millis, Session, Stage, TrackSet};

use crate::{DeviceNo, GrantKey};

/// Rows that were flushed together.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) grant: GrantKey,
    pub(crate) tracks: TrackSet,
    /// Those of them that go on to the residual.
    pub(crate) onward: TrackSet,
    /// Those that would, and for which the budget has no room.
    pub(crate) withheld: TrackSet,
    /// Those of both that another device might have placed otherwise.
    pub(crate) borderline: TrackSet,
    /// The device that scored any of them.
    pub(crate) device: Option<DeviceNo>,
    pub(crate) state: State,
    /// Bytes on the node's disk; assumed until they are known.
    pub(crate) bytes: u64,
    /// Failures in a row of the step in hand.
    pub(crate) failures: u8,
    /// Why the last write failed, until one succeeds.
    pub(crate) trouble: Option<Code>,
}

impl Part {
    /// The stage that its device must have passed a canary of.
    pub(crate) const fn stage(&self) -> Stage {
        self.grant.stage()
    }
}

/// How far a part has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its device has yet to pass a canary.
    Unsung,
    /// To be written, from this time on.
    ToWrite { at: Millis },
    /// Being written.
    Writing,
    /// In storage, to be committed from this time on.
    ToCommit { at: Millis },
    /// A commit is unanswered.
    Committing {
        /// The session that the commit names.
        session: Session,
    },
}
