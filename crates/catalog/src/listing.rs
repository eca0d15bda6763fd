//! A folder's listing as rows: every regular file is a track, whatever its name; everything else is rejected.
//!
//! Called by `storage` for each entry that a source lists, in the listing's order.

use types::{CatalogRow, Code, SourceName};

use crate::{Parsed, Rejected, derived_track_id, key};

/// What kind of thing a folder holds under a name. Folders themselves are descended into, not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of this many bytes.
    File(u64),
    /// A symbolic link, wherever it leads.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
}

/// One entry of a folder, or of a folder in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key; `None` where the name is not UTF-8.
    pub key: Option<String>,
    /// The name for people, with what is not UTF-8 replaced.
    pub shown: String,
    /// What it is, or why that could not be found out.
    pub kind: Result<Kind, Unlisted>,
    /// Which version of the object it is, where the store tells versions apart.
    pub content_id: Option<String>,
}

/// Why nothing is known of an entry, or of all that is below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// The code of the rejected row.
    pub code: Code,
    /// What was the matter.
    pub cause: String,
}

/// The `number`th entry, from 1, as a row.
pub fn parse(number: u64, entry: Entry, source: &SourceName) -> Parsed {
    match judge(&entry) {
        Ok((key, bytes)) => Parsed::Row {
            row: Box::new(row(source, key, bytes, entry.content_id.clone())),
            line: number,
        },
        Err((code, detail)) => Parsed::Rejected(Rejected::new(number, code, detail, &entry.shown)),
    }
}

fn judge(entry: &Entry) -> Result<(&str, u64), (Code, String)> {
    let special = |what: &str| Err((Code::NotRegularFile, format!("entry is a {what}")));
    let bytes = match &entry.kind {
        Ok(Kind::File(bytes)) => *bytes,
        Ok(Kind::Link) => return special("symbolic link"),
        Ok(Kind::Pipe) => return special("named pipe"),
        Ok(Kind::Socket) => return special("socket"),
        Ok(Kind::Device) => return special("device"),
        Err(unlisted) => return Err((unlisted.code, unlisted.cause.clone())),
    };
    let not_utf8 = || (Code::EncodingInvalid, "name is not UTF-8".to_owned());
    let key = entry.key.as_deref().ok_or_else(not_utf8)?;
    key::check(key).map_err(|error| (error.code(), error.to_string()))?;
    Ok((key, bytes))
}

fn row(source: &SourceName, key: &str, bytes: u64, content_id: Option<String>) -> CatalogRow {
    CatalogRow {
        ordinal: 0,
        track_id: derived_track_id(source, key),
        source: source.clone(),
        key: key.to_owned(),
        bytes: Some(bytes),
        content_id,
        added_at: None,
        isrc: None,
        iswc: None,
        upc: None,
        title: None,
        artist: None,
        label: None,
        rights_holder: None,
        genre: None,
        declared_ai: None,
        extra: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: Option<&str>, kind: Result<Kind, Unlisted>, expected: Result<&str, Code>) {
        let shown = key.unwrap_or("\u{fffd}").to_owned();
        let entry = Entry {
            key: key.map(str::to_owned),
            shown,
            kind,
            content_id: None,
        };
        let found = match parse(1, entry, &SourceName::new("music").unwrap()) {
            Parsed::Row { row, .. } => Ok(row.key),
            Parsed::Rejected(rejected) => Err(rejected.code),
        };
        assert_eq!(found.as_deref().map_err(|code| *code), expected);
    }

    #[test]
    fn every_regular_file_is_a_track_whatever_its_name() {
        for key in ["a.mp3", ".DS_Store", "no suffix", "x/y.txt", "-rf"] {
            check(Some(key), Ok(Kind::File(0)), Ok(key));
        }
    }

    #[test]
    fn links_and_special_files_are_rejected_rows() {
        for kind in [Kind::Link, Kind::Pipe, Kind::Socket, Kind::Device] {
            check(Some("a"), Ok(kind), Err(Code::NotRegularFile));
        }
    }

    #[test]
    fn what_could_not_be_listed_is_rejected_by_its_own_code() {
        for code in [Code::SourceDenied, Code::KeyInvalid, Code::SourceChanged] {
            let cause = "it is so".to_owned();
            check(Some("a"), Err(Unlisted { code, cause }), Err(code));
        }
    }

    #[test]
    fn a_name_that_is_no_key_is_rejected_by_what_is_wrong_with_it() {
        check(None, Ok(Kind::File(1)), Err(Code::EncodingInvalid));
        check(Some("a\nb"), Ok(Kind::File(1)), Err(Code::KeyInvalid));
        check(
            Some(&"k".repeat(1_025)),
            Ok(Kind::File(1)),
            Err(Code::KeyInvalid),
        );
    }
}
