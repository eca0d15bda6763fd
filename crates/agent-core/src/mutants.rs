//! Planted bugs, one switch each, to show that the simulator finds them. They are compiled only with the feature
//! `mutants`, which nothing that ships switches on; without it every question here is answered no at compile time.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A commit is sent whether the grant is known to live or not.
    CommitUnrenewed,
    /// A failed canary is taken for a good one.
    CanaryIgnored,
    /// One death of a worker with a single track in hand convicts the track.
    ConvictsAtOnce,
    /// Work that comes after the last device went out is kept.
    WorkKeptWhenOut,
    /// An ended session goes on as if it stood.
    SessionKept,
    /// A track in hand when its worker died is forgotten.
    TrackForgotten,
    /// A session joined again counts its pulls and beats from one.
    NumbersRestart,
    /// A track that is to be rejected gets no row.
    RejectUnwritten,
    /// A grant that is to be forgotten is kept.
    StopIgnored,
    /// An escalation budget takes the tracks that came first.
    BudgetByArrival,
    /// A track that the gate sends on gets no row, neither in a terminal part nor in an escalation part.
    EscalationRowLost,
}

impl Mutant {
    /// Every bug.
    pub const ALL: &'static [Self] = &[
        Self::CommitUnrenewed,
        Self::CanaryIgnored,
        Self::ConvictsAtOnce,
        Self::WorkKeptWhenOut,
        Self::SessionKept,
        Self::TrackForgotten,
        Self::NumbersRestart,
        Self::RejectUnwritten,
        Self::StopIgnored,
        Self::BudgetByArrival,
        Self::EscalationRowLost,
    ];
}

#[cfg(feature = "mutants")]
mod planted {
    use std::cell::Cell;

    use super::Mutant;

    std::thread_local! {
        static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Plants a bug in every core of this thread, or none.
    pub fn plant(mutant: Option<Mutant>) {
        PLANTED.set(mutant);
    }

    pub(crate) fn on(mutant: Mutant) -> bool {
        PLANTED.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub(crate) use planted::on;
#[cfg(feature = "mutants")]
pub use planted::plant;

/// Whether a bug is planted.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn on(_: Mutant) -> bool {
    false
}
