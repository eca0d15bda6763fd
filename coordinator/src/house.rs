//! What outlives every reign of a coordinator: its store, its storage, its folder; and what it has before they are open. `start` and `opening`
//! make it, `terms` and each `reign` live in it. Whether storage can be used, and is the store's, is asked here before anybody leads; nothing here leads.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::shutdown::Shutdown;
use storage::Storage;
use storage::probe::{Answer, Report};
use store::Store;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use types::{Code, Problem};

use crate::app::{SCRATCH_PREFIX, blocking, storage_problem};
use crate::led::{self, Led};
use crate::mirror;
use crate::ready::Ready;
use crate::settings::Settings;

/// Imports at once: each needs a core and room for its scratch files; further ones wait.
const IMPORTS_MAX: usize = 2;

/// Longest that one of several coordinators waits at its start for storage before it follows without: one that is well answers these few
/// requests within a second.
const STORAGE_AT_START: Duration = Duration::from_secs(10);

/// What a coordinator has before its store is open.
pub(crate) struct Ground {
    pub(crate) settings: Settings,
    /// The address that is listened on.
    pub(crate) bound: SocketAddr,
    pub(crate) led: Led,
    pub(crate) ready: Ready,
    pub(crate) shutdown: Shutdown,
    /// The lock of the folder that the process uses, where the store has none of its own.
    pub(crate) lock: Option<File>,
}

/// What outlives every reign of this process.
pub(crate) struct House {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) storage: Arc<Storage>,
    pub(crate) imports: Arc<Semaphore>,
    pub(crate) scratch: PathBuf,
    pub(crate) led: Led,
    /// What this process lacks.
    pub(crate) ready: Ready,
    /// Whether storage has been held against the store once.
    pub(crate) checked: AtomicBool,
    /// Where clients reach this process, as a URL.
    pub(crate) address: String,
    /// Whether others may lead the same store.
    pub(crate) shares: bool,
    pub(crate) shutdown: Shutdown,
    /// The lock of the folder that the process uses, where the store has none of its own.
    _lock: Option<File>,
}

impl Ground {
    /// Nothing but where it listens is known yet.
    pub(crate) fn new(settings: Settings, bound: SocketAddr, shutdown: Shutdown) -> Self {
        Self {
            settings,
            bound,
            led: Led::default(),
            ready: Ready::default(),
            shutdown,
            lock: None,
        }
    }

    /// Where clients reach this process, as a URL.
    pub(crate) fn address(&self) -> String {
        self.settings.advertised(self.bound)
    }
}

impl House {
    /// Opens storage for a store that nobody else leads.
    ///
    /// # Errors
    /// Storage does not open, or the scratch folder cannot be made.
    pub(crate) async fn open(ground: Ground, store: Arc<dyn Store>) -> Result<Self, Problem> {
        let storage = Arc::new(connect(&ground.settings).await?);
        Ok(Self {
            address: ground.address(),
            storage,
            store,
            imports: Arc::new(Semaphore::new(IMPORTS_MAX)),
            scratch: make_scratch(&ground.settings.scratch)?,
            led: ground.led,
            ready: ground.ready,
            checked: AtomicBool::new(false),
            shares: false,
            shutdown: ground.shutdown,
            settings: ground.settings,
            _lock: ground.lock,
        })
    }

    /// The same on a store that others may lead too, over a storage that may be away for a while.
    ///
    /// # Errors
    /// What no waiting mends: storage does not open, or is not the store's.
    pub(crate) async fn shared(ground: Ground, store: Arc<dyn Store>) -> Result<Self, Problem> {
        let house = Self::open(ground, store).await?;
        house.check(Storages::MayBeAway).await?;
        Ok(Self {
            shares: true,
            ..house
        })
    }

    /// Holds storage against the store before anybody leads: to lead is a write, and a store that was put back would look newer than it is.
    /// Where storage may be away, one that does not answer is waited for by `terms`, which asks before each reign; so is a store that has gone
    /// since it was opened.
    pub(crate) async fn check(&self, storages: Storages) -> Result<(), Problem> {
        let checking = async {
            check_storage(&self.storage).await?;
            Ok::<_, Problem>(mirror::check(self.store.as_ref(), &self.storage).await)
        };
        let checked = match storages {
            Storages::Answers => checking.await?,
            Storages::MayBeAway => match timeout(STORAGE_AT_START, checking).await {
                Ok(checked) => checked?,
                Err(_) => Err(late(&self.storage)),
            },
        };
        match (checked, storages) {
            (Err(problem), Storages::MayBeAway) if is_away(problem.code) => {
                self.ready.lacks(&problem);
                self.led.hindered(&problem);
            }
            (Err(problem), Storages::MayBeAway | Storages::Answers) => return Err(problem),
            (Ok(()), _) => {
                self.ready.is_well();
                self.checked.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// What this process is called in the store when it leads.
    pub(crate) fn candidate(&self) -> String {
        led::candidate(&self.address)
    }
}

/// Whether a process can do without its storage for a while.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Storages {
    /// It leads before it answers, and cannot lead without.
    Answers,
    /// It follows meanwhile.
    MayBeAway,
}

/// Whether it is storage or the store that did not answer, and so nothing that speaks against either.
const fn is_away(code: Code) -> bool {
    matches!(code, Code::StorageUnavailable | Code::StoreUnavailable)
}

fn late(storage: &Storage) -> Problem {
    let place = storage.place();
    let said = format!(
        "start on storage `{place}`: whether it is the store's could not be found out within {STORAGE_AT_START:?}"
    );
    Problem::new(Code::StorageUnavailable, said)
}

/// Makes the folder for scratch files, and removes from it what a killed process left.
fn make_scratch(folder: &Path) -> Result<PathBuf, Problem> {
    let failed = |error: std::io::Error| {
        Problem::new(
            Code::StorageUnavailable,
            format!("make scratch folder `{}`: {error}", folder.display()),
        )
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(SCRATCH_PREFIX.as_bytes())
        {
            std::fs::remove_dir_all(entry.path()).map_err(failed)?;
        }
    }
    storage::remove_unfinished_bundles(folder).map_err(failed)?;
    Ok(folder.to_owned())
}

/// Opens storage, and asks it whether it can be used.
pub(crate) async fn open_storage(settings: &Settings) -> Result<Storage, Problem> {
    let storage = connect(settings).await?;
    check_storage(&storage).await?;
    Ok(storage)
}

async fn connect(settings: &Settings) -> Result<Storage, Problem> {
    let wanted = settings.storage.clone();
    let opened = blocking("open storage", move || {
        Storage::connect(&wanted)
            .map_err(|error| storage_problem(&format!("open storage `{wanted}`"), &error))
    });
    opened.await
}

/// Asks storage the cheap questions, unless its answers are known. One that does not answer is no reason to end: work waits for it; one that
/// answers wrongly is.
async fn check_storage(storage: &Storage) -> Result<(), Problem> {
    let Some(report) = storage.probe_at_start().await else {
        return Ok(());
    };
    for finding in &report.findings {
        let (question, answer) = (finding.question.as_str(), finding.answer.as_str());
        match finding.answer {
            Answer::No => tracing::warn!(question, answer, seen = finding.seen, "storage"),
            Answer::Yes | Answer::Unknown => {
                tracing::info!(question, answer, seen = finding.seen, "storage")
            }
        }
    }
    match report.is_usable() {
        true => Ok(()),
        false => Err(unusable(&report)),
    }
}

fn unusable(report: &Report) -> Problem {
    let wrong = report
        .findings
        .iter()
        .find(|finding| finding.answer == Answer::No && finding.question.is_needed());
    let seen = wrong.map_or("", |finding| &finding.seen);
    Problem::new(
        Code::StorageUnavailable,
        format!("use storage `{}`: {seen}", report.place),
    )
}
