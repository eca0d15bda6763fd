//! Selections: some tracks of a list as a list of their own, so that a job can scan just these. A selection is a snapshot
//! like any other, with an object beside it that says which tracks of which list it has.
//!
//! Made by the coordinator for `scan retry`; agents read it as they read any list.

use std::io;
use std::path::Path;

use catalog::CHUNK_ROWS;
use serde::{Deserialize, Serialize};
use types::{Digest, Range, TenantId, TrackSet, Verdict};

use crate::job::to_json;
use crate::objects::run_blocking;
use crate::parts::tracks_text;
use crate::snapshot::SnapshotWriter;
use crate::{Manifest, Storage, StorageError, paths};

/// The version of the form.
const FORMAT: u32 = 1;

/// Which tracks of a list another list has, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    format: u32,
    /// The list that was selected from.
    pub of: Digest,
    /// The list that came of it.
    pub list: Digest,
    /// Ordinals of the former; the first of them is ordinal 0 of the latter, and so on.
    #[serde(with = "tracks_text")]
    pub tracks: TrackSet,
}

impl Selection {
    #[cfg(test)]
    pub(crate) fn sample(of: Digest, list: Digest, tracks: TrackSet) -> Self {
        Self {
            format: FORMAT,
            of,
            list,
            tracks,
        }
    }
}

impl Storage {
    /// Makes a list of some tracks of another one. Repeating it is a success. A scratch file as large as the new list goes
    /// to `scratch` and vanishes with the call.
    ///
    /// # Errors
    /// See [`StorageError`]; `Invalid` where the tracks are not all of the list.
    pub async fn put_selection(
        &self,
        tenant: &TenantId,
        of: Digest,
        tracks: TrackSet,
        scratch: &Path,
    ) -> Result<Selection, StorageError> {
        let failed = |error| StorageError::from_io("write", "a scratch file", error);
        let snapshot = self.snapshot(tenant, of).await?;
        let file = tempfile::tempfile_in(scratch).map_err(failed)?;
        let mut writer =
            SnapshotWriter::new(file).map_err(|error| failed(io::Error::other(error)))?;
        for range in tracks.ranges().iter().flat_map(|range| pieces(*range)) {
            let rows = snapshot.read(range).await?;
            let added = run_blocking(move || {
                let mut rows = rows.into_iter();
                let added = rows.try_for_each(|row| writer.add(row));
                added.map(|()| writer).map_err(io::Error::other)
            });
            writer = added.await.map_err(failed)?;
        }
        let (file, list) = run_blocking(move || writer.finish().map_err(io::Error::other))
            .await
            .map_err(failed)?;
        let list = list.digest;
        self.put_file(&paths::snapshot(tenant, list), file).await?;
        let selection = Selection {
            format: FORMAT,
            of,
            list,
            tracks,
        };
        let path = paths::selection(tenant, list, of);
        self.put(&path, to_json(&selection).into()).await?;
        Ok(selection)
    }

    /// Which tracks of the list `of` the list `list` has.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn get_selection(
        &self,
        tenant: &TenantId,
        of: Digest,
        list: Digest,
    ) -> Result<Selection, StorageError> {
        let path = paths::selection(tenant, list, of);
        let selection: Selection = self.get_json(&path).await?;
        match (selection.format, selection.of, selection.list) == (FORMAT, of, list) {
            true => Ok(selection),
            false => Err(StorageError::corrupt(
                &path,
                "it is the selection of another list",
            )),
        }
    }

    /// The tracks whose rows in a result are `unscannable`.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn unscannable(&self, manifest: &Manifest) -> Result<TrackSet, StorageError> {
        let mut tracks = TrackSet::new();
        for part in &manifest.parts {
            let rows = self.part_of(manifest, part).await?;
            let failed = rows
                .iter()
                .filter(|row| row.verdict == Verdict::Unscannable);
            for row in failed {
                tracks.insert(Range {
                    first: row.ordinal,
                    end: row.ordinal.saturating_add(1),
                });
            }
        }
        Ok(tracks)
    }
}

/// A range in pieces that fit memory.
fn pieces(range: Range) -> impl Iterator<Item = Range> {
    let starts = (range.first..range.end).step_by(CHUNK_ROWS as usize);
    starts.map(move |first| Range {
        first,
        end: range.end.min(first.saturating_add(CHUNK_ROWS)),
    })
}
