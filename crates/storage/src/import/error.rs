//! Why an import came to nothing, with the code that people see.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use catalog::{ManifestError, ROWS_MAX, Rejected};
use thiserror::Error;
use types::Code;

use crate::error::says_full;
use crate::{SourceError, StorageError};

/// Why nothing was imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The source, or what was named in it, cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The manifest as a whole was given up.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The key names neither a folder nor a manifest of a known kind.
    #[error("`{key}` is neither a folder nor a `.csv`, `.m3u8` or `.m3u`")]
    Kind {
        /// As given.
        key: String,
    },
    /// The manifest was written between the two passes.
    #[error("`{key}` changed while it was read")]
    Changed {
        /// The manifest.
        key: String,
    },
    /// More rows than [`ROWS_MAX`].
    #[error("more than {ROWS_MAX} rows")]
    TooLarge,
    /// No row was accepted.
    #[error("no row was accepted; {rejected} were rejected")]
    Empty {
        /// Rejected rows.
        rejected: u64,
        /// How many rows each code rejected.
        by_code: BTreeMap<Code, u64>,
        /// The first of them.
        first: Vec<Rejected>,
    },
    /// Whoever asked for it wants it no longer.
    #[error("the import was stopped")]
    Stopped,
    /// A scratch file could not be written or read.
    #[error("write a scratch file in `{folder}`")]
    Scratch {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ImportError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Source(error) => error.code(),
            Self::Manifest(ManifestError::Unreadable { code, .. }) => *code,
            Self::Manifest(ManifestError::Io(error)) => of_io(error),
            Self::Kind { .. } => Code::ManifestUnknown,
            Self::Changed { .. } => Code::SourceChanged,
            Self::TooLarge => Code::CatalogTooLarge,
            Self::Empty { .. } => Code::CatalogEmpty,
            Self::Stopped => Code::DeadlineExceeded,
            Self::Scratch { source, .. } => of_io(source),
            Self::Storage(error) => error.code(),
        }
    }
}

/// A full disk is told apart from one that does not answer.
fn of_io(error: &io::Error) -> Code {
    match says_full(error) {
        true => Code::StorageFull,
        false => Code::StorageUnavailable,
    }
}
