//! Views of those who run an installation: a backup, what a restore came to, what nothing names.

use super::{fields, size, span, time};
use crate::output::{Paint, Records, View, plain_lines, table};
use proto::backup::Whole;
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use types::Rebuilt;

/// `admin backup`, `admin backup verify`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BackupView {
    /// The file.
    file: String,
    /// Number of the store that was copied.
    cluster: String,
    /// Generation that it was in.
    generation: u32,
    /// Revision that every record is of.
    revision: u64,
    /// Records.
    records: u64,
    /// Bytes of their keys and values.
    bytes: u64,
    /// Digest over the whole file, by which a restore that goes on knows it.
    sha256: String,
    /// When it was begun.
    begun_at: String,
    /// Version of the coordinator that wrote it.
    version: String,
}

impl BackupView {
    pub(crate) fn new(file: &Path, whole: &Whole) -> Self {
        let header = &whole.header;
        Self {
            file: file.display().to_string(),
            cluster: format!("{:016x}", header.cluster),
            generation: header.generation,
            revision: header.revision,
            records: whole.entries,
            bytes: whole.bytes,
            sha256: whole.digest.to_string(),
            begun_at: time(header.at_ms),
            version: header.version.clone(),
        }
    }
}

impl View for BackupView {
    fn names(&self) -> Vec<String> {
        vec![self.file.clone()]
    }

    fn records(&self) -> Records {
        Records {
            header: vec![
                "FILE",
                "CLUSTER",
                "GENERATION",
                "REVISION",
                "RECORDS",
                "BYTES",
                "SHA256",
            ],
            rows: vec![vec![
                self.file.clone(),
                self.cluster.clone(),
                self.generation.to_string(),
                self.revision.to_string(),
                self.records.to_string(),
                self.bytes.to_string(),
                self.sha256.clone(),
            ]],
        }
    }

    fn table(&self, _: Paint) -> String {
        let held = format!("{} ({})", self.records, size(self.bytes));
        let fields = fields(&[
            ("backup", self.file.clone()),
            ("cluster", self.cluster.clone()),
            ("generation", self.generation.to_string()),
            ("revision", self.revision.to_string()),
            ("records", held),
            ("sha256", self.sha256.clone()),
            ("begun", self.begun_at.clone()),
            ("version", self.version.clone()),
        ]);
        format!("{fields}\n\nwhole; what storage holds is not in it")
    }
}

/// `admin restore`, `admin rebuild`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RebuiltView {
    /// Generation whose objects were read.
    replaced: u32,
    /// Generation that was made.
    generation: u32,
    /// Jobs with a published result.
    published: u64,
    /// Jobs that were cancelled.
    cancelled: u64,
    /// Jobs that go on.
    open: u64,
    /// Closed jobs beyond `jobs-kept`, whose results stay without a record.
    unlisted: u64,
    /// Open jobs that an earlier run of this restore had done; the numbers below are without theirs.
    done_before: u64,
    /// Parts of open jobs that count.
    parts_taken: u64,
    /// Parts of open jobs that were left, by why.
    parts_skipped: BTreeMap<String, u64>,
    /// Tracks of open jobs that have their row.
    tracks_taken: u64,
    /// Tracks of open jobs that are to be scanned yet.
    tracks_queued: u64,
    /// Catalogs.
    catalogs: u64,
    /// Bundles.
    bundles: u64,
    /// Folders that imports had registered.
    folders: u64,
    /// Revocations.
    revocations: u64,
    /// Open jobs that stand in line as the backup or the store before had them.
    ranked: u64,
    /// What could not be taken over.
    warnings: Vec<String>,
}

impl RebuiltView {
    pub(crate) fn new(rebuilt: Rebuilt) -> Self {
        Self {
            replaced: rebuilt.replaced,
            generation: rebuilt.generation,
            published: rebuilt.published,
            cancelled: rebuilt.cancelled,
            open: rebuilt.open,
            unlisted: rebuilt.unlisted,
            done_before: rebuilt.done_before,
            parts_taken: rebuilt.parts_taken,
            parts_skipped: rebuilt.parts_skipped,
            tracks_taken: rebuilt.tracks_taken,
            tracks_queued: rebuilt.tracks_queued,
            catalogs: rebuilt.catalogs,
            bundles: rebuilt.bundles,
            folders: rebuilt.folders,
            revocations: rebuilt.revocations,
            ranked: rebuilt.ranked,
            warnings: rebuilt.warnings,
        }
    }

    fn skipped(&self) -> String {
        let skipped = self.parts_skipped.iter();
        let words: Vec<String> = skipped
            .map(|(why, parts)| format!("{why} {parts}"))
            .collect();
        words.join(", ")
    }
}

impl View for RebuiltView {
    fn names(&self) -> Vec<String> {
        vec![self.generation.to_string()]
    }

    fn records(&self) -> Records {
        Records {
            header: vec![
                "GENERATION",
                "PUBLISHED",
                "CANCELLED",
                "OPEN",
                "PARTS",
                "TRACKS",
                "QUEUED",
            ],
            rows: vec![vec![
                self.generation.to_string(),
                self.published.to_string(),
                self.cancelled.to_string(),
                self.open.to_string(),
                self.parts_taken.to_string(),
                self.tracks_taken.to_string(),
                self.tracks_queued.to_string(),
            ]],
        }
    }

    fn table(&self, _: Paint) -> String {
        let jobs = format!(
            "{} published, {} cancelled, {} open",
            self.published, self.cancelled, self.open
        );
        let before = (self.done_before > 0)
            .then(|| format!("{} open jobs were done by an earlier run", self.done_before));
        let fields = fields(&[
            (
                "generation",
                format!("{}, from {}", self.generation, self.replaced),
            ),
            ("jobs", jobs),
            ("before", before.unwrap_or_default()),
            ("parts taken", self.parts_taken.to_string()),
            ("parts left", self.skipped()),
            ("tracks done", self.tracks_taken.to_string()),
            ("tracks queued", self.tracks_queued.to_string()),
            ("catalogs", self.catalogs.to_string()),
            ("bundles", self.bundles.to_string()),
        ]);
        let warnings = plain_lines(&self.warnings.join("\n"));
        match warnings.is_empty() {
            true => format!("{fields}\n\nstart the coordinators"),
            false => format!("{fields}\n\n{warnings}\n\nstart the coordinators"),
        }
    }
}

/// `admin gc`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Garbage {
    /// Whether anything was to be removed.
    applied: bool,
    /// Part objects that nothing names, by why.
    orphans: Vec<OrphanView>,
    /// Of them, removed just now.
    removed: u64,
    /// Bytes of those.
    removed_bytes: u64,
    /// Of them, marked: they go when they are seen again.
    waiting: u64,
    /// Seconds until a marked one may go.
    age_seconds: u64,
    /// Jobs whose objects could not be looked through, and why.
    trouble: Vec<String>,
}

/// Orphans of one kind.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OrphanView {
    /// `superseded`, `cancelled` or `not-in-manifest`.
    cause: String,
    /// Objects.
    objects: u64,
    /// Their bytes.
    bytes: u64,
}

impl Garbage {
    pub(crate) fn new(answer: v1::CollectGarbageResponse, applied: bool) -> Self {
        let orphan = |orphan: v1::OrphanCount| OrphanView {
            cause: orphan.cause,
            objects: orphan.objects,
            bytes: orphan.bytes,
        };
        Self {
            applied,
            orphans: answer.orphans.into_iter().map(orphan).collect(),
            removed: answer.removed,
            removed_bytes: answer.removed_bytes,
            waiting: answer.waiting,
            age_seconds: answer.age_ms / 1_000,
            trouble: answer.trouble,
        }
    }

    fn outcome(&self) -> String {
        if !self.applied {
            return "nothing was changed; `--apply` removes what may go".to_owned();
        }
        format!(
            "{} removed ({}); {} marked, which may go in {}",
            self.removed,
            size(self.removed_bytes),
            self.waiting,
            span(self.age_seconds)
        )
    }
}

impl View for Garbage {
    fn names(&self) -> Vec<String> {
        self.orphans
            .iter()
            .map(|orphan| orphan.cause.clone())
            .collect()
    }

    fn records(&self) -> Records {
        let row = |orphan: &OrphanView| {
            let numbers = [orphan.objects.to_string(), orphan.bytes.to_string()];
            [vec![orphan.cause.clone()], numbers.to_vec()].concat()
        };
        Records {
            header: vec!["CAUSE", "OBJECTS", "BYTES"],
            rows: self.orphans.iter().map(row).collect(),
        }
    }

    fn table(&self, _: Paint) -> String {
        let trouble = plain_lines(&self.trouble.join("\n"));
        let listed = match self.orphans.is_empty() {
            true => "no orphans".to_owned(),
            false => table(self.records()),
        };
        format!("{listed}\n\n{}\n{trouble}", self.outcome())
    }
}
