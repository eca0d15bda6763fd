//! The URL that names a folder of this machine, as settings and flags carry storage roots. `storage` reads it back.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a path's bytes are written as themselves: RFC 3986's unreserved characters and the `/` between segments.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `file://` and the path, with every byte escaped that a URL gives a meaning. The path must be absolute.
#[must_use]
pub fn file_url(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    format!("file://{}", percent_encode(bytes, ESCAPED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    #[test]
    fn plain_paths_stay_readable_and_others_are_escaped() {
        for (path, expected) in [
            (
                "/srv/trackscan-data/storage",
                "file:///srv/trackscan-data/storage",
            ),
            ("/a b/100%/c#d?", "file:///a%20b/100%25/c%23d%3F"),
            ("/m%75sic", "file:///m%2575sic"),
        ] {
            assert_eq!(file_url(Path::new(path)), expected);
        }
    }

    proptest! {
        #[test]
        fn any_path_reads_back_from_its_url(path in "/.*") {
            let url = file_url(Path::new(&path));
            let read = percent_decode_str(url.strip_prefix("file://").unwrap());
            prop_assert_eq!(read.decode_utf8().unwrap(), path);
        }
    }
}
