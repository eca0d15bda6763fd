//! Putting the parts together, in the order in which nothing is promised before it holds: bind, open store and storage, then lead or follow,
//! and answer. And the end, in reverse: stop answering, drain, settle what is under way, give up the leadership.
//!
//! On a store of its own a coordinator leads before it answers, and ends with its reign. On a store that it shares with others it answers
//! from the first moment, also while that store does not answer yet, and `terms` says what.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::process::once_freed;
use runtime::shutdown::{Drained, Shutdown};
use storage::Storage;
use storage::probe::{Answer, Depth, Report};
use store::Store;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use types::{Code, Epoch, Problem};

use crate::app::{SCRATCH_PREFIX, blocking, storage_problem};
use crate::door::{Door, Inside};
use crate::ending::{HAND_OVER, wind_up};
use crate::led::{self, Led, lead_problem};
use crate::mirror;
use crate::opening::{Opened, Opening, open_embedded};
use crate::ready::Ready;
use crate::reign::{Begun, Reign, ended, lost, routes};
use crate::server::{self, Listener};
use crate::settings::{Settings, Where};
use crate::terms;

/// Imports at once: each needs a core and room for its scratch files; further ones wait.
const IMPORTS_MAX: usize = 2;

/// Longest that one of several coordinators waits at its start for storage before it follows without: one that is well answers these few
/// requests within a second.
const STORAGE_AT_START: Duration = Duration::from_secs(10);

/// A coordinator that is about to answer.
pub struct Coordinator {
    listener: Listener,
    led: Led,
    ready: Ready,
    shutdown: Shutdown,
    drain: Duration,
    /// Whether others may lead the same store.
    shares: bool,
    place: Place,
}

/// Where a coordinator leads and follows.
enum Place {
    /// With the reign that it begins with, on a store of its own.
    Open(Arc<House>, Option<Reign>),
    /// The store of a cluster has not answered yet.
    Waits(Box<Opening>),
}

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

impl Coordinator {
    /// Starts everything but answering. `shutdown` is what ends [`Coordinator::serve`].
    ///
    /// # Errors
    /// A problem with its code: the address is taken, the store is locked, damaged or older than the storage, storage does not open or answer,
    /// the default bundle is refused. A cluster's store that does not answer is none: it is waited for.
    pub async fn start(settings: Settings, shutdown: Shutdown) -> Result<Self, Problem> {
        let listener = once_freed(async || bind(settings.listen).await).await?;
        match settings.store.clone() {
            Where::Embedded(folder) => {
                let store = once_freed(async || open_embedded(folder.clone()).await).await?;
                let ground = Ground::new(settings, &listener, shutdown)?;
                let house = House::open(ground, Arc::new(store)).await?;
                house.check(Storages::Answers).await?;
                Self::alone(listener, house).await
            }
            Where::Etcd(etcd) => {
                let locked = once_freed(async || lock(&settings.scratch)).await?;
                let ground = Ground {
                    lock: Some(locked),
                    ..Ground::new(settings, &listener, shutdown)?
                };
                Self::among_others(listener, Opening::new(ground, etcd)).await
            }
        }
    }

    /// The same on a store that is open, and that others may lead too.
    ///
    /// # Errors
    /// As [`Coordinator::start`].
    pub async fn start_on(
        store: Arc<dyn Store>,
        settings: Settings,
        shutdown: Shutdown,
    ) -> Result<Self, Problem> {
        let listener = once_freed(async || bind(settings.listen).await).await?;
        let ground = Ground::new(settings, &listener, shutdown)?;
        let house = House::shared(ground, store).await?;
        Ok(Self::of(listener, house, None))
    }

    async fn alone(listener: Listener, house: House) -> Result<Self, Problem> {
        let (begun, epoch) = (Instant::now(), lead(&house).await?);
        // Nothing but its start is asked of it yet: an end that is asked for before comes when it serves.
        let closing = Shutdown::new();
        match Reign::begin(&house, (epoch, begun), &closing).await? {
            Begun::Leads(reign) => Ok(Self::of(listener, house, Some(reign))),
            Begun::Over(end) => Err(ended(&end).err().unwrap_or_else(stopped)),
        }
    }

    /// Asks for the store once, so that what no waiting mends ends the start.
    async fn among_others(listener: Listener, opening: Opening) -> Result<Self, Problem> {
        match opening.once().await? {
            Opened::House(house) => Ok(Self::of(listener, *house, None)),
            Opened::Later(opening) => {
                let Ground {
                    led,
                    ready,
                    shutdown,
                    settings,
                    ..
                } = opening.ground();
                Ok(Self {
                    listener,
                    led: led.clone(),
                    ready: ready.clone(),
                    shutdown: shutdown.clone(),
                    drain: settings.drain,
                    shares: true,
                    place: Place::Waits(opening),
                })
            }
        }
    }

    fn of(listener: Listener, house: House, reign: Option<Reign>) -> Self {
        Self {
            listener,
            led: house.led.clone(),
            ready: house.ready.clone(),
            shutdown: house.shutdown.clone(),
            drain: house.settings.drain,
            shares: house.shares,
            place: Place::Open(Arc::new(house), reign),
        }
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// When the system no longer knows.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.address()
    }

    /// Answers until the shutdown is asked for, the leadership of a store of its own ends, or the state cannot be read; then drains.
    ///
    /// # Errors
    /// When the leadership ended or the state cannot be read; not when the end was asked for.
    pub async fn serve(self) -> Result<(), Problem> {
        let address = self.address().map_err(|error| unknown_address(&error))?;
        let (shutdown, deadline) = (self.shutdown, self.drain);
        let inside = match &self.place {
            Place::Open(_, Some(reign)) => Inside::Leads(routes(&reign.app).await?),
            Place::Open(_, None) | Place::Waits(_) => Inside::Nobody,
        };
        let (inside, door) = Door::new(inside, self.led, self.ready);
        let asked = shutdown.clone();
        let serving = server::limited().serve_with_incoming_shutdown(
            door,
            self.listener.incoming(),
            async move { asked.asked().await },
        );
        let mut serving = tokio::spawn(serving);
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
        let closing = Shutdown::new();
        let mut terms = tokio::spawn(live(self.place, inside, closing.clone()));
        let end = tokio::select! {
            end = &mut terms => Some(end),
            () = shutdown.asked() => None,
        };
        shutdown.ask();
        // What is under way may take long, and meanwhile this process takes no further call: those who may lead instead do not wait for it.
        let alone = if self.shares { HAND_OVER } else { deadline };
        let times = (deadline, alone);
        let (drained, end) = match end {
            Some(end) => wind_up(times, &mut serving, &closing, std::future::ready(end)).await,
            None => wind_up(times, &mut serving, &closing, &mut terms).await,
        };
        if matches!(drained, Drained::TimedOut) {
            tracing::warn!(
                ?deadline,
                "calls were still under way at the end of the drain"
            );
            serving.abort();
        }
        let Drained::Done(end) = end else {
            // What was answered is stored; what was not is the next start's recovery.
            tracing::warn!(
                ?deadline,
                "writes were still under way at the end of the drain"
            );
            return Ok(());
        };
        end.map_err(|error| lost(&error))?
    }
}

/// Leads and follows, once the store is open, until `closing` is asked for.
async fn live(
    place: Place,
    inside: watch::Sender<Inside>,
    closing: Shutdown,
) -> Result<(), Problem> {
    let (house, reign) = match place {
        Place::Open(house, reign) => (house, reign),
        Place::Waits(opening) => match opening.opened(&closing).await? {
            Some(house) => (Arc::new(house), None),
            None => return Ok(()),
        },
    };
    terms::run(house, reign, inside, closing).await
}

impl Ground {
    fn new(settings: Settings, listener: &Listener, shutdown: Shutdown) -> Result<Self, Problem> {
        let bound = listener
            .address()
            .map_err(|error| unknown_address(&error))?;
        Ok(Self {
            settings,
            bound,
            led: Led::default(),
            ready: Ready::default(),
            shutdown,
            lock: None,
        })
    }

    /// Where clients reach this process, as a URL.
    pub(crate) fn address(&self) -> String {
        self.settings.advertised(self.bound)
    }
}

impl House {
    async fn open(ground: Ground, store: Arc<dyn Store>) -> Result<Self, Problem> {
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
    async fn check(&self, storages: Storages) -> Result<(), Problem> {
        let checking = async {
            if !self.storage.is_folder() {
                check_storage(&self.storage).await?;
            }
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
enum Storages {
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

async fn bind(address: SocketAddr) -> Result<Listener, Problem> {
    Listener::bind(address).await.map_err(|error| {
        let code = runtime::process::bind_code(error.kind());
        Problem::new(code, format!("listen on {address}: {error}"))
    })
}

/// Takes a coordinator's folder for this process: what one leaves there another would remove.
fn lock(folder: &Path) -> Result<File, Problem> {
    let what = || format!("lock folder `{}`", folder.display());
    let failed = |error: std::io::Error| {
        Problem::new(Code::StorageUnavailable, format!("{}: {error}", what()))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = File::create(folder.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Problem::new(Code::DataLocked, what())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
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

/// Opens storage, and asks one behind a network whether it can be used.
pub(crate) async fn open_storage(settings: &Settings) -> Result<Storage, Problem> {
    let storage = connect(settings).await?;
    // Of a folder all of it is known.
    if !storage.is_folder() {
        check_storage(&storage).await?;
    }
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

/// Asks storage the cheap questions. One that does not answer is no reason to end: work waits for it; one that answers wrongly is.
async fn check_storage(storage: &Storage) -> Result<(), Problem> {
    let report = storage.probe(Depth::Start).await;
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

async fn lead(house: &House) -> Result<Epoch, Problem> {
    let led = house.store.lead(&house.candidate()).await;
    led.map_err(|error| lead_problem(&error))
}

fn unknown_address(error: &std::io::Error) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}

fn stopped() -> Problem {
    Problem::new(
        Code::Internal,
        "drive the core: it ended before it was ready",
    )
}
