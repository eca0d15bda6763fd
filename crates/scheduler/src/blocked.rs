//! The reasons why work does not run: one closed enum with a stable code, a sentence and a remedy each. Found by
//! `explain`, said to nodes in answers to pulls; decides nothing.

use crate::limits::{FAILURES_PER_CAUSE, GRANTS_PER_NODE_MAX, GRANTS_PER_SHARD_MAX};
use crate::record::FailureCause;
use core::fmt;
use types::{Blocking, Code, DeviceKind, JobId, Millis, NodeId, Stage};

/// Why work does not run. Every reason there is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// This coordinator does not lead, or reads its state.
    NotLeading,
    /// The store does not take writes.
    StoreTrouble {
        /// `STORE_UNAVAILABLE` or `STORE_FULL`.
        code: Code,
    },
    /// A change of the record is being written, or its outcome is unknown.
    WriteUnderWay,
    /// An operator paused the job.
    JobPaused,
    /// A cancel is on its way.
    JobCancelling,
    /// What a device made is being revoked; the job does not publish before that is done.
    JobRevoking,
    /// Every track has its row; the manifest is being written.
    JobPublishing,
    /// The manifest could not be written; it is tried again.
    ManifestFails {
        /// Why.
        code: Code,
    },
    /// The result is published: nothing is left to do.
    JobPublished,
    /// The job was cancelled.
    JobCancelled,
    /// No node has joined.
    NoNode,
    /// Every node has fallen silent or left.
    NodesSilent,
    /// Every living node is cordoned or drains.
    NodesNotServing,
    /// No living node runs the stage that the tracks need.
    NoNodeForStage {
        /// The stage.
        stage: Stage,
    },
    /// Every living node could not load the bundle, or does not serve the stage with it.
    BundleRefused,
    /// No node in service has only devices of the kind that the job requires.
    NoNodeWithDevice {
        /// The kind.
        kind: DeviceKind,
    },
    /// No node in service has the memory on each of its devices that the job requires.
    NoNodeWithMemory {
        /// How much.
        bytes: u64,
    },
    /// The job requires a loaded bundle, and no node in service has it loaded.
    NoNodeWithBundle,
    /// The tenant has as many live grants as it may.
    QuotaGrants,
    /// The tenant has as many tracks granted as it may.
    QuotaTracks,
    /// The tenant has as many running jobs as it may, and this one stands behind them.
    QuotaJobs,
    /// Every device of every living node is out of service.
    DevicesOut,
    /// Another job goes first.
    QueuedBehind {
        /// That job.
        job: JobId,
    },
    /// Another tenant has had less and goes first.
    OtherTenantFirst,
    /// Nodes have the tracks in hand: they run.
    InHand {
        /// How many nodes.
        nodes: u32,
    },
    /// A node that fell silent holds the tracks; they go to the next node that asks for more.
    HeldBySilentNode {
        /// The node.
        node: NodeId,
    },
    /// The shard has as many live grants as a shard may have.
    ShardFull,
    /// Suspect tracks wait until they are tried again, or the job until the nodes that could not reach its source may.
    BackOff {
        /// Not before, by the core's clock.
        until: Millis,
    },
    /// The shard failed as often as its budget allows; it is tried now and then.
    RetriesSpent {
        /// From which cause.
        cause: FailureCause,
    },
    /// Suspect tracks wait for a node on which they have not died.
    WaitsForOtherNode {
        /// The node that they died on.
        node: NodeId,
    },
    /// The next node that asks gets the tracks.
    NotYetPulled,
    /// Every track of the shard has its row.
    ShardDone,
    /// The node has not joined, or has left.
    NodeLeft {
        /// The node.
        node: NodeId,
    },
    /// The node has fallen silent.
    NodeSilent {
        /// The node.
        node: NodeId,
    },
    /// The node is cordoned.
    NodeCordoned {
        /// The node.
        node: NodeId,
    },
    /// What a device of the node made is being revoked; it takes nothing new before that is done.
    NodeRevoked {
        /// The node.
        node: NodeId,
    },
    /// The node drains.
    NodeDraining {
        /// The node.
        node: NodeId,
    },
    /// The node holds as many grants as a node may hold.
    NodeFull {
        /// The node.
        node: NodeId,
    },
    /// Every device of the node is out of service.
    NodeDevicesOut {
        /// The node.
        node: NodeId,
        /// Why the first of them is.
        code: Code,
    },
    /// The node cannot store its parts; it tries again by itself.
    NodeStorage {
        /// The node.
        node: NodeId,
        /// Why: `STORAGE_FULL`, `STORAGE_UNAVAILABLE` or what else it says.
        code: Code,
    },
    /// The node could not load a bundle that jobs wait to be scanned with, or does not serve their stage with it.
    NodeRefusesBundle {
        /// The node.
        node: NodeId,
    },
    /// No running job has a track that this node could take.
    NothingToDo,
}

/// A reason with the tracks that it holds up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The reason.
    pub blocked: Blocked,
    /// Tracks that it holds up; 0 where that cannot be said.
    pub tracks: u64,
}

impl Blocked {
    /// The reason without its particulars.
    #[must_use]
    pub const fn kind(&self) -> Blocking {
        match self {
            Self::NotLeading => Blocking::NotLeading,
            Self::StoreTrouble { .. } => Blocking::StoreTrouble,
            Self::WriteUnderWay => Blocking::WriteUnderWay,
            Self::JobPaused => Blocking::JobPaused,
            Self::JobCancelling => Blocking::JobCancelling,
            Self::JobRevoking => Blocking::JobRevoking,
            Self::JobPublishing => Blocking::JobPublishing,
            Self::ManifestFails { .. } => Blocking::ManifestFails,
            Self::JobPublished => Blocking::JobPublished,
            Self::JobCancelled => Blocking::JobCancelled,
            Self::NoNode => Blocking::NoNode,
            Self::NodesSilent => Blocking::NodesSilent,
            Self::NodesNotServing => Blocking::NodesNotServing,
            Self::NoNodeForStage { .. } => Blocking::NoNodeForStage,
            Self::BundleRefused | Self::NodeRefusesBundle { .. } => Blocking::BundleRefused,
            Self::NoNodeWithDevice { .. } => Blocking::NoNodeWithDevice,
            Self::NoNodeWithMemory { .. } => Blocking::NoNodeWithMemory,
            Self::NoNodeWithBundle => Blocking::NoNodeWithBundle,
            Self::QuotaGrants => Blocking::QuotaGrants,
            Self::QuotaTracks => Blocking::QuotaTracks,
            Self::QuotaJobs => Blocking::QuotaJobs,
            Self::DevicesOut => Blocking::DevicesOut,
            Self::QueuedBehind { .. } => Blocking::QueuedBehind,
            Self::OtherTenantFirst => Blocking::OtherTenantFirst,
            Self::InHand { .. } => Blocking::InHand,
            Self::HeldBySilentNode { .. } => Blocking::HeldBySilentNode,
            Self::ShardFull => Blocking::ShardFull,
            Self::BackOff { .. } => Blocking::BackOff,
            Self::RetriesSpent { .. } => Blocking::RetriesSpent,
            Self::WaitsForOtherNode { .. } => Blocking::WaitsForOtherNode,
            Self::NotYetPulled => Blocking::NotYetPulled,
            Self::ShardDone => Blocking::ShardDone,
            Self::NodeLeft { .. } => Blocking::NodeLeft,
            Self::NodeSilent { .. } => Blocking::NodeSilent,
            Self::NodeCordoned { .. } => Blocking::NodeCordoned,
            Self::NodeRevoked { .. } => Blocking::NodeRevoked,
            Self::NodeDraining { .. } => Blocking::NodeDraining,
            Self::NodeFull { .. } => Blocking::NodeFull,
            Self::NodeDevicesOut { .. } => Blocking::NodeDevicesOut,
            Self::NodeStorage { .. } => Blocking::NodeStorage,
            Self::NothingToDo => Blocking::NothingToDo,
        }
    }

    /// The stable code: UPPER_SNAKE, never renamed.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    /// What to do about it, where anything is to be done.
    #[must_use]
    pub const fn fix(&self) -> &'static str {
        self.kind().fix()
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeading => f.write_str("this coordinator does not lead, or reads its state"),
            Self::StoreTrouble { code } => write!(f, "the store takes no writes ({code})"),
            Self::WriteUnderWay => {
                f.write_str("a change is being written, or its outcome is unknown")
            }
            Self::JobPaused => f.write_str("the job is paused"),
            Self::JobCancelling => f.write_str("the job is being cancelled"),
            Self::JobRevoking => {
                f.write_str("what a device made is being revoked and the job publishes after that")
            }
            Self::JobPublishing => {
                f.write_str("every track has its row and the manifest is being written")
            }
            Self::ManifestFails { code } => write!(
                f,
                "the manifest could not be written ({code}) and is tried again"
            ),
            Self::JobPublished => f.write_str("the result is published"),
            Self::JobCancelled => f.write_str("the job was cancelled"),
            Self::NoNode => f.write_str("no node has joined"),
            Self::NodesSilent => f.write_str("every node has fallen silent or left"),
            Self::NodesNotServing => f.write_str("every living node is cordoned or drains"),
            Self::NoNodeForStage { stage } => write!(f, "no living node runs the {stage} stage"),
            Self::BundleRefused => {
                f.write_str("no living node could load the bundle and serve the stage with it")
            }
            Self::NoNodeWithDevice { kind } => {
                write!(f, "no node in service has only {kind} devices")
            }
            Self::NoNodeWithMemory { bytes } => write!(
                f,
                "no node in service has {bytes} bytes of memory on each device"
            ),
            Self::NoNodeWithBundle => f.write_str("no node in service has the bundle loaded"),
            Self::QuotaGrants => f.write_str("the tenant has as many live grants as it may"),
            Self::QuotaTracks => f.write_str("the tenant has as many tracks granted as it may"),
            Self::QuotaJobs => {
                f.write_str("the tenant has as many running jobs as it may, and they go first")
            }
            Self::OtherTenantFirst => f.write_str("another tenant has had less and goes first"),
            Self::DevicesOut => f.write_str("every device is out of service"),
            Self::QueuedBehind { job } => write!(f, "job `{job}` goes first"),
            Self::InHand { nodes } => write!(f, "the tracks are in hand on {nodes} nodes"),
            Self::HeldBySilentNode { node } => write!(
                f,
                "node `{node}` fell silent and holds the tracks until another asks for more"
            ),
            Self::ShardFull => write!(
                f,
                "the shard has {GRANTS_PER_SHARD_MAX} live grants, the most it may have"
            ),
            Self::BackOff { until } => write!(
                f,
                "the tracks failed and wait until {until} on the coordinator's clock"
            ),
            Self::RetriesSpent { cause } => write!(
                f,
                "the shard failed {FAILURES_PER_CAUSE} times ({cause:?}) and is tried now and then"
            ),
            Self::WaitsForOtherNode { node } => write!(
                f,
                "suspect tracks died on node `{node}` and wait for another"
            ),
            Self::NotYetPulled => f.write_str("the next node that asks gets the tracks"),
            Self::ShardDone => f.write_str("every track of the shard has its row"),
            Self::NodeLeft { node } => write!(f, "node `{node}` has not joined, or has left"),
            Self::NodeSilent { node } => write!(f, "node `{node}` has fallen silent"),
            Self::NodeCordoned { node } => write!(f, "node `{node}` is cordoned"),
            Self::NodeRevoked { node } => {
                write!(f, "what a device of node `{node}` made is being revoked")
            }
            Self::NodeDraining { node } => write!(f, "node `{node}` drains"),
            Self::NodeFull { node } => write!(
                f,
                "node `{node}` holds {GRANTS_PER_NODE_MAX} grants, the most it may hold"
            ),
            Self::NodeDevicesOut { node, code } => write!(
                f,
                "every device of node `{node}` is out of service ({code})"
            ),
            Self::NodeStorage { node, code } => write!(
                f,
                "node `{node}` cannot store its parts ({code}) and tries again"
            ),
            Self::NodeRefusesBundle { node } => write!(
                f,
                "node `{node}` could not load the bundle of a job that waits, or does not serve its stage with it"
            ),
            Self::NothingToDo => {
                f.write_str("no running job has a track that this node could take")
            }
        }
    }
}

/// A reason as one line, for logs.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.blocked.code(), self.blocked)?;
        match self.tracks {
            0 => Ok(()),
            tracks => write!(f, " ({tracks} tracks)"),
        }
    }
}
