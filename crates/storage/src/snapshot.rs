//! Snapshots: immutable lists of catalog rows as Parquet, in ordinal order, named by the digest over their rows.
//!
//! Imports write them; agents and the coordinator read the ordinals they need. Each row group is one chunk of the digest,
//! so that what is read is checked against the snapshot's name without reading the rest.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{
    Array, ArrayRef, MapArray, RecordBatch, StringArray, StructArray, TimestampMillisecondArray,
    UInt32Array, UInt64Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::Field;
use catalog::{CHUNK_ROWS, ListDigest, chunk_digest};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use types::{CatalogRow, DeclaredAi, Digest, Range, SourceName, TenantId, TrackId, UnixMillis};

use crate::columns::{Reading, Writing, child, structs, texts, value};
use crate::objects::read_again;
use crate::{ObjectPath, Storage, StorageError, paths, pieces};

/// The footer's key for the digests of the chunks, in hexadecimal digits, one after another.
const CHUNKS_KEY: &str = "trackscan.chunks";

/// The footer's key for the version of these columns.
const FORMAT_KEY: &str = "trackscan.snapshot";
const FORMAT: &str = "1";

/// Writes a snapshot into a file, chunk by chunk.
pub(crate) struct SnapshotWriter {
    parquet: ArrowWriter<File>,
    waiting: Vec<CatalogRow>,
    rows: u32,
    chunks: Vec<Digest>,
}

impl SnapshotWriter {
    pub(crate) fn new(file: File) -> Result<Self, ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .set_created_by("trackscan".to_owned())
            .set_max_row_group_row_count(Some(CHUNK_ROWS as usize))
            .build();
        let parquet = ArrowWriter::try_new(file, to_batch(&[]).schema(), Some(properties))?;
        Ok(Self {
            parquet,
            waiting: Vec::new(),
            rows: 0,
            chunks: Vec::new(),
        })
    }

    /// Adds the next row and gives it its ordinal.
    pub(crate) fn add(&mut self, mut row: CatalogRow) -> Result<(), ParquetError> {
        row.ordinal = self.rows;
        self.rows += 1;
        self.waiting.push(row);
        match self.waiting.len() < CHUNK_ROWS as usize {
            true => Ok(()),
            false => self.write_chunk(),
        }
    }

    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    fn write_chunk(&mut self) -> Result<(), ParquetError> {
        self.chunks.push(chunk_digest(&self.waiting));
        self.parquet.write(&to_batch(&self.waiting))?;
        self.waiting.clear();
        self.parquet.flush()
    }

    /// Ends the file and gives it back with what the list comes to.
    pub(crate) fn finish(mut self) -> Result<(File, ListDigest), ParquetError> {
        if !self.waiting.is_empty() {
            self.write_chunk()?;
        }
        let digits: String = self.chunks.iter().map(Digest::to_string).collect();
        self.parquet
            .append_key_value_metadata(KeyValue::new(CHUNKS_KEY.to_owned(), digits));
        self.parquet
            .append_key_value_metadata(KeyValue::new(FORMAT_KEY.to_owned(), FORMAT.to_owned()));
        let list = ListDigest::of_chunks(self.rows, self.chunks);
        Ok((self.parquet.into_inner()?, list))
    }
}

/// A snapshot opened for reading; its index is in memory, its rows are fetched as they are asked for. The chunk read last
/// is kept, since grants follow each other.
#[derive(Debug)]
pub struct Snapshot {
    storage: Storage,
    path: ObjectPath,
    list: ListDigest,
    index: Arc<ParquetMetaData>,
    last: Mutex<Option<(usize, Arc<Vec<CatalogRow>>)>>,
}

impl Storage {
    /// Opens the snapshot of a list.
    ///
    /// # Errors
    /// When it is not there, or its index does not come to the digest that names it.
    pub async fn snapshot(
        &self,
        tenant: &TenantId,
        list: Digest,
    ) -> Result<Snapshot, StorageError> {
        let path = paths::snapshot(tenant, list);
        let read = || self.snapshot_index(&path, list);
        let (index, found) = read_again(read).await?;
        Ok(Snapshot {
            storage: self.clone(),
            path,
            list: found,
            index,
            last: Mutex::new(None),
        })
    }

    async fn snapshot_index(
        &self,
        path: &ObjectPath,
        list: Digest,
    ) -> Result<(Arc<ParquetMetaData>, ListDigest), StorageError> {
        let index = pieces::index(self, path).await?;
        let found = list_of(&index).map_err(|cause| StorageError::corrupt(path, cause))?;
        match found.digest == list {
            true => Ok((index, found)),
            false => Err(StorageError::corrupt(
                path,
                format!("its index comes to {}", found.digest),
            )),
        }
    }
}

impl Snapshot {
    /// The digest that names the list.
    pub fn list(&self) -> Digest {
        self.list.digest
    }

    /// How many tracks the list has.
    pub fn rows(&self) -> u32 {
        self.list.rows
    }

    /// The rows of these ordinals; reads only the chunks in which they lie, and checks each against the snapshot's name.
    ///
    /// # Errors
    /// When the range reaches past the list, or a chunk is damaged.
    pub async fn read(&self, range: Range) -> Result<Vec<CatalogRow>, StorageError> {
        if range.end > self.list.rows {
            let text = format!(
                "rows [{}, {}) of a list of {}",
                range.first, range.end, self.list.rows
            );
            return Err(StorageError::Invalid(text));
        }
        let mut rows = Vec::with_capacity(range.len() as usize);
        let mut at = range.first;
        while at < range.end {
            let chunk = self.chunk((at / CHUNK_ROWS) as usize).await?;
            let within = (at % CHUNK_ROWS) as usize;
            let wanted = (range.end - at) as usize;
            let taken = &chunk[within..chunk.len().min(within + wanted)];
            rows.extend_from_slice(taken);
            at += taken.len() as u32;
        }
        Ok(rows)
    }

    async fn chunk(&self, number: usize) -> Result<Arc<Vec<CatalogRow>>, StorageError> {
        if let Some((kept, rows)) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner)
            && *kept == number
        {
            return Ok(rows.clone());
        }
        let rows = Arc::new(read_again(|| self.read_chunk(number)).await?);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, rows.clone()));
        Ok(rows)
    }

    async fn read_chunk(&self, number: usize) -> Result<Vec<CatalogRow>, StorageError> {
        let damaged = |cause: String| StorageError::corrupt(&self.path, cause);
        let batches = pieces::row_group(&self.storage, &self.path, &self.index, number).await?;
        let expected = self.list.chunks[number];
        let checked = crate::objects::run_blocking(move || {
            check_chunk(&batches, expected).map_err(io::Error::other)
        });
        checked
            .await
            .map_err(|error| damaged(format!("chunk {number}: {error}")))
    }
}

fn check_chunk(batches: &[RecordBatch], expected: Digest) -> Result<Vec<CatalogRow>, String> {
    let mut rows = Vec::new();
    for batch in batches {
        from_batch(batch, &mut rows)?;
    }
    match chunk_digest(&rows) {
        found if found == expected => Ok(rows),
        found => Err(format!("rows come to {found}, not {expected}")),
    }
}

/// What the index says the list comes to: the digest follows from it, and so does each row group's size.
fn list_of(index: &ParquetMetaData) -> Result<ListDigest, String> {
    let rows =
        u32::try_from(index.file_metadata().num_rows()).map_err(|error| error.to_string())?;
    let pairs = index
        .file_metadata()
        .key_value_metadata()
        .into_iter()
        .flatten();
    let digits = pairs
        .filter(|pair| pair.key == CHUNKS_KEY)
        .find_map(|pair| pair.value.as_deref());
    let digits = digits.ok_or("no chunk digests")?.as_bytes();
    let parse = |digits: &[u8]| -> Result<Digest, String> {
        let text = str::from_utf8(digits).map_err(|error| error.to_string())?;
        text.parse().map_err(|error| format!("{error}"))
    };
    let chunks = digits
        .chunks(DIGITS)
        .map(parse)
        .collect::<Result<Vec<_>, _>>()?;
    let expected = |number: usize| {
        let before = number as u64 * u64::from(CHUNK_ROWS);
        u64::from(rows)
            .saturating_sub(before)
            .min(u64::from(CHUNK_ROWS))
    };
    let sizes = index
        .row_groups()
        .iter()
        .map(|group| group.num_rows().cast_unsigned());
    let fits = chunks.len() == index.num_row_groups()
        && sizes
            .enumerate()
            .all(|(number, size)| size == expected(number) && size > 0);
    match fits {
        true => Ok(ListDigest::of_chunks(rows, chunks)),
        false => Err("its row groups are not its chunks".to_owned()),
    }
}

/// Hexadecimal digits of a digest.
const DIGITS: usize = 64;

fn to_batch(rows: &[CatalogRow]) -> RecordBatch {
    let mut columns = Writing::default();
    columns.every(
        "ordinal",
        UInt32Array::from_iter_values(rows.iter().map(|row| row.ordinal)),
    );
    columns.every(
        "track_id",
        texts(rows.iter().map(|row| Some(row.track_id.as_str()))),
    );
    columns.every(
        "source",
        texts(rows.iter().map(|row| Some(row.source.as_str()))),
    );
    columns.every("key", texts(rows.iter().map(|row| Some(row.key.as_str()))));
    columns.some(
        "bytes",
        UInt64Array::from_iter(rows.iter().map(|row| row.bytes)),
    );
    columns.some(
        "content_id",
        texts(rows.iter().map(|row| row.content_id.as_deref())),
    );
    let moments = rows.iter().map(|row| row.added_at.map(|moment| moment.0));
    columns.some(
        "added_at",
        TimestampMillisecondArray::from_iter(moments).with_timezone("UTC"),
    );
    columns.some("isrc", texts(rows.iter().map(|row| row.isrc.as_deref())));
    columns.some("iswc", texts(rows.iter().map(|row| row.iswc.as_deref())));
    columns.some("upc", texts(rows.iter().map(|row| row.upc.as_deref())));
    columns.some("title", texts(rows.iter().map(|row| row.title.as_deref())));
    columns.some(
        "artist",
        texts(rows.iter().map(|row| row.artist.as_deref())),
    );
    columns.some("label", texts(rows.iter().map(|row| row.label.as_deref())));
    columns.some(
        "rights_holder",
        texts(rows.iter().map(|row| row.rights_holder.as_deref())),
    );
    columns.some("genre", texts(rows.iter().map(|row| row.genre.as_deref())));
    let declared = rows
        .iter()
        .map(|row| row.declared_ai.map(DeclaredAi::as_str));
    columns.some("declared_ai", texts(declared));
    columns.every("extra", extra_column(rows));
    columns.finish()
}

fn extra_column(rows: &[CatalogRow]) -> MapArray {
    let pairs = || rows.iter().flat_map(|row| &row.extra);
    let names: ArrayRef = Arc::new(texts(pairs().map(|(name, _)| Some(name.as_str()))));
    let values: ArrayRef = Arc::new(texts(pairs().map(|(_, value)| Some(value.as_str()))));
    let entries = structs(vec![("key", names), ("value", values)]);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let lengths = rows.iter().map(|row| row.extra.len());
    MapArray::new(
        field,
        OffsetBuffer::from_lengths(lengths),
        entries,
        None,
        false,
    )
}

fn from_batch(batch: &RecordBatch, rows: &mut Vec<CatalogRow>) -> Result<(), String> {
    let reading = Reading(batch);
    let ordinals: &UInt32Array = reading.column("ordinal")?;
    let (track_id, source, key) = (
        reading.texts("track_id")?,
        reading.texts("source")?,
        reading.texts("key")?,
    );
    let bytes: &UInt64Array = reading.column("bytes")?;
    let content_id = reading.texts("content_id")?;
    let added_at: &TimestampMillisecondArray = reading.column("added_at")?;
    let (isrc, iswc, upc) = (
        reading.texts("isrc")?,
        reading.texts("iswc")?,
        reading.texts("upc")?,
    );
    let (title, artist, label) = (
        reading.texts("title")?,
        reading.texts("artist")?,
        reading.texts("label")?,
    );
    let (rights_holder, genre) = (reading.texts("rights_holder")?, reading.texts("genre")?);
    let declared_ai = reading.texts("declared_ai")?;
    let extra: &MapArray = reading.column("extra")?;
    for n in 0..batch.num_rows() {
        let declared = declared_ai(n).map(|text| text.parse::<DeclaredAi>());
        rows.push(CatalogRow {
            ordinal: ordinals.value(n),
            track_id: TrackId::new(track_id(n).unwrap_or_default()).map_err(|e| e.to_string())?,
            source: SourceName::new(source(n).unwrap_or_default()).map_err(|e| e.to_string())?,
            key: key(n).unwrap_or_default(),
            bytes: value!(bytes, n),
            content_id: content_id(n),
            added_at: value!(added_at, n).map(UnixMillis),
            isrc: isrc(n),
            iswc: iswc(n),
            upc: upc(n),
            title: title(n),
            artist: artist(n),
            label: label(n),
            rights_holder: rights_holder(n),
            genre: genre(n),
            declared_ai: declared.transpose().map_err(|error| error.to_string())?,
            extra: extra_of(&extra.value(n))?,
        });
    }
    Ok(())
}

fn extra_of(entries: &StructArray) -> Result<std::collections::BTreeMap<String, String>, String> {
    let names: &StringArray = child(entries, "key")?;
    let values: &StringArray = child(entries, "value")?;
    Ok((0..entries.len())
        .map(|n| (names.value(n).to_owned(), values.value(n).to_owned()))
        .collect())
}

#[cfg(test)]
mod tests;
