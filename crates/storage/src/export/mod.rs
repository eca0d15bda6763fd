//! A published job's rows, in the order of the list, out of its parts: as rows for a screen, or as a stream of bytes in one
//! of three formats.
//!
//! Called by the coordinator, which passes the bytes on. Memory holds the rows of one shard at a time. Nothing is skipped: a
//! part that cannot be read ends the stream with its error.

mod formats;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use types::{Ordinal, Purpose, Range, TrackRow, TrackSet};

use crate::{Manifest, ManifestPart, Part, Storage, StorageError};
use formats::Encoder;

/// In what form rows leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One line each, without timeline, pictures and vectors; texts that a spreadsheet would run are disarmed by an
    /// apostrophe.
    Csv,
    /// One JSON object a line, with everything.
    JsonLines,
    /// One Parquet file, with everything.
    Parquet,
}

/// Bytes of an export, in pieces of at most [`PIECE_BYTES_MAX`].
pub type RowStream = BoxStream<'static, Result<Bytes, StorageError>>;

/// Most bytes of one piece: well within a gRPC message.
pub const PIECE_BYTES_MAX: usize = 1024 * 1024;

impl Storage {
    /// Streams all rows of a manifest. `purpose` is that of its bundle and stands in every row, so that a demonstration's
    /// output says so wherever it goes.
    pub fn export(&self, manifest: Manifest, format: ExportFormat, purpose: Purpose) -> RowStream {
        let exporting = Exporting {
            storage: self.clone(),
            groups: groups(&manifest.parts)
                .into_iter()
                .map(<[_]>::to_vec)
                .collect(),
            manifest,
            encoder: Some(Encoder::new(format, purpose)),
            ready: VecDeque::new(),
        };
        stream::try_unfold(exporting, |mut exporting| async move {
            let piece = exporting.next().await?;
            Ok(piece.map(|piece| (piece, exporting)))
        })
        .boxed()
    }

    /// The rows of these ordinals that the manifest has, in order.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn rows(
        &self,
        manifest: &Manifest,
        range: Range,
    ) -> Result<Vec<TrackRow>, StorageError> {
        let wanted = TrackSet::from(range);
        let mut rows = Vec::new();
        for group in groups(&manifest.parts) {
            let parts: Vec<_> = group
                .iter()
                .filter(|part| part.tracks.intersects(&wanted))
                .collect();
            let found = self.rows_of(manifest, &parts).await?;
            rows.extend(found.into_iter().filter(|row| range.contains(row.ordinal)));
        }
        Ok(rows)
    }

    /// All rows of some parts, by ordinal; each part checked against the manifest.
    pub(crate) async fn rows_of(
        &self,
        manifest: &Manifest,
        parts: &[&ManifestPart],
    ) -> Result<Vec<TrackRow>, StorageError> {
        let mut rows = Vec::new();
        for part in parts {
            rows.extend(self.part_of(manifest, part).await?);
        }
        rows.sort_by_key(|row| row.ordinal);
        Ok(rows)
    }

    /// The rows of one part of a manifest; its footer must say what the manifest says of it.
    pub(crate) async fn part_of(
        &self,
        manifest: &Manifest,
        listed: &ManifestPart,
    ) -> Result<Vec<TrackRow>, StorageError> {
        let part = self.get_part(&listed.key, listed.sha256).await?;
        match fits(&part, manifest, listed) {
            true => Ok(counted(part.rows, listed)),
            false => Err(StorageError::corrupt(
                &listed.key,
                "its footer is not what the manifest says",
            )),
        }
    }
}

/// Whether a part's footer says what a manifest says of it.
fn fits(part: &Part, manifest: &Manifest, listed: &ManifestPart) -> bool {
    let footer = &part.footer;
    let of_job = match &listed.origin {
        None => {
            footer.job == manifest.job
                && footer.list == manifest.list
                && footer.tracks == listed.tracks
        }
        Some(origin) => {
            footer.job == origin.job
                && footer.list == origin.list
                && origin.tracks.difference(&footer.tracks).is_empty()
                && origin.tracks.len() == listed.tracks.len()
        }
    };
    of_job
        && footer.kind == crate::PartKind::Terminal
        && footer.tenant == manifest.tenant
        && footer.bundle == manifest.bundle
        && footer.policy == manifest.policy
        && footer.shard == listed.shard
        && footer.attempt == listed.attempt
        && part.rows.len() == listed.rows as usize
}

/// The rows that count, with their ordinals in the manifest's list.
fn counted(rows: Vec<TrackRow>, listed: &ManifestPart) -> Vec<TrackRow> {
    let Some(origin) = &listed.origin else {
        return rows;
    };
    let here: BTreeMap<Ordinal, Ordinal> = origin.tracks.iter().zip(listed.tracks.iter()).collect();
    let counted = rows.into_iter().filter_map(|row| {
        let ordinal = *here.get(&row.ordinal)?;
        Some(TrackRow { ordinal, ..row })
    });
    counted.collect()
}

/// Parts whose tracks interleave, together: those of one shard and of its escalation shards. In a manifest's order, so that
/// each group's tracks come after those of the one before.
pub(crate) fn groups(parts: &[ManifestPart]) -> Vec<&[ManifestPart]> {
    let mut groups = Vec::new();
    let (mut start, mut end) = (0, 0);
    for (n, part) in parts.iter().enumerate() {
        if n > start && part.tracks.first().is_none_or(|first| first >= end) {
            groups.push(&parts[start..n]);
            start = n;
        }
        end = end.max(part.tracks.ranges().last().map_or(0, |range| range.end));
    }
    if start < parts.len() {
        groups.push(&parts[start..]);
    }
    groups
}

struct Exporting {
    storage: Storage,
    groups: VecDeque<Vec<ManifestPart>>,
    manifest: Manifest,
    /// Taken when the end has been written.
    encoder: Option<Encoder>,
    ready: VecDeque<Bytes>,
}

impl Exporting {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            let Some(encoder) = self.encoder.as_mut() else {
                return Ok(None);
            };
            let failed =
                |error: String| StorageError::Invalid(format!("encode the export: {error}"));
            let bytes = match self.groups.pop_front() {
                Some(group) => {
                    let parts: Vec<_> = group.iter().collect();
                    let rows = self.storage.rows_of(&self.manifest, &parts).await?;
                    encoder.add(&rows).map_err(failed)?
                }
                None => {
                    let encoder = self.encoder.take();
                    encoder
                        .map_or(Ok(Vec::new()), Encoder::finish)
                        .map_err(failed)?
                }
            };
            self.split(bytes.into());
        }
    }

    fn split(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            self.ready.push_back(piece);
        }
    }
}

#[cfg(test)]
mod tests;
