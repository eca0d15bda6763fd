//! What a key may be: the name of an object within a source, relative, `/`-separated, spelt in one way only.
//!
//! Called for every row, and again by the sources before anything is opened. A key is never cleaned or resolved: what
//! is not canonical is refused, so that two spellings never name one object.

use thiserror::Error;
use types::Code;

/// Most bytes in a key: what object stores accept.
pub const KEY_BYTES_MAX: usize = 1_024;

/// Why a text is no key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// No bytes.
    #[error("key is empty")]
    Empty,
    /// Over [`KEY_BYTES_MAX`].
    #[error("key of {0} bytes, more than {KEY_BYTES_MAX}")]
    TooLong(usize),
    /// Begins with `/`.
    #[error("key is absolute")]
    Absolute,
    /// Has `.`, `..` or nothing between two slashes, or ends in one.
    #[error("key has an empty, `.` or `..` segment")]
    Segment,
    /// Has a control character (NUL and line breaks among them) or a backslash.
    #[error("key has the character {0:?}")]
    Character(char),
    /// Names a URL or a device instead.
    #[error("key is a URL or device path")]
    Url,
}

impl KeyError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Empty
            | Self::TooLong(_)
            | Self::Absolute
            | Self::Segment
            | Self::Character(_) => Code::KeyInvalid,
            Self::Url => Code::RawUrl,
        }
    }
}

/// Checks that `key` names an object in the one canonical way.
///
/// # Errors
/// See [`KeyError`].
pub fn check(key: &str) -> Result<(), KeyError> {
    match key.len() {
        0 => return Err(KeyError::Empty),
        1..=KEY_BYTES_MAX => {}
        bytes => return Err(KeyError::TooLong(bytes)),
    }
    if is_url_or_device(key) {
        return Err(KeyError::Url);
    }
    if let Some(found) = key.chars().find(|c| c.is_control() || *c == '\\') {
        return Err(KeyError::Character(found));
    }
    match (
        key.starts_with('/'),
        key.split('/').any(|part| matches!(part, "" | "." | "..")),
    ) {
        (true, _) => Err(KeyError::Absolute),
        (false, true) => Err(KeyError::Segment),
        (false, false) => Ok(()),
    }
}

/// Schemes that mean a place elsewhere even without `//` after the colon.
const SCHEMES: [&str; 14] = [
    "file", "http", "https", "ftp", "ftps", "sftp", "s3", "gs", "az", "abfs", "data", "memory",
    "smb", "nfs",
];

fn is_url_or_device(text: &str) -> bool {
    let scheme = text
        .split_once(':')
        .map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let is_url = scheme.is_some_and(|(scheme, rest)| {
        let spelt = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        spelt && (rest.starts_with("//") || SCHEMES.contains(&scheme.as_str()))
    });
    is_url
        || text.starts_with("//")
        || ["/dev/", "/proc/", "/sys/"]
            .iter()
            .any(|at| text.starts_with(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_all(keys: &[&str], expected: Result<(), KeyError>) {
        for key in keys {
            assert_eq!(check(key), expected, "{key:?}");
        }
    }

    #[test]
    fn any_relative_name_is_a_key_whatever_its_script() {
        let long = "k".repeat(KEY_BYTES_MAX);
        check_all(
            &[
                "a",
                "a/b.mp3",
                ".hidden",
                "...",
                "a b/ü/音.flac",
                "Live: at 10:30.wav",
                "=cmd|x",
                "12:34",
                &long,
            ],
            Ok(()),
        );
    }

    #[test]
    fn what_leaves_its_source_or_has_two_spellings_is_refused() {
        check_all(&[""], Err(KeyError::Empty));
        check_all(&["/a", "/etc/shadow", "/"], Err(KeyError::Absolute));
        check_all(
            &["..", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/"],
            Err(KeyError::Segment),
        );
        check_all(&["a\0b"], Err(KeyError::Character('\0')));
        check_all(&["a\nb"], Err(KeyError::Character('\n')));
        check_all(&["a\rb"], Err(KeyError::Character('\r')));
        check_all(&["a\u{85}b"], Err(KeyError::Character('\u{85}')));
        check_all(
            &["C:\\music\\a.mp3", "a\\..\\b"],
            Err(KeyError::Character('\\')),
        );
        check_all(&[&"k".repeat(1_025)], Err(KeyError::TooLong(1_025)));
    }

    #[test]
    fn urls_and_devices_are_refused_as_such() {
        check_all(
            &[
                "file:///etc/shadow",
                "FILE:/etc/shadow",
                "http://169.254.169.254/",
                "http://[::ffff:a9fe:a9fe]/",
                "s3://bucket/key",
                "x+y://a",
                "data:audio/wav;base64,AAAA",
                "//host/share",
                "/dev/zero",
                "/proc/self/environ",
            ],
            Err(KeyError::Url),
        );
    }

    proptest! {
        #[test]
        fn an_accepted_key_never_leaves_a_root_it_is_joined_to(key in ".{0,40}") {
            if check(&key).is_ok() {
                let joined = std::path::Path::new("/root").join(&key);
                let plain = joined.components().all(|part| !matches!(part, std::path::Component::ParentDir));
                prop_assert!(plain && joined.starts_with("/root") && !key.contains('\0'));
            }
        }
    }
}
