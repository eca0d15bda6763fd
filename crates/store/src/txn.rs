//! What a transaction says: compares, then puts and deletes, within the bounds that every backend shares.
//!
//! Built by the coordinator from the scheduler's writes. A [`Txn`] is plain data; a backend calls
//! [`Txn::validate`] before it does anything, so that one that is too large for a cluster is refused on one machine too.

use std::collections::BTreeSet;

use thiserror::Error;
use types::Epoch;

use crate::Revision;

/// Most compares in one transaction, and most puts and deletes: what an etcd server accepts by default.
pub const OPERATIONS_MAX: usize = 128;

/// Most bytes in one transaction by [`Txn::recorded_size`]: what an etcd server accepts by default (1.5 MiB).
pub const REQUEST_BYTES_MAX: usize = 1_536 * 1024;

/// Most bytes in one key: four times what the longest record key (tenant, job and shard names at their limits) needs.
pub const KEY_BYTES_MAX: usize = 4_096;

/// Bytes counted for each compare and operation beyond its key and value: what a cluster's prefix adds to the key, and tags, lengths
/// and revisions on the wire. With it a transaction within [`REQUEST_BYTES_MAX`] is within what an etcd server accepts.
const OVERHEAD_BYTES: usize = 128;

/// One condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key exists and was last put at exactly this revision.
    At {
        /// The key compared.
        key: String,
        /// Its [`crate::Entry::revision`] when last read.
        revision: Revision,
    },
    /// The key does not exist.
    Absent {
        /// The key compared.
        key: String,
    },
    /// This epoch is still the leading one.
    Leads(Epoch),
}

/// One effect of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Makes `value` the key's value at the transaction's revision.
    Put {
        /// The key put.
        key: String,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Removes the key; removing an absent key is no error.
    Delete {
        /// The key removed.
        key: String,
    },
}

impl Op {
    /// The key that this operation changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } => key,
            Self::Delete { key } => key,
        }
    }
}

/// If every compare holds, then every operation, at one new revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// All happen, or none. At most one per key.
    pub ops: Vec<Op>,
}

impl Txn {
    /// A transaction that holds only while `epoch` leads.
    pub fn under(epoch: Epoch) -> Self {
        Self {
            compares: vec![Compare::Leads(epoch)],
            ops: Vec::new(),
        }
    }

    /// Adds: the key was last put at `revision`.
    #[must_use]
    pub fn at(mut self, key: impl Into<String>, revision: Revision) -> Self {
        self.compares.push(Compare::At {
            key: key.into(),
            revision,
        });
        self
    }

    /// Adds: the key does not exist.
    #[must_use]
    pub fn absent(mut self, key: impl Into<String>) -> Self {
        self.compares.push(Compare::Absent { key: key.into() });
        self
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.ops.push(Op::Put {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Bytes that this transaction counts for: keys, values and a fixed overhead each. A compare counts twice, since a cluster sends
    /// each a second time, to learn which one did not hold.
    pub fn recorded_size(&self) -> usize {
        let compares = self.compares.iter().map(|compare| match compare {
            Compare::At { key, .. } | Compare::Absent { key } => key.len(),
            Compare::Leads(_) => 0,
        });
        let compares = compares.map(|bytes| 2 * (bytes + OVERHEAD_BYTES));
        let ops = self.ops.iter().map(|op| match op {
            Op::Put { key, value } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
        });
        compares
            .chain(ops.map(|bytes| bytes + OVERHEAD_BYTES))
            .sum()
    }

    /// Checks the bounds and that no key is changed twice.
    pub fn validate(&self) -> Result<(), TxnError> {
        self.check_counts()?;
        self.keys().try_for_each(check_key)?;
        let mut changed = BTreeSet::new();
        match self.ops.iter().find(|op| !changed.insert(op.key())) {
            Some(op) => Err(TxnError::KeyTwice {
                key: op.key().to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn check_counts(&self) -> Result<(), TxnError> {
        for count in [self.compares.len(), self.ops.len()] {
            if count > OPERATIONS_MAX {
                return Err(TxnError::TooManyOperations { count });
            }
        }
        match self.recorded_size() {
            bytes if bytes > REQUEST_BYTES_MAX => Err(TxnError::TooLarge { bytes }),
            _ => Ok(()),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        let compared = self.compares.iter().filter_map(|compare| match compare {
            Compare::At { key, .. } | Compare::Absent { key } => Some(key.as_str()),
            Compare::Leads(_) => None,
        });
        compared.chain(self.ops.iter().map(Op::key))
    }
}

/// Checks that a key is neither empty nor over [`KEY_BYTES_MAX`].
pub(crate) fn check_key(key: &str) -> Result<(), TxnError> {
    match key.len() {
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(TxnError::Key { bytes }),
    }
}

/// Why a transaction cannot be executed by any backend: an error of its builder.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TxnError {
    /// More compares, or more operations, than [`OPERATIONS_MAX`].
    #[error("transaction of {count} compares or operations, more than {OPERATIONS_MAX}")]
    TooManyOperations {
        /// How many there are.
        count: usize,
    },
    /// More bytes than [`REQUEST_BYTES_MAX`].
    #[error("transaction of {bytes} bytes, more than {REQUEST_BYTES_MAX}")]
    TooLarge {
        /// How many bytes it counts for.
        bytes: usize,
    },
    /// An empty key, or one over [`KEY_BYTES_MAX`].
    #[error("key of {bytes} bytes, not between 1 and {KEY_BYTES_MAX}")]
    Key {
        /// Length of the key.
        bytes: usize,
    },
    /// Two operations change one key.
    #[error("transaction changes `{key}` twice")]
    KeyTwice {
        /// The key.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn puts(count: usize, value_bytes: usize) -> Txn {
        (0..count).fold(Txn::default(), |txn, n| {
            txn.put(format!("key-{n:04}"), vec![0; value_bytes])
        })
    }

    #[track_caller]
    fn check(txn: &Txn, expected: Result<(), TxnError>) {
        assert_eq!(txn.validate(), expected);
    }

    #[test]
    fn a_transaction_may_use_its_bounds_and_not_one_more() {
        check(&puts(OPERATIONS_MAX, 1), Ok(()));
        check(
            &puts(OPERATIONS_MAX + 1, 1),
            Err(TxnError::TooManyOperations { count: 129 }),
        );
        let key_and_overhead = 8 + OVERHEAD_BYTES;
        check(&puts(1, REQUEST_BYTES_MAX - key_and_overhead), Ok(()));
        check(
            &puts(1, REQUEST_BYTES_MAX - key_and_overhead + 1),
            Err(TxnError::TooLarge {
                bytes: REQUEST_BYTES_MAX + 1,
            }),
        );
    }

    #[test]
    fn compares_are_bounded_like_operations() {
        let txn = (0..=OPERATIONS_MAX).fold(Txn::default(), |txn, n| txn.absent(format!("k{n}")));
        check(&txn, Err(TxnError::TooManyOperations { count: 129 }));
    }

    #[test]
    fn a_key_is_neither_empty_nor_endless() {
        check(
            &Txn::default().put("", "v"),
            Err(TxnError::Key { bytes: 0 }),
        );
        check(&Txn::default().absent(""), Err(TxnError::Key { bytes: 0 }));
        check(&Txn::default().delete("k".repeat(KEY_BYTES_MAX)), Ok(()));
        check(
            &Txn::default().delete("k".repeat(KEY_BYTES_MAX + 1)),
            Err(TxnError::Key {
                bytes: KEY_BYTES_MAX + 1,
            }),
        );
    }

    #[test]
    fn no_key_is_changed_twice_but_it_may_be_compared_and_changed() {
        check(&Txn::default().absent("a").put("a", "1"), Ok(()));
        check(
            &Txn::default().put("a", "1").delete("a"),
            Err(TxnError::KeyTwice { key: "a".into() }),
        );
    }
}
