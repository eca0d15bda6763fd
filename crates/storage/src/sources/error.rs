//! Why something in a source was not read: what is the track's own fault told from what is its source's.

use std::io;

use catalog::key;
use rustix::io::Errno;
use thiserror::Error;
use types::{Code, SourceName};

use super::FOLDER_ENTRIES_MAX;

/// Why something in a source was not read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// No source of that name is configured, or its folder does not exist.
    #[error("source `{0}` is not configured or not there")]
    Unknown(String),
    /// The text is no key.
    #[error("`{}` is no key of a source", shown(.key))]
    Key {
        /// As given.
        key: String,
        /// What is wrong with it.
        source: key::KeyError,
    },
    /// There is no such object.
    #[error("`{key}` does not exist in source `{name}`")]
    Missing {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
    },
    /// The system refused access.
    #[error("access to `{key}` in source `{name}` was denied")]
    Denied {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
    },
    /// The key leads through a link, or to something that is no regular file (or no folder, where one was wanted).
    #[error("`{key}` in source `{name}` is a link or no regular file")]
    Refused {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
    },
    /// The object is not what the snapshot says, or changed while it was read.
    #[error("`{key}` in source `{name}` changed: {cause}")]
    Changed {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
        /// What differs.
        cause: String,
    },
    /// The object is larger than the caller takes.
    #[error("`{key}` in source `{name}` has {bytes} bytes, more than {max}")]
    TooLarge {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
        /// Its size.
        bytes: u64,
        /// The caller's bound.
        max: u64,
    },
    /// A folder holds more entries than [`FOLDER_ENTRIES_MAX`].
    #[error("folder `{key}` in source `{name}` holds more than {FOLDER_ENTRIES_MAX} entries")]
    TooManyEntries {
        /// The source.
        name: SourceName,
        /// The folder.
        key: String,
    },
    /// The system says that this file cannot be read, whatever its source does.
    #[error("`{key}` in source `{name}` cannot be read")]
    Unreadable {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
        /// What the system said.
        source: io::Error,
    },
    /// The source did not answer; this may pass.
    #[error("read `{key}` in source `{name}`")]
    Unavailable {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
        /// What the system said.
        source: io::Error,
    },
}

fn shown(text: &str) -> String {
    text.chars()
        .take(80)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

impl SourceError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Unknown(_) => Code::SourceUnknown,
            Self::Key { source, .. } => source.code(),
            Self::Missing { .. } => Code::SourceMissing,
            Self::Denied { .. } => Code::SourceDenied,
            Self::Refused { .. } => Code::SourceRefused,
            Self::Changed { .. } => Code::SourceChanged,
            Self::TooLarge { .. } => Code::TooManyBytes,
            Self::TooManyEntries { .. } => Code::CatalogTooLarge,
            Self::Unreadable { .. } => Code::SourceUnreadable,
            Self::Unavailable { .. } => Code::StorageUnavailable,
        }
    }

    /// What a refusal of the system to open or read a file means.
    pub(super) fn of(error: io::Error, name: &SourceName, key: &str) -> Self {
        let (name, key) = (name.clone(), key.to_owned());
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NAMETOOLONG) => Self::Missing { name, key },
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied { name, key },
            Some(Errno::LOOP | Errno::NOTDIR) => Self::Refused { name, key },
            // The file's kind, its length or its checksums forbid it; asking again changes none of them.
            Some(
                Errno::INVAL
                | Errno::ISDIR
                | Errno::OPNOTSUPP
                | Errno::OVERFLOW
                | Errno::FBIG
                | Errno::BADMSG
                | Errno::UCLEAN,
            ) => Self::Unreadable {
                name,
                key,
                source: error,
            },
            Some(_) | None => Self::Unavailable {
                name,
                key,
                source: error,
            },
        }
    }

    /// Whether the same call may succeed later: then it says nothing of the track.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
