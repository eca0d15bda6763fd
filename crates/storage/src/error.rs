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
    /// Storage refused access: the credentials are wrong, old or lack a right.
    #[error("{action} `{path}`: access was denied")]
    Denied {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: String,
        /// What the backend said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The whole place is not there: no such bucket, container or folder.
    #[error("{action} `{path}`: its bucket or folder does not exist")]
    Missing {
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
            Self::Denied { .. } => Code::StorageDenied,
            Self::Missing { .. } => Code::StorageMissing,
            Self::Full { .. } => Code::StorageFull,
            Self::Corrupt { .. } => Code::StorageCorrupt,
            Self::Invalid(_) => Code::InvalidRequest,
        }
    }

    /// Whether the same call may succeed later: once storage answers, has room, grants the right or is there again. Nothing is
    /// lost by waiting for that.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::Denied { .. }
            | Self::Missing { .. }
            | Self::Full { .. } => true,
            Self::NotFound { .. } | Self::Corrupt { .. } | Self::Invalid(_) => false,
        }
    }

    pub(crate) fn corrupt(path: impl ToString, cause: impl ToString) -> Self {
        Self::Corrupt {
            path: path.to_string(),
            cause: cause.to_string(),
        }
    }

    /// Whether trying again at once may help: a refusal of rights or a missing bucket is nothing that passes in a second.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }

    /// Sorts what the backend said.
    pub(crate) fn from_store(action: &'static str, path: &str, error: object_store::Error) -> Self {
        use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
        let path = path.to_owned();
        let text = said(&error);
        let source = text.clone().into();
        if says_no_place(&text) {
            return Self::Missing {
                action,
                path,
                source,
            };
        }
        if says_full(&error) || says_no_room(&text) {
            return Self::Full { path };
        }
        if matches!(error, NotFound { .. }) {
            return Self::NotFound { path };
        }
        let denied = matches!(error, PermissionDenied { .. } | Unauthenticated { .. });
        match denied || says_denied(&text) {
            true => Self::Denied {
                action,
                path,
                source,
            },
            false => Self::Unavailable {
                action,
                path,
                source,
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

/// What stores answer where a right is missing. The library sorts this by itself, but not where it lists.
fn says_denied(text: &str) -> bool {
    ["403 Forbidden", "401 Unauthorized"]
        .iter()
        .any(|answer| text.contains(answer))
}

/// What stores call a bucket or container that is not there. Asked for a single object they say it by the same status as for
/// an object that is not there.
pub(crate) fn says_no_place(text: &str) -> bool {
    [
        "NoSuchBucket",
        "ContainerNotFound",
        "The specified bucket does not exist",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// What stores say when they are full: no standard has a word for it.
fn says_no_room(text: &str) -> bool {
    [
        "507 Insufficient Storage",
        "XMinioStorageFull",
        "QuotaExceeded",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// Most characters of what a store said that are kept: its code and message stand at the front.
const SAID_CHARS_MAX: usize = 600;

/// What a backend said, with its causes, on one line, without what stands in queries of URLs: signatures may.
pub(crate) fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let words = types::chain(error);
    let words = words.split_whitespace().map(without_query);
    let text = words.collect::<Vec<_>>().join(" ");
    text.chars().take(SAID_CHARS_MAX).collect()
}

fn without_query(word: &str) -> &str {
    match word.contains("://") {
        true => word.split('?').next().unwrap_or(word),
        false => word,
    }
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

    #[test]
    fn what_a_store_said_shows_no_query_of_a_url() {
        let error = object_store::Error::Generic {
            store: "S3",
            source: "GET https://h/b/k?sig=hunter2&x=1 \n failed".into(),
        };
        let text = said(&error);
        assert!(
            text.contains("GET https://h/b/k failed") && !text.contains("hunter2"),
            "{text}"
        );
        let long = object_store::Error::Generic {
            store: "S3",
            source: "x".repeat(100_000).into(),
        };
        assert!(said(&long).len() <= SAID_CHARS_MAX);
    }

    #[test]
    fn denied_missing_full_and_silent_are_told_apart_and_all_may_pass() {
        let path = || "a".to_owned();
        let words = |text: &str| -> Box<dyn std::error::Error + Send + Sync> { text.into() };
        let generic = |text: &str| object_store::Error::Generic {
            store: "S3",
            source: words(text),
        };
        let not_found = |text: &str| object_store::Error::NotFound {
            path: path(),
            source: words(text),
        };
        let denied = object_store::Error::PermissionDenied {
            path: path(),
            source: words("403"),
        };
        for (error, code, transient) in [
            (denied, Code::StorageDenied, true),
            (
                generic("Server returned non-2xx status code: 403 Forbidden"),
                Code::StorageDenied,
                true,
            ),
            (
                not_found("<Code>NoSuchBucket</Code>"),
                Code::StorageMissing,
                true,
            ),
            (not_found("<Code>NoSuchKey</Code>"), Code::NotFound, false),
            (generic("507 Insufficient Storage"), Code::StorageFull, true),
            (generic("timed out"), Code::StorageUnavailable, true),
        ] {
            let error = StorageError::from_store("read", "a", error);
            assert_eq!(
                (error.code(), error.is_transient()),
                (code, transient),
                "{error}"
            );
        }
    }
}
