//! A node's record: its session, which refuses older lives of its agent, and what it said of itself.

use alloc::string::String;
use alloc::vec::Vec;
use types::{Device, Session, SourceName, Stage, UnixMillis};

/// What an operator lets a node do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    minicbor::Encode,
    minicbor::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[cbor(index_only)]
pub enum Duty {
    /// Takes work.
    #[default]
    #[n(0)]
    Serving,
    /// Finishes what it has, takes nothing new.
    #[n(1)]
    Cordoned,
    /// Gives back what it has not begun, finishes the rest, leaves.
    #[n(2)]
    Draining,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct NodeRecord {
    /// The last session given; each accepted join raises it.
    #[n(0)]
    pub session: Session,
    /// The number that the agent drew for this life: the same join repeated gets the same session.
    #[n(1)]
    pub nonce: u64,
    /// What an operator lets it do.
    #[n(2)]
    pub duty: Duty,
    /// The last session has ended by itself: all it held went back at no cost.
    #[n(3)]
    pub left: bool,
    /// Version of the agent's package.
    #[n(4)]
    pub version: String,
    /// Its devices.
    #[n(5)]
    pub devices: Vec<Device>,
    /// The stages it can run.
    #[n(6)]
    pub stages: Vec<Stage>,
    /// Sources that it can read by its own configuration.
    #[n(7)]
    pub sources: Vec<SourceName>,
    /// Whether it takes source definitions from the coordinator.
    #[n(8)]
    pub accepts_sources: bool,
    /// Decoder children it runs.
    #[n(9)]
    pub decoders: u32,
    /// When the session began, for display.
    #[n(10)]
    pub joined_at: UnixMillis,
}

/// The first version whose agents know jobs of both stages.
const BOTH_STAGES_SINCE: [u32; 3] = [0, 1, 1];

impl NodeRecord {
    /// Whether its agent writes down which tracks of a job of both stages go on, and takes them in as escalation parts. An older
    /// one would screen such a job as one of the screen alone.
    #[must_use]
    pub fn knows_both_stages(&self) -> bool {
        let mut numbers = self.version.split('.').map(str::parse);
        let version: [Option<u32>; 3] = core::array::from_fn(|_| numbers.next()?.ok());
        version >= BOTH_STAGES_SINCE.map(Some)
    }
}
