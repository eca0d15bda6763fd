//! A labelled manifest whose files are all there and none of which lies in two splits, whatever it is called there.
//!
//! Called by `train`, `calibrate` and `evaluate` before anything is heard: what a network was fitted on, or calibrated on, would flatter its table.
//! Looks at bytes alone; the same music in another file is not found. Changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use corpus::manifest::{Manifest, ManifestError};
use types::Digest;

/// Bytes of a file that are compared first: more than tags without a picture take, and few enough for thousands of files of one length.
const HEAD_BYTES: u64 = 64 * 1024;
/// Bytes that are held of a file at once.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// A labelled manifest could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckedError {
    /// By its words alone.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file that it names could not be read.
    #[error("reading the file of {row} of labelled manifest `{path}`")]
    File {
        /// The manifest.
        path: String,
        /// The row.
        row: String,
        /// What the system said.
        source: io::Error,
    },
    /// Two files of two splits are the same.
    #[error(
        "reading labelled manifest `{path}`: {rows} hold the same bytes in two splits: leave one of them out"
    )]
    SameBytes {
        /// The manifest.
        path: String,
        /// The first row and the first of another split.
        rows: String,
    },
}

/// Reads and checks a manifest and the files that it names.
///
/// # Errors
/// [`CheckedError`].
pub fn manifest(path: &Path) -> Result<Manifest, CheckedError> {
    let manifest = Manifest::read(path)?;
    let pair = in_two_splits(&manifest).map_err(|(at, source)| CheckedError::File {
        path: path.display().to_string(),
        row: manifest.row(at),
        source,
    })?;
    match pair {
        None => Ok(manifest),
        Some((first, second)) => Err(CheckedError::SameBytes {
            path: path.display().to_string(),
            rows: manifest.rows(first, second),
        }),
    }
}

/// A file that could not be read, by its row.
type Unread = (usize, io::Error);

/// Two rows of the same bytes and of two splits. Most files differ in length and most others in their beginning, so that few are read whole.
fn in_two_splits(manifest: &Manifest) -> Result<Option<(usize, usize)>, Unread> {
    let all = (0..manifest.entries.len()).collect();
    for one_length in alike(manifest, all, |file| Ok(file.metadata()?.len()))? {
        for one_head in alike(manifest, one_length, |file| digest(file.take(HEAD_BYTES)))? {
            let same = alike(manifest, one_head, digest)?;
            if let Some(pair) = same.first().and_then(|rows| apart(manifest, rows)) {
                return Ok(Some(pair));
            }
        }
    }
    Ok(None)
}

/// Those of `rows` that share a key with a row of another split, key by key.
fn alike<K: Ord>(
    manifest: &Manifest,
    rows: Vec<usize>,
    key: impl Fn(File) -> io::Result<K>,
) -> Result<Vec<Vec<usize>>, Unread> {
    let mut groups: BTreeMap<K, Vec<usize>> = BTreeMap::new();
    for at in rows {
        let file = File::open(manifest.file(&manifest.entries[at]));
        let found = file.and_then(&key).map_err(|source| (at, source))?;
        groups.entry(found).or_default().push(at);
    }
    let groups = groups.into_values();
    Ok(groups
        .filter(|rows| apart(manifest, rows).is_some())
        .collect())
}

/// The first of `rows` and the first of another split.
fn apart(manifest: &Manifest, rows: &[usize]) -> Option<(usize, usize)> {
    let split = |at: usize| manifest.entries[at].split;
    let first = *rows.first()?;
    let second = rows.iter().copied().find(|at| split(*at) != split(first))?;
    Some((first, second))
}

/// Names what a reader gives: the digest of the digest so far and the next chunk, so that length costs no memory.
fn digest(mut bytes: impl Read) -> io::Result<Digest> {
    let mut so_far = Digest::of(&[]);
    loop {
        let mut chunk = so_far.0.to_vec();
        let read = bytes.by_ref().take(CHUNK_BYTES).read_to_end(&mut chunk)?;
        if read == 0 {
            return Ok(so_far);
        }
        so_far = Digest::of(&chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manifest of files `0`, `1` and so on with these contents and splits, each a piece of its own.
    fn check(files: &[(&[u8], &str)]) -> Result<Manifest, CheckedError> {
        let folder = tempfile::tempdir().unwrap();
        let mut labels = "path,label,piece,split\n".to_owned();
        for (at, (bytes, split)) in files.iter().enumerate() {
            std::fs::write(folder.path().join(at.to_string()), bytes).unwrap();
            labels.push_str(&format!("{at},human,piece-{at},{split}\n"));
        }
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, labels).unwrap();
        manifest(&path)
    }

    #[test]
    fn the_same_bytes_in_two_splits_are_refused_with_both_rows() {
        let error = check(&[
            (b"music", "train"),
            (b"other", "train"),
            (b"musik", "test"),
            (b"other", "calibrate"),
        ])
        .unwrap_err();
        let words = error.to_string();
        assert!(matches!(error, CheckedError::SameBytes { .. }), "{words}");
        assert!(words.contains("row 2 (`1`, train)"), "{words}");
        assert!(words.contains("row 4 (`3`, calibrate)"), "{words}");
    }

    #[test]
    fn the_same_bytes_in_one_split_are_no_leak() {
        let found = check(&[(b"music", "train"), (b"music", "train"), (b"", "test")]);
        assert_eq!(found.unwrap().entries.len(), 3);
    }

    #[test]
    fn files_that_differ_only_behind_their_beginning_are_two() {
        let long = vec![7; 3 * CHUNK_BYTES as usize];
        let mut other = long.clone();
        let last = other.len() - 1;
        other[last] = 8;
        let apart = check(&[(&long[..], "train"), (&other[..], "test")]);
        assert_eq!(apart.unwrap().entries.len(), 2);
        let same = check(&[(&long[..], "train"), (&long[..], "test")]);
        assert!(matches!(same, Err(CheckedError::SameBytes { .. })));
    }

    #[test]
    fn a_file_that_is_missing_is_named_with_its_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, "path,label,piece,split\ngone.mp3,human,p,train\n").unwrap();
        let error = manifest(&path).unwrap_err();
        assert!(matches!(error, CheckedError::File { .. }), "{error}");
        assert!(
            error.to_string().contains("row 1 (`gone.mp3`, train)"),
            "{error}"
        );
    }
}
