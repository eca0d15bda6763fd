//! The labelled manifest: a CSV that names audio files and what is known of them.
//!
//! Written by the maker of labelled data, read by `trackscan-worker train|calibrate|evaluate`, which accept any manifest of this form: the
//! columns `path,label,piece,split` must be there; `seconds,codec,kbps,snr_db,decoder,unseen` may be empty or missing. Paths are relative to
//! the manifest's folder.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Most rows of one manifest: a million rows are a gigabyte of memory, and no machine trains on more by this path.
pub const ROWS_MAX: usize = 1_000_000;

/// What a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Made without a neural decoder.
    Human,
    /// Carries the traces of a neural decoder.
    Ai,
}

/// What a track may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Fitting weights.
    Train,
    /// Fitting the calibration and thresholds.
    Calibrate,
    /// Nothing but the final table.
    Test,
}

impl Split {
    /// Its name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Calibrate => "calibrate",
            Self::Test => "test",
        }
    }
}

/// One track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// File, relative to the manifest.
    pub path: String,
    /// Its class.
    pub label: Label,
    /// The piece it is a version of: two versions of a piece never lie in two splits.
    pub piece: String,
    /// Its use.
    pub split: Split,
    /// Length in seconds.
    #[serde(default)]
    pub seconds: Option<f32>,
    /// Codec name, such as `mp3`.
    #[serde(default)]
    pub codec: Option<String>,
    /// Nominal bitrate in kilobits per second.
    #[serde(default)]
    pub kbps: Option<u32>,
    /// Ratio of the original to the decoder's error in decibels, for positives.
    #[serde(default)]
    pub snr_db: Option<f32>,
    /// Name of the neural decoder, for positives.
    #[serde(default)]
    pub decoder: Option<String>,
    /// What training has not met, of `bitrate` and `decoder`, joined by `+`.
    #[serde(default)]
    pub unseen: Option<String>,
}

impl Entry {
    /// True where training has not met this aspect (`bitrate` or `decoder`).
    pub fn is_unseen(&self, aspect: &str) -> bool {
        self.unseen
            .as_deref()
            .is_some_and(|all| all.split('+').any(|one| one == aspect))
    }
}

/// A manifest read from a file.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// Folder that paths are relative to.
    pub folder: PathBuf,
    /// The tracks in the order of the file.
    pub entries: Vec<Entry>,
}

/// A labelled manifest could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It could not be read or written as CSV of this form.
    #[error("reading or writing labelled manifest `{path}`")]
    Csv {
        /// The manifest.
        path: String,
        /// What the CSV reader says, with the line.
        source: csv::Error,
    },
    /// It is longer than [`ROWS_MAX`].
    #[error("reading labelled manifest `{path}`: more than {ROWS_MAX} rows")]
    TooLong {
        /// The manifest.
        path: String,
    },
    /// A piece is used for two purposes, so that results on it would flatter.
    #[error(
        "reading labelled manifest `{path}`: piece `{piece}` lies in two splits, at {rows}: give both one split"
    )]
    Leak {
        /// The manifest.
        path: String,
        /// The piece.
        piece: String,
        /// The first row and the first of another split.
        rows: String,
    },
    /// A file is used for two purposes under two names of pieces.
    #[error(
        "reading labelled manifest `{path}`: {rows} are one file in two splits: leave one of them out"
    )]
    SameFile {
        /// The manifest.
        path: String,
        /// The first row and the first of another split.
        rows: String,
    },
}

impl Manifest {
    /// Reads and checks a manifest.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let named = || path.display().to_string();
        let csv_error = |source| ManifestError::Csv {
            path: named(),
            source,
        };
        let mut reader = csv::Reader::from_path(path).map_err(csv_error)?;
        let mut entries = Vec::new();
        for row in reader.deserialize() {
            if entries.len() == ROWS_MAX {
                return Err(ManifestError::TooLong { path: named() });
            }
            entries.push(row.map_err(csv_error)?);
        }
        let manifest = Self {
            folder: path.parent().unwrap_or(Path::new(".")).to_owned(),
            entries,
        };
        if let Some((first, second)) = manifest.in_two_splits(|entry| entry.piece.as_str()) {
            return Err(ManifestError::Leak {
                path: named(),
                piece: manifest.entries[second].piece.clone(),
                rows: manifest.rows(first, second),
            });
        }
        if let Some((first, second)) = manifest.in_two_splits(|entry| plain(&entry.path)) {
            return Err(ManifestError::SameFile {
                path: named(),
                rows: manifest.rows(first, second),
            });
        }
        Ok(manifest)
    }

    /// Writes the manifest to `path` through a neighbour that is renamed, so that a reader sees all of it or none.
    pub fn write(entries: &[Entry], path: &Path) -> Result<(), ManifestError> {
        let csv_error = |source| ManifestError::Csv {
            path: path.display().to_string(),
            source,
        };
        let unfinished = path.with_extension("unfinished");
        let mut writer = csv::Writer::from_path(&unfinished).map_err(csv_error)?;
        for entry in entries {
            writer.serialize(entry).map_err(csv_error)?;
        }
        writer.flush().map_err(|e| csv_error(e.into()))?;
        std::fs::rename(&unfinished, path).map_err(|e| csv_error(e.into()))
    }

    /// The tracks of one split.
    pub fn of(&self, split: Split) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.split == split)
    }

    /// Where a track's file lies.
    pub fn file(&self, entry: &Entry) -> PathBuf {
        self.folder.join(&entry.path)
    }

    /// An entry as an error names it: its row, counted from 1 below the header, its file and its split.
    pub fn row(&self, at: usize) -> String {
        let (path, split) = self
            .entries
            .get(at)
            .map_or(("", ""), |entry| (entry.path.as_str(), entry.split.name()));
        format!("row {} (`{path}`, {split})", at + 1)
    }

    /// Two entries as an error names them.
    pub fn rows(&self, first: usize, second: usize) -> String {
        format!("{} and {}", self.row(first), self.row(second))
    }

    /// The first two entries that have one key and lie in two splits.
    fn in_two_splits<'a, K: Ord>(&'a self, key: impl Fn(&'a Entry) -> K) -> Option<(usize, usize)> {
        let mut seen: BTreeMap<K, usize> = BTreeMap::new();
        self.entries.iter().enumerate().find_map(|(at, entry)| {
            let first = *seen.entry(key(entry)).or_insert(at);
            (self.entries[first].split != entry.split).then_some((first, at))
        })
    }
}

/// A path without the dots that mean nothing.
fn plain(path: &str) -> PathBuf {
    let parts = Path::new(path).components();
    parts.filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest, ManifestError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, text).unwrap();
        Manifest::read(&path)
    }

    #[test]
    fn the_four_needed_columns_are_enough() {
        let manifest =
            read("path,label,piece,split\na.mp3,human,p1,train\nb.mp3,ai,p1,train\n").unwrap();
        assert_eq!(manifest.entries.len(), 2);
        assert_eq!(manifest.entries[1].label, Label::Ai);
        assert_eq!(manifest.entries[0].snr_db, None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        let entry = Entry {
            path: "audio/a, b.mp3".into(),
            label: Label::Ai,
            piece: "7".into(),
            split: Split::Test,
            seconds: Some(8.0),
            codec: Some("mp3".into()),
            kbps: Some(128),
            snr_db: Some(12.5),
            decoder: Some("stride-64".into()),
            unseen: Some("bitrate+decoder".into()),
        };
        Manifest::write(std::slice::from_ref(&entry), &path).unwrap();
        let manifest = Manifest::read(&path).unwrap();
        assert_eq!(manifest.entries, [entry]);
        assert!(
            manifest.entries[0].is_unseen("decoder") && !manifest.entries[0].is_unseen("codec")
        );
    }

    #[test]
    fn a_piece_in_two_splits_is_refused_by_name() {
        let error =
            read("path,label,piece,split\na.mp3,human,p1,train\nb.mp3,ai,p1,test\n").unwrap_err();
        assert!(matches!(&error, ManifestError::Leak { piece, .. } if piece == "p1"));
        let words = error.to_string();
        for row in ["row 1 (`a.mp3`, train)", "row 2 (`b.mp3`, test)"] {
            assert!(words.contains(row), "{words}");
        }
    }

    #[test]
    fn a_file_in_two_splits_under_two_pieces_is_refused_with_both_rows() {
        for again in ["a/b.mp3", "./a/b.mp3", "a//./b.mp3"] {
            let error = read(&format!(
                "path,label,piece,split\na/b.mp3,human,p1,train\nc.mp3,ai,p2,test\n{again},human,p3,test\n"
            ))
            .unwrap_err();
            assert!(matches!(error, ManifestError::SameFile { .. }), "{error}");
            let words = error.to_string();
            let second = format!("row 3 (`{again}`, test)");
            assert!(words.contains("row 1 (`a/b.mp3`, train)"), "{words}");
            assert!(words.contains(&second), "{words}");
        }
    }

    #[test]
    fn a_file_that_is_named_twice_for_one_purpose_is_no_leak() {
        let twice = "path,label,piece,split\na.mp3,human,p1,train\na.mp3,human,p2,train\n";
        assert_eq!(read(twice).unwrap().entries.len(), 2);
    }

    #[test]
    fn an_unknown_label_is_refused() {
        assert!(matches!(
            read("path,label,piece,split\na.mp3,robot,p1,train\n"),
            Err(ManifestError::Csv { .. })
        ));
    }
}
