//! One reign of this process, from the epoch that the store gave to its end: read the state, hold it against storage, register the
//! configured bundle, then answer and collect. Called by `start` where nobody else may lead, else by `terms`. All that it holds is dropped with it.

use std::sync::Arc;

use proto::v1;
use runtime::shutdown::Shutdown;
use scheduler::{Core, StepDown};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::service::Routes;
use types::{Code, Epoch, Millis, Problem};

use crate::app::App;
use crate::bundles::Bundles;
use crate::collector::Marks;
use crate::driver::{Driver, End};
use crate::effects::Effects;
use crate::handle::Handle;
use crate::handlers::{
    AdminService, AgentsService, BundlesService, CatalogsService, JobsService, Lookups,
    NodesService, ResultsService, register_default, register_shipped,
};
use crate::house::House;
use crate::journal::Journal;
use crate::older::{check_not_older, finish_cancels};
use crate::server::MESSAGE_BYTES_MAX;
use crate::shelf::Shelf;
use crate::sources::Sources;
use crate::{collector, gauges, mirror, restore};

/// A reign.
pub(crate) struct Reign {
    pub(crate) app: Arc<App>,
    epoch: Epoch,
    driver: JoinHandle<End>,
    closing: Shutdown,
}

/// What came of beginning a reign.
pub(crate) enum Begun {
    /// It is ready to answer.
    Leads(Reign),
    /// It was over before.
    Over(End),
}

impl Reign {
    /// Begins the reign of an epoch that was asked for at that moment, and makes it ready to answer, unless `closing` is asked for before.
    ///
    /// # Errors
    /// What keeps this process from leading: the store or storage cannot be read, the store is older than the storage, the default
    /// bundle is refused. Nothing of the reign goes on then.
    pub(crate) async fn begin(
        house: &House,
        epoch: (Epoch, Instant),
        closing: &Shutdown,
    ) -> Result<Begun, Problem> {
        let reign = Self::drive(house, epoch).await?;
        let prepared = tokio::select! {
            prepared = prepare(house, &reign.app) => prepared,
            () = closing.asked() => return reign.given_up().await.map(Begun::Over),
        };
        if let Err(problem) = prepared {
            return match reign.given_up().await? {
                End::Drained => Err(problem),
                // What was found wrong by a leader that is none any more may be the work of the next one.
                end @ (End::SteppedDown(_) | End::EffectLost(_)) => Ok(Begun::Over(end)),
            };
        }
        house.led.here(reign.epoch, &house.address);
        metrics::gauge!("scan_leads").set(1.0);
        Ok(Begun::Leads(reign))
    }

    /// Ends a reign that nobody was told of; how its core ended.
    async fn given_up(self) -> Result<End, Problem> {
        self.closing.ask();
        self.driver.await.map_err(|error| lost(&error))
    }

    async fn drive(house: &House, (epoch, begun): (Epoch, Instant)) -> Result<Self, Problem> {
        let (store, settings) = (house.store.clone(), &house.settings);
        // Asked before, and a restore may have begun since and died: none begins from here on, for it would have to lead.
        restore::check_finished(store.as_ref()).await?;
        let shelf = Shelf::open(store.clone(), epoch).await?;
        let (folders, records) = (shelf.folders().await?, shelf.bundles().await?);
        let sources = Sources::new(&settings.sources)?;
        for record in folders {
            sources.keep(record.name, record.folder.as_ref());
        }
        let closing = Shutdown::new();
        let journal = settings
            .journal
            .as_deref()
            .map(|folder| Journal::begin(folder, epoch, &settings.policy));
        let (driver, handle) = Driver::new(
            (epoch, begun),
            settings.policy.clone(),
            Effects::new(store, house.storage.clone(), shelf.generation()),
            journal.transpose()?,
        );
        let driver = tokio::spawn(driver.run(shelf.generation(), closing.clone()));
        Ok(Self {
            app: Arc::new(App {
                bundles: Bundles::new(records),
                ..app(house, handle, shelf, sources)
            }),
            epoch,
            driver,
            closing,
        })
    }

    /// Lets the reign last until `closing` is asked for, and then settles what is under way, or until it ends.
    ///
    /// # Errors
    /// When the task that owns the core or the one that marks is lost, or storage shows that this store is not the one to lead.
    pub(crate) async fn last(mut self, house: &House, closing: &Shutdown) -> Result<End, Problem> {
        let collecting = collector::run(
            self.app.clone(),
            house.settings.collect,
            house.shutdown.clone(),
        );
        let collecting = tokio::spawn(collecting);
        let mut marking = tokio::spawn(mirror::run(
            house.store.clone(),
            house.storage.clone(),
            self.app.shelf.generation(),
            (house.ready.clone(), house.shutdown.clone()),
        ));
        let mut unfit = Ok(());
        let end = tokio::select! {
            end = &mut self.driver => end,
            problem = shown(&mut marking) => {
                unfit = Err(problem);
                self.closing.ask();
                (&mut self.driver).await
            }
            () = closing.asked() => {
                self.closing.ask();
                (&mut self.driver).await
            }
        };
        collecting.abort();
        marking.abort();
        house.led.ended(self.epoch);
        house.ready.is_well();
        metrics::gauge!("scan_leads").set(0.0);
        // What is no more is not shown as if it were.
        gauges::set(&Core::new(), Millis(0));
        unfit?;
        end.map_err(|error| lost(&error))
    }
}

/// Waits for what marking finds against the store, or for the loss of the task that marks: a reign goes on over storage that is marked, or not at
/// all.
async fn shown(marking: &mut JoinHandle<Result<(), Problem>>) -> Problem {
    match marking.await {
        Ok(Err(problem)) => problem,
        // The end was asked for, and the reign settles.
        Ok(Ok(())) => std::future::pending().await,
        Err(error) => Problem::new(
            Code::Internal,
            format!("mark how far the store has come: {error}"),
        ),
    }
}

/// What handlers hold, with no bundles yet.
pub(crate) fn app(house: &House, driver: Handle, shelf: Shelf, sources: Sources) -> App {
    App {
        driver,
        shelf,
        storage: house.storage.clone(),
        sources,
        bundles: Bundles::default(),
        lookups: Lookups::new(house.storage.clone()),
        imports: house.imports.clone(),
        scratch: house.scratch.clone(),
        trust: house.settings.trust.clone(),
        folder_sources: house.settings.folder_sources,
        marks: tokio::sync::Mutex::new(Marks::new(house.settings.collect)),
        probing: tokio::sync::Mutex::default(),
        shutdown: house.shutdown.clone(),
        led: house.led.clone(),
        ready: house.ready.clone(),
        alike: house.settings.alike.clone(),
        shelved: None,
    }
}

/// What is to hold before a leader's first answer.
async fn prepare(house: &House, app: &App) -> Result<(), Problem> {
    app.driver.ready().await?;
    let cancelled = check_not_older(app).await?;
    mirror::put(&app.shelf, &house.storage).await?;
    finish_cancels(app, cancelled).await;
    let settings = &house.settings;
    app.shelf.note_alike(&settings.alike).await?;
    match (&settings.default_bundle, &settings.shipped_bundle) {
        (Some(folder), _) => register_default(app, folder).await,
        (None, Some(folder)) => register_shipped(app, folder).await,
        (None, None) => Ok(()),
    }
}

/// Every service, with the limits of its messages.
pub(crate) async fn routes(app: &Arc<App>) -> Result<Routes, Problem> {
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
pub(crate) fn ended(end: &End) -> Result<(), Problem> {
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

pub(crate) fn lost(error: &tokio::task::JoinError) -> Problem {
    Problem::new(Code::Internal, format!("drive the core: {error}"))
}

/// Whether only the reign is over, and this process may follow and lead again.
pub(crate) const fn ends_reign_alone(end: &End) -> bool {
    matches!(end, End::SteppedDown(StepDown::EpochEnded))
}
