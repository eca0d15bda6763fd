//! The storage root: objects put once and read back, on a local folder whose writes are synced, or on a store behind a network.
//!
//! Everything else in this crate stands on [`Storage`]. A put never overwrites: an object that is already there with the
//! same bytes is a success (our own earlier attempt, or a repetition), with other bytes it is damage. What a put that was not
//! answered came to is settled by what stands there. Attempts at an object are bounded here, those at a request in `remote`.

use std::fmt;
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

use crate::remote::{self, Remote};
use crate::{ObjectPath, PartLength, Place, StorageError, StorageSettings};

/// Attempts at one put before its failure is reported: the first and four more, over about a second.
const PUT_ATTEMPTS_MAX: u32 = 5;

/// Wait before the second attempt; each further wait is twice as long.
const PUT_RETRY_WAIT: Duration = Duration::from_millis(50);

/// Times that an object is read before it is called damaged: bytes may be lost or changed on their way, and a third reading that
/// is wrong too is no accident of the way.
const READS_MAX: u32 = 3;

/// Bytes of a file that are sent at once, and most chunks of it under way.
const FILE_CHUNK_BYTES: usize = 8 * 1024 * 1024;
const FILE_CHUNKS_MAX: usize = 4;

/// Objects of one question that are looked up at once where each look-up is a request.
const HEADS_MAX: usize = 16;

/// A handle on the storage root; cheap to clone.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// The root as a folder, where it is one.
    folder: Option<PathBuf>,
    /// Where it lies, for people.
    place: Arc<str>,
}

impl fmt::Debug for Storage {
    /// Of a store behind a network its place alone: what its client prints of itself is not ours to vouch for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Storage");
        shown.field("place", &self.place);
        if self.folder.is_some() {
            shown.field("store", &self.store);
        }
        shown.finish()
    }
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
    /// Opens the storage root that a URL names, as [`StorageSettings::parse`] reads it. A folder is made where it does not exist;
    /// a bucket is not, and nothing is asked of it yet.
    ///
    /// # Errors
    /// When the URL makes no sense, its credentials cannot be read, or the folder cannot be made.
    pub fn open(url: &str) -> Result<Self, StorageError> {
        Self::connect(&StorageSettings::parse(url)?)
    }

    /// The same with settings that were read already.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub fn connect(settings: &StorageSettings) -> Result<Self, StorageError> {
        if let Place::Folder(folder) = &settings.place {
            return Self::open_folder(folder);
        }
        let Remote { store, .. } = remote::open(settings, "storage")?;
        Ok(Self {
            store,
            folder: None,
            place: settings.to_string().into(),
        })
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
            place: format!("file://{}", folder.display()).into(),
            folder: Some(folder),
        })
    }

    /// Where it lies, for people: without its query.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The root as a folder, where it is one.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
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
                Err(error) if error.is_passing() && attempt < PUT_ATTEMPTS_MAX => {
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
        let ours = Digest::of(bytes);
        match self.get_checked(path, ours).await {
            Ok(_) => {
                self.sync(path).await?;
                Ok(Put::AlreadyThere)
            }
            Err(StorageError::Corrupt { cause, .. }) => {
                let cause = format!("{ours} was to be put where other bytes stand: {cause}");
                Err(StorageError::corrupt(path, cause))
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
            Ok(bytes) => match writing.finish().await {
                Ok(_) => Ok(Put::Written),
                Err(error) => self.settle_file(path, bytes).await.ok_or(failed(error)),
            },
            Err(error) => {
                if let Err(error) = writing.abort().await {
                    tracing::warn!(%path, %error, "an unfinished upload was left behind");
                }
                Err(StorageError::from_io("write", path.as_str(), error))
            }
        }
    }

    /// Whether a file whose last answer was lost stands there all the same.
    async fn settle_file(&self, path: &ObjectPath, bytes: u64) -> Option<Put> {
        let there = self.len(path).await.ok()?;
        (there == bytes).then_some(Put::Written)
    }

    /// The backend, for what only one caller needs.
    pub(crate) fn object_store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// Whether the root is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
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
        read_again(|| self.get_once(path)).await
    }

    async fn get_once(&self, path: &ObjectPath) -> Result<Bytes, StorageError> {
        let failed = |error| StorageError::from_store("read", path.as_str(), error);
        let answer = self.store.get(&path.to_store()).await.map_err(failed)?;
        let wanted = answer.meta.size;
        let bytes = answer.bytes().await.map_err(failed)?;
        whole(path, bytes, wanted)
    }

    /// The whole object, whose bytes must have this digest.
    pub(crate) async fn get_checked(
        &self,
        path: &ObjectPath,
        sha256: Digest,
    ) -> Result<Bytes, StorageError> {
        let read = || async {
            let bytes = self.get_once(path).await?;
            match Digest::of(&bytes) {
                found if found == sha256 => Ok(bytes),
                found => Err(StorageError::corrupt(
                    path,
                    format!("sha256 is {found}, not {sha256}"),
                )),
            }
        };
        read_again(read).await
    }

    /// Some bytes of an object.
    pub(crate) async fn get_range(
        &self,
        path: &ObjectPath,
        range: Range<u64>,
    ) -> Result<Bytes, StorageError> {
        let wanted = range.end - range.start;
        let read = || async {
            let got = self.store.get_range(&path.to_store(), range.clone()).await;
            let got =
                got.map_err(|error| StorageError::from_store("read", path.as_str(), error))?;
            whole(path, got, wanted)
        };
        read_again(read).await
    }

    #[cfg(test)]
    pub(crate) fn on(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            folder: None,
            place: "test".into(),
        }
    }
}

fn whole(path: &ObjectPath, bytes: Bytes, wanted: u64) -> Result<Bytes, StorageError> {
    match bytes.len() as u64 == wanted {
        true => Ok(bytes),
        false => Err(StorageError::corrupt(
            path,
            format!("{} of {wanted} bytes read", bytes.len()),
        )),
    }
}

/// Reads until what came is sound, and not for ever.
pub(crate) async fn read_again<T, F: Future<Output = Result<T, StorageError>>>(
    read: impl Fn() -> F,
) -> Result<T, StorageError> {
    let mut reads = 1;
    loop {
        match read().await {
            Err(StorageError::Corrupt { path, cause }) if reads < READS_MAX => {
                tracing::warn!(
                    path,
                    cause,
                    reads,
                    "what was read is damaged; reading it again"
                );
                reads += 1;
            }
            outcome => return outcome,
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

/// Gives how many bytes were sent.
async fn send_file(writing: &mut WriteMultipart, mut file: File) -> io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut sent = 0;
    loop {
        writing
            .wait_for_capacity(FILE_CHUNKS_MAX)
            .await
            .map_err(io::Error::other)?;
        let (chunk, back) = run_blocking(move || read_chunk(file)).await?;
        file = back;
        if chunk.is_empty() {
            return Ok(sent);
        }
        sent += chunk.len() as u64;
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
