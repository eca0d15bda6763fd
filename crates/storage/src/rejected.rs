//! Reading back the rows that an import rejected, a page at a time.
//!
//! Called by the coordinator for the operator's screen; the object itself is a CSV for any other tool.

use types::Code;

use crate::objects::run_blocking;
use crate::{ObjectPath, Storage, StorageError};

/// Bytes of the object that are read: half a million rows. What lies beyond is in the object.
const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One rejected row as its file has it: texts made harmless to a spreadsheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    /// The line of the manifest, from 1; for a folder the number of the entry.
    pub line: u64,
    /// Why, as a stable code.
    pub code: Code,
    /// The particulars, for people.
    pub detail: String,
    /// What the row named.
    pub named: String,
}

impl Storage {
    /// Rows of a file of rejected rows: at most `limit` after the first `skip`.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn rejected(
        &self,
        path: &ObjectPath,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<RejectedRow>, StorageError> {
        let len = self.len(path).await?;
        let bytes = self.get_range(path, 0..len.min(READ_BYTES_MAX)).await?;
        let whole = len <= READ_BYTES_MAX;
        let read = run_blocking(move || {
            // A row that the bound cuts through is left out.
            let end = if whole {
                bytes.len()
            } else {
                last_line(&bytes)
            };
            Ok(parse(&bytes[..end], skip, limit))
        });
        let read = read
            .await
            .map_err(|error| StorageError::from_io("read", path.as_str(), error))?;
        read.map_err(|cause| StorageError::corrupt(path, cause))
    }
}

fn last_line(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1)
}

fn parse(bytes: &[u8], skip: usize, limit: usize) -> Result<Vec<RejectedRow>, String> {
    let mut csv = csv::Reader::from_reader(bytes);
    let records = csv.records().skip(skip).take(limit);
    records
        .map(|record| row(&record.map_err(|error| error.to_string())?))
        .collect()
}

fn row(record: &csv::StringRecord) -> Result<RejectedRow, String> {
    let field = |at: usize| record.get(at).ok_or("a row lacks columns");
    Ok(RejectedRow {
        line: field(0)?.parse().map_err(|_| "a line is no number")?,
        code: field(1)?.parse().map_err(|_| "a code is unknown")?,
        detail: field(2)?.to_owned(),
        named: field(3)?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use catalog::{Rejected, RejectedWriter};

    fn file(rows: u64) -> Vec<u8> {
        let mut writer = RejectedWriter::new(Vec::new()).unwrap();
        for line in 1..=rows {
            writer
                .add(&Rejected::new(
                    line,
                    Code::KeyInvalid,
                    "a \"quoted\",\nbroken text",
                    "ü",
                ))
                .unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_was_written_is_read_back_page_by_page() {
        let bytes = file(5);
        let lines = |skip, limit| {
            parse(&bytes, skip, limit)
                .unwrap()
                .into_iter()
                .map(|row| row.line)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(0, 2), [1, 2]);
        assert_eq!(lines(4, 2), [5]);
        assert!(lines(9, 2).is_empty());
        let row = parse(&bytes, 0, 1).unwrap().remove(0);
        assert_eq!((row.code, row.named.as_str()), (Code::KeyInvalid, "ü"));
        assert_eq!(row.detail, "a \"quoted\",\nbroken text");
    }

    #[test]
    fn a_file_of_another_kind_is_damage_and_a_cut_row_is_left_out() {
        assert!(parse(b"line,code,detail,named\nx,KEY_INVALID,a,b\n", 0, 1).is_err());
        assert!(parse(b"line,code,detail,named\n1,NO_SUCH_CODE,a,b\n", 0, 1).is_err());
        assert_eq!(last_line(b"a\nb\ncut"), 4);
        assert_eq!(last_line(b"cut"), 0);
    }
}
