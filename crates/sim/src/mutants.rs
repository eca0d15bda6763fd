//! Planted bugs: those of both cores, and those of the shells around them, which stand here for the real ones. One is
//! planted for a run and must be found by the oracle alone. Compiled only with the feature `mutants`.

/// A bug of a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShellMutant {
    /// Transactions do not compare the leadership.
    EpochUnchecked,
    /// A put that was refused is taken for one that found its object there.
    RefusedIsStored,
    /// A part is not read back after its put.
    PartUnread,
    /// A cancel marker that was not put is said to be.
    MarkerSkipped,
    /// A manifest that was not put is said to be.
    ManifestSkipped,
    /// A revocation's object that was not put is said to be.
    RevocationUnmarked,
    /// An agent removes the objects of a part that came too late.
    SupersededDeleted,
    /// Paths of parts do not name the generation: a restore goes on with the old ones.
    PathsKept,
    /// A restore does not raise the generation.
    GenerationKept,
    /// A restored store counts its revisions from where it stands, and gives numbers again that were given before.
    RevisionKept,
    /// A manifest's path names its job and version alone, neither the generation nor what is in it.
    ManifestPathKept,
}

impl ShellMutant {
    /// Every bug of a shell.
    pub const ALL: &'static [Self] = &[
        Self::EpochUnchecked,
        Self::RefusedIsStored,
        Self::PartUnread,
        Self::MarkerSkipped,
        Self::ManifestSkipped,
        Self::RevocationUnmarked,
        Self::SupersededDeleted,
        Self::PathsKept,
        Self::GenerationKept,
        Self::RevisionKept,
        Self::ManifestPathKept,
    ];
}

#[cfg(feature = "mutants")]
mod planted {
    use std::cell::Cell;

    use super::ShellMutant;

    std::thread_local! {
        static PLANTED: Cell<Option<ShellMutant>> = const { Cell::new(None) };
    }

    /// A bug of any part.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Planted {
        /// Of the coordinator's core.
        Scheduler(scheduler::mutants::Mutant),
        /// Of the agent's core.
        Agent(agent_core::mutants::Mutant),
        /// Of a shell.
        Shell(ShellMutant),
    }

    impl Planted {
        /// Every bug.
        #[must_use]
        pub fn all() -> Vec<Self> {
            let scheduler = scheduler::mutants::Mutant::ALL.iter();
            let agent = agent_core::mutants::Mutant::ALL.iter();
            let shell = ShellMutant::ALL.iter();
            let scheduler = scheduler.map(|mutant| Self::Scheduler(*mutant));
            let cores = scheduler.chain(agent.map(|mutant| Self::Agent(*mutant)));
            cores
                .chain(shell.map(|mutant| Self::Shell(*mutant)))
                .collect()
        }

        /// Its name: whose it is, and what it breaks.
        #[must_use]
        pub fn name(&self) -> String {
            match self {
                Self::Scheduler(mutant) => format!("scheduler {mutant:?}"),
                Self::Agent(mutant) => format!("agent {mutant:?}"),
                Self::Shell(mutant) => format!("shell {mutant:?}"),
            }
        }
    }

    /// The rules of the protocol that a model of it showed to be needed, each with the bugs that switch it off: by the id of the
    /// rule, as in docs/reference/simulation.md.
    #[must_use]
    pub fn of_protocol() -> Vec<(&'static str, Vec<Planted>)> {
        use scheduler::mutants::Mutant::{
            EscalationKeyDeleted, IntentAlone, ManifestUnasked, NotLiveIsOrphan, PartsCapped,
            RestoreTakesRevoked, RestoreUnmatched, RevokedGrantKept, YieldExtends,
        };
        let core = |mutant| vec![Planted::Scheduler(mutant)];
        let shell = |mutants: &[ShellMutant]| mutants.iter().copied().map(Planted::Shell).collect();
        vec![
            ("H1", core(RevokedGrantKept)),
            ("H2", core(IntentAlone)),
            ("H3", core(EscalationKeyDeleted)),
            ("H4", core(NotLiveIsOrphan)),
            ("H5", core(ManifestUnasked)),
            // Old paths of parts, and of manifests.
            (
                "H6",
                shell(&[ShellMutant::PathsKept, ShellMutant::ManifestPathKept]),
            ),
            ("H7", core(RestoreTakesRevoked)),
            ("H8", core(RestoreUnmatched)),
            ("H9", core(PartsCapped)),
            ("A1", core(YieldExtends)),
            ("A2", shell(&[ShellMutant::SupersededDeleted])),
        ]
    }

    /// Plants a bug for the runs of this thread, or none.
    pub fn plant(planted: Option<Planted>) {
        scheduler::mutants::plant(None);
        agent_core::mutants::plant(None);
        PLANTED.set(None);
        match planted {
            Some(Planted::Scheduler(mutant)) => scheduler::mutants::plant(Some(mutant)),
            Some(Planted::Agent(mutant)) => agent_core::mutants::plant(Some(mutant)),
            Some(Planted::Shell(mutant)) => PLANTED.set(Some(mutant)),
            None => {}
        }
    }

    pub(crate) fn on(mutant: ShellMutant) -> bool {
        PLANTED.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub(crate) use planted::on;
#[cfg(feature = "mutants")]
pub use planted::{Planted, of_protocol, plant};

/// Whether a bug is planted.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn on(_: ShellMutant) -> bool {
    false
}
