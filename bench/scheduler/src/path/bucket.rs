//! A bucket in memory: what the cluster puts into its storage. Puts may ask that nothing be there; a version is a number that rises. Called
//! by the server; nothing of it outlives the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Its bytes.
    pub(super) bytes: Bytes,
    /// Which put made it.
    pub(super) version: u64,
}

/// What a listing finds at one place.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// An object.
    Object(String, Kept),
    /// A folder, in which there is something.
    Folder(String),
}

impl Found {
    /// Its key.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Object(key, _) | Self::Folder(key) => key,
        }
    }
}

/// The objects, and uploads that are not complete.
#[derive(Debug, Default)]
pub(super) struct Bucket(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    objects: BTreeMap<String, Kept>,
    uploads: BTreeMap<String, BTreeMap<i32, Bytes>>,
    last: u64,
}

impl Bucket {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object of that key.
    pub(super) fn get(&self, key: &str) -> Option<Kept> {
        self.inside().objects.get(key).cloned()
    }

    /// Puts an object and gives its version; none where something is there and must not be.
    pub(super) fn put(&self, key: String, bytes: Bytes, must_be_absent: bool) -> Option<u64> {
        let mut inside = self.inside();
        if must_be_absent && inside.objects.contains_key(&key) {
            return None;
        }
        inside.last += 1;
        let version = inside.last;
        inside.objects.insert(key, Kept { bytes, version });
        Some(version)
    }

    /// Removes an object, if it is there.
    pub(super) fn remove(&self, key: &str) {
        self.inside().objects.remove(key);
    }

    /// Begins an upload in pieces and names it.
    pub(super) fn begin(&self) -> String {
        let mut inside = self.inside();
        inside.last += 1;
        let name = format!("upload-{}", inside.last);
        inside.uploads.insert(name.clone(), BTreeMap::new());
        name
    }

    /// Takes a piece; whether the upload is known.
    pub(super) fn piece(&self, upload: &str, number: i32, bytes: Bytes) -> bool {
        let mut inside = self.inside();
        let pieces = inside.uploads.get_mut(upload);
        pieces.is_some_and(|pieces| {
            pieces.insert(number, bytes);
            true
        })
    }

    /// Ends an upload and gives its bytes, if it is known.
    pub(super) fn end(&self, upload: &str) -> Option<Bytes> {
        let pieces = self.inside().uploads.remove(upload)?;
        let bytes: Vec<u8> = pieces.into_values().flatten().collect();
        Some(bytes.into())
    }

    /// What stands under a prefix after a key, at most so much. With a delimiter what has one behind the prefix is shown as its folder.
    pub(super) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        delimiter: Option<&str>,
        most: usize,
    ) -> Vec<Found> {
        let inside = self.inside();
        let mut found: Vec<Found> = Vec::new();
        let mut from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_owned()),
            Some(_) | None => Bound::Included(prefix.to_owned()),
        };
        while found.len() < most {
            let Some((key, kept)) = inside.objects.range((from, Bound::Unbounded)).next() else {
                break;
            };
            if !key.starts_with(prefix) {
                break;
            }
            let folder = delimiter.and_then(|delimiter| {
                let at = key[prefix.len()..].find(delimiter)?;
                Some(key[..prefix.len() + at + delimiter.len()].to_owned())
            });
            from = match &folder {
                // Behind everything in it: no key of ours has this character.
                Some(folder) => Bound::Excluded(format!("{folder}\u{10ffff}")),
                None => Bound::Excluded(key.clone()),
            };
            match folder {
                Some(folder) if after.is_some_and(|after| after == folder) => {}
                Some(folder) => found.push(Found::Folder(folder)),
                None => found.push(Found::Object(key.clone(), kept.clone())),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_absent_is_put_once_and_pieces_come_together_in_their_order() {
        let bucket = Bucket::default();
        assert!(
            bucket
                .put("a".to_owned(), Bytes::from_static(b"1"), true)
                .is_some()
        );
        assert!(
            bucket
                .put("a".to_owned(), Bytes::from_static(b"2"), true)
                .is_none()
        );
        assert_eq!(bucket.get("a").unwrap().bytes, "1");
        let upload = bucket.begin();
        assert!(bucket.piece(&upload, 2, Bytes::from_static(b"d")));
        assert!(bucket.piece(&upload, 1, Bytes::from_static(b"c")));
        assert_eq!(bucket.end(&upload).unwrap(), "cd");
        assert!(bucket.end(&upload).is_none());
    }

    #[test]
    fn a_listing_goes_on_after_a_key_and_shows_folders_once() {
        let bucket = Bucket::default();
        for key in ["p/a/1", "p/a/2", "p/b", "p/c/1", "q"] {
            bucket.put(key.to_owned(), Bytes::new(), true);
        }
        let keys = |after, delimiter, most| {
            let found = bucket.list("p/", after, delimiter, most);
            found
                .iter()
                .map(|found| found.key().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(None, None, 2), ["p/a/1", "p/a/2"]);
        assert_eq!(keys(Some("p/a/2"), None, 9), ["p/b", "p/c/1"]);
        assert_eq!(keys(None, Some("/"), 9), ["p/a/", "p/b", "p/c/"]);
        assert_eq!(keys(Some("p/a/"), Some("/"), 1), ["p/b"]);
    }
}
