//! Catalogs and their snapshots: one record per catalog with its newest snapshot, one per snapshot.

use scheduler::record::encode;
use types::{CatalogName, Code, Digest, Problem, SourceName, TenantId, UnixMillis};

use super::{Shelf, TRIES_MAX};

/// Snapshots of one catalog: one a day for a century is a third of it.
const SNAPSHOTS_MAX: u32 = 100_000;

/// Shortest beginning of a digest that names a snapshot: shorter ones collide by accident.
pub(crate) const DIGEST_PREFIX_MIN: usize = 6;

/// One snapshot of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct SnapshotRecord {
    /// Digest over its rows: its name.
    #[n(0)]
    pub(crate) digest: Digest,
    /// Rows accepted.
    #[n(1)]
    pub(crate) rows: u32,
    /// Rows refused.
    #[n(2)]
    pub(crate) rejected: u64,
    /// Sum of the sizes known.
    #[n(3)]
    pub(crate) bytes: u64,
    /// When it was imported, for display.
    #[n(4)]
    pub(crate) imported_at: UnixMillis,
    /// The source that was read.
    #[n(5)]
    pub(crate) source: SourceName,
    /// What was read within it; empty for the whole source.
    #[n(6)]
    pub(crate) path: String,
    /// What kind of thing was read, as the wire's number.
    #[n(7)]
    pub(crate) format: i32,
    /// Refused rows by code.
    #[n(8)]
    pub(crate) rejected_by_code: Vec<RejectedCount>,
    /// The object with its rows.
    #[n(9)]
    pub(crate) object: String,
    /// The object with the refused rows; `None` where there are none.
    #[n(10)]
    pub(crate) rejected_object: Option<String>,
}

/// How many rows were refused for one code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct RejectedCount {
    /// The code.
    #[n(0)]
    pub(crate) code: Code,
    /// How many rows.
    #[n(1)]
    pub(crate) rows: u64,
}

impl SnapshotRecord {
    /// The same rows, with what a later import of them refused.
    pub(crate) fn with_rejected_of(&self, later: &Self) -> Self {
        Self {
            rejected: later.rejected,
            rejected_by_code: later.rejected_by_code.clone(),
            rejected_object: later.rejected_object.clone(),
            ..self.clone()
        }
    }
}

/// One catalog.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct CatalogRecord {
    /// Its name.
    #[n(0)]
    pub(crate) name: CatalogName,
    /// How many snapshots it has; each has a record under its number from 0.
    #[n(1)]
    pub(crate) snapshots: u32,
    /// The newest of them.
    #[n(2)]
    pub(crate) latest: SnapshotRecord,
}

impl Shelf {
    fn catalog_key(&self, tenant: &TenantId, catalog: &str) -> String {
        self.key(format_args!("{tenant}/catalog/{catalog}"))
    }

    fn snapshot_key(&self, tenant: &TenantId, catalog: &CatalogName, number: &str) -> String {
        self.key(format_args!("{tenant}/snapshot/{catalog}/{number}"))
    }

    /// Makes a snapshot the newest of its catalog. `false` where the newest one has the same rows already: then what this
    /// import rejected is noted in its record, which is returned.
    pub(crate) async fn add_snapshot(
        &self,
        tenant: &TenantId,
        catalog: &CatalogName,
        snapshot: SnapshotRecord,
    ) -> Result<(SnapshotRecord, bool), Problem> {
        let key = self.catalog_key(tenant, catalog.as_str());
        for _ in 0..TRIES_MAX {
            let found = self.get::<CatalogRecord>(&key).await?;
            let number = found.as_ref().map_or(0, |found| found.record.snapshots);
            let same = found
                .as_ref()
                .filter(|found| found.record.latest.digest == snapshot.digest);
            if let Some(same) = same {
                let latest = same.record.latest.with_rejected_of(&snapshot);
                let record = CatalogRecord {
                    latest: latest.clone(),
                    ..same.record.clone()
                };
                let own = self.snapshot_key(tenant, catalog, &format!("{:010}", number - 1));
                let txn = self.guarded(&key, Some(same.revision));
                if self
                    .write(txn.put(&key, encode(&record)).put(&own, encode(&latest)))
                    .await?
                {
                    return Ok((latest, false));
                }
                continue;
            }
            if number >= SNAPSHOTS_MAX {
                let message = format!("import `{catalog}`, which has {SNAPSHOTS_MAX} snapshots");
                return Err(Problem::new(Code::CatalogTooLarge, message));
            }
            let record = CatalogRecord {
                name: catalog.clone(),
                snapshots: number + 1,
                latest: snapshot.clone(),
            };
            let own = self.snapshot_key(tenant, catalog, &format!("{number:010}"));
            let txn = self
                .guarded(&key, found.map(|found| found.revision))
                .absent(&own);
            if self
                .write(txn.put(&key, encode(&record)).put(&own, encode(&snapshot)))
                .await?
            {
                return Ok((snapshot, true));
            }
        }
        Err(Problem::new(
            Code::Overloaded,
            format!("import `{catalog}` while others import it"),
        ))
    }

    /// One catalog.
    pub(crate) async fn catalog(
        &self,
        tenant: &TenantId,
        name: &CatalogName,
    ) -> Result<CatalogRecord, Problem> {
        let found = self
            .get::<CatalogRecord>(&self.catalog_key(tenant, name.as_str()))
            .await?;
        let found = found
            .ok_or_else(|| Problem::new(Code::NotFound, format!("look up catalog `{name}`")))?;
        Ok(found.record)
    }

    /// Catalogs by name, those after `after`; `true` where more follow.
    pub(crate) async fn catalogs(
        &self,
        tenant: &TenantId,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<CatalogRecord>, bool), Problem> {
        let after = (!after.is_empty()).then(|| self.catalog_key(tenant, after));
        let (records, next) = self
            .page(self.catalog_key(tenant, ""), after, limit)
            .await?;
        Ok((
            records.into_iter().map(|(_, record)| record).collect(),
            next.is_some(),
        ))
    }

    /// All snapshots of a catalog, newest first.
    pub(crate) async fn snapshots(
        &self,
        tenant: &TenantId,
        catalog: &CatalogName,
    ) -> Result<Vec<SnapshotRecord>, Problem> {
        let mut snapshots = self.all(self.snapshot_key(tenant, catalog, "")).await?;
        snapshots.reverse();
        Ok(snapshots)
    }

    /// A snapshot by its digest or the beginning of one; the newest where nothing is named.
    pub(crate) async fn snapshot(
        &self,
        tenant: &TenantId,
        catalog: &CatalogName,
        named: &str,
    ) -> Result<SnapshotRecord, Problem> {
        if named.is_empty() {
            return Ok(self.catalog(tenant, catalog).await?.latest);
        }
        check_digest_prefix("snapshot", named)?;
        let mut found = self.snapshots(tenant, catalog).await?;
        found.retain(|snapshot| snapshot.digest.to_string().starts_with(named));
        // The same rows may have been imported again after others; they are one snapshot under two dates.
        found.dedup_by_key(|snapshot| snapshot.digest);
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(Problem::new(
                Code::NotFound,
                format!("look up snapshot `{named}` of catalog `{catalog}`"),
            )),
            [one, rest @ ..] if rest.iter().all(|other| other.digest == one.digest) => {
                Ok(one.clone())
            }
            [_, ..] => {
                let message =
                    format!("look up snapshot `{named}` of catalog `{catalog}`: several begin so");
                Err(Problem::new(Code::InvalidRequest, message))
            }
        }
    }
}

/// Checks that a text can be the beginning of a digest, and is long enough to mean one.
pub(crate) fn check_digest_prefix(what: &str, text: &str) -> Result<(), Problem> {
    let hex = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex && (DIGEST_PREFIX_MIN..=64).contains(&text.len()) {
        return Ok(());
    }
    let shown: String = text.chars().take(80).collect();
    let message = format!(
        "look up {what} `{shown}`: give {DIGEST_PREFIX_MIN} to 64 lower-case hexadecimal digits"
    );
    Err(Problem::new(Code::InvalidRequest, message))
}
