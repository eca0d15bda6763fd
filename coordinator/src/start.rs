//! Putting the parts together, in the order in which nothing is promised before it holds: bind, open store and storage,
//! lead, read the state, hold it against storage, register the configured bundle, answer. And the end, in reverse: stop answering, drain, settle
//! what is under way, give up the leadership.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::v1;
use runtime::process::once_freed;
use runtime::shutdown::{Drained, Shutdown, drain};
use scheduler::StepDown;
use storage::Storage;
use store::{Embedded, LeadError, OpenError, Store};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use types::{Code, Epoch, Problem};

use crate::app::{App, SCRATCH_PREFIX, blocking, storage_problem};
use crate::bundles::Bundles;
use crate::collector::{self, Marks};
use crate::driver::{Driver, End};
use crate::effects::Effects;
use crate::handlers::{
    AdminService, AgentsService, BundlesService, CatalogsService, JobsService, Lookups,
    NodesService, ResultsService, register_default, register_shipped,
};
use crate::journal::Journal;
use crate::mirror;
use crate::older::check_not_older;
use crate::server::{self, Listener, MESSAGE_BYTES_MAX};
use crate::settings::Settings;
use crate::shelf::Shelf;
use crate::sources::Sources;

/// Imports at once: each needs a core and room for its scratch files; further ones wait.
const IMPORTS_MAX: usize = 2;

/// A coordinator that leads and answers.
pub struct Coordinator {
    listener: Listener,
    app: Arc<App>,
    driver: JoinHandle<End>,
    closing: Shutdown,
    settings: Settings,
}

impl Coordinator {
    /// Starts everything but answering. `shutdown` is what ends [`Coordinator::serve`].
    ///
    /// # Errors
    /// A problem with its code: the address is taken, the store is locked, damaged or older than the storage, storage does not
    /// open or answer, the default bundle is refused.
    pub async fn start(settings: Settings, shutdown: Shutdown) -> Result<Self, Problem> {
        let listener = once_freed(async || bind(settings.listen).await).await?;
        make_lasting(&settings.store)?;
        let store: Arc<dyn Store> =
            Arc::new(once_freed(async || open_store(&settings).await).await?);
        let storage = Arc::new(open_storage(&settings).await?);
        // To lead is a write: a store that was put back would look newer than it is.
        mirror::check(store.as_ref(), &storage).await?;
        let epoch = lead(store.as_ref()).await?;
        let shelf = Shelf::open(store.clone(), epoch).await?;
        let closing = Shutdown::new();
        let journal = settings
            .journal
            .as_deref()
            .map(|folder| Journal::begin(folder, epoch, &settings.policy));
        let (driver, handle) = Driver::new(
            epoch,
            settings.policy.clone(),
            Effects::new(store, storage.clone(), shelf.generation()),
            journal.transpose()?,
        );
        let driver = tokio::spawn(driver.run(shelf.generation(), closing.clone()));
        let sources = Sources::new(&settings.sources);
        for record in shelf.folders().await? {
            sources.keep(record.name, record.folder.as_ref());
        }
        let scratch = make_scratch(&settings.scratch)?;
        let bundles = Bundles::new(shelf.bundles().await?);
        let lookups = Lookups::new(storage.clone());
        let app = App {
            driver: handle,
            shelf,
            storage,
            sources,
            bundles,
            lookups,
            imports: Semaphore::new(IMPORTS_MAX),
            scratch,
            trust: settings.trust.clone(),
            folder_sources: settings.folder_sources,
            marks: tokio::sync::Mutex::new(Marks::new(settings.collect)),
            shutdown,
        };
        let coordinator = Self {
            listener,
            app: Arc::new(app),
            driver,
            closing,
            settings,
        };
        coordinator.prepare().await
    }

    async fn prepare(mut self) -> Result<Self, Problem> {
        if self.app.driver.ready().await.is_err() {
            return Err(
                ended(&(&mut self.driver).await.map_err(|error| lost(&error))?)
                    .err()
                    .unwrap_or_else(stopped),
            );
        }
        check_not_older(&self.app).await?;
        let (store, storage) = (self.app.shelf.store().clone(), self.app.storage.clone());
        mirror::put(store.as_ref(), &storage, self.app.shelf.generation()).await?;
        let (default, shipped) = (&self.settings.default_bundle, &self.settings.shipped_bundle);
        match (default, shipped) {
            (Some(folder), _) => register_default(&self.app, folder).await?,
            (None, Some(folder)) => register_shipped(&self.app, folder).await?,
            (None, None) => {}
        }
        Ok(self)
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// When the system no longer knows.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.address()
    }

    /// Answers until the shutdown is asked for or the leadership ends, then drains.
    ///
    /// # Errors
    /// When the leadership ended or the state cannot be read; not when the end was asked for.
    pub async fn serve(self) -> Result<(), Problem> {
        let address = self
            .address()
            .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let shutdown = self.app.shutdown.clone();
        let deadline = self.settings.drain;
        let collecting = collector::run(self.app.clone(), self.settings.collect, shutdown.clone());
        tokio::spawn(collecting);
        let (store, storage) = (self.app.shelf.store().clone(), self.app.storage.clone());
        let generation = self.app.shelf.generation();
        tokio::spawn(mirror::run(store, storage, generation, shutdown.clone()));
        let routes = routes(self.app).await?;
        let asked = shutdown.clone();
        let serving = server::limited()
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                self.listener.incoming(),
                async move { asked.asked().await },
            );
        let mut serving = tokio::spawn(serving);
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
        let mut driver = self.driver;
        let end = tokio::select! {
            end = &mut driver => Some(end),
            () = shutdown.asked() => None,
        };
        shutdown.ask();
        let drained = drain(deadline, &mut serving).await;
        if matches!(drained, Drained::TimedOut) {
            tracing::warn!(
                ?deadline,
                "calls were still under way at the end of the drain"
            );
            serving.abort();
        }
        self.closing.ask();
        let end = match end {
            Some(end) => end,
            None => match drain(deadline, &mut driver).await {
                Drained::Done(end) => end,
                Drained::TimedOut => {
                    // What was answered is stored; what was not is the next start's recovery.
                    tracing::warn!(
                        ?deadline,
                        "writes were still under way at the end of the drain"
                    );
                    return Ok(());
                }
            },
        };
        ended(&end.map_err(|error| lost(&error))?)
    }
}

async fn bind(address: SocketAddr) -> Result<Listener, Problem> {
    Listener::bind(address).await.map_err(|error| {
        let code = runtime::process::bind_code(error.kind());
        Problem::new(code, format!("listen on {address}: {error}"))
    })
}

/// The store that the settings name, for a process that serves nobody.
pub(crate) async fn open_any_store(settings: &Settings) -> Result<Arc<dyn Store>, Problem> {
    make_lasting(&settings.store)?;
    let store = once_freed(async || open_store(settings).await).await?;
    Ok(Arc::new(store))
}

async fn open_store(settings: &Settings) -> Result<Embedded, Problem> {
    let folder = settings.store.clone();
    blocking("open the store", move || {
        Embedded::open(&folder).map_err(|error| {
            let code = match error {
                OpenError::Locked { .. } => Code::DataLocked,
                OpenError::Io { .. } => Code::StoreUnavailable,
                OpenError::Damaged { .. } => Code::StoreCorrupt,
            };
            Problem::of(code, &error)
        })
    })
    .await
}

/// Makes a folder with those above it that are missing, and syncs each into the one above: a folder that a power cut takes
/// back would take all that was synced inside it along.
fn make_lasting(folder: &Path) -> Result<(), Problem> {
    let failed = |error: std::io::Error| {
        Problem::new(
            Code::StoreUnavailable,
            format!("make folder `{}`: {error}", folder.display()),
        )
    };
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|above| !above.exists())
        .collect();
    for new in missing.into_iter().rev() {
        std::fs::create_dir(new)
            .or_else(there_already)
            .map_err(failed)?;
        let above = new.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let synced = File::open(above).and_then(|opened| opened.sync_all());
        synced.map_err(failed)?;
    }
    Ok(())
}

fn there_already(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        return Ok(());
    }
    Err(error)
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

pub(crate) async fn open_storage(settings: &Settings) -> Result<Storage, Problem> {
    let url = settings.storage.clone();
    blocking("open storage", move || {
        Storage::open(&url)
            .map_err(|error| storage_problem(&format!("open storage `{url}`"), &error))
    })
    .await
}

async fn lead(store: &dyn Store) -> Result<Epoch, Problem> {
    let candidate = format!("coordinator {}", std::process::id());
    store.lead(&candidate).await.map_err(|error| {
        let code = match error {
            LeadError::Held { .. } | LeadError::Lost => Code::NotLeader,
            LeadError::Unavailable { .. } => Code::StoreUnavailable,
        };
        Problem::new(code, format!("lead: {error}"))
    })
}

/// Every service, with the limits of its messages.
async fn routes(app: Arc<App>) -> Result<Routes, Problem> {
    use v1::{
        admin_server, agents_server, bundles_server, catalogs_server, jobs_server, nodes_server,
        results_server,
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    let mut routes = Routes::builder();
    routes.add_service(health_service);
    macro_rules! add {
        ($module:ident::$server:ident, $service:ident) => {
            let server = $module::$server::new($service(app.clone()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX);
            health.set_serving::<$module::$server<$service>>().await;
            routes.add_service(server);
        };
    }
    add!(catalogs_server::CatalogsServer, CatalogsService);
    add!(jobs_server::JobsServer, JobsService);
    add!(results_server::ResultsServer, ResultsService);
    add!(nodes_server::NodesServer, NodesService);
    add!(bundles_server::BundlesServer, BundlesService);
    add!(agents_server::AgentsServer, AgentsService);
    add!(admin_server::AdminServer, AdminService);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let reflection = reflection
        .map_err(|error| Problem::new(Code::Internal, format!("describe services: {error}")))?;
    routes.add_service(reflection);
    Ok(routes.routes())
}

/// What the driver's end means for the process.
fn ended(end: &End) -> Result<(), Problem> {
    match end {
        End::Drained => Ok(()),
        End::SteppedDown(StepDown::EpochEnded) => {
            Err(Problem::new(Code::NotLeader, "lead: the epoch ended"))
        }
        End::SteppedDown(StepDown::Unreadable { key, cause }) => Err(Problem::new(
            Code::StoreCorrupt,
            format!("read record `{key}`: {cause}"),
        )),
        End::EffectLost(cause) => Err(Problem::new(
            Code::Internal,
            format!("carry out an effect: {cause}"),
        )),
    }
}

fn lost(error: &tokio::task::JoinError) -> Problem {
    Problem::new(Code::Internal, format!("drive the core: {error}"))
}

fn stopped() -> Problem {
    Problem::new(
        Code::Internal,
        "drive the core: it ended before it was ready",
    )
}
