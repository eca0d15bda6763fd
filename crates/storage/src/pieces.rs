//! Reading Parquet piece by piece: its index first, then the bytes of one row group, never the whole file.
//!
//! Called by snapshots. A file is read as written by this version; what does not fit is damage.

use std::io;
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use crate::{ObjectPath, Storage, StorageError};

/// Bytes at the end of every Parquet file: the length of its index and four letters.
const TAIL_BYTES: u64 = 8;

/// Largest index that is read: six times that of the largest list.
const INDEX_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One stretch of a file, which the reader takes for the file itself.
#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Bytes,
    file_bytes: u64,
}

impl Length for Piece {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl Piece {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let within = start
            .checked_sub(self.start)
            .and_then(|at| usize::try_from(at).ok());
        match within.filter(|at| *at <= self.bytes.len()) {
            Some(at) => Ok(self.bytes.slice(at..)),
            None => Err(ParquetError::EOF(format!("byte {start} was not fetched"))),
        }
    }
}

impl ChunkReader for Piece {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        match length <= bytes.len() {
            true => Ok(bytes.slice(..length)),
            false => Err(ParquetError::EOF(format!(
                "{length} bytes at {start} were not fetched"
            ))),
        }
    }
}

/// Reads the index of the Parquet file at `path`.
pub(crate) async fn index(
    storage: &Storage,
    path: &ObjectPath,
) -> Result<Arc<ParquetMetaData>, StorageError> {
    let damaged = |cause: &dyn std::fmt::Display| StorageError::corrupt(path, cause);
    let len = storage.len(path).await?;
    let tail_start = len
        .checked_sub(TAIL_BYTES)
        .ok_or_else(|| damaged(&"shorter than its own tail"))?;
    let tail = storage.get_range(path, tail_start..len).await?;
    let tail: [u8; TAIL_BYTES as usize] =
        tail.as_ref().try_into().map_err(|error| damaged(&error))?;
    let index_bytes = FooterTail::try_new(&tail)
        .map_err(|error| damaged(&error))?
        .metadata_length();
    let index_start = tail_start
        .checked_sub(index_bytes as u64)
        .filter(|start| tail_start - start <= INDEX_BYTES_MAX)
        .ok_or_else(|| damaged(&format!("an index of {index_bytes} bytes in {len}")))?;
    let bytes = storage.get_range(path, index_start..tail_start).await?;
    let index = ParquetMetaDataReader::decode_metadata(&bytes).map_err(|error| damaged(&error))?;
    Ok(Arc::new(index))
}

/// Reads one row group, whose bytes are fetched by a single request.
pub(crate) async fn row_group(
    storage: &Storage,
    path: &ObjectPath,
    index: &Arc<ParquetMetaData>,
    number: usize,
) -> Result<Vec<RecordBatch>, StorageError> {
    let columns = index.row_group(number).columns();
    let ranges = columns.iter().map(|column| column.byte_range());
    let (start, end) = ranges.fold((u64::MAX, 0), |(start, end), (at, bytes)| {
        (start.min(at), end.max(at.saturating_add(bytes)))
    });
    if start >= end {
        return Ok(Vec::new());
    }
    let bytes = storage.get_range(path, start..end).await?;
    let piece = Piece {
        start,
        bytes,
        file_bytes: end,
    };
    let index = index.clone();
    let decoded = crate::objects::run_blocking(move || {
        decode(piece, index, number).map_err(io::Error::other)
    });
    decoded
        .await
        .map_err(|error| StorageError::corrupt(path, error))
}

fn decode(
    piece: Piece,
    index: Arc<ParquetMetaData>,
    number: usize,
) -> Result<Vec<RecordBatch>, ParquetError> {
    let rows = usize::try_from(index.row_group(number).num_rows()).unwrap_or(0);
    let metadata = ArrowReaderMetadata::try_new(index, ArrowReaderOptions::new())?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(piece, metadata)
        .with_row_groups(vec![number])
        .with_batch_size(rows.max(1))
        .build()?;
    reader
        .map(|batch| batch.map_err(ParquetError::from))
        .collect()
}
