//! Views of catalogs, imports and rejected rows.

use super::{age, fields, short, size, time};
use crate::output::{Paint, Records, View};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// An immutable import.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SnapshotView {
    /// Digest over the canonical rows: its name.
    pub(crate) digest: String,
    /// Accepted tracks.
    rows: u64,
    /// Refused rows.
    rejected: u64,
    /// Refused rows by code.
    rejected_by_code: BTreeMap<String, u64>,
    /// Sum of the known sizes in bytes.
    bytes: u64,
    /// RFC 3339.
    imported_at: String,
    /// Source that was read.
    source: String,
    /// Path within the source.
    pub(crate) path: String,
    #[serde(skip)]
    imported_at_ms: i64,
}

impl From<v1::Snapshot> for SnapshotView {
    fn from(wire: v1::Snapshot) -> Self {
        Self {
            digest: wire.digest,
            rows: wire.rows,
            rejected: wire.rejected,
            rejected_by_code: wire.rejected_by_code.into_iter().collect(),
            bytes: wire.bytes,
            imported_at: time(wire.imported_at_ms),
            source: wire.source,
            path: wire.path,
            imported_at_ms: wire.imported_at_ms,
        }
    }
}

/// One line of `catalog ls`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CatalogView {
    /// The catalog's name.
    name: String,
    /// How many snapshots it has.
    snapshots: u32,
    /// The newest one.
    latest: Option<SnapshotView>,
}

impl From<v1::Catalog> for CatalogView {
    fn from(wire: v1::Catalog) -> Self {
        Self {
            name: wire.name,
            snapshots: wire.snapshots,
            latest: wire.latest.map(Into::into),
        }
    }
}

/// `catalog ls`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CatalogList {
    /// By name.
    pub(crate) catalogs: Vec<CatalogView>,
}

impl View for CatalogList {
    fn names(&self) -> Vec<String> {
        self.catalogs.iter().map(|c| c.name.clone()).collect()
    }

    fn records(&self) -> Records {
        let row = |c: &CatalogView| {
            let latest = c.latest.as_ref();
            vec![
                c.name.clone(),
                latest.map_or_else(String::new, |s| s.rows.to_string()),
                latest.map_or_else(String::new, |s| s.rejected.to_string()),
                latest.map_or_else(String::new, |s| short(&s.digest)),
                c.snapshots.to_string(),
                latest.map_or_else(|| "-".to_owned(), |s| age(s.imported_at_ms)),
            ]
        };
        let header = vec!["NAME", "TRACKS", "REJECTED", "SNAPSHOT", "SNAPSHOTS", "AGE"];
        Records {
            header,
            rows: self.catalogs.iter().map(row).collect(),
        }
    }
}

/// `catalog get`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CatalogDetail {
    /// The catalog's name.
    pub(crate) name: String,
    /// Newest first.
    pub(crate) snapshots: Vec<SnapshotView>,
}

impl View for CatalogDetail {
    fn names(&self) -> Vec<String> {
        self.snapshots.iter().map(|s| s.digest.clone()).collect()
    }

    fn records(&self) -> Records {
        let row = |s: &SnapshotView| {
            vec![
                short(&s.digest),
                s.rows.to_string(),
                s.rejected.to_string(),
                size(s.bytes),
                s.source.clone(),
                s.path.clone(),
                age(s.imported_at_ms),
            ]
        };
        let header = vec![
            "SNAPSHOT", "TRACKS", "REJECTED", "SIZE", "SOURCE", "PATH", "AGE",
        ];
        Records {
            header,
            rows: self.snapshots.iter().map(row).collect(),
        }
    }
}

/// `catalog import`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Imported {
    /// The catalog's name.
    pub(crate) catalog: String,
    /// The snapshot that stands now.
    pub(crate) snapshot: SnapshotView,
    /// The same rows were there before; nothing new was written.
    pub(crate) unchanged: bool,
    /// The folder that was registered as a read-only source for this import; empty where none was.
    pub(crate) registered_folder: String,
}

impl View for Imported {
    fn names(&self) -> Vec<String> {
        vec![format!("catalog/{}", self.catalog)]
    }

    fn records(&self) -> Records {
        let s = &self.snapshot;
        let row = vec![
            self.catalog.clone(),
            short(&s.digest),
            s.rows.to_string(),
            s.rejected.to_string(),
            size(s.bytes),
        ];
        Records {
            header: vec!["NAME", "SNAPSHOT", "TRACKS", "REJECTED", "SIZE"],
            rows: vec![row],
        }
    }

    fn table(&self, _: Paint) -> String {
        let s = &self.snapshot;
        let verb = if self.unchanged {
            "unchanged"
        } else {
            "imported"
        };
        let by_code = s
            .rejected_by_code
            .iter()
            .map(|(code, n)| format!("{code} {n}"))
            .collect::<Vec<_>>()
            .join(", ");
        let rejected = if s.rejected == 0 {
            "0".to_owned()
        } else {
            format!(
                "{} ({by_code}); scanctl catalog rejected {}",
                s.rejected, self.catalog
            )
        };
        let detail = fields(&[
            ("  tracks", s.rows.to_string()),
            ("  rejected", rejected),
            ("  size", size(s.bytes)),
            ("  snapshot", s.digest.clone()),
            (
                "  source",
                if self.registered_folder.is_empty() {
                    s.source.clone()
                } else {
                    format!(
                        "{} (folder {} registered, read-only)",
                        s.source, self.registered_folder
                    )
                },
            ),
        ]);
        format!("catalog/{} {verb}\n{detail}", self.catalog)
    }
}

/// A refused row.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RejectedView {
    /// Line of the manifest, from 1; for a folder, the entry's number in its order.
    line: u64,
    /// What stood there, escaped.
    key: String,
    /// Why, as a stable code.
    code: String,
    /// Why, in words.
    reason: String,
}

/// `catalog rejected`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RejectedList {
    /// In the order of the manifest.
    pub(crate) rejected: Vec<RejectedView>,
}

impl From<Vec<v1::RejectedRow>> for RejectedList {
    fn from(rows: Vec<v1::RejectedRow>) -> Self {
        let view = |r: v1::RejectedRow| RejectedView {
            line: r.line,
            key: r.key,
            code: r.code,
            reason: r.reason,
        };
        Self {
            rejected: rows.into_iter().map(view).collect(),
        }
    }
}

impl View for RejectedList {
    fn names(&self) -> Vec<String> {
        self.rejected.iter().map(|r| r.key.clone()).collect()
    }

    fn records(&self) -> Records {
        let row = |r: &RejectedView| {
            vec![
                r.line.to_string(),
                r.key.clone(),
                r.code.clone(),
                r.reason.clone(),
            ]
        };
        Records {
            header: vec!["LINE", "KEY", "CODE", "REASON"],
            rows: self.rejected.iter().map(row).collect(),
        }
    }
}
