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
    /// A commit may name tracks that another part covers.
    TakenUnchecked,
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
    /// A revocation leaves the node's grants live.
    RevokedGrantKept,
    /// A revocation's intent does not put the records of the jobs that it names, and holds nothing until it is stored.
    IntentAlone,
    /// The key of an escalation shard is removed with its part, and no tombstone is put.
    EscalationKeyDeleted,
    /// A revoked escalation part leaves its shard as it is.
    CascadeForgotten,
    /// A new leader does not take up revocations that an earlier one left open.
    RevocationForgotten,
    /// A revocation closes with shards to go.
    RevocationClosesEarly,
    /// What is not known to live is an orphan, known or not.
    NotLiveIsOrphan,
    /// What no record of a published job names is an orphan, whatever its manifest says.
    ManifestUnasked,
    /// A part of a live attempt is an orphan until it counts.
    CollectedEarly,
    /// An object is judged by the change that its shard's record waits for, as if that were stored.
    ParkedSwept,
    /// The answer to `yield at` sets the end of a grant, in whatever order answers come.
    YieldExtends,
    /// A shard that has some parts takes no more.
    PartsCapped,
    /// A write of an unknown outcome is taken for one that certainly was not applied.
    UnknownIsRefused,
    /// A write of an unknown outcome that one read does not show is taken for not applied.
    ReadTrusted,
    /// A beat renews a grant that was withdrawn.
    WithdrawnRenewed,
    /// A grant whose answer was lost is kept for a node that never names it.
    LostGrantKept,
    /// An escalation part makes no shard.
    EscalationUnseen,
    /// A cancel is answered before it is stored.
    CancelAnsweredEarly,
    /// A paused job is given work.
    PausedServed,
    /// A node that tries a suspect is given more.
    SuspectsMixed,
    /// What no beat has named is taken for not in hand.
    UnnamedNotInHand,
    /// What a node had in hand as it died is under no suspicion.
    DeathForgotten,
    /// A read that a write overtook brings back what was before it.
    StaleAdopted,
    /// Quotas do not bind.
    QuotaIgnored,
    /// What a job asks of nodes is not asked.
    RequirementsIgnored,
    /// Tenants are served in the order of their jobs, whatever they had.
    ShareIgnored,
    /// A job is found by its name, whoever asks.
    TenantUnchecked,
    /// A tenant's own node works for everybody.
    OwnNodeShared,
    /// A manifest names the parts of root shards only.
    EscalationsUnlisted,
    /// Shard keys of a closed job stay.
    KeysStay,
    /// Tracks that a node gives back do not return to the queue.
    YieldLost,
    /// What the core changes of its own accord has no audit line.
    ChangeUnaudited,
    /// What has gone on to the residual does not count when a shard's tracks are granted again.
    BudgetTwice,
    /// A rebuild takes parts that a revocation object covers.
    RestoreTakesRevoked,
    /// A rebuild takes parts of any escalation shard of a root for each of them, whatever they were made for.
    RestoreUnmatched,
    /// A rebuild does not look for manifests.
    RestoreForgetsManifest,
    /// A rebuild does not look for cancel markers.
    RestoreForgetsCancel,
    /// Whatever waits to be written goes into one transaction.
    GroupUncut,
    /// A shard's record keeps every run of suspects apart.
    SuspectsUnjoined,
    /// A manifest is asked for though the write of `published` is in doubt.
    ManifestInDoubt,
    /// Where a tenant stands is noted without what it is just given.
    LevelLate,
}

impl Mutant {
    /// Every bug.
    pub const ALL: &'static [Self] = &[
        Self::FenceDropped,
        Self::DuplicateCounted,
        Self::TakenUnchecked,
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
        Self::RevokedGrantKept,
        Self::IntentAlone,
        Self::EscalationKeyDeleted,
        Self::CascadeForgotten,
        Self::RevocationForgotten,
        Self::RevocationClosesEarly,
        Self::NotLiveIsOrphan,
        Self::ManifestUnasked,
        Self::CollectedEarly,
        Self::ParkedSwept,
        Self::YieldExtends,
        Self::PartsCapped,
        Self::UnknownIsRefused,
        Self::ReadTrusted,
        Self::WithdrawnRenewed,
        Self::LostGrantKept,
        Self::EscalationUnseen,
        Self::CancelAnsweredEarly,
        Self::PausedServed,
        Self::SuspectsMixed,
        Self::UnnamedNotInHand,
        Self::DeathForgotten,
        Self::StaleAdopted,
        Self::QuotaIgnored,
        Self::RequirementsIgnored,
        Self::ShareIgnored,
        Self::TenantUnchecked,
        Self::OwnNodeShared,
        Self::EscalationsUnlisted,
        Self::KeysStay,
        Self::YieldLost,
        Self::ChangeUnaudited,
        Self::BudgetTwice,
        Self::RestoreTakesRevoked,
        Self::RestoreUnmatched,
        Self::RestoreForgetsManifest,
        Self::RestoreForgetsCancel,
        Self::GroupUncut,
        Self::SuspectsUnjoined,
        Self::ManifestInDoubt,
        Self::LevelLate,
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
