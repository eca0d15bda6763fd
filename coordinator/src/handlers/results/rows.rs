//! Reading rows of a published result: a page of them, one by its ordinal, and finding the ordinal of a track that was
//! named otherwise. Storage gathers the rows of a window of ordinals from the parts that cover it.

use std::sync::Arc;

use proto::v1;
use storage::{Manifest, Snapshot, Storage, StorageError};
use types::{CatalogRow, Code, Ordinal, Problem, Range, TrackRow, Verdict};

use super::pages;
use crate::app::storage_problem;

/// Ordinals gathered at a time: the tracks of a middling shard, whose parts are few.
const WINDOW: u32 = 512;

/// Windows looked at for one page of rows with a filter: a quarter of a million tracks. The page may then be short, or
/// empty, and says where to go on.
const WINDOWS_MAX: u32 = 512;

/// Bytes of rows in one page, by their encoded size: half of what a client takes by default.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Rows of the catalog read at a time while one is looked for by name.
const SEARCH_ROWS: u32 = 4_096;

/// A manifest with the storage that holds its parts.
pub(super) struct Rows {
    pub(super) storage: Arc<Storage>,
    pub(super) manifest: Manifest,
}

/// Which rows a page holds and what of them.
pub(super) struct Wanted {
    pub(super) from: Ordinal,
    pub(super) size: usize,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) timeline: bool,
    pub(super) credits: bool,
}

impl Rows {
    /// A page of rows and the ordinal to go on from, where more may follow.
    pub(super) async fn page(
        &self,
        wanted: Wanted,
    ) -> Result<(Vec<v1::Row>, Option<Ordinal>), Problem> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut from = wanted.from;
        let snapshot = match wanted.credits {
            true => Some(self.snapshot().await?),
            false => None,
        };
        for _ in 0..WINDOWS_MAX {
            if from >= self.manifest.rows {
                return Ok((rows, None));
            }
            let window = Range {
                first: from,
                end: from.saturating_add(WINDOW).min(self.manifest.rows),
            };
            for row in self.window(window).await? {
                if rows.len() == wanted.size || bytes > PAGE_BYTES_MAX {
                    return Ok((rows, Some(row.ordinal)));
                }
                if wanted.verdicts.is_empty() || wanted.verdicts.contains(&row.verdict) {
                    let mut row = listed(row, wanted.timeline);
                    if let Some(snapshot) = &snapshot {
                        row.credits = self.credits(snapshot, row.ordinal).await?;
                    }
                    bytes += prost::Message::encoded_len(&row);
                    rows.push(row);
                }
            }
            from = window.end;
        }
        Ok((rows, (from < self.manifest.rows).then_some(from)))
    }

    /// The rows of a window, by ordinal.
    async fn window(&self, window: Range) -> Result<Vec<TrackRow>, Problem> {
        self.storage
            .rows(&self.manifest, window)
            .await
            .map_err(|error| self.failed(&error))
    }

    /// One row, whole.
    pub(super) async fn row(&self, ordinal: Ordinal) -> Result<v1::Row, Problem> {
        let range = Range {
            first: ordinal,
            end: ordinal.saturating_add(1),
        };
        let row = self.window(range).await?.pop();
        let row = row.ok_or_else(|| self.not_found(&format!("ordinal {ordinal}")))?;
        Ok(row.into())
    }

    /// The snapshot that the result is of.
    async fn snapshot(&self) -> Result<Snapshot, Problem> {
        let (tenant, list) = (&self.manifest.tenant, self.manifest.list);
        let snapshot = self.storage.snapshot(tenant, list).await;
        snapshot.map_err(|error| self.failed(&error))
    }

    /// What the snapshot says of whose a track is. It keeps the chunk that it read last, so that rows in order cost one reading.
    async fn credits(
        &self,
        snapshot: &Snapshot,
        ordinal: Ordinal,
    ) -> Result<Option<v1::Credits>, Problem> {
        let one = Range {
            first: ordinal,
            end: ordinal.saturating_add(1),
        };
        let listed = snapshot.read(one).await;
        let listed = listed.map_err(|error| self.failed(&error))?;
        Ok(listed.into_iter().next().map(Into::into))
    }

    /// The ordinal of the first track that fits, found in the snapshot.
    pub(super) async fn search(
        &self,
        what: &str,
        fits: impl Fn(&CatalogRow) -> bool,
    ) -> Result<Ordinal, Problem> {
        let snapshot = self.snapshot().await?;
        let mut first = 0;
        while first < snapshot.rows() {
            let range = Range {
                first,
                end: first.saturating_add(SEARCH_ROWS).min(snapshot.rows()),
            };
            let rows = snapshot
                .read(range)
                .await
                .map_err(|error| self.failed(&error))?;
            if let Some(row) = rows.iter().find(|row| fits(row)) {
                return Ok(row.ordinal);
            }
            first = range.end;
        }
        Err(self.not_found(what))
    }

    fn failed(&self, error: &StorageError) -> Problem {
        storage_problem(
            &format!("read the result of job `{}`", self.manifest.job),
            error,
        )
    }

    fn not_found(&self, what: &str) -> Problem {
        Problem::new(
            Code::NotFound,
            format!(
                "look up {what} in the result of job `{}`",
                self.manifest.job
            ),
        )
    }
}

/// A row as listings show it: without what only a look at one row needs.
fn listed(row: TrackRow, timeline: bool) -> v1::Row {
    let timeline = if timeline {
        row.timeline.clone()
    } else {
        Vec::new()
    };
    TrackRow {
        timeline,
        thumbnail: None,
        features: Vec::new(),
        provenance: Vec::new(),
        ..row
    }
    .into()
}

/// The verdicts that a filter names.
pub(super) fn verdicts(wire: &[i32]) -> Result<Vec<Verdict>, Problem> {
    let one = |number: &i32| proto::field::enumerated::<v1::Verdict, Verdict>("verdicts", *number);
    Ok(wire.iter().map(one).collect::<Result<_, _>>()?)
}

/// Where a page begins.
pub(super) fn cursor(page: &str) -> Result<Ordinal, Problem> {
    Ok(pages::number(page)?.unwrap_or(0))
}
