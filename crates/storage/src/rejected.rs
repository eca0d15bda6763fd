//! Reading back the rows that an import rejected, a page at a time.
//!
//! Called by the coordinator for the operator's screen; the object itself is a CSV for any other tool.

use types::Code;

use crate::objects::run_blocking;
use crate::{ObjectPath, Storage, StorageError};

/// Bytes of the object that one page is parsed from: hundreds of rows of the longest names and details.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

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

/// A page of rejected rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedPage {
    /// The rows.
    pub rows: Vec<RejectedRow>,
    /// Where the next page begins, if there is one.
    pub next: Option<u64>,
}

impl Storage {
    /// At most `limit` rows of a file of rejected rows, from the byte at which the last page said that this one begins; 0
    /// for the first.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn rejected(
        &self,
        path: &ObjectPath,
        from: u64,
        limit: usize,
    ) -> Result<RejectedPage, StorageError> {
        let len = self.len(path).await?;
        let end = len.min(from.saturating_add(PAGE_BYTES));
        if from >= end {
            return Ok(RejectedPage {
                rows: Vec::new(),
                next: None,
            });
        }
        let bytes = self.get_range(path, from..end).await?;
        let read = run_blocking(move || Ok(parse(&bytes, from, end == len, limit)));
        let read = read
            .await
            .map_err(|error| StorageError::from_io("read", path.as_str(), error))?;
        read.map_err(|cause| StorageError::corrupt(path, cause))
    }
}

/// Rows of a piece of the file that begins with a row, or with the header where it begins at 0. The last row of a piece that
/// is not the file's last may be cut through, and is left to the next page.
fn parse(bytes: &[u8], from: u64, is_last: bool, limit: usize) -> Result<RejectedPage, String> {
    let mut csv = csv::ReaderBuilder::new()
        .has_headers(from == 0)
        .from_reader(bytes);
    let (mut rows, mut record, mut end) = (Vec::new(), csv::StringRecord::new(), 0);
    let len = bytes.len() as u64;
    while rows.len() < limit
        && csv
            .read_record(&mut record)
            .map_err(|error| error.to_string())?
    {
        let after = csv.position().byte();
        if after >= len && !is_last {
            break;
        }
        rows.push(row(&record)?);
        end = after;
    }
    if rows.is_empty() && !is_last && limit > 0 {
        return Err(format!("a row is longer than {PAGE_BYTES} bytes"));
    }
    let more = !(is_last && (end >= len || rows.len() < limit));
    Ok(RejectedPage {
        rows,
        next: more.then_some(from + end),
    })
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
            // Texts over several lines, as files hold them that were written before texts were escaped.
            let row = Rejected {
                line,
                code: Code::KeyInvalid,
                detail: "a \"quoted\",\nbroken text".to_owned(),
                named: "ü".to_owned(),
            };
            writer.add(&row).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_was_written_is_read_back_page_by_page() {
        let bytes = file(5);
        let (mut lines, mut from) = (Vec::new(), 0);
        loop {
            let piece = &bytes[usize::try_from(from).unwrap()..];
            let page = parse(piece, from, true, 2).unwrap();
            assert!(page.rows.len() <= 2);
            lines.extend(page.rows.iter().map(|row| row.line));
            let row = &page.rows[0];
            assert_eq!((row.code, row.named.as_str()), (Code::KeyInvalid, "ü"));
            assert_eq!(row.detail, "a \"quoted\",\nbroken text");
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!(lines, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_row_that_a_page_cuts_through_is_left_to_the_next() {
        let bytes = file(3);
        for cut in 1..bytes.len() {
            let Ok(page) = parse(&bytes[..cut], 0, false, 9) else {
                continue;
            };
            let next = page.next.expect("the file goes on");
            let rest = &bytes[usize::try_from(next).unwrap()..];
            let rest = parse(rest, next, true, 9).unwrap();
            let lines = page.rows.iter().chain(&rest.rows).map(|row| row.line);
            assert_eq!(lines.collect::<Vec<_>>(), [1, 2, 3], "cut at {cut}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_damage() {
        for bytes in [
            &b"line,code,detail,named\nx,KEY_INVALID,a,b\n"[..],
            b"line,code,detail,named\n1,NO_SUCH_CODE,a,b\n",
        ] {
            assert!(parse(bytes, 0, true, 1).is_err());
        }
        assert!(parse(b"line,code", 0, false, 1).is_err());
    }
}
