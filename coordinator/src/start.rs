//! Putting the parts together, in the order in which nothing is promised before it holds: bind, open store and storage, then lead or follow,
//! and answer. And the end, in reverse: stop answering, drain, settle what is under way, give up the leadership.
//!
//! On a store of its own a coordinator leads before it answers, and ends with its reign. On a store that it shares with others it answers
//! from the first moment, also while that store does not answer yet, and `terms` says what.
//!
//! What others await is boxed here: an `async fn` would be compiled again, with all that it awaits, in each program that calls it.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, LocalBoxFuture};
use runtime::process::once_freed;
use runtime::shutdown::{Drained, Shutdown};
use store::Store;
use tokio::sync::watch;
use tokio::time::Instant;
use types::{Code, Epoch, Problem};

use crate::door::{Door, Inside};
use crate::ending::{HAND_OVER, wind_up};
use crate::house::{Ground, House, Storages};
use crate::led::{Led, lead_problem};
use crate::opening::{Opened, Opening, open_embedded};
use crate::ready::Ready;
use crate::reign::{Begun, Reign, ended, lost, routes};
use crate::server::{self, Listener};
use crate::settings::{Settings, Where};
use crate::terms;

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

impl Coordinator {
    /// Starts everything but answering. `shutdown` is what ends [`Coordinator::serve`].
    ///
    /// # Errors
    /// A problem with its code: the address is taken, the store is locked, damaged or older than the storage, storage does not open or answer,
    /// the default bundle is refused. A cluster's store that does not answer is none: it is waited for.
    pub fn start(
        settings: Settings,
        shutdown: Shutdown,
    ) -> LocalBoxFuture<'static, Result<Self, Problem>> {
        Box::pin(Self::started(settings, shutdown))
    }

    async fn started(settings: Settings, shutdown: Shutdown) -> Result<Self, Problem> {
        let listener = once_freed(async || bind(settings.listen).await).await?;
        match settings.store.clone() {
            Where::Embedded(folder) => {
                let store = once_freed(async || open_embedded(folder.clone()).await).await?;
                let ground = ground(settings, &listener, shutdown)?;
                let house = House::open(ground, Arc::new(store)).await?;
                house.check(Storages::Answers).await?;
                Self::alone(listener, house).await
            }
            Where::Etcd(etcd) => {
                let locked = once_freed(async || lock(&settings.scratch)).await?;
                let ground = Ground {
                    lock: Some(locked),
                    ..ground(settings, &listener, shutdown)?
                };
                Self::among_others(listener, Opening::new(ground, etcd)).await
            }
        }
    }

    /// The same on a store that is open, and that others may lead too.
    ///
    /// # Errors
    /// As [`Coordinator::start`].
    pub fn start_on(
        store: Arc<dyn Store>,
        settings: Settings,
        shutdown: Shutdown,
    ) -> LocalBoxFuture<'static, Result<Self, Problem>> {
        Box::pin(Self::started_on(store, settings, shutdown))
    }

    async fn started_on(
        store: Arc<dyn Store>,
        settings: Settings,
        shutdown: Shutdown,
    ) -> Result<Self, Problem> {
        let listener = once_freed(async || bind(settings.listen).await).await?;
        let ground = ground(settings, &listener, shutdown)?;
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
    pub fn serve(self) -> BoxFuture<'static, Result<(), Problem>> {
        Box::pin(self.served())
    }

    async fn served(self) -> Result<(), Problem> {
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

fn ground(settings: Settings, listener: &Listener, shutdown: Shutdown) -> Result<Ground, Problem> {
    let bound = listener.address();
    let bound = bound.map_err(|error| unknown_address(&error))?;
    Ok(Ground::new(settings, bound, shutdown))
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
