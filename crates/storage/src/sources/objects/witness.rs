//! Whether an object store answers for a source: asked before a track is believed to be gone, since a bucket that was taken away
//! says of every object that it is not there. An object that gives bytes is the only witness.

use std::sync::{Mutex, PoisonError};

use super::Objects;

/// Objects that are tried where none is known to have given bytes.
const NEIGHBOURS_MAX: usize = 8;

/// The object of a source that last gave bytes.
#[derive(Debug, Default)]
pub(super) struct Witness(Mutex<Option<String>>);

impl Witness {
    pub(super) fn note(&self, key: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_deref() != Some(key) {
            *seen = Some(key.to_owned());
        }
    }

    fn seen(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Objects {
    /// Whether another object of this source gives bytes at this moment.
    pub(in crate::sources) fn answers_besides(&self, key: &str) -> bool {
        let seen = self.witness.seen().filter(|seen| seen != key);
        if seen.is_some_and(|seen| self.gives_bytes(&seen)) {
            return true;
        }
        let near = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folders = if near.is_empty() {
            vec![""]
        } else {
            vec![near, ""]
        };
        folders
            .into_iter()
            .any(|folder| self.a_neighbour_answers(folder, key))
    }

    fn a_neighbour_answers(&self, folder: &str, key: &str) -> bool {
        let found = self.some_under(folder, NEIGHBOURS_MAX).unwrap_or_default();
        let mut others = found
            .iter()
            .map(|found| found.location.as_ref())
            .filter(|other| *other != key);
        others.any(|other| self.gives_bytes(other))
    }

    fn gives_bytes(&self, key: &str) -> bool {
        self.get(key, 0..1, None)
            .is_ok_and(|got| !got.bytes.is_empty())
    }
}
