//! Sources: what an operator configured under a name, a folder or a place in an object store, from which tracks and manifests are
//! read. Nothing is ever written.
//!
//! Called by the coordinator (imports) and by agents (track bytes). All calls block: use a thread of your own or the
//! blocking pool. A track is a source's name and a key; which host is asked stands in the configuration alone.

mod error;
mod file;
mod folder;
mod listing;
mod objects;
mod open;
mod witness;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use catalog::key;
use catalog::listing::Entry;
use types::SourceName;

use crate::{StorageError, StorageSettings};
use folder::Folder;
use listing::FolderListing;
use objects::{ObjectListing, Objects};

pub use error::SourceError;
pub use listing::FOLDER_ENTRIES_MAX;
pub use open::SourceFile;

/// The sources of one process, by name.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<SourceName, Arc<Source>>);

impl Sources {
    /// Adds a folder, or replaces the source of that name.
    ///
    /// # Errors
    /// When the folder cannot be found.
    pub fn add(&mut self, name: SourceName, folder: &Path) -> Result<(), SourceError> {
        self.insert(Source::found(name, folder)?);
        Ok(())
    }

    /// A folder as the configuration has it: where it is not there it keeps its name, as with [`define`](Self::define), and the
    /// log says so.
    pub fn configure(&mut self, name: SourceName, folder: &Path) {
        if self.add(name.clone(), folder).is_err() {
            let folder_shown = folder.display();
            tracing::warn!(source = %name, folder = %folder_shown, "source is not there; its tracks wait until it is");
            self.define(name, folder);
        }
    }

    /// A place in an object store as the configuration has it. Nothing is asked of it yet: while it does not answer, its tracks
    /// wait.
    ///
    /// # Errors
    /// Where the settings or credentials make no client.
    pub fn connect(
        &mut self,
        name: SourceName,
        settings: &StorageSettings,
    ) -> Result<(), StorageError> {
        self.insert(Source::connected(name, settings)?);
        Ok(())
    }

    /// Adds a source, or replaces the one of that name.
    pub fn insert(&mut self, source: Source) {
        self.0.insert(source.name().clone(), Arc::new(source));
    }

    /// Keeps a source whose folder may not be there at this moment: it is looked for on each use, and until it is there the
    /// source does not answer, which may pass. Touches no file system. One of that name and folder stays as it is.
    pub fn define(&mut self, name: SourceName, folder: &Path) {
        let known = self.0.get(&name).and_then(|source| source.as_folder());
        if known.is_some_and(|known| known.is_at(folder)) {
            return;
        }
        let defined = Folder::defined(name, folder, OnceLock::new());
        self.insert(Source(Kind::Folder(Arc::new(defined))));
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
        let folders = self.0.values().filter_map(|source| source.as_folder());
        let near =
            folders.filter(|folder| folder.root.get().is_some() || leads_into(&folder.folder));
        let holding = near.filter(|folder| path.starts_with(folder.find()));
        let folder = holding.max_by_key(|folder| folder.root().components().count())?;
        let key = path.strip_prefix(folder.root()).ok()?.to_str()?;
        (key.is_empty() || key::check(key).is_ok()).then(|| (folder.name.clone(), key.to_owned()))
    }
}

/// One named source.
#[derive(Debug)]
pub struct Source(Kind);

#[derive(Debug)]
enum Kind {
    Folder(Arc<Folder>),
    Objects(Arc<Objects>),
}

/// What stands under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    File,
    Folder,
}

impl Source {
    /// A folder that is there.
    ///
    /// # Errors
    /// When it cannot be found.
    pub fn found(name: SourceName, folder: &Path) -> Result<Self, SourceError> {
        Folder::found(name, folder).map(|folder| Self(Kind::Folder(Arc::new(folder))))
    }

    /// A place in an object store, or a folder, as settings name it.
    ///
    /// # Errors
    /// Where they make no client.
    pub fn connected(name: SourceName, settings: &StorageSettings) -> Result<Self, StorageError> {
        if let crate::Place::Folder(folder) = &settings.place {
            let defined = Folder::defined(name, folder, OnceLock::new());
            return Ok(Self(Kind::Folder(Arc::new(defined))));
        }
        let objects = Objects::open(name, settings)?;
        Ok(Self(Kind::Objects(Arc::new(objects))))
    }

    fn as_folder(&self) -> Option<&Folder> {
        match &self.0 {
            Kind::Folder(folder) => Some(folder),
            Kind::Objects(_) => None,
        }
    }

    /// Requests that were made for it; a folder needs none.
    #[cfg(test)]
    pub(crate) fn requests(&self) -> u64 {
        match &self.0 {
            Kind::Folder(_) => 0,
            Kind::Objects(objects) => objects.requests(),
        }
    }

    /// The name it was configured under.
    pub fn name(&self) -> &SourceName {
        match &self.0 {
            Kind::Folder(folder) => &folder.name,
            Kind::Objects(objects) => objects.name(),
        }
    }

    /// Its folder, where it is one: without links where it was found already, else as it was defined.
    pub fn folder(&self) -> Option<&Path> {
        self.as_folder().map(Folder::root)
    }

    /// Opens what stands under `key`: a regular file, or an object.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn open(&self, key: &str) -> Result<SourceFile, SourceError> {
        self.open_version(key, None)
    }

    /// The same where a snapshot states which version it means, in the words that a listing of the source had for it.
    ///
    /// # Errors
    /// [`SourceError::Changed`] where another version stands there; else see [`SourceError`].
    pub fn open_version(
        &self,
        key: &str,
        content_id: Option<&str>,
    ) -> Result<SourceFile, SourceError> {
        match &self.0 {
            Kind::Folder(folder) => folder.open(key).map(SourceFile::from),
            Kind::Objects(objects) => objects.open_object(key, content_id).map(SourceFile::from),
        }
    }

    /// Whether `key` is a file or a folder; the empty key is the source's own.
    pub(crate) fn place(&self, key: &str) -> Result<Place, SourceError> {
        match &self.0 {
            Kind::Folder(folder) => folder.place(key),
            Kind::Objects(objects) => objects.place(key),
        }
    }

    /// Every entry under the folder `prefix` (the empty text for the whole source), in the order of their keys' bytes.
    ///
    /// # Errors
    /// When the prefix is no folder of the source.
    pub fn list(&self, prefix: &str) -> Result<Listing, SourceError> {
        if self.place(prefix)? == Place::File {
            let (name, key) = (self.name().clone(), prefix.to_owned());
            return Err(SourceError::Refused { name, key });
        }
        Ok(Listing(match &self.0 {
            Kind::Folder(folder) => Entries::Folder(FolderListing::new(folder.clone(), prefix)),
            Kind::Objects(objects) => Entries::Objects(objects.list(prefix)),
        }))
    }

    /// Whether another file of this source gives bytes at this moment, from where they lie rather than from memory: then what
    /// keeps `key` from being read is its own. Reads a few bytes of one or a few files.
    #[must_use]
    pub fn answers_besides(&self, key: &str) -> bool {
        match &self.0 {
            Kind::Folder(folder) => folder.answers_besides(key),
            Kind::Objects(objects) => objects.answers_besides(key),
        }
    }

    /// Whether this failure to read `key` says something of its track, not of the source: a file is missing or denied
    /// only where another one gives bytes and it is so again after that. Reads as [`Self::answers_besides`] does.
    #[must_use]
    pub fn bears_out(&self, error: &SourceError, key: &str) -> bool {
        match error {
            SourceError::Unavailable { .. } => false,
            SourceError::Missing { .. } | SourceError::Denied { .. } => {
                let again = || self.open(key).err().map(|again| again.code());
                self.answers_besides(key) && again() == Some(error.code())
            }
            SourceError::Unknown(_)
            | SourceError::Key { .. }
            | SourceError::Refused { .. }
            | SourceError::Changed { .. }
            | SourceError::TooLarge { .. }
            | SourceError::TooManyEntries { .. }
            | SourceError::Unreadable { .. } => true,
        }
    }
}

/// The entries of a source or of a folder in it.
#[derive(Debug)]
pub struct Listing(Entries);

#[derive(Debug)]
enum Entries {
    Folder(FolderListing),
    Objects(ObjectListing),
}

impl Iterator for Listing {
    type Item = Result<Entry, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Entries::Folder(entries) => entries.next(),
            Entries::Objects(entries) => entries.next(),
        }
    }
}

fn check_key(key: &str) -> Result<(), SourceError> {
    key::check(key).map_err(|source| SourceError::Key {
        key: key.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
