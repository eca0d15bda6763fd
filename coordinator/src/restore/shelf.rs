//! The shelf of the new generation: what was revoked, catalogs with their snapshots, registered folders, bundles. From storage, and from what
//! was kept where storage does not say it.

use std::collections::BTreeMap;

use scheduler::record::{Progress, RevocationRecord, encode};
use scheduler::{JobKey, NodeKey, RecordKey, RevocationKey};
use storage::{CatalogImport, Revoked, paths};
use types::{CatalogName, Digest, Problem, SourceName, TenantId, UnixMillis, chain};

use super::jobs::{Lists, is_damage};
use super::steps::Work;
use crate::app::storage_problem;
use crate::handlers::record_of;
use crate::shelf::{self, CatalogRecord, FolderRecord, RejectedCount, SnapshotRecord};

/// Where a snapshot is said to come from of which nothing but its rows is known.
const UNKNOWN: &str = "unknown";

/// What was revoked, carried over: it stays revoked, and since nothing of it is taken there is nothing left to do for it.
///
/// # Errors
/// What keeps store or storage from being read or written.
pub(super) async fn revocations(work: &mut Work<'_>) -> Result<Vec<RevocationRecord>, Problem> {
    let storage = work.place.storage.clone();
    let failed = |error| storage_problem("carry over what was revoked", &error);
    let mut records = Vec::new();
    for tenant in storage.tenants().await.map_err(failed)? {
        for revoked in storage.revoked(&tenant, work.old).await.map_err(failed)? {
            let revoked = Revoked {
                generation: work.new,
                ..revoked
            };
            storage.put_revoked(&revoked).await.map_err(failed)?;
            let (key, record) = in_core_words(revoked);
            let path = RecordKey::Revocation(key).path(work.new);
            work.desk.put(path, encode(&record)).await?;
            work.report.revocations += 1;
            records.push(record);
        }
    }
    Ok(records)
}

fn in_core_words(revoked: Revoked) -> (RevocationKey, RevocationRecord) {
    let key = RevocationKey {
        tenant: revoked.tenant.clone(),
        revocation: revoked.revocation,
    };
    let jobs = revoked.jobs.into_iter();
    let record = RevocationRecord {
        node: NodeKey {
            tenant: revoked.tenant,
            node: revoked.node,
        },
        device: revoked.device,
        from: revoked.from,
        to: revoked.to,
        jobs: jobs.map(|(tenant, job)| JobKey { tenant, job }).collect(),
        progress: Progress::Closed,
        by: revoked.actor,
        at: revoked.at,
        reason: revoked.reason,
    };
    (key, record)
}

/// Catalogs, folders and bundles. `lists` are those that jobs scanned.
///
/// # Errors
/// What keeps store or storage from being read or written.
pub(super) async fn rebuild(work: &mut Work<'_>, lists: Lists) -> Result<(), Problem> {
    catalogs(work, lists).await?;
    folders(work).await?;
    bundles(work).await
}

async fn catalogs(work: &mut Work<'_>, mut lists: Lists) -> Result<(), Problem> {
    let storage = work.place.storage.clone();
    let failed = |error| storage_problem("read imports", &error);
    let mut all = std::mem::take(&mut work.kept.snapshots);
    for tenant in storage.tenants().await.map_err(failed)? {
        for catalog in storage.catalogs(&tenant).await.map_err(failed)? {
            let imports = storage.imports(&tenant, &catalog).await.map_err(failed)?;
            let snapshots = all.entry((tenant.clone(), catalog)).or_default();
            snapshots.extend(imports.into_iter().map(snapshot));
        }
    }
    for (tenant, catalog) in lists.keys() {
        all.entry((tenant.clone(), catalog.clone())).or_default();
    }
    for ((tenant, catalog), mut snapshots) in all {
        let scanned = lists.remove(&(tenant.clone(), catalog.clone()));
        for (list, (rows, at)) in scanned.into_iter().flatten() {
            if !snapshots.iter().any(|known| known.digest == list) {
                work.report.warn(format!(
                    "catalog {tenant}/{catalog}: of snapshot {} only its rows are known, from a job that scanned it",
                    list.short()
                ));
                snapshots.push(bare(&tenant, list, rows, at));
            }
        }
        put_catalog(work, (&tenant, &catalog), in_order(snapshots)).await?;
    }
    Ok(())
}

/// An import as a record.
fn snapshot(import: CatalogImport) -> SnapshotRecord {
    let by_code = import.rejected_by_code.into_iter();
    SnapshotRecord {
        digest: import.list,
        rows: import.rows,
        rejected: import.rejected,
        bytes: import.bytes,
        imported_at: import.at,
        source: import.source,
        path: import.path,
        format: import.format,
        rejected_by_code: by_code
            .map(|(code, rows)| RejectedCount { code, rows })
            .collect(),
        object: paths::snapshot(&import.tenant, import.list).to_string(),
        rejected_object: import.rejected_object,
    }
}

/// A snapshot of which a job alone tells.
fn bare(tenant: &TenantId, list: Digest, rows: u32, at: UnixMillis) -> SnapshotRecord {
    SnapshotRecord {
        digest: list,
        rows,
        rejected: 0,
        bytes: 0,
        imported_at: at,
        source: SourceName::new(UNKNOWN).expect("letters are a name"),
        path: String::new(),
        format: 0,
        rejected_by_code: Vec::new(),
        object: paths::snapshot(tenant, list).to_string(),
        rejected_object: None,
    }
}

/// The snapshots as their imports one after another make them: each once, and one that brought the same rows as the one before it
/// changes what that rejected.
fn in_order(mut snapshots: Vec<SnapshotRecord>) -> Vec<SnapshotRecord> {
    snapshots.sort_by_key(|one| (one.imported_at, one.digest));
    snapshots.dedup_by_key(|one| (one.imported_at, one.digest));
    let mut ordered: Vec<SnapshotRecord> = Vec::new();
    for next in snapshots {
        match ordered.last_mut() {
            Some(last) if last.digest == next.digest => *last = last.with_rejected_of(&next),
            Some(_) | None => ordered.push(next),
        }
    }
    ordered
}

async fn put_catalog(
    work: &mut Work<'_>,
    (tenant, catalog): (&TenantId, &CatalogName),
    snapshots: Vec<SnapshotRecord>,
) -> Result<(), Problem> {
    let Some(latest) = snapshots.last().cloned() else {
        return Ok(());
    };
    let prefix = shelf::prefix(work.new);
    let record = CatalogRecord {
        name: catalog.clone(),
        snapshots: u32::try_from(snapshots.len()).unwrap_or(u32::MAX),
        latest,
    };
    for (number, snapshot) in snapshots.iter().enumerate() {
        let key = format!("{prefix}{tenant}/snapshot/{catalog}/{number:010}");
        work.desk.put(key, encode(snapshot)).await?;
    }
    work.report.catalogs += 1;
    let key = format!("{prefix}{tenant}/catalog/{catalog}");
    work.desk.put(key, encode(&record)).await
}

async fn folders(work: &mut Work<'_>) -> Result<(), Problem> {
    let found = work.place.storage.registered_folders().await;
    let found = found.map_err(|error| storage_problem("read registered folders", &error))?;
    let mut all: BTreeMap<SourceName, FolderRecord> = std::mem::take(&mut work.kept.folders);
    for folder in found {
        let record = FolderRecord {
            name: folder.name.clone(),
            folder: folder.folder,
            by: folder.by,
            at: folder.at,
        };
        all.insert(folder.name, record);
    }
    for (name, record) in all {
        let key = format!("{}source/{name}", shelf::prefix(work.new));
        work.desk.put(key, encode(&record)).await?;
        work.report.folders += 1;
    }
    Ok(())
}

/// Bundles that storage holds whole. What a record says beyond that is read from the bundle itself where no record was kept.
async fn bundles(work: &mut Work<'_>) -> Result<(), Problem> {
    let (storage, tenant) = (work.place.storage.clone(), TenantId::default());
    let found = storage.bundles(&tenant).await;
    let found = found.map_err(|error| storage_problem("list bundles", &error))?;
    for digest in found {
        let record = match work.kept.bundles.remove(&digest) {
            Some(record) => record,
            None => {
                let scratch = work.scratch()?;
                let fetched = storage.get_bundle(&tenant, digest, scratch.path()).await;
                let what = format!("read bundle {}", digest.short());
                if let Err(error) = fetched {
                    if !is_damage(&error) {
                        return Err(storage_problem(&what, &error));
                    }
                    // Nothing that counts rests on it, and everything else is not to wait for it.
                    work.report.warn(format!("{what}: {}", chain(&error)));
                    continue;
                }
                match record_of(scratch.path(), digest).await {
                    Ok(record) => record,
                    Err(problem) => {
                        work.report
                            .warn(format!("bundle {}: {problem}", digest.short()));
                        continue;
                    }
                }
            }
        };
        let key = format!("{}bundle/{digest}", shelf::prefix(work.new));
        work.desk.put(key, encode(&record)).await?;
        work.report.bundles += 1;
    }
    for digest in work.kept.bundles.keys() {
        let gone = format!("bundle {}: storage does not hold it", digest.short());
        work.report.warn(gone);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(rows: u32, at: i64, rejected: u64) -> SnapshotRecord {
        let list = Digest::of(&rows.to_le_bytes());
        SnapshotRecord {
            rejected,
            ..bare(&TenantId::default(), list, rows, UnixMillis(at))
        }
    }

    #[test]
    fn snapshots_stand_in_the_order_of_their_imports_and_the_same_rows_again_make_no_other() {
        let told = vec![
            record(2, 20, 0),
            record(1, 30, 0),
            record(1, 10, 1),
            record(1, 10, 1),
        ];
        let ordered = in_order(told);
        assert_eq!(
            ordered,
            [record(1, 10, 1), record(2, 20, 0), record(1, 30, 0)]
        );
        let again = in_order(vec![record(1, 10, 1), record(1, 40, 5)]);
        assert_eq!(again, [record(1, 10, 5)]);
    }
}
