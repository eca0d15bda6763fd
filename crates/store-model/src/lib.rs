//! An etcd-like store as a pure state machine: what a cluster of three would answer, without the cluster.
//!
//! Keys have versions; every transaction that changes something takes the next revision; a range can be read page by
//! page as of a revision until that is compacted away; keys can hang on a lease and go with it; watchers read the
//! changes after a revision; and a transaction whose answer is lost can be parked and land later, once or twice.
//!
//! The simulator drives it in virtual time, and `store` wraps it behind its trait, where it passes the conformance suite.
//! It has no clock and no randomness: the time, and which outcome a call is to have, are arguments. It never limits
//! sizes: that is the wrapper's part, as it is a server's configuration.

mod keep;
mod late;
mod leader;
mod lease;
mod model;
#[cfg(test)]
mod tests;

pub use late::LateId;
pub use leader::Led;
pub use lease::LeaseId;
pub use model::{Change, Compacted, Compare, End, Entry, KeyRange, Model, Op, Page, Revision, Txn};
