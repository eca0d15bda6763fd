//! Between the words of the core and those of the store: the same things under two crates' names, since neither knows
//! the other.

use scheduler::{Compare, Op, Outcome, ReadOutcome, Refusal, Revision, StoredEntry, Txn};
use types::Code;

/// A revision of the core's for the store.
pub(crate) const fn revision_out(revision: Revision) -> store::Revision {
    store::Revision(revision.0)
}

/// A revision of the store's for the core.
pub(crate) const fn revision_in(revision: store::Revision) -> Revision {
    Revision(revision.0)
}

/// A transaction of the core's for the store: it holds only while its epoch leads.
pub(crate) fn txn(txn: Txn) -> store::Txn {
    let mut out = store::Txn::under(txn.epoch);
    out.compares
        .extend(txn.compares.into_iter().map(|compare| match compare {
            Compare::At { key, revision } => store::Compare::At {
                key,
                revision: revision_out(revision),
            },
            Compare::Absent { key } => store::Compare::Absent { key },
        }));
    out.ops.extend(txn.ops.into_iter().map(|op| match op {
        Op::Put { key, value } => store::Op::Put { key, value },
        Op::Delete { key } => store::Op::Delete { key },
    }));
    out
}

/// How a transaction ended, for the core.
pub(crate) fn outcome(outcome: store::Outcome) -> Outcome {
    use store::NotAppliedCause;
    match outcome {
        store::Outcome::Applied { revision } => Outcome::Applied {
            revision: revision_in(revision),
        },
        store::Outcome::Refused(store::Refusal::Epoch) => Outcome::Refused(Refusal::Epoch),
        store::Outcome::Refused(store::Refusal::Key(key)) => Outcome::Refused(Refusal::Key(key)),
        store::Outcome::NotApplied(NotAppliedCause::Full { cause }) => {
            not_applied(Code::StoreFull, cause)
        }
        store::Outcome::NotApplied(NotAppliedCause::Unavailable { cause }) => {
            not_applied(Code::StoreUnavailable, cause)
        }
        store::Outcome::NotApplied(NotAppliedCause::Invalid(error)) => {
            // The core cuts its groups within the store's bounds; this is its bug and is said as loudly as one.
            tracing::error!(%error, "the core made a transaction that no store takes");
            not_applied(Code::Internal, error.to_string())
        }
        store::Outcome::Unknown { cause } => Outcome::Unknown { cause },
    }
}

const fn not_applied(code: Code, cause: String) -> Outcome {
    Outcome::NotApplied { code, cause }
}

/// An outcome's name in metrics.
pub(crate) const fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied { .. } => "applied",
        Outcome::Refused(_) => "refused",
        Outcome::NotApplied { .. } => "not_applied",
        Outcome::Unknown { .. } => "unknown",
    }
}

/// A page for the core.
pub(crate) fn page(read: Result<store::Page, store::ReadError>) -> ReadOutcome {
    match read {
        Ok(page) => ReadOutcome::Page {
            entries: page.entries.into_iter().map(entry).collect(),
            next: page.next,
            revision: revision_in(page.revision),
        },
        Err(error) => failed(error),
    }
}

/// Entries read by their keys, for the core.
pub(crate) fn entries(
    read: Result<(store::Revision, Vec<store::Entry>), store::ReadError>,
) -> ReadOutcome {
    page(read.map(|(revision, entries)| store::Page {
        revision,
        entries,
        next: None,
    }))
}

fn entry(entry: store::Entry) -> StoredEntry {
    StoredEntry {
        key: entry.key,
        value: entry.value,
        revision: revision_in(entry.revision),
    }
}

fn failed(error: store::ReadError) -> ReadOutcome {
    match error {
        store::ReadError::Compacted { .. } => ReadOutcome::Compacted,
        store::ReadError::Damaged { key, cause } => ReadOutcome::Damaged { key, cause },
        store::ReadError::Invalid(error) => ReadOutcome::Unavailable {
            cause: error.to_string(),
        },
        store::ReadError::Unavailable { cause } => ReadOutcome::Unavailable { cause },
    }
}
