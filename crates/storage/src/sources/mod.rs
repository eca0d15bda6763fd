//! Sources: named folders that an operator configured, from which tracks and manifests are read. Nothing is ever written.
//!
//! Called by the coordinator (imports) and by agents (track bytes). All calls block: use a thread of your own or the
//! blocking pool. A key is walked from the root one segment at a time, following no link, and only a regular file is ever
//! opened: a named pipe cannot hang us and a device is never touched.

mod file;
mod listing;
mod witness;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use catalog::key;
use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat};
use rustix::io::Errno;
use thiserror::Error;
use types::{Code, SourceName};

use witness::Witness;

pub use file::SourceFile;
pub use listing::{FOLDER_ENTRIES_MAX, Listing};

/// The sources of one process, by name.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<SourceName, Arc<Source>>);

/// One named folder.
#[derive(Debug)]
pub struct Source {
    name: SourceName,
    /// As it was defined.
    folder: PathBuf,
    /// The same without links, once the folder was found.
    root: OnceLock<PathBuf>,
    witness: Arc<Witness>,
}

/// Why something in a source was not read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// No source of that name is configured, or its folder does not exist.
    #[error("source `{0}` is not configured or not there")]
    Unknown(String),
    /// The text is no key.
    #[error("`{}` is no key of a source", shown(.key))]
    Key {
        /// As given.
        key: String,
        /// What is wrong with it.
        source: key::KeyError,
    },
    /// There is no such object.
    #[error("`{key}` does not exist in source `{name}`")]
    Missing {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
    },
    /// The system refused access.
    #[error("access to `{key}` in source `{name}` was denied")]
    Denied {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
    },
    /// The key leads through a link, or to something that is no regular file (or no folder, where one was wanted).
    #[error("`{key}` in source `{name}` is a link or no regular file")]
    Refused {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
    },
    /// The object is not what the snapshot says, or changed while it was read.
    #[error("`{key}` in source `{name}` changed: {cause}")]
    Changed {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
        /// What differs.
        cause: String,
    },
    /// The object is larger than the caller takes.
    #[error("`{key}` in source `{name}` has {bytes} bytes, more than {max}")]
    TooLarge {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
        /// Its size.
        bytes: u64,
        /// The caller's bound.
        max: u64,
    },
    /// A folder holds more entries than [`FOLDER_ENTRIES_MAX`].
    #[error("folder `{key}` in source `{name}` holds more than {FOLDER_ENTRIES_MAX} entries")]
    TooManyEntries {
        /// The source.
        name: SourceName,
        /// The folder.
        key: String,
    },
    /// The system says that this file cannot be read, whatever its source does.
    #[error("`{key}` in source `{name}` cannot be read")]
    Unreadable {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
        /// What the system said.
        source: io::Error,
    },
    /// The source did not answer; this may pass.
    #[error("read `{key}` in source `{name}`")]
    Unavailable {
        /// The source.
        name: SourceName,
        /// The key.
        key: String,
        /// What the system said.
        source: io::Error,
    },
}

fn shown(text: &str) -> String {
    text.chars()
        .take(80)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

impl SourceError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Unknown(_) => Code::SourceUnknown,
            Self::Key { source, .. } => source.code(),
            Self::Missing { .. } => Code::SourceMissing,
            Self::Denied { .. } => Code::SourceDenied,
            Self::Refused { .. } => Code::SourceRefused,
            Self::Changed { .. } => Code::SourceChanged,
            Self::TooLarge { .. } => Code::TooManyBytes,
            Self::TooManyEntries { .. } => Code::CatalogTooLarge,
            Self::Unreadable { .. } => Code::SourceUnreadable,
            Self::Unavailable { .. } => Code::StorageUnavailable,
        }
    }

    /// What a refusal of the system to open or read a file means.
    fn of(error: io::Error, name: &SourceName, key: &str) -> Self {
        let (name, key) = (name.clone(), key.to_owned());
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NAMETOOLONG) => Self::Missing { name, key },
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied { name, key },
            Some(Errno::LOOP | Errno::NOTDIR) => Self::Refused { name, key },
            // The file's kind, its length or its checksums forbid it; asking again changes none of them.
            Some(
                Errno::INVAL
                | Errno::ISDIR
                | Errno::OPNOTSUPP
                | Errno::OVERFLOW
                | Errno::FBIG
                | Errno::BADMSG
                | Errno::UCLEAN,
            ) => Self::Unreadable {
                name,
                key,
                source: error,
            },
            Some(_) | None => Self::Unavailable {
                name,
                key,
                source: error,
            },
        }
    }

    /// Whether the same call may succeed later: then it says nothing of the track.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl Sources {
    /// Adds a source, or replaces the one of that name.
    ///
    /// # Errors
    /// When the folder cannot be found.
    pub fn add(&mut self, name: SourceName, folder: &Path) -> Result<(), SourceError> {
        self.insert(Source::found(name, folder)?);
        Ok(())
    }

    /// A source as the configuration has it: where its folder is not there it keeps its name, as with [`define`](Self::define), and the
    /// log says so.
    pub fn configure(&mut self, name: SourceName, folder: &Path) {
        if self.add(name.clone(), folder).is_err() {
            let folder_shown = folder.display();
            tracing::warn!(source = %name, folder = %folder_shown, "source is not there; its tracks wait until it is");
            self.define(name, folder);
        }
    }

    /// Adds a source, or replaces the one of that name.
    pub fn insert(&mut self, source: Source) {
        self.0.insert(source.name.clone(), Arc::new(source));
    }

    /// Keeps a source whose folder may not be there at this moment: it is looked for on each use, and until it is there the
    /// source does not answer, which may pass. Touches no file system. One of that name and folder stays as it is.
    pub fn define(&mut self, name: SourceName, folder: &Path) {
        if self.0.get(&name).is_some_and(|known| known.is_at(folder)) {
            return;
        }
        self.insert(Source::defined(name, folder, OnceLock::new()));
    }

    /// The source of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name: &SourceName) -> Result<Arc<Source>, SourceError> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| SourceError::Unknown(name.to_string()))
    }

    /// Every source, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.0.values()
    }

    /// The source in which a file or folder lies, and its key there (empty for the source's own folder); of nested sources
    /// the innermost. `None` where no source holds it, it does not exist, or its name is no key. A source that was not
    /// found yet is looked for only where the path leads into its folder: one on a disk that does not answer holds up nobody else.
    pub fn locate(&self, given: &Path) -> Option<(SourceName, String)> {
        let path = given.canonicalize().ok()?;
        let leads_into = |folder: &Path| given.starts_with(folder) || path.starts_with(folder);
        let near = self
            .0
            .values()
            .filter(|source| source.root.get().is_some() || leads_into(&source.folder));
        let holding = near.filter(|source| path.starts_with(source.find()));
        let source = holding.max_by_key(|source| source.root().components().count())?;
        let key = path.strip_prefix(source.root()).ok()?.to_str()?;
        (key.is_empty() || key::check(key).is_ok()).then(|| (source.name.clone(), key.to_owned()))
    }
}

/// What stands under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    File,
    Folder,
}

impl Source {
    /// A source whose folder is there.
    ///
    /// # Errors
    /// When the folder cannot be found.
    pub fn found(name: SourceName, folder: &Path) -> Result<Self, SourceError> {
        let root = resolved(folder)
            .ok_or_else(|| SourceError::Unknown(format!("{name}={}", folder.display())))?;
        Ok(Self::defined(name, folder, root.into()))
    }

    fn defined(name: SourceName, folder: &Path, root: OnceLock<PathBuf>) -> Self {
        Self {
            name,
            folder: folder.to_owned(),
            root,
            witness: Arc::default(),
        }
    }

    fn is_at(&self, folder: &Path) -> bool {
        self.folder == folder || self.root() == folder
    }

    /// The name it was configured under.
    pub fn name(&self) -> &SourceName {
        &self.name
    }

    /// Its folder: without links where it was found already, else as it was defined.
    pub fn root(&self) -> &Path {
        self.root.get().unwrap_or(&self.folder)
    }

    /// The same, and looks for it where it was not found yet.
    fn find(&self) -> &Path {
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
    pub fn open(&self, key: &str) -> Result<SourceFile, SourceError> {
        Self::check(key)?;
        let root = self.open_root(key)?;
        let disk = fstat(&root).map_err(|error| self.failed(key, error))?;
        let place = self.walk_from(root, key.as_bytes(), key)?;
        let stat = fstat(&place).map_err(|error| self.failed(key, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.refused(key));
        }
        let file = reopen(&place, OFlags::RDONLY).map_err(|error| self.failed(key, error))?;
        let witness = (Arc::clone(&self.witness), disk.st_dev);
        SourceFile::new(file.into(), &self.name, key, witness)
    }

    /// Whether `key` is a file or a folder; the empty key is the source's own folder.
    pub(crate) fn place(&self, key: &str) -> Result<Place, SourceError> {
        let stat = fstat(self.walk_folder(key)?).map_err(|error| self.failed(key, error))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match (kind == FileType::RegularFile, kind == FileType::Directory) {
            (true, _) => Ok(Place::File),
            (false, true) => Ok(Place::Folder),
            (false, false) => Err(self.refused(key)),
        }
    }

    /// Every entry under the folder `prefix` (the empty text for the whole source), in the order of their keys' bytes.
    ///
    /// # Errors
    /// When the prefix is no folder of the source.
    pub fn list(self: &Arc<Self>, prefix: &str) -> Result<Listing, SourceError> {
        match self.place(prefix)? {
            Place::Folder => Ok(Listing::new(self.clone(), prefix)),
            Place::File => Err(self.refused(prefix)),
        }
    }

    fn walk_folder(&self, key: &str) -> Result<OwnedFd, SourceError> {
        match key.is_empty() {
            true => self.open_root(key),
            false => self.walk(key),
        }
    }

    /// Walks to `key` and gives a handle that only names it: nothing has been opened for reading yet.
    fn walk(&self, key: &str) -> Result<OwnedFd, SourceError> {
        Self::check(key)?;
        self.walk_bytes(key.as_bytes(), key)
    }

    fn check(key: &str) -> Result<(), SourceError> {
        key::check(key).map_err(|source| SourceError::Key {
            key: key.to_owned(),
            source,
        })
    }

    /// The same for names that may not be UTF-8, as a listing meets them.
    fn walk_bytes(&self, path: &[u8], shown: &str) -> Result<OwnedFd, SourceError> {
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

    fn open_root(&self, key: &str) -> Result<OwnedFd, SourceError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(self.find(), flags, Mode::empty()).map_err(|error| self.unavailable(key, error.into()))
    }

    fn refused(&self, key: &str) -> SourceError {
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

    fn failed(&self, key: &str, error: Errno) -> SourceError {
        SourceError::of(error.into(), &self.name, key)
    }
}

/// A folder's path without links, where the folder is there.
fn resolved(folder: &Path) -> Option<PathBuf> {
    folder.canonicalize().ok().filter(|root| root.is_dir())
}

/// Opens what a handle names, for reading. The handle was checked; going through it, not through the name again, means
/// that what is opened is what was checked.
fn reopen(place: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", place.as_fd().as_raw_fd());
    open(
        link,
        flags | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )
}

#[cfg(test)]
mod tests;
