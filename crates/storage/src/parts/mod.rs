//! Parts: the Parquet objects in which agents hand over rows, each made under one attempt for some tracks of one shard.
//!
//! Agents encode and put them, readers get and decode them. A part is checked when it is made (it is read back before it
//! leaves this file) and again when it is read: digest, footer against rows, each row against the rules of its kind.
//! Whether a part counts is said by the records of the coordinator alone.

mod footer;
mod rows;
mod text;
mod written;

use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use thiserror::Error;
use types::{Digest, Generation, TrackRow, TrackSet, Verdict};

pub use footer::{PartFooter, PartKind, StageSpan};
pub(crate) use rows::from_batch;
pub(crate) use text::tracks as tracks_text;
pub(crate) use written::to_batch;

use crate::{ObjectPath, Put, Storage, StorageError, paths};

/// Most rows of one part: the tracks of the largest shard.
pub const PART_ROWS_MAX: usize = types::SHARD_TRACKS_MAX as usize;

/// A part ready to be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPart {
    /// Its name, which follows from its footer and bytes.
    pub path: ObjectPath,
    /// Its bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub sha256: Digest,
    /// Its rows.
    pub rows: u32,
}

/// A part that was read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it says of itself.
    pub footer: PartFooter,
    /// Its rows, ordinals ascending.
    pub rows: Vec<TrackRow>,
}

/// Why rows and footer make no part.
#[derive(Debug, Error)]
pub enum PartError {
    /// Rows and footer do not fit each other or break a rule of rows.
    #[error("{0}")]
    Inconsistent(String),
    /// The bytes are no part.
    #[error("not a part: {0}")]
    Format(String),
}

impl From<ParquetError> for PartError {
    fn from(error: ParquetError) -> Self {
        Self::Format(error.to_string())
    }
}

/// Encodes a part and reads it back. CPU only; a few milliseconds for a hundred rows.
///
/// # Errors
/// When rows and footer do not fit each other.
pub fn encode(footer: &PartFooter, rows: &[TrackRow]) -> Result<EncodedPart, PartError> {
    check(footer, rows)?;
    let bytes = write(footer, rows)?;
    let read_back = decode(&bytes)?;
    if !same(&read_back, footer, rows) {
        return Err(PartError::Format(
            "what was read back is not what was written".to_owned(),
        ));
    }
    let sha256 = Digest::of(&bytes);
    let path = path_of(footer, footer.generation, sha256)?;
    Ok(EncodedPart {
        path,
        bytes,
        sha256,
        rows: rows.len() as u32,
    })
}

/// Decodes and checks a part.
///
/// # Errors
/// When the bytes are no part, or rows and footer do not fit each other.
pub fn decode(bytes: &Bytes) -> Result<Part, PartError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?;
    let pairs = reader.metadata().file_metadata().key_value_metadata();
    let footer = PartFooter::from_pairs(pairs.into_iter().flatten()).map_err(PartError::Format)?;
    let mut rows = Vec::new();
    for batch in reader.with_batch_size(PART_ROWS_MAX).build()? {
        let batch = batch.map_err(ParquetError::from)?;
        from_batch(&batch, &mut rows).map_err(PartError::Format)?;
    }
    check(&footer, &rows)?;
    Ok(Part { footer, rows })
}

/// The footer alone.
///
/// # Errors
/// When the bytes are no part.
pub fn footer(bytes: &Bytes) -> Result<PartFooter, PartError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?;
    let pairs = reader.metadata().file_metadata().key_value_metadata();
    PartFooter::from_pairs(pairs.into_iter().flatten()).map_err(PartError::Format)
}

/// Where a part stands in the paths of a generation: the one that made it, or a later one that took it over.
fn path_of(
    footer: &PartFooter,
    generation: Generation,
    sha256: Digest,
) -> Result<ObjectPath, PartError> {
    if generation < footer.generation {
        let said = format!("a part of the later generation {}", footer.generation);
        return Err(PartError::Inconsistent(said));
    }
    let first = footer.tracks.first();
    let first = first.ok_or_else(|| PartError::Inconsistent("a part without tracks".to_owned()))?;
    let PartFooter {
        tenant,
        job,
        shard,
        attempt,
        ..
    } = footer;
    Ok(paths::part(
        tenant, generation, job, *shard, *attempt, first, sha256,
    ))
}

fn write(footer: &PartFooter, rows: &[TrackRow]) -> Result<Bytes, PartError> {
    let batch = to_batch(rows);
    let mut parquet = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties()?))?;
    parquet.write(&batch)?;
    for (key, value) in footer.to_pairs() {
        parquet.append_key_value_metadata(KeyValue::new(key, value));
    }
    Ok(parquet.into_inner()?.into())
}

/// How rows are written, here and in exports.
pub(crate) fn properties() -> Result<WriterProperties, ParquetError> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_created_by("trackscan".to_owned())
        .build())
}

/// Whether a read part is the written one, NaN for NaN.
fn same(part: &Part, footer: &PartFooter, rows: &[TrackRow]) -> bool {
    let again: Arc<RecordBatch> = Arc::new(to_batch(&part.rows));
    part.footer == *footer && *again == to_batch(rows)
}

fn check(footer: &PartFooter, rows: &[TrackRow]) -> Result<(), PartError> {
    let inconsistent = |text: String| Err(PartError::Inconsistent(text));
    if rows.is_empty() || rows.len() > PART_ROWS_MAX {
        return inconsistent(format!(
            "a part of {} rows, not 1 to {PART_ROWS_MAX}",
            rows.len()
        ));
    }
    if !rows.is_sorted_by(|a, b| a.ordinal < b.ordinal) {
        return inconsistent("rows are not in the order of their ordinals, each once".to_owned());
    }
    if rows.iter().map(|row| row.ordinal).collect::<TrackSet>() != footer.tracks {
        return inconsistent(format!(
            "rows are not those of the tracks {:?}",
            footer.tracks
        ));
    }
    rows.iter().try_for_each(|row| check_row(footer, row))
}

fn check_row(footer: &PartFooter, row: &TrackRow) -> Result<(), PartError> {
    let reason = row.reason.is_some() == (row.verdict == Verdict::Inconclusive);
    let code = row.code.is_some() == (row.verdict == Verdict::Unscannable);
    let kind = match footer.kind {
        PartKind::Terminal => true,
        PartKind::Escalation => goes_on(row),
    };
    let picture = row.thumbnail.as_ref().is_none_or(|picture| {
        let levels = usize::from(picture.bands) * usize::from(picture.columns);
        levels == picture.levels.len() && levels <= types::Thumbnail::MAX_BYTES
    });
    let rules = [
        (reason, "a reason exactly where the verdict is inconclusive"),
        (code, "a code exactly where the verdict is unscannable"),
        (
            kind,
            "a screen score, mean and deviation in each row of an escalation part",
        ),
        (
            row.bundle == footer.bundle,
            "the bundle of its footer in each row",
        ),
        (
            picture,
            "a thumbnail of bands times columns levels, within its bound",
        ),
    ];
    match rules.iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(PartError::Inconsistent(format!(
            "row {} breaks the rule: {rule}",
            row.ordinal
        ))),
        None => Ok(()),
    }
}

/// Whether a row has all that the residual needs of it.
fn goes_on(row: &TrackRow) -> bool {
    let scale = |value: Option<f32>| value.is_some_and(f32::is_finite);
    let scaled = scale(row.mean) && scale(row.deviation) && row.deviation >= Some(0.0);
    row.verdict != Verdict::Unscannable && row.screen.is_some() && scaled
}

/// The length in bytes of a part, none where no object has its name, or what kept it from being known.
pub type PartLength = Result<Option<u64>, StorageError>;

impl Storage {
    /// Puts a part. Repeating it is a success; the object under its name never changes.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn put_part(&self, part: &EncodedPart) -> Result<Put, StorageError> {
        self.put(&part.path, part.bytes.clone()).await
    }

    /// The length in bytes of the part at each path, in their order; none where no object has this name. On a folder all of them
    /// are one blocking piece of work; elsewhere a few are asked for at once. What keeps one from being known is told for that one.
    pub async fn part_lengths(&self, paths: Vec<ObjectPath>) -> Vec<PartLength> {
        self.lengths(paths).await
    }

    /// Gets and checks the part at `path`, whose bytes must have this digest and whose footer must lead to this path.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn get_part(&self, path: &ObjectPath, sha256: Digest) -> Result<Part, StorageError> {
        let bytes = self.get_checked(path, sha256).await?;
        let part = decode(&bytes).map_err(|error| StorageError::corrupt(path, error))?;
        check_place(&part.footer, path, sha256)?;
        Ok(part)
    }
}

/// Checks that a part's footer leads to where it stands, in the generation whose path that is.
pub(crate) fn check_place(
    footer: &PartFooter,
    path: &ObjectPath,
    sha256: Digest,
) -> Result<(), StorageError> {
    let generation = paths::generation_of(path).unwrap_or(footer.generation);
    match path_of(footer, generation, sha256) {
        Ok(expected) if expected == *path => Ok(()),
        Ok(expected) => Err(StorageError::corrupt(
            path,
            format!("its footer leads to {expected}"),
        )),
        Err(error) => Err(StorageError::corrupt(path, error)),
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
