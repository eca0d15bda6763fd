//! Whether a source is there: asked where a file of it was not read, since a share that is not mounted looks like a folder
//! in which every file is missing. A file that gives bytes is the only witness; what a folder's listing says is not.
//!
//! Called by agents before they believe that a track is gone. Reads a little of a few files and keeps the last good one.

use std::sync::{Mutex, PoisonError};

use catalog::key;
use rustix::fs::{Dir, FileType, OFlags, fstat};
use rustix::io::Errno;

use super::SourceError;
use super::folder::{Folder, reopen};

/// Files that are tried where no file of the source is known to have given bytes: enough to pass over a few bad ones, few
/// enough to be asked while a track waits.
const NEIGHBOURS_MAX: usize = 32;
/// Entries looked at for them, over all folders: albums lie some levels deep, and each level has its pictures and texts.
const ENTRIES_MAX: usize = 512;

/// The file of a source that last gave bytes.
#[derive(Debug, Default)]
pub(super) struct Witness(Mutex<Option<Seen>>);

/// A file that gave bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    key: String,
    /// The disk that the source's own folder was on: a mount point without its share is on another one.
    disk: u64,
}

impl Witness {
    /// Notes that the file under `key` gave bytes while the source's folder was on that disk.
    pub(super) fn note(&self, key: &str, disk: u64) {
        let key = key.to_owned();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen { key, disk });
    }

    fn seen(&self) -> Option<Seen> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Seen {
    /// Whether what lies on that disk is the source as it was: a file beside a missing one says nothing on another.
    fn was_on(&self, disk: u64) -> bool {
        self.disk == disk
    }
}

impl Folder {
    /// Whether another file of this source gives bytes at this moment, from where they lie rather than from memory: then what
    /// keeps `key` from being read is its own. Reads a few bytes of one or a few files.
    pub(super) fn answers_besides(&self, key: &str) -> bool {
        let seen = self.witness.seen();
        let other = seen.as_ref().filter(|seen| seen.key != key);
        if other.is_some_and(|seen| self.gives_bytes(&seen.key)) {
            return true;
        }
        let itself = seen.is_none_or(|seen| self.disk().is_ok_and(|disk| seen.was_on(disk)));
        itself && self.a_neighbour_answers(key)
    }

    fn disk(&self) -> Result<u64, SourceError> {
        let stat = fstat(self.open_root("")?).map_err(|error| self.failed("", error))?;
        Ok(stat.st_dev)
    }

    fn gives_bytes(&self, key: &str) -> bool {
        self.open(key).is_ok_and(|file| file.gives_bytes())
    }

    /// Asks files that lie near: those of the key's folder, then those of the folders above it and what lies below them.
    fn a_neighbour_answers(&self, key: &str) -> bool {
        let mut search = Search {
            source: self,
            key,
            files: NEIGHBOURS_MAX,
            entries: ENTRIES_MAX,
        };
        let mut folder = key;
        while let Some((above, _)) = folder.rsplit_once('/') {
            folder = above;
            if search.finds_in(folder, Below::Passed) {
                return true;
            }
        }
        search.finds_in("", Below::Searched)
    }
}

/// A look for a file that gives bytes, with what is left of its bounds.
struct Search<'a> {
    source: &'a Folder,
    /// The one that does not count.
    key: &'a str,
    files: usize,
    entries: usize,
}

/// What becomes of the folders in a folder.
#[derive(Clone, Copy)]
enum Below {
    Passed,
    Searched,
}

impl Search<'_> {
    fn finds_in(&mut self, folder: &str, below: Below) -> bool {
        let mut waiting = vec![folder.to_owned()];
        while let Some(folder) = waiting.pop() {
            // One that cannot be listed is passed over.
            for other in self.listed(&folder).unwrap_or_default() {
                match (self.source.kind(&other), below) {
                    (Some(FileType::RegularFile), _) if self.answers(&other) => return true,
                    (Some(FileType::Directory), Below::Searched) => waiting.push(other),
                    (Some(_) | None, _) => {}
                }
            }
        }
        false
    }

    fn answers(&mut self, other: &str) -> bool {
        let left = self.files.checked_sub(1);
        self.files = left.unwrap_or_default();
        left.is_some() && other != self.key && self.source.gives_bytes(other)
    }

    /// Keys of the entries of a folder, as the file system has them.
    fn listed(&mut self, folder: &str) -> Result<Vec<String>, Errno> {
        let place = self.source.walk_folder(folder).map_err(|_| Errno::NOENT)?;
        let mut found = Vec::new();
        for entry in Dir::new(reopen(&place, OFlags::RDONLY | OFlags::DIRECTORY)?)? {
            if self.entries == 0 {
                break;
            }
            self.entries -= 1;
            let name = entry?.file_name().to_string_lossy().into_owned();
            let other = match folder {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            // `.` and `..` are no keys.
            if key::check(&other).is_ok() {
                found.push(other);
            }
        }
        Ok(found)
    }
}

impl Folder {
    fn kind(&self, key: &str) -> Option<FileType> {
        let stat = fstat(self.walk(key).ok()?).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_says_nothing_of_what_lies_on_another_disk() {
        let witness = Witness::default();
        assert_eq!(witness.seen(), None);
        witness.note("a.wav", 7);
        let seen = witness.seen().unwrap();
        assert!(seen.was_on(7) && !seen.was_on(8));
        witness.note("b.wav", 8);
        assert!(witness.seen().unwrap().was_on(8), "a share mounted again");
    }
}
