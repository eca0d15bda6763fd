//! A virtual cluster around the real cores: coordinators, agents, a store, storage and links in virtual time.
//!
//! [`run`] takes a seed, draws from it a cluster and a mix of faults, and lets things happen until faults have stopped and
//! every job has ended. `scheduler::Core` and `agent_core::Core` are those that ship; around them stand shells that do what
//! the real ones do. An oracle with books of its own judges every change that lands in the store, what each answer of a
//! coordinator of the store's generation promises, each commit and beat that leaves an agent, each object that is removed and each
//! rebuild.
//!
//! One generator drives everything and each draw is noted, so that a run can be repeated from its seed or from its notes,
//! exactly. It reads no clock and no files: `trackscan-sim` does, and tests.
//!
//! Where to read on: `world` (the loop), `mix` (what a seed draws), `faults`, the shells `coordinator` and `agent` with
//! `bench` and `parts`, the services `shelf` (store) and `depot` (storage), `operators`, `oracle`.

mod agenda;
mod agent;
mod answers;
mod asks;
mod before;
mod bench;
mod bounds;
mod cache;
mod clock;
mod coordinator;
mod depot;
mod dice;
mod dropped;
mod escalated;
mod faults;
mod held;
mod journal;
mod links;
mod log;
mod misuse;
mod mix;
pub mod mutants;
mod operators;
mod oracle;
mod parts;
mod record;
mod regrets;
mod renewed;
mod report;
mod restore;
mod results;
mod revoked;
mod shares;
mod shelf;
mod struck;
mod sweep;
mod trail;
mod truth;
mod wire;
mod wishes;
mod words;
mod world;

pub use bounds::bounds;
pub use journal::replay_journal;
pub use oracle::Violation;
pub use record::{Record, RecordError};
pub use report::{Report, Tally};
pub use struck::fault_kinds;

use std::panic::{AssertUnwindSafe, catch_unwind};

use dice::Dice;
use world::World;

/// What a run is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A seed of the full swarm.
    Seed(u64),
    /// A seed of a cluster to which nothing happens.
    Calm(u64),
    /// Noted draws of a run of the swarm.
    Tape(Vec<u32>),
}

/// Runs one world to its end. `keep_log` keeps its lines.
#[must_use]
pub fn run(origin: &Origin, keep_log: bool) -> Report {
    run_through(origin, keep_log, false).0
}

/// Runs one world to its end, and gives the journals of its coordinators too.
#[must_use]
pub fn run_with_journals(origin: &Origin) -> (Report, Vec<String>) {
    run_through(origin, false, true)
}

fn run_through(origin: &Origin, keep_log: bool, journals: bool) -> (Report, Vec<String>) {
    let (dice, calm) = match origin {
        Origin::Seed(seed) => (Dice::seeded(*seed), false),
        Origin::Calm(seed) => (Dice::seeded(*seed), true),
        Origin::Tape(tape) => (Dice::noted(tape.clone()), false),
    };
    let mut world = World::new(dice, calm, keep_log);
    if journals {
        let coordinators = world.coordinators.iter_mut();
        coordinators.for_each(|one| one.keep_journal());
    }
    // A panic of a core is a broken promise like any other, and is found again by the same draws.
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = ran {
        world.violated("panic", words_of(&*panic));
    }
    world.tally.millis = world.now.0;
    let coordinators = world.coordinators.into_iter();
    let journals = coordinators.filter_map(|one| one.into_journal()).collect();
    let report = Report {
        tally: world.tally,
        violation: world.oracle.violation,
        tape: world.dice.tape().to_vec(),
        digest: world.log.digest(),
        lines: world.log.into_lines(),
    };
    (report, journals)
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| String::from("a panic without words"))
}
