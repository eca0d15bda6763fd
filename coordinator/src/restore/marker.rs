//! The record that a restore has begun: which generation it makes of which one, and by what. It stands from the restore's first write to its
//! last, which removes it as it makes the new generation the store's.

use scheduler::record::{decode, encode};
use store::{Entry, Store};
use types::{Code, Digest, Generation, Problem};

use crate::shelf::read_problem;

/// Where it stands: outside of every generation.
pub(super) const MARKER: &str = "/restore";

/// What a restore does.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(super) struct Marker {
    /// The generation whose objects are read.
    #[n(0)]
    pub(super) old: Generation,
    /// The generation that is made.
    #[n(1)]
    pub(super) new: Generation,
    /// The backup that is restored; none for a rebuild.
    #[n(2)]
    pub(super) backup: Option<Digest>,
}

impl Marker {
    pub(super) fn encoded(&self) -> Vec<u8> {
        encode(self)
    }
}

/// Reads the record, with the entry that it is of.
pub(super) async fn read(store: &dyn Store) -> Result<Option<(Marker, Entry)>, Problem> {
    let entry = store.get(MARKER).await;
    let entry = entry.map_err(|error| read_problem(MARKER, &error))?;
    entry.map(|entry| Ok((parse(&entry)?, entry))).transpose()
}

fn parse(entry: &Entry) -> Result<Marker, Problem> {
    decode(&entry.value).map_err(|error| {
        Problem::new(
            Code::StoreCorrupt,
            format!("read record `{MARKER}`: {error}"),
        )
    })
}

/// Refuses a store in which a restore has begun and not ended.
///
/// # Errors
/// `RESTORE_UNFINISHED`; the problem of a store that cannot be read.
pub(crate) async fn check_finished(store: &dyn Store) -> Result<(), Problem> {
    match read(store).await? {
        None => Ok(()),
        Some((marker, _)) => Err(unfinished("start on the store", &marker)),
    }
}

/// What is said of a restore that has begun.
pub(super) fn unfinished(what: &str, marker: &Marker) -> Problem {
    let by = match &marker.backup {
        Some(digest) => format!("of backup {}", digest.short()),
        None => "from storage".to_owned(),
    };
    let Marker { old, new, .. } = marker;
    let said = format!("{what}: a restore {by}, of generation {old} as {new}, has begun in it");
    Problem::new(Code::RestoreUnfinished, said)
}
