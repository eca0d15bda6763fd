//! CSV records in bounded memory: quoting by `csv-core`, limits and line numbers by this file.
//!
//! Called by [`crate::Table`]. A record over the limits is read to its end and reported, never stored. A file that ends
//! inside quotes is an error of the whole file: from the quote on, rows and text could not be told apart.

use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use types::Code;

use crate::{COLUMNS_MAX, FIELD_BYTES_MAX, ManifestError, ROW_BYTES_MAX};

/// What [`Records::advance`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record, whose fields [`Records::fields`] gives.
    Record { line: u64 },
    /// A record that cannot be used.
    Bad {
        line: u64,
        code: Code,
        detail: String,
    },
    /// No more.
    End,
}

/// The records of a CSV, one at a time.
#[derive(Debug)]
pub(crate) struct Records<R> {
    input: R,
    parser: Reader,
    /// The bytes of the present record's fields, one after another.
    output: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    fields: usize,
    /// Line breaks consumed so far.
    breaks: u64,
}

/// Bytes of a record that are made room for at first; the room doubles up to [`ROW_BYTES_MAX`] where needed.
const OUTPUT_BYTES: usize = 16 * 1024;

impl<R: BufRead> Records<R> {
    pub(crate) fn new(input: R, delimiter: u8) -> Self {
        Self {
            input,
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            output: vec![0; OUTPUT_BYTES],
            filled: 0,
            ends: vec![0; COLUMNS_MAX + 1],
            fields: 0,
            breaks: 0,
        }
    }

    /// The fields of the record found last.
    pub(crate) fn fields(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.fields).map(|n| {
            let start = if n == 0 { 0 } else { self.ends[n - 1] };
            &self.output[start..self.ends[n]]
        })
    }

    /// Reads the next record.
    pub(crate) fn advance(&mut self) -> Result<Found, ManifestError> {
        self.skip_blank_lines()?;
        let line = self.breaks + 1;
        (self.filled, self.fields) = (0, 0);
        let mut too_much = None;
        loop {
            match self.step(too_much.is_some())? {
                Step::More => {}
                Step::OutputFull => too_much = too_much.or(self.grow()),
                Step::FieldsFull => {
                    too_much = too_much.or(Some((
                        Code::RowMalformed,
                        format!("row of more than {COLUMNS_MAX} fields"),
                    )));
                }
                Step::Record => return Ok(self.judge(line, too_much)),
                Step::OpenQuote => return Err(self.open_quote(line)),
                Step::End => return Ok(Found::End),
            }
        }
    }

    /// Line breaks between records, consumed here so that the line of the next one is known.
    fn skip_blank_lines(&mut self) -> Result<(), ManifestError> {
        loop {
            let buffer = self.input.fill_buf()?;
            let blank = buffer
                .iter()
                .take_while(|byte| matches!(byte, b'\n' | b'\r'))
                .count();
            let all = blank == buffer.len() && blank > 0;
            self.breaks += count_breaks(&buffer[..blank]);
            self.input.consume(blank);
            if !all {
                return Ok(());
            }
        }
    }

    fn step(&mut self, skipping: bool) -> Result<Step, ManifestError> {
        if skipping {
            (self.filled, self.fields) = (0, 0);
        }
        let buffer = self.input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(self.finish());
        }
        let (output, ends) = (
            &mut self.output[self.filled..],
            &mut self.ends[self.fields..],
        );
        let (result, read, written, fields) = self.parser.read_record(buffer, output, ends);
        self.breaks += count_breaks(&buffer[..read]);
        self.input.consume(read);
        self.filled += written;
        self.fields += fields;
        Ok(match result {
            ReadRecordResult::InputEmpty => Step::More,
            ReadRecordResult::OutputFull => Step::OutputFull,
            ReadRecordResult::OutputEndsFull => Step::FieldsFull,
            ReadRecordResult::Record => Step::Record,
            ReadRecordResult::End => Step::End,
        })
    }

    /// At the end of the input a line break ends the last record, unless it is inside quotes.
    fn finish(&mut self) -> Step {
        for last in [b"\n".as_slice(), b""] {
            if self.filled == self.output.len() {
                return Step::OutputFull;
            }
            let (output, ends) = (
                &mut self.output[self.filled..],
                &mut self.ends[self.fields..],
            );
            let (result, _, written, fields) = self.parser.read_record(last, output, ends);
            self.filled += written;
            self.fields += fields;
            match result {
                ReadRecordResult::Record if last.is_empty() => return Step::OpenQuote,
                ReadRecordResult::Record => return Step::Record,
                ReadRecordResult::End => return Step::End,
                ReadRecordResult::OutputFull => return Step::OutputFull,
                ReadRecordResult::OutputEndsFull => return Step::FieldsFull,
                ReadRecordResult::InputEmpty => {}
            }
        }
        Step::End
    }

    fn grow(&mut self) -> Option<(Code, String)> {
        match self.output.len() {
            ..ROW_BYTES_MAX => {
                self.output.resize(self.output.len() * 2, 0);
                None
            }
            ROW_BYTES_MAX.. => Some((
                Code::FieldTooLong,
                format!("row of more than {ROW_BYTES_MAX} bytes"),
            )),
        }
    }

    fn judge(&self, line: u64, too_much: Option<(Code, String)>) -> Found {
        match too_much.or_else(|| self.long_field()) {
            Some((code, detail)) => Found::Bad {
                line,
                code,
                detail: self.with_lines(line, detail),
            },
            None => Found::Record { line },
        }
    }

    fn long_field(&self) -> Option<(Code, String)> {
        let long = self
            .fields()
            .position(|field| field.len() > FIELD_BYTES_MAX)?;
        let detail = format!("field {} of more than {FIELD_BYTES_MAX} bytes", long + 1);
        Some((Code::FieldTooLong, detail))
    }

    /// A detail that says how far a record reached, where that was over several lines: often a missing quote.
    pub(crate) fn with_lines(&self, line: u64, detail: String) -> String {
        match self.breaks.max(line) {
            last if last > line => format!("{detail}; lines {line} to {last}"),
            _ => detail,
        }
    }

    fn open_quote(&self, line: u64) -> ManifestError {
        ManifestError::Unreadable {
            line,
            code: Code::RowMalformed,
            detail: "a quote is opened here and never closed".to_owned(),
        }
    }
}

enum Step {
    More,
    OutputFull,
    FieldsFull,
    Record,
    OpenQuote,
    End,
}

fn count_breaks(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn read(text: &[u8], buffer: usize) -> Result<Vec<(u64, Vec<String>)>, String> {
        let mut records = Records::new(BufReader::with_capacity(buffer, text), b',');
        let mut all = Vec::new();
        loop {
            match records.advance().map_err(|error| error.to_string())? {
                Found::Record { line } => {
                    let fields = records
                        .fields()
                        .map(|f| String::from_utf8_lossy(f).into_owned());
                    all.push((line, fields.collect()));
                }
                Found::Bad { line, detail, .. } => all.push((line, vec![format!("!{detail}")])),
                Found::End => return Ok(all),
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &[(u64, &[&str])]) {
        for buffer in [1, 2, 3, 7, 4_096] {
            let found = read(text.as_bytes(), buffer).unwrap();
            let found: Vec<(u64, Vec<&str>)> = found
                .iter()
                .map(|(line, f)| (*line, f.iter().map(String::as_str).collect()))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(line, f)| (*line, f.to_vec()))
                .collect();
            assert_eq!(found, expected, "with a buffer of {buffer}");
        }
    }

    #[test]
    fn records_carry_the_line_they_began_on() {
        check("", &[]);
        check("\n\r\n", &[]);
        check("a,b", &[(1, &["a", "b"])]);
        check("a,b\n", &[(1, &["a", "b"])]);
        check("a\r\nb\r\n", &[(1, &["a"]), (2, &["b"])]);
        check("\n\na\n\n\nb", &[(3, &["a"]), (6, &["b"])]);
        check("\"x\ny\",1\nb", &[(1, &["x\ny", "1"]), (3, &["b"])]);
        check("a,\n,b\n", &[(1, &["a", ""]), (2, &["", "b"])]);
        check("\"a\"\"b\"", &[(1, &["a\"b"])]);
        check("12\" mix,b", &[(1, &["12\" mix", "b"])]);
        check("\"\"", &[(1, &[""])]);
    }

    #[test]
    fn a_quote_that_never_closes_gives_the_whole_file_up_by_its_line() {
        for text in ["a\n\"b,c\nd\n", "a\n\"", "a\nx,\"b", "a\n\"b\n"] {
            for buffer in [1, 4_096] {
                let error = read(text.as_bytes(), buffer).unwrap_err();
                assert!(error.starts_with("line 2 "), "{text:?}: {error}");
            }
        }
    }

    #[test]
    fn a_record_over_the_limits_is_one_bad_record_and_the_next_is_read() {
        let long = "x".repeat(FIELD_BYTES_MAX + 1);
        check(
            &format!("{long},1\nb\n"),
            &[(1, &["!field 1 of more than 65536 bytes"]), (2, &["b"])],
        );
        let longer = "x\n".repeat(ROW_BYTES_MAX);
        check(
            &format!("a\n\"{longer}\",1\nb\n"),
            &[
                (1, &["a"]),
                (2, &["!row of more than 1048576 bytes; lines 2 to 1048578"]),
                (1_048_579, &["b"]),
            ],
        );
        let wide = ",".repeat(1_000);
        check(
            &format!("{wide}\nb\n"),
            &[(1, &["!row of more than 256 fields"]), (2, &["b"])],
        );
        let fits = ["y"; COLUMNS_MAX].join(",");
        assert_eq!(read(fits.as_bytes(), 100).unwrap()[0].1.len(), COLUMNS_MAX);
    }

    #[test]
    fn a_field_of_a_gigabyte_needs_no_memory_of_its_size() {
        let endless = std::io::repeat(b'x').take(1 << 30);
        let input = BufReader::new(std::io::Read::chain(endless, "\nb\n".as_bytes()));
        let mut records = Records::new(input, b',');
        assert!(matches!(
            records.advance().unwrap(),
            Found::Bad {
                line: 1,
                code: Code::FieldTooLong,
                ..
            }
        ));
        assert_eq!(records.advance().unwrap(), Found::Record { line: 2 });
        assert!(records.output.capacity() <= 2 * ROW_BYTES_MAX);
    }

    use std::io::Read as _;

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back_whatever_the_buffer(
            rows in prop::collection::vec(prop::collection::vec("[a\",\n\r é]{0,8}", 1..5), 0..6),
            buffer in 1usize..40,
        ) {
            let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quote).collect::<Vec<_>>().join(",");
            let text = rows.iter().map(line).collect::<Vec<_>>().join("\n");
            let found = read(text.as_bytes(), buffer).unwrap();
            let fields: Vec<_> = found.into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(fields, rows);
        }

        #[test]
        fn no_bytes_panic_or_run_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..200), buffer in 1usize..20) {
            drop(read(&bytes, buffer));
        }
    }
}
