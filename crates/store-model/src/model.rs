//! The model's face: what can be read and written. Each call is one atomic step; nothing here waits.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::keep::Keep;
use crate::late::Late;
use crate::lease::{LeaseId, Leases};

/// The number of a transaction: each that changes anything gets the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// One key as it stands at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// When it was last put.
    pub revision: Revision,
    /// When it was last made: the first put after it was absent.
    pub made: Revision,
}

/// One condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key exists and was last put at this revision.
    At {
        /// The key.
        key: String,
        /// The revision.
        revision: Revision,
    },
    /// The key exists and was made at this revision.
    Made {
        /// The key.
        key: String,
        /// The revision.
        revision: Revision,
    },
    /// The key does not exist.
    Absent {
        /// The key.
        key: String,
    },
}

/// One effect of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Gives the key a value; with a lease it goes when the lease ends.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// What its life hangs on.
        lease: Option<LeaseId>,
    },
    /// Removes the key; removing an absent one is no error.
    Delete {
        /// The key.
        key: String,
    },
}

/// If every compare holds, then every operation, at one new revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// All happen, or none.
    pub ops: Vec<Op>,
}

/// How a transaction ended inside the store, whatever its caller hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All compares held; without operations, at this revision.
    Applied {
        /// The transaction's revision.
        revision: Revision,
    },
    /// This compare, counted from 0, was the first that did not hold.
    Refused {
        /// Which one.
        compare: usize,
    },
}

/// Which keys to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// Keys start with this.
    pub prefix: String,
    /// Only keys greater than this one.
    pub after: Option<String>,
    /// Most entries wanted.
    pub limit: usize,
    /// As of this revision; `None` means now.
    pub at: Option<Revision>,
}

/// One page of a range, keys ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The revision that it shows.
    pub revision: Revision,
    /// The entries.
    pub entries: Vec<Entry>,
    /// The last key of this page when more follow.
    pub next: Option<String>,
}

/// A change of one key, as watchers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Its new value; `None` where it was removed.
    pub value: Option<Vec<u8>>,
    /// When.
    pub revision: Revision,
}

/// The revision asked for is not kept, or not reached yet.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("revision {} is not kept", .0.0)]
pub struct Compacted(pub Revision);

/// The store.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub(crate) keep: Keep,
    pub(crate) leases: Leases,
    pub(crate) late: Late,
}

impl Model {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The highest revision that any transaction has produced.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.keep.revision
    }

    /// Goes on above this revision, as a store does that was restored: no number that was given before is given again.
    pub fn go_on_above(&mut self, revision: Revision) {
        self.keep.revision = self.keep.revision.max(revision);
    }

    /// Reads one key as it stands now.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.keep.entry(key, self.keep.revision)
    }

    /// Reads one page.
    ///
    /// # Errors
    /// When the revision asked for was compacted away or lies in the future.
    pub fn range(&self, range: &KeyRange) -> Result<Page, Compacted> {
        let at = range.at.unwrap_or(self.keep.revision);
        self.keep.check(at)?;
        let mut found = self.keep.entries(&range.prefix, range.after.as_deref(), at);
        let entries: Vec<Entry> = found.by_ref().take(range.limit.max(1)).collect();
        let more = found.next().is_some();
        let next = entries.last().filter(|_| more);
        Ok(Page {
            revision: at,
            next: next.map(|entry| entry.key.clone()),
            entries,
        })
    }

    /// Executes a transaction.
    pub fn write(&mut self, txn: &Txn) -> End {
        if let Some(compare) = txn.compares.iter().position(|c| !self.holds(c)) {
            return End::Refused { compare };
        }
        if txn.ops.iter().any(|op| self.changes_something(op)) {
            self.keep.begin();
        }
        for op in &txn.ops {
            self.apply(op);
        }
        End::Applied {
            revision: self.keep.revision,
        }
    }

    /// The changes of keys that start with `prefix` after a revision, in the order in which they happened.
    ///
    /// # Errors
    /// When changes after that revision were compacted away, or it was never reached: the watcher must read the range anew.
    pub fn changes(
        &self,
        prefix: &str,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<Change>, Compacted> {
        self.keep.check_after(after)?;
        let changes = self.keep.changes(after);
        let wanted = changes.filter(|change| change.key.starts_with(prefix));
        Ok(wanted.take(limit).collect())
    }

    /// The lowest revision that can still be read.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.keep.compacted
    }

    /// Forgets what stood before a revision: it can still be read, earlier ones cannot.
    pub fn compact(&mut self, revision: Revision) {
        self.keep.compact(revision.min(self.keep.revision));
    }

    /// Every key that stands now, with its value: for those who judge the store, not for its callers.
    #[must_use]
    pub fn standing(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = self.keep.entries("", None, self.keep.revision);
        entries.map(|entry| (entry.key, entry.value)).collect()
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::At { key, revision } => self
                .keep
                .stands(key)
                .is_some_and(|v| v.revision == *revision),
            Compare::Made { key, revision } => {
                self.keep.stands(key).is_some_and(|v| v.made == *revision)
            }
            Compare::Absent { key } => self.keep.stands(key).is_none(),
        }
    }

    /// Removing what is absent changes nothing, and takes no revision.
    fn changes_something(&self, op: &Op) -> bool {
        match op {
            Op::Put { .. } => true,
            Op::Delete { key } => self.keep.stands(key).is_some(),
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put { key, value, lease } => {
                self.leases.release(key);
                if let Some(lease) = lease {
                    self.leases.hang(key, *lease);
                }
                self.keep.put(key, value.clone());
            }
            Op::Delete { key } => {
                self.leases.release(key);
                self.keep.delete(key);
            }
        }
    }
}
