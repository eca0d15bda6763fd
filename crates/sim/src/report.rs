//! What a run, and many runs, came to.

use std::collections::BTreeMap;

use scheduler::invariants::{self, traces_agree};

use crate::oracle::Violation;

/// Counts of one run or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Things that happened.
    pub events: u64,
    /// Events that the cores handled.
    pub handled: u64,
    /// Faults: of processes, links, devices, and of single messages and requests.
    pub faults: u64,
    /// Those of them that were drawn, by kind; see [`crate::fault_kinds`]. What tracks and devices do to workers is no fault of
    /// a kind.
    pub struck: BTreeMap<&'static str, u64>,
    /// How often each bound was reached; see [`mod@crate::bounds`].
    pub reached: BTreeMap<&'static str, u64>,
    /// Transactions that landed.
    pub writes: u64,
    /// Grants given.
    pub grants: u64,
    /// Parts that counted.
    pub commits: u64,
    /// Jobs published.
    pub published: u64,
    /// Jobs cancelled.
    pub cancelled: u64,
    /// Revocations stored.
    pub revocations: u64,
    /// Parts that revocations dropped.
    pub dropped: u64,
    /// Records of closed jobs that were dropped.
    pub trimmed: u64,
    /// Objects that nothing named and that were removed.
    pub collected: u64,
    /// Restores that raised the generation.
    pub restores: u64,
    /// Spans in which tenants had to share.
    pub spans: u64,
    /// Reigns that read the state and served.
    pub reigns: u64,
    /// Virtual time, ms.
    pub millis: u64,
}

impl Tally {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.handled += other.handled;
        self.faults += other.faults;
        for (kind, times) in &other.struck {
            *self.struck.entry(kind).or_default() += times;
        }
        for (bound, times) in &other.reached {
            *self.reached.entry(bound).or_default() += times;
        }
        self.writes += other.writes;
        self.grants += other.grants;
        self.commits += other.commits;
        self.published += other.published;
        self.cancelled += other.cancelled;
        self.revocations += other.revocations;
        self.dropped += other.dropped;
        self.trimmed += other.trimmed;
        self.collected += other.collected;
        self.restores += other.restores;
        self.spans += other.spans;
        self.reigns += other.reigns;
        self.millis += other.millis;
    }

    /// Virtual time in hours of a whole cluster.
    #[must_use]
    pub fn cluster_hours(&self) -> f64 {
        self.millis as f64 / 3_600_000.0
    }
}

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What happened, in numbers.
    pub tally: Tally,
    /// The digest over all that happened, in order.
    pub digest: u64,
    /// The first promise that did not hold.
    pub violation: Option<Violation>,
    /// Every draw, in order: enough to run it again.
    pub tape: Vec<u32>,
    /// One line for all that happened, where they were asked for.
    pub lines: Vec<String>,
}

impl Report {
    /// I20: another run of the same origin drew the same and came to the same.
    ///
    /// # Errors
    /// Names the first draw that differs, or says that the logs do.
    pub fn agrees_with(&self, again: &Self) -> Result<(), invariants::Violation> {
        traces_agree(&self.tape, &again.tape)?;
        traces_agree(&[self.digest], &[again.digest])
    }
}
