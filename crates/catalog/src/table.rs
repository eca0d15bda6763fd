//! A CSV manifest: a header that names its columns, by our names or by those in common use, then one track a row.
//!
//! Called by `storage` with the manifest's bytes. UTF-8, with or without byte order mark; separated by commas,
//! semicolons or tabs, whichever makes the header name a key.

use std::collections::BTreeMap;
use std::io::{BufRead, Chain, Cursor, Read};

use types::Code;

use crate::records::{Found, Records};
use crate::{Draft, ManifestError, Parsed, ROW_BYTES_MAX, Rejected, Rules, escaped};

/// The rows of a CSV, in order.
#[derive(Debug)]
pub struct Table<R> {
    records: Records<Chain<Cursor<Vec<u8>>, R>>,
    columns: Vec<Column>,
    rules: Rules,
    ended: bool,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Known(usize),
    Extra(String),
}

/// A column that has a field of its own.
struct Known {
    /// Our name for it.
    name: &'static str,
    /// The names it goes by elsewhere.
    aliases: &'static [&'static str],
    field: fn(&mut Draft) -> &mut String,
}

/// The columns with fields; names are compared in lower case with `_` for blanks and dashes.
const KNOWN: [Known; 15] = [
    Known {
        name: "track_id",
        aliases: &["id", "trackid", "internal_id"],
        field: |d| &mut d.track_id,
    },
    Known {
        name: "source",
        aliases: &["source_name", "storage"],
        field: |d| &mut d.source,
    },
    Known {
        name: "key",
        aliases: &[
            "path",
            "file",
            "filename",
            "file_name",
            "file_path",
            "filepath",
            "location",
            "uri",
            "url",
        ],
        field: |d| &mut d.key,
    },
    Known {
        name: "bytes",
        aliases: &["size", "file_size", "size_bytes"],
        field: |d| &mut d.bytes,
    },
    Known {
        name: "content_id",
        aliases: &["sha256", "checksum", "etag", "content_hash"],
        field: |d| &mut d.content_id,
    },
    Known {
        name: "added_at",
        aliases: &["added", "date_added", "created_at"],
        field: |d| &mut d.added_at,
    },
    Known {
        name: "isrc",
        aliases: &["isrc_code"],
        field: |d| &mut d.isrc,
    },
    Known {
        name: "iswc",
        aliases: &["iswc_code"],
        field: |d| &mut d.iswc,
    },
    Known {
        name: "upc",
        aliases: &["ean", "gtin", "barcode"],
        field: |d| &mut d.upc,
    },
    Known {
        name: "title",
        aliases: &["track_title", "track", "name", "recording_title"],
        field: |d| &mut d.title,
    },
    Known {
        name: "artist",
        aliases: &["main_artist", "artist_name", "performer"],
        field: |d| &mut d.artist,
    },
    Known {
        name: "label",
        aliases: &["record_label", "label_name"],
        field: |d| &mut d.label,
    },
    Known {
        name: "rights_holder",
        aliases: &["rightsholder", "rights_owner", "owner"],
        field: |d| &mut d.rights_holder,
    },
    Known {
        name: "genre",
        aliases: &["main_genre"],
        field: |d| &mut d.genre,
    },
    Known {
        name: "declared_ai",
        aliases: &["contains_ai", "containsai", "ai_declared", "ai"],
        field: |d| &mut d.declared_ai,
    },
];

/// Where `key` stands in [`KNOWN`]: the one column that must be there.
const KEY_COLUMN: usize = 2;

impl<R: BufRead> Table<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When the bytes are no UTF-8 CSV, the header names no key, or names one thing twice.
    pub fn new(mut input: R, rules: Rules) -> Result<Self, ManifestError> {
        let head = first_line(&mut input)?;
        let delimiter = delimiter_of(&head);
        let mut records = Records::new(Cursor::new(head).chain(input), delimiter);
        let columns = read_header(&mut records)?;
        Ok(Self {
            records,
            columns,
            rules,
            ended: false,
        })
    }

    fn parse(&mut self, found: Found) -> Option<Parsed> {
        Some(match found {
            Found::Record { line } => self.row(line),
            Found::Bad { line, code, detail } => {
                Parsed::Rejected(Rejected::new(line, code, detail, ""))
            }
            Found::End => return None,
        })
    }

    fn row(&self, line: u64) -> Parsed {
        let reject = |code, detail| Parsed::Rejected(Rejected::new(line, code, detail, ""));
        let fields = self.records.fields();
        if fields.len() != self.columns.len() {
            let detail = format!(
                "row of {} fields, header of {}",
                fields.len(),
                self.columns.len()
            );
            return reject(Code::RowMalformed, self.records.with_lines(line, detail));
        }
        let mut draft = Draft::default();
        for (n, (column, field)) in self.columns.iter().zip(fields).enumerate() {
            match std::str::from_utf8(field) {
                Ok(text) => fill(&mut draft, column, text),
                Err(_) => {
                    let detail = format!("field {} is not UTF-8", n + 1);
                    return reject(Code::EncodingInvalid, detail);
                }
            }
        }
        draft.judge(line, &self.rules)
    }
}

impl<R: BufRead> Iterator for Table<R> {
    type Item = Result<Parsed, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = match self.records.advance() {
            Ok(found) => self.parse(found).map(Ok),
            Err(error) => Some(Err(error)),
        };
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

/// Keys are taken byte for byte; around every other text blanks are dropped.
fn fill(draft: &mut Draft, column: &Column, text: &str) {
    match column {
        Column::Known(KEY_COLUMN) => draft.key = text.to_owned(),
        Column::Known(known) => *(KNOWN[*known].field)(draft) = text.trim().to_owned(),
        Column::Extra(name) => {
            if !text.trim().is_empty() {
                draft.extra.insert(name.clone(), text.trim().to_owned());
            }
        }
    }
}

fn unreadable(code: Code, detail: impl Into<String>) -> ManifestError {
    ManifestError::Unreadable {
        line: 1,
        code,
        detail: detail.into(),
    }
}

/// The first line that is not blank, without byte order mark, for finding out how the file is separated.
fn first_line(input: &mut impl BufRead) -> Result<Vec<u8>, ManifestError> {
    let mut head = Vec::new();
    let mut line_start = 0;
    while head[line_start..]
        .iter()
        .all(|byte| matches!(byte, b'\n' | b'\r'))
    {
        line_start = head.len();
        let room = (ROW_BYTES_MAX - head.len()) as u64;
        if room == 0 || input.take(room).read_until(b'\n', &mut head)? == 0 {
            break;
        }
    }
    match head.as_slice() {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Err(unreadable(
            Code::EncodingInvalid,
            "the file is UTF-16, not UTF-8",
        )),
        [0xEF, 0xBB, 0xBF, rest @ ..] => Ok(rest.to_vec()),
        _ => Ok(head),
    }
}

/// The first of comma, semicolon and tab by which the header names a key; a comma where none does.
fn delimiter_of(head: &[u8]) -> u8 {
    let names_key = |delimiter: &u8| {
        let names = head.split(|byte| byte == delimiter || matches!(byte, b'\n' | b'\r'));
        names
            .map(String::from_utf8_lossy)
            .any(|name| known_column(&normal(&name)) == Some(KEY_COLUMN))
    };
    [b',', b';', b'\t']
        .into_iter()
        .find(names_key)
        .unwrap_or(b',')
}

fn normal(name: &str) -> String {
    name.trim()
        .trim_matches('"')
        .trim()
        .to_lowercase()
        .replace([' ', '-'], "_")
}

fn known_column(normal: &str) -> Option<usize> {
    KNOWN
        .iter()
        .position(|known| known.name == normal || known.aliases.contains(&normal))
}

fn read_header<R: BufRead>(records: &mut Records<R>) -> Result<Vec<Column>, ManifestError> {
    match records.advance()? {
        Found::Record { .. } => {}
        Found::Bad { detail, code, .. } => return Err(unreadable(code, detail)),
        Found::End => return Err(unreadable(Code::CatalogEmpty, "the file is empty")),
    }
    let mut seen = BTreeMap::new();
    let mut columns = Vec::new();
    for field in records.fields() {
        let name = std::str::from_utf8(field)
            .map_err(|_| unreadable(Code::EncodingInvalid, "the header is not UTF-8"))?;
        let column = known_column(&normal(name))
            .map_or_else(|| Column::Extra(name.trim().to_owned()), Column::Known);
        if let Some(first) = seen.insert(column.clone(), name.to_owned()) {
            let (first, name) = (escaped(&first), escaped(name));
            let detail = format!("columns `{first}` and `{name}` are the same");
            return Err(unreadable(Code::RowMalformed, detail));
        }
        columns.push(column);
    }
    match columns.contains(&Column::Known(KEY_COLUMN)) {
        true => Ok(columns),
        false => Err(unreadable(
            Code::ColumnMissing,
            "no column `key` (nor `path`, `file`, `filename`, `location`)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{CatalogRow, SourceName};

    fn rules() -> Rules {
        let name = |name: &str| SourceName::new(name).unwrap();
        Rules {
            sources: [name("music"), name("other")].into(),
            source: name("music"),
            folder: String::new(),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Vec<Parsed>, ManifestError> {
        Table::new(bytes, rules())?.collect()
    }

    #[track_caller]
    fn rows(text: &str) -> Vec<CatalogRow> {
        let accepted = |parsed| match parsed {
            Parsed::Row { row, .. } => *row,
            Parsed::Rejected(rejected) => panic!("{rejected:?}"),
        };
        parse(text.as_bytes())
            .unwrap()
            .into_iter()
            .map(accepted)
            .collect()
    }

    #[track_caller]
    fn check_rejected(bytes: &[u8], expected: &[(u64, Code)]) {
        let rejected = |parsed: &Parsed| match parsed {
            Parsed::Rejected(rejected) => Some((rejected.line, rejected.code)),
            Parsed::Row { .. } => None,
        };
        let found: Vec<_> = parse(bytes).unwrap().iter().filter_map(rejected).collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check_unreadable(bytes: &[u8], expected: (u64, Code)) {
        match parse(bytes) {
            Err(ManifestError::Unreadable { line, code, .. }) => assert_eq!((line, code), expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn columns_go_by_the_names_in_common_use_in_any_order() {
        for header in [
            "title,key,isrc",
            "Track Title,File Path,ISRC",
            "name,location,isrc-code",
        ] {
            let row = &rows(&format!("{header}\nSong,a.mp3,USS1Z9900001\n"))[0];
            assert_eq!(row.title.as_deref(), Some("Song"), "{header}");
            assert_eq!(row.key, "a.mp3", "{header}");
            assert_eq!(row.isrc.as_deref(), Some("USS1Z9900001"), "{header}");
        }
    }

    #[test]
    fn semicolons_tabs_and_byte_order_marks_are_understood() {
        for text in [
            "\u{feff}key,title\na,B\n",
            "key;title\na;B\n",
            "key\ttitle\r\na\tB\r\n",
            "\n\nkey,title\na,B",
        ] {
            let row = &rows(text)[0];
            assert_eq!(
                (row.key.as_str(), row.title.as_deref()),
                ("a", Some("B")),
                "{text:?}"
            );
        }
    }

    #[test]
    fn unknown_columns_are_kept_under_their_own_name_where_they_say_something() {
        let rows = rows("key,Mood,BPM\na,calm,\nb,,120\n");
        assert_eq!(
            rows[0].extra,
            [("Mood".to_owned(), "calm".to_owned())].into()
        );
        assert_eq!(rows[1].extra, [("BPM".to_owned(), "120".to_owned())].into());
    }

    #[test]
    fn blanks_around_texts_go_and_those_of_keys_stay() {
        let row = &rows("key,title\n a ,  T  \n")[0];
        assert_eq!((row.key.as_str(), row.title.as_deref()), (" a ", Some("T")));
    }

    #[test]
    fn each_bad_row_is_rejected_with_its_line_and_its_neighbours_are_not() {
        let text = b"key,title,source\n\
            ok-1,,\n\
            ../up,,\n\
            http://x/y,,\n\
            ok-2,,other\n\
            a,,nowhere\n\
            a\n\
            a,\xff,\n\
            a,b,,\n\
            ok-3,\"two\nlines\",\n\
            ,,\n";
        check_rejected(
            text,
            &[
                (3, Code::KeyInvalid),
                (4, Code::RawUrl),
                (6, Code::SourceUnknown),
                (7, Code::RowMalformed),
                (8, Code::EncodingInvalid),
                (9, Code::RowMalformed),
                (12, Code::KeyInvalid),
            ],
        );
        assert_eq!(parse(text).unwrap().len(), 10);
    }

    #[test]
    fn a_file_that_is_no_manifest_is_given_up_as_a_whole_by_code() {
        check_unreadable(b"", (1, Code::CatalogEmpty));
        check_unreadable(b"\n\n", (1, Code::CatalogEmpty));
        check_unreadable(b"title,artist\na,b\n", (1, Code::ColumnMissing));
        check_unreadable(b"key,path\na,b\n", (1, Code::RowMalformed));
        check_unreadable(b"key,mood,mood\na,b,c\n", (1, Code::RowMalformed));
        check_unreadable(b"\xff\xfek\0e\0y\0", (1, Code::EncodingInvalid));
        check_unreadable(b"key,ti\xfftle\n", (1, Code::EncodingInvalid));
        check_unreadable(b"key,title\na,b\nc,\"d\n", (3, Code::RowMalformed));
        check_unreadable(
            "x".repeat(2 * ROW_BYTES_MAX).as_bytes(),
            (1, Code::FieldTooLong),
        );
    }

    #[test]
    fn nothing_follows_the_error_that_gave_a_file_up() {
        let mut table = Table::new(b"key\na\n\"b".as_slice(), rules()).unwrap();
        assert!(table.next().unwrap().is_ok());
        assert!(table.next().unwrap().is_err());
        assert!(table.next().is_none());
    }
}
