//! A source's folder, listed with all that is in it, in the order of the keys' bytes, whatever order the file system keeps.
//!
//! Memory holds the names of the folders on the way down to the present entry. A folder that cannot be read is an entry
//! with its cause, and the listing goes on; so is a folder whose name is too long for a key, which is not descended into.

use std::ffi::CStr;
use std::sync::Arc;

use catalog::key::KEY_BYTES_MAX;
use catalog::listing::{Entry, Kind, Unlisted};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, statat};
use rustix::io::Errno;
use types::Code;

use super::SourceError;
use super::folder::{Folder, reopen};

/// Most entries of one folder: its names are sorted in memory, at about 100 bytes each.
pub const FOLDER_ENTRIES_MAX: usize = 4_000_000;

/// The entries of a folder and of the folders in it.
#[derive(Debug)]
pub(super) struct FolderListing {
    source: Arc<Folder>,
    /// The entries yet to come of each open folder, the last of a folder first; the present folder last.
    open: Vec<Vec<Named>>,
}

#[derive(Debug)]
struct Named {
    /// From the source's root, as the file system has it.
    path: Vec<u8>,
    what: What,
}

#[derive(Debug)]
enum What {
    Folder,
    Other(Result<Kind, Unlisted>),
}

impl FolderListing {
    pub(super) fn new(source: Arc<Folder>, prefix: &str) -> Self {
        let root = Named {
            path: prefix.as_bytes().to_vec(),
            what: What::Folder,
        };
        Self {
            source,
            open: vec![vec![root]],
        }
    }

    fn next_named(&mut self) -> Option<Named> {
        while let Some(folder) = self.open.last_mut() {
            match folder.pop() {
                Some(named) => return Some(named),
                None => drop(self.open.pop()),
            }
        }
        None
    }

    /// Descends; an entry that says why where that cannot be done.
    fn enter(&mut self, path: Vec<u8>) -> Result<Option<Entry>, SourceError> {
        let failed = |path: &[u8], code, cause| Some(entry(path, Err(unlisted(code, cause))));
        if path.len() > KEY_BYTES_MAX {
            let cause = "folder's name is longer than a key; nothing below it is listed";
            return Ok(failed(&path, Code::KeyInvalid, cause));
        }
        match self.read_folder(&path) {
            Ok(entries) => {
                self.open.push(entries);
                Ok(None)
            }
            Err(SourceError::Missing { .. }) => Ok(None),
            Err(SourceError::Denied { .. }) => {
                let cause = "folder cannot be read: access denied";
                Ok(failed(&path, Code::SourceDenied, cause))
            }
            Err(SourceError::Refused { .. }) => {
                let cause = "folder was replaced while it was listed";
                Ok(failed(&path, Code::SourceChanged, cause))
            }
            Err(other) => Err(other),
        }
    }

    /// The entries of one folder, in falling order of their keys.
    fn read_folder(&self, path: &[u8]) -> Result<Vec<Named>, SourceError> {
        let shown = String::from_utf8_lossy(path);
        let failed = |error| self.source.failed(&shown, error);
        let place = match path.is_empty() {
            true => self.source.open_root("")?,
            false => self.source.walk_bytes(path, &shown)?,
        };
        let folder = reopen(&place, OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed)?;
        let mut entries = Vec::new();
        for found in Dir::read_from(&folder).map_err(failed)? {
            let found = found.map_err(failed)?;
            if matches!(found.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if entries.len() == FOLDER_ENTRIES_MAX {
                let (name, key) = (self.source.name.clone(), shown.into_owned());
                return Err(SourceError::TooManyEntries { name, key });
            }
            let what = match look(&folder, found.file_name()) {
                Ok(what) => what,
                Err(Errno::NOENT) => continue,
                Err(error) => What::Other(Err(unlisted(
                    Code::SourceDenied,
                    format!("entry cannot be read: {error}"),
                ))),
            };
            entries.push(Named {
                path: join(path, found.file_name().to_bytes()),
                what,
            });
        }
        entries.sort_by_cached_key(|named| std::cmp::Reverse(order(named)));
        Ok(entries)
    }
}

impl Iterator for FolderListing {
    type Item = Result<Entry, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let named = self.next_named()?;
            match named.what {
                What::Other(kind) => return Some(Ok(entry(&named.path, kind))),
                What::Folder => match self.enter(named.path) {
                    Ok(None) => {}
                    Ok(Some(entry)) => return Some(Ok(entry)),
                    Err(error) => {
                        self.open.clear();
                        return Some(Err(error));
                    }
                },
            }
        }
    }
}

fn look(folder: impl std::os::fd::AsFd, name: &CStr) -> Result<What, Errno> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => What::Folder,
        FileType::RegularFile => What::Other(Ok(Kind::File(stat.st_size.cast_unsigned()))),
        FileType::Symlink => What::Other(Ok(Kind::Link)),
        FileType::Fifo => What::Other(Ok(Kind::Pipe)),
        FileType::Socket => What::Other(Ok(Kind::Socket)),
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => {
            What::Other(Ok(Kind::Device))
        }
    })
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match folder.is_empty() {
        true => name.to_vec(),
        false => [folder, b"/", name].concat(),
    }
}

/// Folders sort as if their name ended in a slash, so that all keys together come in the order of their bytes.
fn order(named: &Named) -> Vec<u8> {
    let is_folder = matches!(named.what, What::Folder);
    let slash = if is_folder { b"/".as_slice() } else { b"" };
    [named.path.as_slice(), slash].concat()
}

fn unlisted(code: Code, cause: impl Into<String>) -> Unlisted {
    let cause = cause.into();
    Unlisted { code, cause }
}

fn entry(path: &[u8], kind: Result<Kind, Unlisted>) -> Entry {
    let key = std::str::from_utf8(path).ok().map(str::to_owned);
    Entry {
        key,
        shown: String::from_utf8_lossy(path).into_owned(),
        kind,
        content_id: None,
    }
}
