//! What a key may be: the name of an object within a source, relative, `/`-separated, spelt in one way only.
//!
//! Called for every row, and again by the sources before anything is opened. A key is never cleaned or resolved: what
//! is not canonical is refused, so that two spellings never name one object. What a manifest's text means is
//! [`of_manifest`]'s; a file that a folder holds may look like a URL and is a file all the same.

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
    /// A manifest's text that names a URL or a device instead.
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

/// Checks a key as a manifest gives it: a text that is a URL or names a device is refused as such.
///
/// # Errors
/// See [`KeyError`].
pub fn check_given(text: &str) -> Result<(), KeyError> {
    if is_url_or_device(text) {
        return Err(KeyError::Url);
    }
    check(text)
}

/// The key that a manifest's text means: relative to the manifest's own folder, which ends in a slash or is empty. A text
/// that leads elsewhere stays as it is, for [`check_given`] to refuse it by what it is.
#[must_use]
pub fn of_manifest(folder: &str, text: &str) -> String {
    if text.is_empty() || text.starts_with('/') || is_url_or_device(text) {
        return text.to_owned();
    }
    format!("{folder}{}", text.trim_start_matches("./"))
}

/// The folder of the manifest at `key`, with a slash at its end; empty at the root of its source.
#[must_use]
pub fn folder_of(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}

/// Whether a text has the shape of a URL: any scheme with `//` behind it, `file:/path`, `data:type,content`. A title with a
/// colon in it, such as `Data: One.flac`, has not.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let spelt = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    let content = || rest.contains(',') && !rest.contains(char::is_whitespace);
    spelt
        && (rest.starts_with("//")
            || (is("file") && rest.starts_with('/'))
            || (is("data") && content()))
}

fn is_url_or_device(text: &str) -> bool {
    is_url(text)
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
                "Memory: Live.mp3",
                "Data: One, Two.flac",
                "File: X/a.wav",
                "http:remix.wav",
                &long,
            ],
            Ok(()),
        );
    }

    #[test]
    fn what_leaves_its_source_or_has_two_spellings_is_refused() {
        check_all(&[""], Err(KeyError::Empty));
        check_all(
            &["/a", "/etc/shadow", "/", "/dev/zero", "//host/share"],
            Err(KeyError::Absolute),
        );
        check_all(
            &[
                "..", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/", "http://x",
            ],
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
    fn urls_and_devices_in_a_manifest_are_refused_as_such_and_titles_with_a_colon_are_not() {
        for (text, expected) in [
            ("Memory: Live.mp3", Ok(())),
            ("Data: One, Two.flac", Ok(())),
            ("File: X/a.wav", Ok(())),
            ("http:remix.wav", Ok(())),
            ("a//b", Err(KeyError::Segment)),
        ] {
            assert_eq!(check_given(text), expected, "{text}");
        }
        for text in [
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
        ] {
            assert_eq!(check_given(text), Err(KeyError::Url), "{text}");
        }
    }

    #[test]
    fn a_manifest_s_text_is_relative_to_its_folder_and_what_leads_elsewhere_stays() {
        for (manifest, text, key) in [
            ("list.csv", "a.mp3", "a.mp3"),
            ("x/y/list.csv", "a.mp3", "x/y/a.mp3"),
            ("x/list.csv", "./a.mp3", "x/a.mp3"),
            ("x/list.csv", "../a.mp3", "x/../a.mp3"),
            ("x/list.csv", "Data: One.flac", "x/Data: One.flac"),
            ("x/list.csv", "/etc/shadow", "/etc/shadow"),
            ("x/list.csv", "http://a/b", "http://a/b"),
            ("x/list.csv", "", ""),
        ] {
            assert_eq!(of_manifest(folder_of(manifest), text), key, "{text}");
        }
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
