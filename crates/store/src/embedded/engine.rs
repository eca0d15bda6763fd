//! The open file: rehearsed, verified, opened, and opened again after the medium has failed.
//!
//! Shared between the writer thread and readers. Nothing is trusted that was not read back: a file is first opened
//! and checked in a [`Rehearsal`] that cannot change it, so that damage is refused with the file as it was found.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use redb::{Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend};

use super::autopsy;
use super::medium::{Live, Medium, Rehearsal};
use super::record::Head;
use super::tables::{self, Damage, Fault, structure};
use crate::{ReadError, Revision};

/// Memory for redb's page cache: the live state of ten million tracks is near 50 MB.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Memory for it while a file is rehearsed: every page is read a few times in order, and what was taken for it is seldom
/// given back to the system.
const REHEARSAL_CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Revisions kept for readers that are between two pages. Each pins the pages of its revision in the file; the
/// coordinator has one long reading at a time, at the start of its reign, and a few short ones for people.
const SNAPSHOTS_MAX: usize = 4;

/// How long one is kept for a next page that may never be asked for: until then the file cannot reuse what it pins. A leader
/// reads a page in milliseconds.
pub(super) const SNAPSHOT_LIVES: Duration = Duration::from_secs(30);

/// The file and what is open on it.
#[derive(Debug)]
pub(super) struct Engine {
    medium: Arc<dyn Medium>,
    database: RwLock<Option<Database>>,
    snapshots: Mutex<BTreeMap<Revision, Kept>>,
}

/// A read transaction kept between two pages, with the time of the last one.
type Kept = (Instant, Arc<Snapshot>);

/// A read transaction that is shared.
pub(super) struct Snapshot(ReadTransaction);

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Snapshot")
    }
}

impl std::ops::Deref for Snapshot {
    type Target = ReadTransaction;

    fn deref(&self) -> &ReadTransaction {
        &self.0
    }
}

impl Engine {
    /// Opens what stands on the medium, which must hold a store.
    pub(super) fn open(medium: Arc<dyn Medium>) -> Result<Self, Fault> {
        let engine = Self {
            medium,
            database: RwLock::new(None),
            snapshots: Mutex::new(BTreeMap::new()),
        };
        engine.ensure_open()?;
        Ok(engine)
    }

    /// Makes a new, empty store on an empty medium.
    pub(super) fn create(medium: Arc<dyn Medium>, cluster: u64) -> Result<(), Fault> {
        let database = open_database(Live(medium), CACHE_BYTES)?;
        let writing = begin_write(&database)?;
        tables::create(&writing, cluster)?;
        writing
            .commit()
            .map_err(|error| Fault::Medium(error.to_string()))
    }

    /// The open database; opened again, with all its checks, if a failure has closed it.
    pub(super) fn database(&self) -> Result<OpenDatabase<'_>, Fault> {
        self.ensure_open()?;
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match guard.is_some() {
            true => Ok(OpenDatabase(guard)),
            false => Err(Fault::Medium(
                "the store was closed by a failure just now".to_owned(),
            )),
        }
    }

    fn ensure_open(&self) -> Result<(), Fault> {
        if self
            .database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
        {
            return Ok(());
        }
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            self.medium
                .forget_cache()
                .map_err(|error| Fault::Medium(error.to_string()))?;
            rehearse(&self.medium)?;
            *database = Some(open_database(Live(self.medium.clone()), CACHE_BYTES)?);
        }
        Ok(())
    }

    /// Closes the file after a failure: what it holds is unknown until it has been read again.
    pub(super) fn close_after_failure(&self) {
        self.snapshots().clear();
        let failed = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if catch_unwind(AssertUnwindSafe(|| drop(failed))).is_err() {
            tracing::warn!(
                "closing the failed store file panicked; it is read again before its next use"
            );
        }
    }

    /// A read transaction as of now.
    pub(super) fn reading(&self) -> Result<ReadTransaction, Fault> {
        let database = self.database()?;
        begin_read(&database)
    }

    /// A read transaction as of now, which [`Engine::keep`] can keep for the next page.
    pub(super) fn snapshot(&self) -> Result<Arc<Snapshot>, Fault> {
        Ok(Arc::new(Snapshot(self.reading()?)))
    }

    /// The read transaction that shows `revision`, if it is the present one or was kept.
    pub(super) fn snapshot_at(&self, revision: Revision) -> Result<Arc<Snapshot>, ReadError> {
        if let Some(kept) = self.snapshots().get(&revision) {
            return Ok(kept.1.clone());
        }
        let now = self.snapshot()?;
        match tables::head(&now)?.revision == revision.0 {
            true => Ok(now),
            false => Err(ReadError::Compacted { revision }),
        }
    }

    /// Keeps a read transaction for the page after this one; the oldest goes when there are too many.
    pub(super) fn keep(&self, revision: Revision, snapshot: Arc<Snapshot>) {
        let mut snapshots = self.snapshots();
        snapshots.insert(revision, (Instant::now(), snapshot));
        while snapshots.len() > SNAPSHOTS_MAX {
            snapshots.pop_first();
        }
    }

    /// Forgets read transactions whose reader has not asked for the next page in time.
    pub(super) fn expire(&self, lives: Duration) {
        self.snapshots()
            .retain(|_, (last, _)| last.elapsed() < lives);
    }

    /// Forgets a read transaction whose last page has been read.
    pub(super) fn release(&self, revision: Revision) {
        self.snapshots().remove(&revision);
    }

    fn snapshots(&self) -> MutexGuard<'_, BTreeMap<Revision, Kept>> {
        self.snapshots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A database that is open for as long as this is held.
pub(super) struct OpenDatabase<'a>(RwLockReadGuard<'a, Option<Database>>);

impl std::ops::Deref for OpenDatabase<'_> {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0
            .as_ref()
            .expect("checked when the guard was made, and only its writer can take it")
    }
}

/// Begins a write transaction whose commit is synced twice: first the new pages, then the one bit that makes them
/// count. With a single sync redb would take a damaged newest commit for an unfinished one and go back silently.
pub(super) fn begin_write(database: &Database) -> Result<redb::WriteTransaction, Fault> {
    let mut writing = database.begin_write().map_err(transaction_fault)?;
    writing.set_two_phase_commit(true);
    Ok(writing)
}

fn begin_read(database: &Database) -> Result<ReadTransaction, Fault> {
    database.begin_read().map_err(transaction_fault)
}

fn transaction_fault(error: redb::TransactionError) -> Fault {
    if let redb::TransactionError::Storage(error) = error {
        return error.into();
    }
    Fault::Medium(error.to_string())
}

fn open_database(backend: impl StorageBackend, cache: usize) -> Result<Database, Fault> {
    let mut builder = Builder::new();
    let opened = builder.set_cache_size(cache).create_with_backend(backend);
    opened.map_err(database_fault)
}

fn database_fault(error: DatabaseError) -> Fault {
    if let DatabaseError::Storage(error) = error {
        return error.into();
    }
    structure(error.to_string())
}

/// Opens and checks the medium without changing it: redb's own page checksums and allocation, then every record. Where the
/// former find damage, the record that it lies in is looked for.
fn rehearse(medium: &Arc<dyn Medium>) -> Result<Head, Fault> {
    let checked = catch_unwind(AssertUnwindSafe(|| check_everything(medium)));
    let checked = checked.unwrap_or_else(|panic| Err(structure(panic_text(panic.as_ref()))));
    checked.map_err(|fault| match fault {
        Fault::Damaged(damage) => Fault::Damaged(closer(medium.as_ref(), damage)),
        Fault::Medium(cause) => Fault::Medium(cause),
    })
}

/// The damage with its place in the file, and its key where that was not known.
fn closer(medium: &dyn Medium, damage: Damage) -> Damage {
    match autopsy::find(medium) {
        Some(found) if damage.key.is_none() || damage.key == found.key => found,
        Some(_) | None => damage,
    }
}

fn check_everything(medium: &Arc<dyn Medium>) -> Result<Head, Fault> {
    let overlay =
        Rehearsal::over(medium.clone()).map_err(|error| Fault::Medium(error.to_string()))?;
    if StorageBackend::len(&overlay).map_err(|error| Fault::Medium(error.to_string()))? == 0 {
        return Err(structure("the file is empty".to_owned()));
    }
    let mut database = open_database(overlay, REHEARSAL_CACHE_BYTES)?;
    match database.check_integrity() {
        Ok(true) => tables::verify(&begin_read(&database)?),
        Ok(false) => Err(structure(
            "pages or their allocation do not fit their checksums".to_owned(),
        )),
        Err(error) => Err(database_fault(error)),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    format!("reading it panicked: {text}")
}
