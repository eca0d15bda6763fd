//! A source that is a folder: keys walked from its root one segment at a time, following no link, to regular files alone.
//!
//! Called by [`super::Source`]. A named pipe cannot hang us and a device is never touched, since nothing but what was looked at is
//! opened.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat};
use rustix::io::Errno;
use types::SourceName;

use super::file::DiskFile;
use super::witness::Witness;
use super::{Place, SourceError, check_key};

/// One named folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) name: SourceName,
    /// As it was defined.
    pub(super) folder: PathBuf,
    /// The same without links, once the folder was found.
    pub(super) root: OnceLock<PathBuf>,
    pub(super) witness: Arc<Witness>,
}

impl Folder {
    /// One that is there.
    ///
    /// # Errors
    /// When the folder cannot be found.
    pub(super) fn found(name: SourceName, folder: &Path) -> Result<Self, SourceError> {
        let root = resolved(folder)
            .ok_or_else(|| SourceError::Unknown(format!("{name}={}", folder.display())))?;
        Ok(Self::defined(name, folder, root.into()))
    }

    pub(super) fn defined(name: SourceName, folder: &Path, root: OnceLock<PathBuf>) -> Self {
        Self {
            name,
            folder: folder.to_owned(),
            root,
            witness: Arc::default(),
        }
    }

    pub(super) fn is_at(&self, folder: &Path) -> bool {
        self.folder == folder || self.root() == folder
    }

    /// Its folder: without links where it was found already, else as it was defined.
    pub(super) fn root(&self) -> &Path {
        self.root.get().unwrap_or(&self.folder)
    }

    /// The same, and looks for it where it was not found yet.
    pub(super) fn find(&self) -> &Path {
        if self.root.get().is_none()
            && let Some(root) = resolved(&self.folder)
        {
            // Another thread may have found it too, and found the same.
            let _ = self.root.set(root);
        }
        self.root()
    }

    /// Opens the regular file under `key`.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub(super) fn open(&self, key: &str) -> Result<DiskFile, SourceError> {
        check_key(key)?;
        let root = self.open_root(key)?;
        let disk = fstat(&root).map_err(|error| self.failed(key, error))?;
        let place = self.walk_from(root, key.as_bytes(), key)?;
        let stat = fstat(&place).map_err(|error| self.failed(key, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.refused(key));
        }
        let file = reopen(&place, OFlags::RDONLY).map_err(|error| self.failed(key, error))?;
        let witness = (Arc::clone(&self.witness), disk.st_dev);
        DiskFile::new(file.into(), &self.name, key, witness)
    }

    /// Whether `key` is a file or a folder; the empty key is the source's own folder.
    pub(super) fn place(&self, key: &str) -> Result<Place, SourceError> {
        let stat = fstat(self.walk_folder(key)?).map_err(|error| self.failed(key, error))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match (kind == FileType::RegularFile, kind == FileType::Directory) {
            (true, _) => Ok(Place::File),
            (false, true) => Ok(Place::Folder),
            (false, false) => Err(self.refused(key)),
        }
    }

    pub(super) fn walk_folder(&self, key: &str) -> Result<OwnedFd, SourceError> {
        match key.is_empty() {
            true => self.open_root(key),
            false => self.walk(key),
        }
    }

    /// Walks to `key` and gives a handle that only names it: nothing has been opened for reading yet.
    pub(super) fn walk(&self, key: &str) -> Result<OwnedFd, SourceError> {
        check_key(key)?;
        self.walk_bytes(key.as_bytes(), key)
    }

    /// The same for names that may not be UTF-8, as a listing meets them.
    pub(super) fn walk_bytes(&self, path: &[u8], shown: &str) -> Result<OwnedFd, SourceError> {
        self.walk_from(self.open_root(shown)?, path, shown)
    }

    fn walk_from(&self, root: OwnedFd, path: &[u8], shown: &str) -> Result<OwnedFd, SourceError> {
        let mut here = root;
        let mut rest = path.split(|byte| *byte == b'/').peekable();
        while let Some(segment) = rest.next() {
            let last = rest.peek().is_none();
            let kind = if last {
                OFlags::empty()
            } else {
                OFlags::DIRECTORY
            };
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
            here = openat(&here, segment, flags, Mode::empty())
                .map_err(|error| self.failed(shown, error))?;
        }
        Ok(here)
    }

    pub(super) fn open_root(&self, key: &str) -> Result<OwnedFd, SourceError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(self.find(), flags, Mode::empty()).map_err(|error| self.unavailable(key, error.into()))
    }

    pub(super) fn refused(&self, key: &str) -> SourceError {
        SourceError::Refused {
            name: self.name.clone(),
            key: key.to_owned(),
        }
    }

    fn unavailable(&self, key: &str, source: io::Error) -> SourceError {
        SourceError::Unavailable {
            name: self.name.clone(),
            key: key.to_owned(),
            source,
        }
    }

    pub(super) fn failed(&self, key: &str, error: Errno) -> SourceError {
        SourceError::of(error.into(), &self.name, key)
    }
}

/// A folder's path without links, where the folder is there.
fn resolved(folder: &Path) -> Option<PathBuf> {
    folder.canonicalize().ok().filter(|root| root.is_dir())
}

/// Opens what a handle names, for reading. The handle was checked; going through it, not through the name again, means
/// that what is opened is what was checked.
pub(super) fn reopen(place: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", place.as_fd().as_raw_fd());
    open(
        link,
        flags | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )
}
