//! The core under test from outside: exact transitions, explanations, and random histories against a store in memory.

#![expect(clippy::unwrap_used, reason = "a test's panic is its failure message")]

mod model;
mod transitions;
mod world;
