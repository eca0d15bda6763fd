//! The seam to the coordinator: the five calls of an agent, in the domain's words. The gRPC client implements it; suites
//! play it themselves.

use agent_core::{BeatCall, Beaten, CallError, Committed, Granted, Joined, PullCall};
use async_trait::async_trait;
use std::path::PathBuf;
use types::{Device, Digest, Epoch, Generation, JobSpec, Millis, Session, SourceName, Stage};

use crate::claim::Claim;

/// What the agent asks of the coordinator. Each call has a deadline of its own; a call without an answer is
/// [`CallError::Unanswered`], whatever became of it.
#[async_trait]
pub trait Coordinator: Send + Sync + 'static {
    /// Begins a session.
    ///
    /// # Errors
    /// See [`CallError`].
    async fn join(&self, node: &Introduction) -> Result<Joined, CallError>;

    /// Asks for work.
    ///
    /// # Errors
    /// See [`CallError`].
    async fn pull(&self, call: &PullCall) -> Result<Work, CallError>;

    /// Says what is in hand.
    ///
    /// # Errors
    /// See [`CallError`].
    async fn beat(&self, call: &BeatCall) -> Result<Beaten, CallError>;

    /// Makes the parts of one flush count, all of them or none.
    ///
    /// # Errors
    /// See [`CallError`].
    async fn commit(&self, session: Session, claim: &Claim) -> Result<Committed, CallError>;

    /// Ends the session.
    ///
    /// # Errors
    /// See [`CallError`].
    async fn leave(&self, session: Session) -> Result<(), CallError>;
}

/// What an agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Its devices, in the order of their numbers.
    pub devices: Vec<Device>,
    /// The stages whose tracks it takes.
    pub stages: Vec<Stage>,
    /// Decoders at once.
    pub decoders: u32,
    /// Sources by its own configuration.
    pub sources: Vec<SourceName>,
    /// Whether it takes definitions from the coordinator.
    pub accepts_sources: bool,
    /// Drawn once per process life.
    pub nonce: u64,
}

/// The answer to a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The grants.
    pub grants: Vec<GrantInfo>,
    /// Not to ask again before.
    pub again_after: Millis,
    /// Sources as the coordinator knows them: folders by name.
    pub sources: Vec<(SourceName, PathBuf)>,
}

/// A grant with all that its rows and parts state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantInfo {
    /// What the core needs of it.
    pub granted: Granted,
    /// Its job.
    pub spec: JobSpec,
    /// The reign that granted it.
    pub epoch: Epoch,
    /// The generation in whose paths its parts stand.
    pub generation: Generation,
    /// SHA-256 of the escalation part that its shard is made of; there exactly for grants of an escalation shard, whose name says
    /// the rest of the path.
    pub escalation: Option<Digest>,
}
