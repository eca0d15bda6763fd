//! The file of rejected rows: one CSV line each, with line number, code, particulars and what the row named.
//!
//! Written beside the snapshot by `storage`, read by people. Texts come from the manifest and may be hostile:
//! [`harmless`] keeps a spreadsheet from taking one for a formula.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::Rejected;

/// The header of the file.
pub const REJECTED_COLUMNS: [&str; 4] = ["line", "code", "detail", "named"];

/// Writes rejected rows as CSV.
#[derive(Debug)]
pub struct RejectedWriter<W: Write> {
    csv: csv::Writer<W>,
    rows: u64,
}

impl<W: Write> RejectedWriter<W> {
    /// Begins the file with its header.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(out: W) -> io::Result<Self> {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(REJECTED_COLUMNS).map_err(as_io)?;
        Ok(Self { csv, rows: 0 })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn add(&mut self, rejected: &Rejected) -> io::Result<()> {
        self.rows += 1;
        let cells = [
            &*rejected.line.to_string(),
            rejected.code.as_str(),
            &harmless(&rejected.detail),
            &harmless(&rejected.named),
        ];
        self.csv.write_record(cells).map_err(as_io)
    }

    /// How many rows were added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the file and gives `out` back.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.csv
            .into_inner()
            .map_err(csv::IntoInnerError::into_error)
    }
}

/// A text that no spreadsheet takes for a formula: one that begins with `=`, `+`, `-`, `@`, a tab or a return gets an
/// apostrophe before it. Numbers are not texts and are not passed through here.
pub fn harmless(text: &str) -> Cow<'_, str> {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
    }
}

/// What the writer below said, whole: a full disk is told apart by its kind.
fn as_io(error: csv::Error) -> io::Error {
    let said = error.to_string();
    if let csv::ErrorKind::Io(error) = error.into_kind() {
        error
    } else {
        io::Error::other(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Code;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_as_such_by_a_row_and_by_the_end() {
        let row = Rejected::new(1, Code::KeyInvalid, "d".repeat(1_000), "n");
        let mut writer = RejectedWriter::new(Full).unwrap();
        let failed = (0..1_000).find_map(|_| writer.add(&row).err());
        assert_eq!(failed.unwrap().kind(), io::ErrorKind::StorageFull);
        let mut writer = RejectedWriter::new(Full).unwrap();
        writer.add(&row).unwrap();
        let failed = writer.finish().err().unwrap();
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_formula_in_a_rejected_row_reaches_the_file_as_text() {
        let mut writer = RejectedWriter::new(Vec::new()).unwrap();
        writer
            .add(&Rejected::new(
                3,
                Code::KeyInvalid,
                "key has \"quotes\"",
                "=cmd|' /C calc'!A0",
            ))
            .unwrap();
        assert_eq!(writer.rows(), 1);
        let text = String::from_utf8(writer.finish().unwrap()).unwrap();
        assert_eq!(
            text,
            "line,code,detail,named\n3,KEY_INVALID,\"key has \"\"quotes\"\"\",'=cmd|' /C calc'!A0\n"
        );
    }
}
