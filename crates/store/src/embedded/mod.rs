//! The store of a single machine: one folder, one file, one writer.
//!
//! A commit is answered only after it was synced, and survives a power cut. Opening locks the folder, checks
//! every record and page before anything is changed, and goes back to the last acknowledged commit where a write was
//! torn; what does not check out is refused by name and left as it was found. Each opening ends the reign of
//! whoever led before.

mod autopsy;
mod engine;
mod medium;
mod record;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use types::Epoch;

use self::engine::Engine;
use self::medium::Medium;
use self::record::Head;
pub use self::tables::Damage;
use self::tables::Fault;
use self::writer::Request;
use crate::feed::Feed;
use crate::txn::check_key;
use crate::{
    Entry, KeyRange, LeadError, Leader, NotAppliedCause, Outcome, Page, ReadError, Revision,
    Status, Store, Txn, Watch, random,
};

/// The file that holds the state, inside the store's folder.
const STATE_FILE: &str = "state.redb";

/// The file whose lock means that the folder is in use; it holds the number of the store.
const LOCK_FILE: &str = "lock";

/// Why a store was not opened. Nothing in the folder was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process, or another handle of this one, has the folder open.
    #[error("store folder `{folder}` is in use by another process")]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The file system refused.
    #[error("{action} `{path}`")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The state is damaged or gone. It is not repaired.
    #[error(
        "store file `{path}` is damaged at {damage}; restore the folder from a copy, and the storage from the copy of the same time"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it, and what does not fit.
        damage: Damage,
    },
}

/// The embedded backend. Dropping it waits for what was queued and unlocks the folder.
#[derive(Debug)]
pub struct Embedded {
    engine: Arc<Engine>,
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    cluster: u64,
    feed: Arc<Feed>,
    _lock: Option<File>,
}

impl Embedded {
    /// Opens the store in `folder`, making both where they do not exist. Blocks while it reads and checks the file.
    ///
    /// # Errors
    /// See [`OpenError`]; in each case the folder stands as it stood.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        let folder = folder.as_ref();
        create_folder(folder)?;
        let mut lock = lock_folder(folder)?;
        let path = folder.join(STATE_FILE);
        let known = read_cluster(&mut lock, folder)?;
        if !path.try_exists().map_err(io_error("look for", &path))? {
            match known {
                None => create_state(folder)?,
                Some(_) => return Err(damaged(&path, "the file is gone".to_owned())),
            }
        }
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(io_error("open", &path))?;
        let mut store = Self::on_medium(Arc::new(file)).map_err(|fault| refused(&path, fault))?;
        match known {
            None => write_cluster(&mut lock, folder, store.cluster)?,
            Some(cluster) if cluster == store.cluster => {}
            Some(cluster) => {
                let cause = format!(
                    "store {:016x} stands where {cluster:016x} stood",
                    store.cluster
                );
                return Err(damaged(&path, cause));
            }
        }
        store._lock = Some(lock);
        Ok(store)
    }

    fn on_medium(medium: Arc<dyn Medium>) -> Result<Self, Fault> {
        let engine = Arc::new(Engine::open(medium)?);
        let head = end_last_reign(&engine)?;
        let feed = Arc::new(Feed::at(Revision(head.revision)));
        let (requests, queue) = mpsc::channel(writer::QUEUE_MAX);
        let (writing, feeding) = (engine.clone(), feed.clone());
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer::run(&writing, &feeding, queue))
            .map_err(|error| Fault::Medium(format!("start the writer thread: {error}")))?;
        Ok(Self {
            engine,
            requests: Some(requests),
            writer: Some(writer),
            cluster: head.cluster,
            feed,
            _lock: None,
        })
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.requests.as_ref()?.send(request(answer)).await.ok()?;
        answered.await.ok()
    }

    async fn head(&self) -> Result<Head, ReadError> {
        self.read(|engine| Ok(tables::head(&engine.reading()?)?))
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let engine = self.engine.clone();
        let reading = tokio::task::spawn_blocking(move || read(&engine)).await;
        reading.unwrap_or_else(|error| {
            Err(ReadError::Unavailable {
                cause: error.to_string(),
            })
        })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.requests.take();
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

/// The cause when the writer thread is gone, which only happens while the store is dropped.
const CLOSED: &str = "the store is closed";

#[async_trait]
impl Store for Embedded {
    async fn status(&self) -> Result<Status, ReadError> {
        let head = self.head().await?;
        Ok(Status {
            cluster: head.cluster,
            revision: Revision(head.revision),
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        check_key(key)?;
        let key = key.to_owned();
        self.read(move |engine| Ok(tables::get(&engine.reading()?, &key)?))
            .await
    }

    async fn range(&self, range: &KeyRange) -> Result<Page, ReadError> {
        let range = range.clone();
        self.read(move |engine| read_page(engine, &range)).await
    }

    async fn write(&self, txn: Txn) -> Outcome {
        if let Err(error) = txn.validate() {
            return Outcome::NotApplied(NotAppliedCause::Invalid(error));
        }
        let outcome = self.ask(|answer| Request::Write { txn, answer }).await;
        outcome.unwrap_or_else(|| Outcome::Unknown {
            cause: CLOSED.to_owned(),
        })
    }

    async fn lead(&self, candidate: &str) -> Result<Epoch, LeadError> {
        let candidate = candidate.to_owned();
        let led = self.ask(|answer| Request::Lead { candidate, answer }).await;
        led.unwrap_or_else(|| {
            Err(LeadError::Unavailable {
                cause: CLOSED.to_owned(),
            })
        })
    }

    async fn keep(&self, epoch: Epoch) -> Result<(), LeadError> {
        let head = self.head().await;
        let head = head.map_err(|error| LeadError::Unavailable {
            cause: error.to_string(),
        })?;
        match head.leader.is_some_and(|leader| leader.epoch == epoch.0) {
            true => Ok(()),
            false => Err(LeadError::Lost),
        }
    }

    async fn resign(&self, epoch: Epoch) -> Result<(), LeadError> {
        let ended = self.ask(|answer| Request::Resign { epoch, answer }).await;
        ended.unwrap_or_else(|| {
            Err(LeadError::Unavailable {
                cause: CLOSED.to_owned(),
            })
        })
    }

    async fn led_by(&self) -> Result<Option<Leader>, ReadError> {
        let leader = self.head().await?.leader;
        Ok(leader.map(|leader| Leader {
            epoch: Epoch(leader.epoch),
            name: leader.candidate,
        }))
    }

    async fn leader_other_than(&self, known: Option<Epoch>) -> Result<Option<Leader>, ReadError> {
        let mut moves = self.feed.moves();
        loop {
            moves.borrow_and_update();
            let leader = self.led_by().await?;
            if leader.as_ref().map(|leader| leader.epoch) != known {
                return Ok(leader);
            }
            let moved = moves.changed().await;
            moved.map_err(|_| ReadError::Unavailable {
                cause: CLOSED.to_owned(),
            })?;
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError> {
        Ok(Watch::following(self.feed.follow(prefix, after)))
    }
}

fn read_page(engine: &Engine, range: &KeyRange) -> Result<Page, ReadError> {
    let snapshot = match range.at {
        Some(revision) => engine.snapshot_at(revision)?,
        None => engine.snapshot()?,
    };
    let page = tables::page(&snapshot, range)?;
    match (&page.next, range.at) {
        (Some(_), _) => engine.keep(page.revision, snapshot),
        (None, Some(revision)) => engine.release(revision),
        (None, None) => {}
    }
    Ok(page)
}

/// Whoever led before this opening is dead, or the folder would be locked. Gives the head from which this one goes on.
fn end_last_reign(engine: &Engine) -> Result<Head, Fault> {
    let database = engine.database()?;
    let writing = engine::begin_write(&database)?;
    let mut head = tables::head_for_writing(&writing)?;
    if head.leader.take().is_some() {
        tables::put_head(&writing, &head)?;
        writing
            .commit()
            .map_err(|error| Fault::Medium(error.to_string()))?;
    }
    Ok(head)
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn damaged(path: &Path, cause: String) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        damage: Damage {
            cause,
            ..Damage::default()
        },
    }
}

fn refused(path: &Path, fault: Fault) -> OpenError {
    match fault {
        Fault::Damaged(damage) => OpenError::Damaged {
            path: path.to_owned(),
            damage,
        },
        Fault::Medium(cause) => io_error("read", path)(io::Error::other(cause)),
    }
}

fn create_folder(folder: &Path) -> Result<(), OpenError> {
    std::fs::create_dir_all(folder).map_err(io_error("create", folder))?;
    let parent = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> Result<(), OpenError> {
    File::open(folder)
        .and_then(|opened| opened.sync_all())
        .map_err(io_error("sync", folder))
}

fn lock_folder(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK_FILE);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = file.map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io_error("lock", &path)(source)),
    }
}

/// The number in the lock file; `None` before the state file was first made whole.
fn read_cluster(lock: &mut File, folder: &Path) -> Result<Option<u64>, OpenError> {
    let path = folder.join(LOCK_FILE);
    let mut text = String::new();
    lock.take(64)
        .read_to_string(&mut text)
        .map_err(io_error("read", &path))?;
    match (text.is_empty(), u64::from_str_radix(text.trim_end(), 16)) {
        (true, _) => Ok(None),
        (false, Ok(cluster)) => Ok(Some(cluster)),
        (false, Err(error)) => Err(damaged(&path, format!("the number of the store: {error}"))),
    }
}

fn write_cluster(lock: &mut File, folder: &Path, cluster: u64) -> Result<(), OpenError> {
    let text = format!("{cluster:016x}\n");
    let written = lock.rewind().and_then(|()| lock.write_all(text.as_bytes()));
    let path = folder.join(LOCK_FILE);
    written
        .and_then(|()| lock.sync_all())
        .map_err(io_error("write", &path))
}

/// Makes the state file beside its name and moves it there whole, so that it never exists half made.
fn create_state(folder: &Path) -> Result<(), OpenError> {
    let (made, path) = (folder.join("state.redb.new"), folder.join(STATE_FILE));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&made);
    let file = file.map_err(io_error("create", &made))?;
    let cluster = random::number().map_err(io_error("draw a number for", &path))?;
    Engine::create(Arc::new(file), cluster).map_err(|fault| refused(&made, fault))?;
    std::fs::rename(&made, &path).map_err(io_error("move into place", &path))?;
    sync_folder(folder)
}
