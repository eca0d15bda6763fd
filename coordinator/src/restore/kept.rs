//! What a restore keeps of a backup, or of the older store that it replaces: how jobs were ranked, what operators said of nodes, catalogs,
//! folders and bundles. Nothing of it says what counts, so that it may be as old as it is.
//!
//! Read once, record by record; what is kept of a record is small.

use std::collections::BTreeMap;
use std::path::Path;

use proto::backup::{Reader, Whole};
use scheduler::record::{Duty, JobRecord, JobState, NodeRecord, decode};
use scheduler::{JobKey, NodeKey, RecordKey};
use store::{KeyRange, ReadError, Store};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use types::{CatalogName, Code, Digest, Generation, Problem, SourceName, TenantId};

use crate::shelf::{self, BundleRecord, FolderRecord, SnapshotRecord, read_problem};

/// Bytes of a backup that are read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Times that the older store is read from its beginning because it does not keep the revision: it is written by nobody.
const READS_MAX: u32 = 3;

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The generation that it is of; none where nothing is kept.
    pub(super) generation: Option<Generation>,
    /// Jobs that were open.
    pub(super) open: BTreeMap<JobKey, JobRecord>,
    /// Nodes of which an operator had said something.
    pub(super) nodes: BTreeMap<NodeKey, NodeRecord>,
    /// Snapshots by catalog.
    pub(super) snapshots: BTreeMap<(TenantId, CatalogName), Vec<SnapshotRecord>>,
    /// Registered folders.
    pub(super) folders: BTreeMap<SourceName, FolderRecord>,
    /// Bundles.
    pub(super) bundles: BTreeMap<Digest, BundleRecord>,
}

/// A backup that was read whole.
#[derive(Debug)]
pub(super) struct Backup {
    pub(super) whole: Whole,
    pub(super) kept: Kept,
}

/// Reads a backup's file, and checks that it is whole.
///
/// # Errors
/// `BACKUP_DAMAGED`; `NOT_FOUND` where there is no such file.
pub(super) async fn read_backup(path: &Path) -> Result<Backup, Problem> {
    let failed = |error: std::io::Error| {
        let said = format!("read the backup `{}`: {error}", path.display());
        Problem::new(Code::NotFound, said)
    };
    let mut file = File::open(path).await.map_err(failed)?;
    let (mut reader, mut kept) = (Reader::default(), Kept::default());
    let mut piece = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut piece).await.map_err(failed)?;
        if read == 0 {
            break;
        }
        for page in reader.push(&piece[..read])? {
            let generation = reader.header().map_or(1, |header| header.generation);
            kept.generation = Some(Generation(generation));
            for entry in page.entries {
                kept.take(Generation(generation), &entry.key, &entry.value)?;
            }
        }
    }
    let whole = reader.finish()?;
    kept.generation = Some(Generation(whole.header.generation));
    Ok(Backup { whole, kept })
}

/// Reads what is kept of a store that is in this generation.
///
/// # Errors
/// The problem of a store that cannot be read, or holds what this version does not know.
pub(super) async fn read_store(store: &dyn Store, generation: Generation) -> Result<Kept, Problem> {
    let mut reads = 1;
    loop {
        match read_pages(store, generation).await {
            Ok(kept) => return kept,
            Err(ReadError::Compacted { .. }) if reads < READS_MAX => reads += 1,
            Err(error) => return Err(read_problem("what the store holds", &error)),
        }
    }
}

async fn read_pages(
    store: &dyn Store,
    generation: Generation,
) -> Result<Result<Kept, Problem>, ReadError> {
    let mut kept = Kept {
        generation: Some(generation),
        ..Kept::default()
    };
    let mut range = KeyRange::prefix("/");
    loop {
        let page = store.range(&range).await?;
        for entry in &page.entries {
            if let Err(problem) = kept.take(generation, &entry.key, &entry.value) {
                return Ok(Err(problem));
            }
        }
        match range.following(&page) {
            Some(following) => range = following,
            None => return Ok(Ok(kept)),
        }
    }
}

impl Kept {
    /// Keeps what there is to keep of one record of this generation.
    fn take(&mut self, generation: Generation, key: &str, value: &[u8]) -> Result<(), Problem> {
        if let Some(rest) = key.strip_prefix(&shelf::prefix(generation)) {
            return self.take_shelved(rest, key, value);
        }
        match RecordKey::parse(generation, key) {
            Ok(RecordKey::Job(job)) => {
                let record: JobRecord = read(key, value)?;
                let closed = matches!(
                    record.state,
                    JobState::Published(_) | JobState::Cancelled(_)
                );
                if !closed {
                    self.open.insert(job, record);
                }
            }
            Ok(RecordKey::Node(node)) => {
                let record: NodeRecord = read(key, value)?;
                if record.duty != Duty::Serving {
                    self.nodes.insert(node, record);
                }
            }
            // What counts, and what was revoked, storage says.
            Ok(RecordKey::Shard(..) | RecordKey::Revocation(_)) | Err(_) => {}
        }
        Ok(())
    }

    fn take_shelved(&mut self, rest: &str, key: &str, value: &[u8]) -> Result<(), Problem> {
        let words: Vec<&str> = rest.split('/').collect();
        match words.as_slice() {
            ["source", _] => {
                let record: FolderRecord = read(key, value)?;
                self.folders.insert(record.name.clone(), record);
            }
            ["bundle", _] => {
                let record: BundleRecord = read(key, value)?;
                self.bundles.insert(record.digest, record);
            }
            [tenant, "snapshot", catalog, _] => {
                let record: SnapshotRecord = read(key, value)?;
                if let (Ok(tenant), Ok(catalog)) = (tenant.parse(), catalog.parse()) {
                    let catalog = self.snapshots.entry((tenant, catalog));
                    catalog.or_default().push(record);
                }
            }
            // A catalog's own record says what its snapshots do.
            _ => {}
        }
        Ok(())
    }
}

fn read<T>(key: &str, value: &[u8]) -> Result<T, Problem>
where
    T: for<'b> minicbor::Decode<'b, ()>,
{
    decode(value)
        .map_err(|error| Problem::new(Code::StoreCorrupt, format!("read record `{key}`: {error}")))
}
