//! The core under test from outside: exact transitions, refusals, explanations, and random histories against a store
//! in memory.
#![expect(clippy::unwrap_used, reason = "a test's panic is its failure message")]

mod audit;
mod budget;
mod cancels;
mod doubt;
mod effort;
mod explain;
mod fairness;
mod isolation;
mod misuse;
mod model;
mod orphans;
mod passes;
mod reads;
mod revocation;
mod sessions;
mod tail;
mod transitions;
mod trim;
mod world;
