//! The node agent: the tokio shell around `agent-core`, with one worker process per device, a pool of decoder processes,
//! storage, and the coordinator's five calls.
//!
//! `main` tells its story; suites drive [`Node`] with a [`Coordinator`] of their own. It decides nothing that the core
//! can decide, parses no container, links no libtorch, and never trusts a word of a decoder.

mod claim;
mod clock;
mod coordinator;
mod fetch;
mod grpc;
mod hasher;
mod news;
mod node;
mod parts;
mod probe;
mod reach;
mod residual;
mod rows;
pub mod settings;
mod slot;
mod tracks;
mod worker;

pub use claim::{Claim, ClaimedPart, Made, Verdicts};
pub use clock::FleetClock;
pub use coordinator::{Coordinator, GrantInfo, Introduction, Work};
pub use grpc::GrpcCoordinator;
pub use node::{Ended, Equipment, Node};
pub use probe::devices;
