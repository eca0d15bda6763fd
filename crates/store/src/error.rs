//! How reads, writes and leadership end.
//!
//! A write has four ends, and the difference between the last three is what exactly-once rests on: [`Outcome::Refused`]
//! (a compare did not hold), [`Outcome::NotApplied`] (certainly nothing happened, and nothing will), [`Outcome::Unknown`]
//! (it may have happened, or may still). Callers are the coordinator's shell and, through it, the scheduler.

use crate::Revision;
use crate::txn::TxnError;
use thiserror::Error;

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All compares held, and all operations are durable at this revision. Without operations: the revision at
    /// which the compares held.
    Applied {
        /// The transaction's revision.
        revision: Revision,
    },
    /// A compare did not hold; nothing changed.
    Refused(Refusal),
    /// Nothing changed, and this transaction will not land later.
    NotApplied(NotAppliedCause),
    /// It may have been applied, or may still be. A read that shows the old revision does not settle this.
    Unknown {
        /// What the caller could not learn, and why.
        cause: String,
    },
}

/// Which compare did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The epoch no longer leads: drop all state and step down.
    Epoch,
    /// This key was not as compared. The first such key, in the order of the transaction, when the epoch leads.
    Key(String),
}

/// Why a transaction certainly did not happen.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotAppliedCause {
    /// It exceeds what any backend takes; sending it again is of no use.
    #[error("transaction not sent")]
    Invalid(#[from] TxnError),
    /// The store has no room for it; reads and deletes may work.
    #[error("store full: {cause}")]
    Full {
        /// What the backend said.
        cause: String,
    },
    /// The store could not be reached or opened.
    #[error("store unavailable: {cause}")]
    Unavailable {
        /// What the backend said.
        cause: String,
    },
}

/// Why a read gave nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    /// The revision asked for is no longer kept; read again from the first page.
    #[error("revision {revision} of the store is no longer kept")]
    Compacted {
        /// The revision asked for.
        revision: Revision,
    },
    /// A value or its checksum is damaged. Nothing is repaired; restore the store.
    #[error("store damaged at `{key}`: {cause}")]
    Damaged {
        /// The key whose record is damaged.
        key: String,
        /// What does not fit.
        cause: String,
    },
    /// The key or range asked for is not one that the store can hold.
    #[error("read not sent")]
    Invalid(#[from] TxnError),
    /// The store could not be reached or opened.
    #[error("store unavailable: {cause}")]
    Unavailable {
        /// What the backend said.
        cause: String,
    },
}

/// Why leadership was not given, kept or given up.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LeadError {
    /// Somebody leads already.
    #[error("`{by}` leads the store")]
    Held {
        /// The name that the leader gave.
        by: String,
    },
    /// The epoch is over; it never leads again.
    #[error("the epoch is over")]
    Lost,
    /// The store has no room for a leadership; one that was given before is kept.
    #[error("store full: {cause}")]
    Full {
        /// What the backend said.
        cause: String,
    },
    /// The store could not be asked; the epoch may or may not lead.
    #[error("store unavailable: {cause}")]
    Unavailable {
        /// What the backend said.
        cause: String,
    },
}
