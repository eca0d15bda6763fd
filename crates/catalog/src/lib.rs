//! From what an operator hands over (a folder's listing, a CSV, an M3U8 playlist) to canonical catalog rows, each
//! accepted, or rejected with its line and reason.
//!
//! Called by `storage`, which reads the bytes and writes the snapshot. Everything here streams: memory depends on
//! the longest row, never on how many there are. This crate opens nothing, resolves no name against the network or a
//! file system, and never repairs a row: what is not right is rejected and said.
//!
//! The way of a manifest: [`Table`], [`Playlist`] or [`listing`] gives [`Parsed`] rows; [`Duplicates`] finds the
//! repeated ones on a first pass; on the second the rest get ordinals and enter the
//! [`ListDigest`], which names the snapshot, and the rejected ones go to a [`RejectedWriter`].

mod digest;
mod duplicates;
pub mod key;
pub mod listing;
mod playlist;
mod records;
mod rejected;
mod row;
mod table;

pub use digest::{CHUNK_ROWS, ListDigest, chunk_digest};
pub use duplicates::{Duplicates, DuplicatesFound, Scratch, ScratchFile};
pub use playlist::Playlist;
pub use rejected::{REJECTED_COLUMNS, RejectedWriter, harmless};
pub use row::{Draft, derived_track_id};
pub use table::Table;

use std::collections::BTreeSet;
use std::io;

use thiserror::Error;
use types::{CatalogRow, Code, SourceName};

/// Most bytes in one field: no title or list of holders comes near, and a missing quote must not eat the memory.
pub const FIELD_BYTES_MAX: usize = 64 * 1024;

/// Most bytes in one row of a CSV, and in one line of a playlist with what was said of it.
pub const ROW_BYTES_MAX: usize = 1024 * 1024;

/// Most columns of a CSV: the known ones, and room for what an agency keeps beside them.
pub const COLUMNS_MAX: usize = 256;

/// Most rows of one list: twice the largest catalog this is built for, and far below what an ordinal can count.
pub const ROWS_MAX: u32 = 200_000_000;

/// One row of a manifest, judged by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Sound; its ordinal is not given yet (0).
    Row {
        /// The row.
        row: Box<CatalogRow>,
        /// The line it began on, from 1; for a folder the number of the entry.
        line: u64,
    },
    /// Not accepted.
    Rejected(Rejected),
}

/// A row that did not enter the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The line it began on, from 1; for a folder the number of the entry.
    pub line: u64,
    /// Why, as a stable code.
    pub code: Code,
    /// The particulars, for people, on one line.
    pub detail: String,
    /// What the row named, shortened to [`REJECTED_TEXT_BYTES_MAX`] and escaped; empty where it could not be read.
    pub named: String,
}

/// Most bytes of [`Rejected::named`] before it is escaped: enough to find the row, however long its fields are.
pub const REJECTED_TEXT_BYTES_MAX: usize = 256;

impl Rejected {
    /// A rejected row; `named` is shortened, and in both texts is escaped what a terminal would obey.
    pub fn new(line: u64, code: Code, detail: impl Into<String>, named: &str) -> Self {
        let end = named.floor_char_boundary(REJECTED_TEXT_BYTES_MAX);
        let detail: String = detail.into();
        Self {
            line,
            code,
            detail: escaped(&detail),
            named: escaped(&named[..end]),
        }
    }
}

/// A text on one line that no terminal obeys: control characters, line separators and those that turn the direction of
/// writing are written as `\n` or `\u{1b}`.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            _ if obeyed(c) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    shown
}

/// Whether a character does something where it is shown instead of being seen.
fn obeyed(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    turns || breaks || c.is_control()
}

/// Why a whole manifest was given up. Nothing of it is accepted.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Its bytes could not be read.
    #[error("read the manifest")]
    Io(#[from] io::Error),
    /// It is not a manifest, or from here on nothing could be told apart.
    #[error("line {line} of the manifest: {detail}")]
    Unreadable {
        /// Where, from 1.
        line: u64,
        /// Why, as a stable code.
        code: Code,
        /// The particulars, for people.
        detail: String,
    },
}

/// What rows are judged against.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The sources that are configured; a row naming another is rejected.
    pub sources: BTreeSet<SourceName>,
    /// The source of rows that name none: the one in which the manifest lies.
    pub source: SourceName,
    /// The manifest's own folder in that source, with a slash at its end, empty at the root: keys of rows that name no
    /// source are relative to it.
    pub folder: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_row_is_one_line_that_no_terminal_obeys_and_any_script_stays_readable() {
        for (given, shown) in [
            ("\u{1b}[2Ja\u{7}.mp3", "\\u{1b}[2Ja\\u{7}.mp3"),
            ("a\r\nb\tc\0", "a\\r\\nb\\tc\\u{0}"),
            ("a\u{202e}3pm.exe", "a\\u{202e}3pm.exe"),
            ("a\u{9b}31m\u{2028}", "a\\u{9b}31m\\u{2028}"),
            ("ü/音 \"x\" \\.flac", "ü/音 \"x\" \\.flac"),
        ] {
            let rejected = Rejected::new(1, Code::KeyInvalid, given, given);
            assert_eq!(
                (rejected.detail.as_str(), rejected.named.as_str()),
                (shown, shown)
            );
        }
        let long = "\u{1b}".repeat(2 * REJECTED_TEXT_BYTES_MAX);
        let named = Rejected::new(1, Code::KeyInvalid, "", &long).named;
        assert_eq!(named.len(), REJECTED_TEXT_BYTES_MAX * "\\u{1b}".len());
    }
}
