//! The agent's pure core: what a node asks of the coordinator, of its decoders and of its devices, and when.
//!
//! The shell (`node-agent`) feeds it events with the time and carries out the actions it appends, in order:
//! `handle(now, event, &mut actions)`, then again at [`Core::next_deadline`]. It reads no clock, touches no file, draws
//! no random number and holds no audio and no rows: the shell keeps what a track gave under its grant and ordinal.
//!
//! What it sees to:
//! - a session: join, numbered pulls, beats that name each grant and the tracks in hand ([`session`](self));
//! - about two minutes of work at the measured rate, and a little waiting;
//! - each granted track ends in one row, each row in one part, each part in one commit that is repeated unchanged until
//!   it is answered, and sent only while the grant is known to live or was renewed since it ran out;
//! - what the gate sends on goes into an escalation part of the same commit; where the job has an escalation budget, which tracks
//!   go on is chosen once all of a shard are screened, by their distance from the gate and never by who came first, and those that
//!   another device might have chosen otherwise are named;
//! - a part counts only behind a good canary; a device whose canary fails goes out with what it made;
//! - a suspect of a machine's death runs with nothing else on the node, and only once a beat has named it;
//! - a worker's death is laid at a track's door only if that track killed it alone, twice, each time on a device that
//!   had just passed its canary.

mod action;
mod apart;
mod beat;
mod canary;
mod choice;
mod core;
mod device;
mod end;
mod event;
mod flush;
mod grant;
mod hold;
pub mod limits;
mod link;
pub mod mutants;
mod part;
mod session;
mod start;
#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it looks for"
)]
mod tests;
mod tracks;
mod trials;

pub use action::{Action, Actions, BeatCall, Cause, Held, PullCall, Released, WorkerDeath};
pub use core::{Config, Core};
pub use event::{
    Beaten, CallError, Care, CommitOutcome, Committed, Death, Escalation, Event, Flush, Found,
    GrantOrder, Granted, Joined, Order, Pulled, Rank, Reach, Spared, TrackOutcome, Unready,
};

use types::{Attempt, JobId, ShardId, Stage};

/// The name of a grant: a shard's attempt is given to one node only and never used twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrantKey {
    /// The job.
    pub job: JobId,
    /// The shard.
    pub shard: ShardId,
    /// The fence.
    pub attempt: Attempt,
}

impl GrantKey {
    /// The stage that its tracks are to go through.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.shard {
            ShardId::Root(_) => Stage::Screen,
            ShardId::Escalation { .. } => Stage::Residual,
        }
    }
}

/// One try of one track; never reused in a core's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// A device of this node, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceNo(pub u32);

/// A decoder slot of a device, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotNo(pub u32);

/// A part under way; never reused in a core's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartNo(pub u64);
