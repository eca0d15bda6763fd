//! The storage root: objects put once and read back, on a local folder whose writes are synced.
//!
//! Everything else in this crate stands on [`Storage`]. A put never overwrites: an object that is already there with the
//! same bytes is a success (our own earlier attempt, or a repetition), with other bytes it is damage. Retries are bounded
//! here and nowhere below.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    WriteMultipart,
};
use sha2::{Digest as _, Sha256};
use types::Digest;

use crate::{ObjectPath, PartLength, StorageError};

/// Attempts at one put before its failure is reported: the first and four more, over about a second.
const PUT_ATTEMPTS_MAX: u32 = 5;

/// Wait before the second attempt; each further wait is twice as long.
const PUT_RETRY_WAIT: Duration = Duration::from_millis(50);

/// Bytes of a file that are sent at once, and most chunks of it under way.
const FILE_CHUNK_BYTES: usize = 8 * 1024 * 1024;
const FILE_CHUNKS_MAX: usize = 4;

/// Objects of one question that are looked up at once where each look-up is a request.
const HEADS_MAX: usize = 16;

/// A handle on the storage root; cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// The root as a folder, where it is one.
    folder: Option<PathBuf>,
}

/// How a put succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object was not there and is now.
    Written,
    /// The object was there with the same bytes.
    AlreadyThere,
}

impl Storage {
    /// Opens the storage root at `url`, which is `file:///absolute/folder`; the folder is made where it does not exist.
    ///
    /// # Errors
    /// When the URL is of another kind, or the folder cannot be made.
    pub fn open(url: &str) -> Result<Self, StorageError> {
        let folder = url
            .strip_prefix("file://")
            .filter(|path| path.starts_with('/'));
        let folder =
            folder.map(|path| percent_encoding::percent_decode_str(path).decode_utf8_lossy());
        match folder {
            Some(folder) => Self::open_folder(Path::new(folder.as_ref())),
            None => Err(StorageError::Invalid(format!(
                "storage `{url}` is not of the form `file:///absolute/folder`"
            ))),
        }
    }

    /// Opens a folder as the storage root; it is made where it does not exist.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open_folder(folder: &Path) -> Result<Self, StorageError> {
        let shown = folder.display().to_string();
        let failed = |error| StorageError::from_io("create the storage folder", &shown, error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent).map_err(failed)?;
        }
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| StorageError::from_store("open the storage folder", &shown, error))?
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            folder: Some(folder),
        })
    }

    /// Puts an object that must not change: see the module's words on what is already there.
    pub(crate) async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<Put, StorageError> {
        let (mut attempt, mut wait) = (1, PUT_RETRY_WAIT);
        loop {
            let error = match self.create(path, bytes.clone()).await {
                Ok(()) => return Ok(Put::Written),
                Err(error) => error,
            };
            match self.settle(path, &bytes, error).await {
                Ok(put) => return Ok(put),
                Err(error) if error.is_transient() && attempt < PUT_ATTEMPTS_MAX => {
                    tracing::warn!(%path, attempt, %error, "put failed; trying again");
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                    wait *= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), object_store::Error> {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        self.store
            .put_opts(&path.to_store(), PutPayload::from(bytes), options)
            .await
            .map(drop)
    }

    /// What a failed put came to: looks whether the object stands there with our bytes, whatever the answer was. An
    /// "exists" without an object is a conflict that passes.
    async fn settle(
        &self,
        path: &ObjectPath,
        bytes: &Bytes,
        error: object_store::Error,
    ) -> Result<Put, StorageError> {
        match self.get(path).await {
            Ok(there) if there == bytes => {
                self.sync(path).await?;
                Ok(Put::AlreadyThere)
            }
            Ok(there) => {
                let (theirs, ours) = (Digest::of(&there), Digest::of(bytes));
                Err(StorageError::corrupt(
                    path,
                    format!("{theirs} stands where {ours} was to be put"),
                ))
            }
            Err(StorageError::NotFound { .. }) => {
                Err(StorageError::from_store("write", path.as_str(), error))
            }
            Err(other) => Err(other),
        }
    }

    /// Makes sure that an object which somebody else put, perhaps a process that died before its sync, survives a power
    /// cut: the file and each folder up to the root.
    async fn sync(&self, path: &ObjectPath) -> Result<(), StorageError> {
        let Some(root) = self.folder.clone() else {
            return Ok(());
        };
        let file = root.join(path.as_str());
        let synced = run_blocking(move || {
            File::open(&file)?.sync_all()?;
            let folders = file
                .ancestors()
                .skip(1)
                .take_while(|folder| folder.starts_with(&root));
            folders.into_iter().try_for_each(sync_folder)
        });
        synced
            .await
            .map_err(|error| StorageError::from_io("sync", path.as_str(), error))
    }

    /// Puts a file that may be larger than memory, under a name that is a digest of what it says: an object that is there
    /// already is left as it is.
    pub(crate) async fn put_file(
        &self,
        path: &ObjectPath,
        file: File,
    ) -> Result<Put, StorageError> {
        if self.exists(path).await? {
            self.sync(path).await?;
            return Ok(Put::AlreadyThere);
        }
        let failed = |error| StorageError::from_store("write", path.as_str(), error);
        let options = PutMultipartOptions::default();
        let upload = self
            .store
            .put_multipart_opts(&path.to_store(), options)
            .await
            .map_err(failed)?;
        let mut writing = WriteMultipart::new_with_chunk_size(upload, FILE_CHUNK_BYTES);
        match send_file(&mut writing, file).await {
            Ok(()) => {
                writing.finish().await.map_err(failed)?;
                Ok(Put::Written)
            }
            Err(error) => {
                if let Err(error) = writing.abort().await {
                    tracing::warn!(%path, %error, "an unfinished upload was left behind");
                }
                Err(StorageError::from_io("write", path.as_str(), error))
            }
        }
    }

    /// The backend, for what only one caller needs.
    pub(crate) fn object_store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// Whether the root is a folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Whether an object is there.
    pub(crate) async fn exists(&self, path: &ObjectPath) -> Result<bool, StorageError> {
        match self.len(path).await {
            Ok(_) => Ok(true),
            Err(StorageError::NotFound { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Removes an object.
    pub(crate) async fn remove(&self, path: &ObjectPath) -> Result<(), StorageError> {
        let removed = self.store.delete(&path.to_store()).await;
        removed.map_err(|error| StorageError::from_store("remove", path.as_str(), error))
    }

    /// Length of an object in bytes.
    pub(crate) async fn len(&self, path: &ObjectPath) -> Result<u64, StorageError> {
        let head = self.store.head(&path.to_store()).await;
        let head = head.map_err(|error| StorageError::from_store("look up", path.as_str(), error));
        head.map(|head| head.size)
    }

    /// Lengths of many objects, in their order.
    pub(crate) async fn lengths(&self, paths: Vec<ObjectPath>) -> Vec<PartLength> {
        let Some(root) = self.folder.clone() else {
            let look = |path: ObjectPath| {
                let storage = self.clone();
                async move { none_if_absent(storage.len(&path).await) }
            };
            let found = stream::iter(paths).map(look).buffered(HEADS_MAX);
            return found.collect().await;
        };
        let all = paths.clone();
        let look = move || all.iter().map(|path| file_len(&root, path)).collect();
        let found = run_blocking(move || Ok(look())).await;
        found.unwrap_or_else(|error| {
            let failed = |path: &ObjectPath| Err(look_up_failed(path, error.kind().into()));
            paths.iter().map(failed).collect()
        })
    }

    /// The whole object.
    pub(crate) async fn get(&self, path: &ObjectPath) -> Result<Bytes, StorageError> {
        let failed = |error| StorageError::from_store("read", path.as_str(), error);
        let answer = self.store.get(&path.to_store()).await.map_err(failed)?;
        answer.bytes().await.map_err(failed)
    }

    /// The whole object, whose bytes must have this digest.
    pub(crate) async fn get_checked(
        &self,
        path: &ObjectPath,
        sha256: Digest,
    ) -> Result<Bytes, StorageError> {
        let bytes = self.get(path).await?;
        match Digest::of(&bytes) {
            found if found == sha256 => Ok(bytes),
            found => Err(StorageError::corrupt(
                path,
                format!("sha256 is {found}, not {sha256}"),
            )),
        }
    }

    /// Some bytes of an object.
    pub(crate) async fn get_range(
        &self,
        path: &ObjectPath,
        range: Range<u64>,
    ) -> Result<Bytes, StorageError> {
        let wanted = range.end - range.start;
        let got = self.store.get_range(&path.to_store(), range).await;
        let got = got.map_err(|error| StorageError::from_store("read", path.as_str(), error))?;
        match got.len() as u64 == wanted {
            true => Ok(got),
            false => Err(StorageError::corrupt(
                path,
                format!("{} of {wanted} bytes read", got.len()),
            )),
        }
    }

    #[cfg(test)]
    pub(crate) fn on(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            folder: None,
        }
    }
}

fn none_if_absent(found: Result<u64, StorageError>) -> PartLength {
    match found {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// A folder is no object; what is neither file nor folder is nothing that storage made.
fn file_len(root: &Path, path: &ObjectPath) -> PartLength {
    match std::fs::metadata(root.join(path.as_str())) {
        Ok(found) if found.is_file() => Ok(Some(found.len())),
        Ok(found) if found.is_dir() => Ok(None),
        Ok(_) => Err(look_up_failed(path, io::ErrorKind::InvalidInput.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(look_up_failed(path, error)),
    }
}

fn look_up_failed(path: &ObjectPath, error: io::Error) -> StorageError {
    StorageError::from_io("look up", path.as_str(), error)
}

async fn send_file(writing: &mut WriteMultipart, mut file: File) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    loop {
        writing
            .wait_for_capacity(FILE_CHUNKS_MAX)
            .await
            .map_err(io::Error::other)?;
        let (chunk, back) = run_blocking(move || read_chunk(file)).await?;
        file = back;
        if chunk.is_empty() {
            return Ok(());
        }
        writing.put(chunk);
    }
}

fn read_chunk(mut file: File) -> io::Result<(Bytes, File)> {
    let mut chunk = Vec::with_capacity(FILE_CHUNK_BYTES);
    Read::by_ref(&mut file)
        .take(FILE_CHUNK_BYTES as u64)
        .read_to_end(&mut chunk)?;
    Ok((chunk.into(), file))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Runs blocking work off the async threads; a panic in it becomes an error.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// SHA-256 of a file's bytes, from its beginning.
pub(crate) fn sha256_of(file: &mut File) -> io::Result<Digest> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests;
