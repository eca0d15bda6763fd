//! Why storage did not do what it was asked.
//!
//! Each variant is an outcome that callers treat differently: wait and retry, pause with a named reason, or stop because an
//! object is not what its name says.

use thiserror::Error;
use types::Code;

/// An outcome other than success.
#[derive(Debug, Error)]
pub enum StorageError {
    /// There is no such object.
    #[error("object `{path}` does not exist")]
    NotFound {
        /// The object.
        path: String,
    },
    /// Storage did not answer, or refused for a reason that may pass.
    #[error("{action} `{path}`")]
    Unavailable {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: String,
        /// What the backend said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Storage has no room left.
    #[error("no room left in storage for `{path}`")]
    Full {
        /// What was to be written.
        path: String,
    },
    /// An object is not what its name or digest says. Nothing was changed.
    #[error("object `{path}` is damaged: {cause}")]
    Corrupt {
        /// The object.
        path: String,
        /// What does not fit.
        cause: String,
    },
    /// What was asked for makes no sense; an error of the caller.
    #[error("{0}")]
    Invalid(String),
}

impl StorageError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } => Code::NotFound,
            Self::Unavailable { .. } => Code::StorageUnavailable,
            Self::Full { .. } => Code::StorageFull,
            Self::Corrupt { .. } => Code::StorageCorrupt,
            Self::Invalid(_) => Code::InvalidRequest,
        }
    }

    /// Whether the same call may succeed later without anybody's doing.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Full { .. } => true,
            Self::NotFound { .. } | Self::Corrupt { .. } | Self::Invalid(_) => false,
        }
    }

    pub(crate) fn corrupt(path: impl ToString, cause: impl ToString) -> Self {
        Self::Corrupt {
            path: path.to_string(),
            cause: cause.to_string(),
        }
    }

    /// Sorts what the backend said.
    pub(crate) fn from_store(action: &'static str, path: &str, error: object_store::Error) -> Self {
        let path = path.to_owned();
        if let object_store::Error::NotFound { .. } = error {
            return Self::NotFound { path };
        }
        match says_full(&error) {
            true => Self::Full { path },
            false => Self::Unavailable {
                action,
                path,
                source: Box::new(error),
            },
        }
    }

    /// Sorts what the file system said: no room left, or something that may pass.
    pub fn from_io(action: &'static str, path: &str, error: std::io::Error) -> Self {
        let path = path.to_owned();
        match is_full(&error) {
            true => Self::Full { path },
            false => Self::Unavailable {
                action,
                path,
                source: Box::new(error),
            },
        }
    }
}

/// No room on the file system, none left of a quota, or none within a process's limit on its files.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Looks for a full file system at the bottom of the chain of sources.
pub(crate) fn says_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let here = error.downcast_ref::<std::io::Error>().is_some_and(is_full);
    here || error.source().is_some_and(says_full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn an_error_of_the_file_system_is_a_lack_of_room_only_where_it_says_so() {
        for (kind, code) in [
            (ErrorKind::StorageFull, Code::StorageFull),
            (ErrorKind::QuotaExceeded, Code::StorageFull),
            (ErrorKind::FileTooLarge, Code::StorageFull),
            (ErrorKind::PermissionDenied, Code::StorageUnavailable),
            (ErrorKind::ReadOnlyFilesystem, Code::StorageUnavailable),
            (ErrorKind::Other, Code::StorageUnavailable),
        ] {
            let error = StorageError::from_io("write", "a part", kind.into());
            assert_eq!(error.code(), code, "{kind}");
        }
    }
}
