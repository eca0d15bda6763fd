//! Where state lives: one versioned key-value store behind one trait.
//!
//! [`Store`] is the whole contract: paged range reads at a revision, one guarded transaction whose outcome is
//! classed, watches for followers, and leadership that gives an [`Epoch`]. Its shape is that of etcd. [`Embedded`] is the
//! backend of a single machine, on a file whose commits are synced before they are acknowledged; [`Etcd`] is the backend of a
//! cluster; [`Modelled`] is a model of a cluster in memory, for tests. [`conformance`] is the suite that each backend passes;
//! with the feature `server`, the module of that name starts real etcd servers for suites.
//!
//! Called by the coordinator, which turns the scheduler's writes into [`Txn`]s. This crate never interprets a
//! value, never retries a write on its own, and never tells a caller that an unknown outcome is a known one.

pub mod conformance;
mod embedded;
mod error;
mod etcd;
mod feed;
mod modelled;
mod page;
mod random;
#[cfg(any(test, feature = "server"))]
pub mod server;
mod txn;
mod watch;

pub use embedded::{Damage, Embedded, OpenError};
pub use error::{LeadError, NotAppliedCause, Outcome, ReadError, Refusal};
pub use etcd::{
    ClientCertificate, Etcd, EtcdError, EtcdSettings, EtcdTls, Identity, LEADERSHIP_DEFAULT,
};
pub use modelled::Modelled;
pub use txn::{Compare, KEY_BYTES_MAX, OPERATIONS_MAX, Op, REQUEST_BYTES_MAX, Txn, TxnError};
pub use watch::{Change, Seen, Watch};

use async_trait::async_trait;
use types::Epoch;

/// The number of a transaction: each one that changes anything gets a greater one than all before, and one that only removes
/// what is absent changes nothing. Compared, never computed, by callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One key as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, UTF-8, ordered by its bytes.
    pub key: String,
    /// The value, opaque to this crate.
    pub value: Vec<u8>,
    /// The revision of the transaction that last put this key: what [`Compare::At`] compares.
    pub revision: Revision,
}

/// Which keys to read: all that start with `prefix`, after `after`, at most `limit` of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Keys start with this; the empty string means all keys.
    pub prefix: String,
    /// Only keys greater than this one: the [`Page::next`] of the page before.
    pub after: Option<String>,
    /// Most entries wanted; a page may hold fewer (see [`PAGE_ENTRIES_MAX`], [`PAGE_BYTES_MAX`]).
    pub limit: usize,
    /// Read as of this revision: the [`Page::revision`] of the page before. `None` means now.
    pub at: Option<Revision>,
}

impl KeyRange {
    /// The first page of all keys that start with `prefix`, as of now.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            after: None,
            limit: PAGE_ENTRIES_MAX,
            at: None,
        }
    }

    /// The page after `page`, at the same revision; `None` when `page` was the last one.
    pub fn following(&self, page: &Page) -> Option<Self> {
        page.next.clone().map(|after| Self {
            prefix: self.prefix.clone(),
            after: Some(after),
            limit: self.limit,
            at: Some(page.revision),
        })
    }
}

/// Most entries in one page: a page of shard records of 500 bytes then stays within half a MiB.
pub const PAGE_ENTRIES_MAX: usize = 1_000;

/// Most bytes of keys and values in one page, though never fewer than one entry: half of the 4 MiB that a gRPC
/// client accepts by default, since the largest value is 1.5 MiB.
pub const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One page of a range, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The revision that this page shows; all pages of one reading show the same.
    pub revision: Revision,
    /// The entries, keys ascending.
    pub entries: Vec<Entry>,
    /// The last key of this page when more follow.
    pub next: Option<String>,
}

/// What a store says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Names this store for life; another number means that somebody swapped the store.
    pub cluster: u64,
    /// The highest revision that any transaction has produced.
    pub revision: Revision,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its epoch.
    pub epoch: Epoch,
    /// The name that it gave when it began to lead: free text, such as the address where it is reached.
    pub name: String,
}

/// A versioned key-value store with guarded transactions and leadership.
///
/// Reads are linearizable: a read that begins after a write was answered sees it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Says which store this is and how far it has come.
    async fn status(&self) -> Result<Status, ReadError>;

    /// Reads one key; `None` when it is absent.
    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError>;

    /// Reads one page of a range. A revision that is no longer kept gives [`ReadError::Compacted`]: start again.
    async fn range(&self, range: &KeyRange) -> Result<Page, ReadError>;

    /// Executes one transaction: if every compare holds, all puts and deletes happen at one new revision, else
    /// nothing does. Never repeated by the store itself.
    async fn write(&self, txn: Txn) -> Outcome;

    /// Tries to become the leader under `candidate`'s name; gives the epoch, which is the revision that made the
    /// leadership record and so greater than every epoch before. Does not wait: [`LeadError::Held`] names who leads.
    async fn lead(&self, candidate: &str) -> Result<Epoch, LeadError>;

    /// Renews the leadership of `epoch`; to be called well within the leadership time. [`LeadError::Lost`] means
    /// that the epoch is over for good: stop at once.
    async fn keep(&self, epoch: Epoch) -> Result<(), LeadError>;

    /// Gives the leadership of `epoch` up, so that another may lead without waiting.
    async fn resign(&self, epoch: Epoch) -> Result<(), LeadError>;

    /// Says who leads, if anybody does.
    async fn led_by(&self) -> Result<Option<Leader>, ReadError>;

    /// Waits until another than `known` leads, or nobody does, and gives who; `None` waits until somebody leads. Without end: a caller
    /// that wants one sets it.
    async fn leader_other_than(&self, known: Option<Epoch>) -> Result<Option<Leader>, ReadError>;

    /// Watches all keys that start with `prefix`, from the first transaction after `after` on: changes in order, each transaction's
    /// together, none twice. A revision that is not kept or was never reached ends it with [`ReadError::Compacted`], at the latest at
    /// the first [`Watch::next`].
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError>;
}

/// Reads every entry under `prefix` at one revision, page by page. Starts again, at most [`READ_ALL_STARTS_MAX`]
/// times, when the store no longer keeps the revision.
pub async fn read_all(
    store: &dyn Store,
    prefix: &str,
) -> Result<(Revision, Vec<Entry>), ReadError> {
    let mut starts = 1;
    loop {
        match read_once(store, prefix).await {
            Err(ReadError::Compacted { .. }) if starts < READ_ALL_STARTS_MAX => starts += 1,
            settled => return settled,
        }
    }
}

/// Readings that [`read_all`] begins before it reports that the store compacts faster than it can be read: the
/// first and four more, each of which has at least the store's retention to finish in.
pub const READ_ALL_STARTS_MAX: usize = 5;

async fn read_once(store: &dyn Store, prefix: &str) -> Result<(Revision, Vec<Entry>), ReadError> {
    let mut range = KeyRange::prefix(prefix);
    let mut entries = Vec::new();
    loop {
        let mut page = store.range(&range).await?;
        entries.append(&mut page.entries);
        match range.following(&page) {
            Some(following) => range = following,
            None => return Ok((page.revision, entries)),
        }
    }
}
