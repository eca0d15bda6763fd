//! A source that is a place in an object store: ranged reads of one version, listings in pages, and whether it answers at all.
//!
//! Called by [`super::Source`]. Everything blocks, with a deadline; what waits for the network runs on threads of its own.

mod bridge;
mod file;
mod listing;
mod witness;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use types::SourceName;

use super::{Place, SourceError, check_key};
use crate::remote::{self, Remote};
use crate::{StorageError, StorageSettings};
use witness::Witness;

pub(super) use file::ObjectFile;
pub(super) use listing::ObjectListing;

/// Longest wait for one answer, all attempts at it together: after that the track is put off, and may be tried again.
const DEADLINE: Duration = Duration::from_secs(60);

/// One place with its client.
#[derive(Debug)]
pub(super) struct Objects {
    name: SourceName,
    remote: Remote,
    witness: Witness,
}

impl Objects {
    pub(super) fn open(name: SourceName, settings: &StorageSettings) -> Result<Self, StorageError> {
        let remote = remote::open(settings, name.as_str())?;
        Ok(Self {
            name,
            remote,
            witness: Witness::default(),
        })
    }

    pub(super) fn name(&self) -> &SourceName {
        &self.name
    }

    #[cfg(test)]
    pub(super) fn requests(&self) -> u64 {
        self.remote.gate.begun()
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.remote.store.clone()
    }

    /// Waits for what is asked about `key`.
    fn ask<T: Send + 'static>(
        &self,
        key: &str,
        asked: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, SourceError> {
        match bridge::wait(DEADLINE, asked) {
            Ok(answer) => answer.map_err(|error| self.failed(key, &error)),
            Err(late) => Err(self.unavailable(key, late)),
        }
    }

    pub(super) fn open_object(
        self: &Arc<Self>,
        key: &str,
        content_id: Option<&str>,
    ) -> Result<ObjectFile, SourceError> {
        ObjectFile::open(self.clone(), key, content_id)
    }

    /// Objects have no folders; what a key stands before is taken for one, and asked for first, since some stores give what is such a
    /// folder to them as an object.
    pub(super) fn place(&self, key: &str) -> Result<Place, SourceError> {
        if key.is_empty() || !self.some_under(key, 1)?.is_empty() {
            return Ok(Place::Folder);
        }
        self.head(key).map(|_| Place::File)
    }

    pub(super) fn list(self: &Arc<Self>, prefix: &str) -> ObjectListing {
        ObjectListing::new(self.clone(), prefix)
    }

    /// The first few objects under a folder.
    fn some_under(&self, folder: &str, count: usize) -> Result<Vec<ObjectMeta>, SourceError> {
        let (store, path) = (self.store(), self.folder_path(folder)?);
        self.ask(folder, async move {
            store.list(path.as_ref()).take(count).try_collect().await
        })
    }

    /// Asks for some bytes of one version, where one is named.
    fn get(
        &self,
        key: &str,
        range: std::ops::Range<u64>,
        etag: Option<&str>,
    ) -> Result<Got, SourceError> {
        let (store, path) = (self.store(), self.path(key)?);
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            // A weak tag matches nothing by its definition, and is compared here alone.
            if_match: etag
                .filter(|etag| !etag.starts_with("W/"))
                .map(str::to_owned),
            ..GetOptions::default()
        };
        self.ask(key, async move {
            let answer = store.get_opts(&path, options).await?;
            let (meta, range) = (answer.meta.clone(), answer.range.clone());
            let bytes = answer.bytes().await?;
            Ok(Got { meta, range, bytes })
        })
    }

    fn head(&self, key: &str) -> Result<ObjectMeta, SourceError> {
        let (store, path) = (self.store(), self.path(key)?);
        self.ask(key, async move { store.head(&path).await })
    }

    /// Verbatim: a key names one object, whatever characters it has.
    fn path(&self, key: &str) -> Result<Path, SourceError> {
        check_key(key)?;
        Path::parse(key).map_err(|error| self.unavailable(key, io::Error::other(error)))
    }

    fn folder_path(&self, folder: &str) -> Result<Option<Path>, SourceError> {
        match folder.is_empty() {
            true => Ok(None),
            false => self.path(folder).map(Some),
        }
    }

    fn failed(&self, key: &str, error: &object_store::Error) -> SourceError {
        use object_store::Error::{NotFound, PermissionDenied, Precondition, Unauthenticated};
        let said = crate::error::said(error);
        let (name, key) = (self.name.clone(), key.to_owned());
        if crate::error::says_no_place(&said) {
            return self.unavailable(&key, io::Error::other(said));
        }
        if matches!(error, NotFound { .. }) {
            return SourceError::Missing { name, key };
        }
        if matches!(error, PermissionDenied { .. } | Unauthenticated { .. }) {
            return SourceError::Denied { name, key };
        }
        if matches!(error, Precondition { .. }) {
            let cause = "another version stands there".to_owned();
            return SourceError::Changed { name, key, cause };
        }
        self.unavailable(&key, io::Error::other(said))
    }

    fn unavailable(&self, key: &str, source: io::Error) -> SourceError {
        SourceError::Unavailable {
            name: self.name.clone(),
            key: key.to_owned(),
            source,
        }
    }
}

/// An answer with bytes.
struct Got {
    meta: ObjectMeta,
    range: std::ops::Range<u64>,
    bytes: bytes::Bytes,
}
