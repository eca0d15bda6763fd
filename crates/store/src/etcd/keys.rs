//! Where everything stands in etcd: `{prefix}/data/{key}`, `{prefix}/leader/{identity}`, `{prefix}/identity`.
//!
//! Data and leadership stand apart, so that no caller can read or write the leadership. The leadership's key names the identity of the
//! store: a write that holds only under its epoch can hold in no other store, not even in one whose revisions happen to be the same.

use crate::{ReadError, Revision};

/// The keys of one store.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// What every key of this store begins with.
    pub(super) fn all(&self) -> String {
        format!("{}/", self.prefix)
    }

    /// The record that names this store.
    pub(super) fn identity(&self) -> String {
        format!("{}/identity", self.prefix)
    }

    /// The leadership of the store with this identity.
    pub(super) fn leader(&self, record: u64) -> String {
        format!("{}/leader/{record:016x}", self.prefix)
    }

    /// A caller's key.
    pub(super) fn data(&self, key: &str) -> String {
        format!("{}/data/{key}", self.prefix)
    }

    /// A caller's key, of where it stands.
    pub(super) fn key_of(&self, path: &[u8]) -> Result<String, ReadError> {
        let damaged = |cause: &str| ReadError::Damaged {
            key: String::from_utf8_lossy(path).into_owned(),
            cause: cause.to_owned(),
        };
        let text = str::from_utf8(path).map_err(|_| damaged("a key that is no text"))?;
        let key = text.strip_prefix(&self.data(""));
        key.map(str::to_owned)
            .ok_or_else(|| damaged("a key that was not asked for"))
    }
}

/// The end of the range of all keys that start with `prefix`, which ends in a byte that has a next one: ours end in text.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        // No byte of UTF-8 is 255.
        *last += 1;
    }
    end
}

/// The first key after `key`.
pub(super) fn after(key: &str) -> Vec<u8> {
    let mut next = key.as_bytes().to_vec();
    next.push(0);
    next
}

/// A revision as the server says it; it counts from 1 and is never negative.
pub(super) fn revision_in(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0))
}

/// A revision as the server takes it. `None` where no server ever reaches it; 0 would mean "now" to it.
pub(super) fn revision_out(revision: Revision) -> Option<i64> {
    i64::try_from(revision.0)
        .ok()
        .filter(|revision| *revision > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_range_is_after_every_key_of_it_and_before_the_next() {
        for prefix in ["p/data/", "p/data/ключ", "a"] {
            let end = end_of(prefix);
            for tail in ["", "\0", "z", "\u{10ffff}"] {
                assert!(format!("{prefix}{tail}").as_bytes() < end.as_slice());
            }
        }
        assert_eq!(end_of("p/"), b"p0");
    }

    #[test]
    fn a_caller_s_key_comes_back_as_it_went() {
        let keys = Keys::new("p");
        for key in ["k", "", "data/leader", "ключ/鍵"] {
            assert_eq!(keys.key_of(keys.data(key).as_bytes()), Ok(key.to_owned()));
        }
        assert!(keys.key_of(b"p/leader/x").is_err());
        assert!(keys.key_of(b"p/data/\xff").is_err());
    }

    #[test]
    fn a_revision_that_no_server_reaches_is_not_sent() {
        assert_eq!(revision_out(Revision(0)), None);
        assert_eq!(revision_out(Revision(u64::MAX)), None);
        assert_eq!(revision_out(Revision(7)), Some(7));
    }
}
