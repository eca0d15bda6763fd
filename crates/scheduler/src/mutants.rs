//! Planted bugs, one switch each, to show that the simulator finds them. They are compiled only with the feature
//! `mutants`, which nothing that ships switches on; without it every question here is answered no at compile time.
//!
//! Asked by the rule that the bug breaks, in the one place where it would be broken. While one is planted the core does
//! not hold its changes against its own invariants: whoever judges must find it alone.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A commit counts whether its attempt lives or not.
    FenceDropped,
    /// A commit that was counted counts again.
    DuplicateCounted,
    /// A grant takes the number of the one before it.
    AttemptReused,
    /// A grant may take tracks that another one holds.
    GrantsOverlap,
    /// A write of an unknown outcome is taken for applied.
    UnknownIsDone,
    /// A shard's change does not rest on its job's record.
    JobUnguarded,
    /// A job is published while escalation shards are open.
    EscalationForgotten,
    /// A job is published with a shard to go.
    PublishedEarly,
    /// A cancel on its way does not hold publish back.
    CancelRaces,
    /// A commit that came too late is answered as counted.
    LateIsCounted,
    /// Grants of a node that fell silent are kept.
    SilentKept,
    /// Shard keys are removed before the job has its result.
    KeysGoEarly,
    /// A commit is answered before it is stored.
    AnsweredEarly,
}

impl Mutant {
    /// Every bug.
    pub const ALL: &'static [Self] = &[
        Self::FenceDropped,
        Self::DuplicateCounted,
        Self::AttemptReused,
        Self::GrantsOverlap,
        Self::UnknownIsDone,
        Self::JobUnguarded,
        Self::EscalationForgotten,
        Self::PublishedEarly,
        Self::CancelRaces,
        Self::LateIsCounted,
        Self::SilentKept,
        Self::KeysGoEarly,
        Self::AnsweredEarly,
    ];
}

#[cfg(feature = "mutants")]
mod planted {
    extern crate std;

    use super::Mutant;
    use core::cell::Cell;

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

    pub(crate) fn any() -> bool {
        PLANTED.get().is_some()
    }
}

#[cfg(feature = "mutants")]
pub use planted::plant;
#[cfg(feature = "mutants")]
pub(crate) use planted::{any, on};

/// Whether a bug is planted.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn on(_: Mutant) -> bool {
    false
}

/// Whether any bug is planted.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn any() -> bool {
    false
}
