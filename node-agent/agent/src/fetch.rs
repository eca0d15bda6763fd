//! What grants need from storage: the rows of their lists and escalation parts, and bundles, each checked before it is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_core::Unready;
use bundle::{Bundle, Trust};
use storage::{Part, PartKind, Snapshot, Storage, StorageError, paths};
use tokio::sync::Mutex;
use types::{CatalogRow, Digest, Ordinal, ShardId, TenantId};

use crate::coordinator::GrantInfo;
use crate::residual::ScreenRow;

/// Lists kept open: the jobs that a node works on at once, and their index is a few kilobytes per million rows.
const LISTS_MAX: usize = 8;
/// Longest wait for storage before a fetch counts as failed for now.
const FETCH_DEADLINE: Duration = Duration::from_secs(60);

/// What a grant needs of each of its tracks.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Its row of the job's list.
    pub(crate) list: BTreeMap<Ordinal, CatalogRow>,
    /// Its row of the escalation part that the shard is made of; none of a root shard's.
    pub(crate) screened: BTreeMap<Ordinal, ScreenRow>,
}

/// The fetching half of storage.
#[derive(Debug)]
pub(crate) struct Fetcher {
    storage: Storage,
    bundles: PathBuf,
    trust: Trust,
    lists: Mutex<Vec<(Digest, Arc<Snapshot>)>>,
    /// One fetch of a bundle at a time: they share folders.
    fetching: Mutex<()>,
}

impl Fetcher {
    /// Fetches from `storage`; bundles go into folders under `bundles`.
    pub(crate) fn new(storage: Storage, bundles: PathBuf, trust: Trust) -> Self {
        match storage::remove_unfinished_bundles(&bundles) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, folder = %bundles.display(), "half-fetched bundles stay");
            }
            Ok(()) | Err(_) => {}
        }
        Self {
            storage,
            bundles,
            trust,
            lists: Mutex::new(Vec::new()),
            fetching: Mutex::new(()),
        }
    }

    /// The rows of a grant's tracks.
    ///
    /// # Errors
    /// Whether waiting may help.
    pub(crate) async fn rows(&self, grant: &GrantInfo) -> Result<Rows, Unready> {
        Ok(Rows {
            screened: self.screened(grant).await?,
            list: self.listed(grant).await?,
        })
    }

    async fn listed(&self, grant: &GrantInfo) -> Result<BTreeMap<Ordinal, CatalogRow>, Unready> {
        let (spec, granted) = (&grant.spec, &grant.granted);
        let read = async {
            let list = self.list(&spec.tenant, spec.list).await?;
            list.read(granted.range).await
        };
        let rows = within_deadline(read)
            .await
            .map_err(|error| unready("read a list", spec.list, &error))?;
        let wanted = rows.into_iter();
        let wanted = wanted.filter(|row| granted.tracks.contains(row.ordinal));
        Ok(wanted.map(|row| (row.ordinal, row)).collect())
    }

    /// The rows that the escalation part of a grant's shard has of its tracks. A part without one of them, or of another job's
    /// making, is none that the coordinator can have meant.
    async fn screened(&self, grant: &GrantInfo) -> Result<BTreeMap<Ordinal, ScreenRow>, Unready> {
        let (spec, tracks) = (&grant.spec, &grant.granted.tracks);
        let (shard, digest) = (grant.granted.key.shard, grant.escalation);
        let (
            ShardId::Escalation {
                root,
                attempt,
                first,
            },
            Some(sha256),
        ) = (shard, digest)
        else {
            return Ok(BTreeMap::new());
        };
        let root = ShardId::Root(root);
        let (tenant, generation) = (&spec.tenant, grant.generation);
        let path = paths::part(tenant, generation, &spec.job, root, attempt, first, sha256);
        let part = within_deadline(self.storage.get_part(&path, sha256))
            .await
            .map_err(|error| unready("get an escalation part", sha256, &error))?;
        let Part { footer, rows } = part;
        let alike = (footer.kind, footer.bundle, footer.list)
            == (PartKind::Escalation, spec.bundle, spec.list);
        let rows = rows.into_iter();
        let rows = rows.filter(|row| tracks.contains(row.ordinal));
        let rows: BTreeMap<Ordinal, ScreenRow> = rows
            .filter_map(|row| Some((row.ordinal, ScreenRow::of(row)?)))
            .collect();
        if alike && rows.len() as u64 == tracks.len() {
            return Ok(rows);
        }
        tracing::error!(%path, "the escalation part is not that of the grant");
        Err(Unready::Never)
    }

    async fn list(&self, tenant: &TenantId, list: Digest) -> Result<Arc<Snapshot>, StorageError> {
        let mut open = self.lists.lock().await;
        if let Some((_, snapshot)) = open.iter().find(|(digest, _)| *digest == list) {
            return Ok(Arc::clone(snapshot));
        }
        let snapshot = Arc::new(self.storage.snapshot(tenant, list).await?);
        if open.len() >= LISTS_MAX {
            open.remove(0);
        }
        open.push((list, Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    /// A bundle on this disk, verified against the trusted keys each time: what lies on a disk may have been changed. Bundles
    /// are the installation's and stand under its first tenant; jobs of all tenants use them.
    ///
    /// # Errors
    /// Whether waiting may help; a bundle that is refused never will be accepted.
    pub(crate) async fn bundle(&self, bundle: Digest) -> Result<Arc<Bundle>, Unready> {
        let _one_at_a_time = self.fetching.lock().await;
        let folder = self.bundles.join(bundle.to_string());
        if let Ok(opened) = self.open(&folder, bundle).await {
            return Ok(opened);
        }
        let _nothing_there = std::fs::remove_dir_all(&folder);
        let installation = TenantId::default();
        let get = self.storage.get_bundle(&installation, bundle, &folder);
        within_deadline(get)
            .await
            .map_err(|error| unready("get a bundle", bundle, &error))?;
        self.open(&folder, bundle).await.map_err(|cause| {
            tracing::error!(%bundle, cause, "the bundle is refused");
            Unready::Never
        })
    }

    async fn open(&self, folder: &Path, digest: Digest) -> Result<Arc<Bundle>, String> {
        let (folder, trust) = (folder.to_owned(), self.trust.clone());
        let opened = tokio::task::spawn_blocking(move || Bundle::open(&folder, &trust)).await;
        let opened = opened
            .map_err(|error| error.to_string())?
            .map_err(|error| error.problem().to_string())?;
        if opened.digest == digest {
            Ok(Arc::new(opened))
        } else {
            Err(format!("its digest is {}", opened.digest))
        }
    }
}

async fn within_deadline<T>(
    fetch: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    let late = |_| StorageError::Unavailable {
        action: "wait for",
        path: "storage".to_owned(),
        source: "the deadline passed".into(),
    };
    tokio::time::timeout(FETCH_DEADLINE, fetch)
        .await
        .map_err(late)?
}

/// What is absent may still come (a coordinator writes before it grants, but another replica may lag); what is damaged
/// or makes no sense will not.
fn unready(what: &'static str, of: Digest, error: &StorageError) -> Unready {
    tracing::warn!(%of, %error, cause = ?std::error::Error::source(error), "cannot {what}");
    match error {
        StorageError::NotFound { .. }
        | StorageError::Unavailable { .. }
        | StorageError::Denied { .. }
        | StorageError::Missing { .. }
        | StorageError::Full { .. } => Unready::Later,
        StorageError::Corrupt { .. } | StorageError::Invalid(_) => Unready::Never,
    }
}
