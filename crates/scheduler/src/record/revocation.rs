//! A revocation's record: what a device made in a span of time is not to count. It stands from the intent until no
//! record of a job that it names holds such a part or grant, and after that as a mark on what was published before.

use super::{Made, Part};
use crate::{JobKey, NodeKey};
use alloc::string::String;
use alloc::vec::Vec;
use types::{ActorId, UnixMillis};

/// Where a revocation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Progress {
    /// Records of its jobs may still hold what it revokes: none of them begins to publish.
    #[default]
    #[n(0)]
    Open,
    /// No record of its jobs holds such a part or grant.
    #[n(1)]
    Closed,
}

/// What is revoked, by whom and why. Storage holds the same before the record exists; a rebuild honours it.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct RevocationRecord {
    /// The node whose device it was.
    #[n(0)]
    pub node: NodeKey,
    /// The device on its node, such as `cuda:0`; `None` for all of its devices.
    #[n(1)]
    pub device: Option<String>,
    /// Begin of the span by the coordinator's clock, as nodes know it, by which part records are stated too.
    #[n(2)]
    pub from: UnixMillis,
    /// End of the span, itself included.
    #[n(3)]
    pub to: UnixMillis,
    /// The jobs that were open and may hold such a part or grant.
    #[n(4)]
    pub jobs: Vec<JobKey>,
    /// Where it stands.
    #[n(5)]
    pub progress: Progress,
    /// Who asked for it.
    #[n(6)]
    pub by: ActorId,
    /// When, for display.
    #[n(7)]
    pub at: UnixMillis,
    /// Why, in the words of whoever asked.
    #[n(8)]
    pub reason: String,
}

impl RevocationRecord {
    /// Whether a part of one of its jobs falls under it. A part's record names its node without the tenant: a namesake's
    /// part goes too, which costs work and no result. Its jobs are those that the node works for, never another tenant's.
    #[must_use]
    pub fn covers(&self, part: &Part) -> bool {
        part.node == self.node.node && part.made.iter().any(|made| self.covers_made(made))
    }

    fn covers_made(&self, made: &Made) -> bool {
        let device = self.device.as_ref();
        // A wall clock may step back while a part is made: the span is taken either way round.
        let (first, last) = (made.from.min(made.to), made.from.max(made.to));
        device.is_none_or(|device| *device == made.device) && first <= self.to && last >= self.from
    }

    /// Whether it asks for the same as another one, whenever and by whomever.
    #[must_use]
    pub fn same_span(&self, other: &Self) -> bool {
        let span = |record: &Self| (record.from, record.to);
        self.node == other.node && self.device == other.device && span(self) == span(other)
    }
}
