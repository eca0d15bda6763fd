//! The node: the core's shell. One task takes news and time to the core and carries out what it asks for; all that waits
//! or computes runs elsewhere and tells news.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use agent_core::{
    Action, Actions, CallError, Config, Core, Death, DeviceNo, Event, Found, GrantKey, PartNo,
    Pulled, SlotNo, Token, TrackOutcome, Unready,
};
use audio::child::Spawner;
use audio::limits::Limits;
use bundle::Bundle;
use engine::{FromWorker, Load, Loaded, ToWorker, WorkerStats};
use runtime::shutdown::Shutdown;
use storage::{Sources, Storage};
use tokio::sync::mpsc;
use types::{
    CatalogRow, Code, Device, Digest, Millis, Ordinal, PullNo, Session, TrackSet, UnixMillis,
};
use types::{Problem, SourceName};

use crate::coordinator::{Coordinator, Introduction, Work};
use crate::fetch::Fetcher;
use crate::news::{Decoded, News, Teller, queue};
use crate::parts::{Circumstances, Saved, Shelf, compose};
use crate::rows::{self, MadeRow, Scorer};
use crate::settings::NodeSettings;
use crate::slot::{self, Slot, SlotOptions};
use crate::tracks::{Book, Flight, Landing};
use crate::worker::{Link, SlotEar};

/// How often silence and slow sources are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for bytes of a source; afterwards the track is tried again later, and its slot is replaced.
const SOURCE_DEADLINE: Duration = Duration::from_secs(60);

/// What a node works with.
pub struct Equipment {
    /// Its settings.
    pub settings: NodeSettings,
    /// Its devices, at least one.
    pub devices: Vec<Device>,
    /// Where bytes live.
    pub storage: Storage,
    /// Who gives it work.
    pub coordinator: Arc<dyn Coordinator>,
}

/// A node at work.
pub struct Node {
    settings: NodeSettings,
    coordinator: Arc<dyn Coordinator>,
    storage: Storage,
    introduction: Arc<Introduction>,
    sources: Sources,
    fetcher: Arc<Fetcher>,
    shelf: Shelf,
    spawner: Spawner,
    core: Core,
    begun: Instant,
    tell: Teller,
    news: mpsc::Receiver<News>,
    devices: Vec<Seat>,
    slots: BTreeMap<SlotNo, (DeviceNo, Slot)>,
    books: BTreeMap<GrantKey, Book>,
    flights: BTreeMap<Token, Flight>,
    parts: BTreeMap<PartNo, Arc<Saved>>,
    lives: u64,
    /// Events that came up while the core was told of another.
    waiting: VecDeque<Event>,
    telling: bool,
    fatal: Option<Problem>,
    exit: bool,
}

/// A device and who sits at it.
struct Seat {
    device: Device,
    state: State,
    stats: WorkerStats,
    /// Of the stats' waiting time, what parts have carried off already, seconds.
    wait_told: f64,
}

/// Who sits at a device.
enum State {
    /// Nobody.
    Empty,
    /// A bundle is being fetched for it.
    Fetching(Digest),
    /// A worker is loading a bundle.
    Loading(Arc<Link>, Vec<SlotEar>, Arc<Bundle>),
    /// A worker is at work.
    Ready(Arc<Link>, Arc<Bundle>, Loaded),
}

impl State {
    fn link(&self) -> Option<&Arc<Link>> {
        match self {
            Self::Empty | Self::Fetching(_) => None,
            Self::Loading(link, ..) | Self::Ready(link, ..) => Some(link),
        }
    }
}

impl Node {
    /// Makes a node ready: takes its folder, its sources, and the parts that an earlier life left.
    ///
    /// # Errors
    /// `DATA_LOCKED` where another agent uses the folder, or what the system refuses.
    pub fn start(equipment: Equipment) -> Result<Self, Problem> {
        let Equipment {
            settings,
            devices,
            storage,
            coordinator,
        } = equipment;
        let internal = |error: std::io::Error| {
            Problem::new(Code::Internal, format!("start the node: {error}"))
        };
        let shelf = Shelf::open(&settings.data.join("parts")).map_err(internal)?;
        let mut sources = Sources::default();
        for (name, folder) in &settings.sources {
            sources
                .add(name.clone(), folder)
                .map_err(|error| Problem::new(error.code(), error.to_string()))?;
        }
        let introduction = Arc::new(Introduction {
            devices: devices.clone(),
            decoders: settings.decoders,
            sources: settings.sources.keys().cloned().collect(),
            accepts_sources: settings.accept_sources,
            nonce: nonce(),
        });
        let count = u32::try_from(devices.len())
            .map_err(|_| Problem::new(Code::Internal, "count devices"))?;
        let fetcher = Fetcher::new(
            storage.clone(),
            settings.data.join("bundles"),
            settings.trust.clone(),
        );
        let (tell, news) = queue();
        let mut node = Self {
            core: Core::new(Config {
                devices: count,
                flush_every: settings.flush_every,
            }),
            coordinator,
            storage,
            introduction,
            sources,
            fetcher: Arc::new(fetcher),
            shelf,
            spawner: Spawner::start().map_err(internal)?,
            begun: Instant::now(),
            tell,
            news,
            devices: devices.into_iter().map(Seat::new).collect(),
            slots: BTreeMap::new(),
            books: BTreeMap::new(),
            flights: BTreeMap::new(),
            parts: BTreeMap::new(),
            lives: 0,
            waiting: VecDeque::new(),
            telling: false,
            fatal: None,
            exit: false,
            settings,
        };
        for slot in 0..node.settings.decoders {
            let device = DeviceNo(slot % count.max(1));
            node.seat_slot(SlotNo(slot), device).map_err(internal)?;
        }
        node.take_found().map_err(internal)?;
        Ok(node)
    }

    /// Works until the end is asked for and what is in hand is done, or the drain's time is over.
    ///
    /// # Errors
    /// When the node cannot work at all.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Problem> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut asked = false;
        let mut patience = None;
        self.tell_core(Event::Tick);
        while !self.exit && self.fatal.is_none() {
            let wake = self.wake_at();
            tokio::select! {
                news = self.news.recv() => if let Some(news) = news { self.take(news) },
                () = tokio::time::sleep_until(wake.into()) => self.tell_core(Event::Tick),
                _ = look.tick() => self.look_after(),
                () = shutdown.asked(), if !asked => {
                    asked = true;
                    patience = Some(Instant::now() + self.settings.drain);
                    self.tell_core(Event::Drain);
                }
            }
            if patience.is_some_and(|until| Instant::now() >= until) {
                tracing::warn!("the drain's time is over; what is not committed stays on disk");
                break;
            }
        }
        self.stop_workers();
        self.fatal.map_or(Ok(()), Err)
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// When the core wants to be asked, or the next look is due anyway.
    fn wake_at(&self) -> Instant {
        let at = self
            .core
            .next_deadline()
            .map(|at| self.begun + Duration::from_millis(at.0));
        at.unwrap_or_else(|| Instant::now() + LOOK_EVERY)
    }

    /// Tells the core and does what it asks for, in order. What comes up on the way is told afterwards.
    fn tell_core(&mut self, event: Event) {
        self.waiting.push_back(event);
        if std::mem::replace(&mut self.telling, true) {
            return;
        }
        while let Some(event) = self.waiting.pop_front() {
            let mut actions = Actions::new();
            self.core.handle(self.now(), event, &mut actions);
            actions.into_iter().for_each(|action| self.act(action));
        }
        self.telling = false;
    }

    fn act(&mut self, action: Action) {
        tracing::debug!(?action, "action");
        match action {
            Action::Join => self.join(),
            Action::Pull(call) => self.pull(call),
            Action::Beat(call) => self.beat(call),
            Action::Commit { part, session } => self.commit(part, session),
            Action::Leave { session } => self.leave(session),
            Action::Prepare { grant } => self.prepare(grant),
            Action::Load { device, bundle } => self.load(device, bundle),
            Action::TakeOut { device, code } => self.take_out(device, code),
            Action::Start {
                token,
                device,
                slot,
                grant,
                ordinal,
            } => self.begin(token, (device, slot), grant, ordinal),
            Action::Abort { token } => self.abort(token),
            Action::Reject {
                grant,
                ordinal,
                code,
            } => self.reject(&grant, ordinal, code),
            Action::Sing { device, nonce } => self.say(device, &ToWorker::Canary { nonce }),
            Action::WritePart {
                part,
                grant,
                tracks,
                device,
            } => self.write_part(part, grant, &tracks, device),
            Action::ForgetPart { part } => self.forget_part(part),
            Action::Forget { grant } => _ = self.books.remove(&grant),
            Action::Exit => self.exit = true,
        }
    }

    // Calls.

    fn spawn_news(&self, work: impl Future<Output = News> + Send + 'static) {
        let tell = self.tell.clone();
        // Tasks end with their news; the runtime's end ends them all.
        let _detached = tokio::spawn(async move {
            let _shell_gone = tell.send(work.await).await;
        });
    }

    fn join(&self) {
        let (coordinator, node) = (
            Arc::clone(&self.coordinator),
            Arc::clone(&self.introduction),
        );
        self.spawn_news(async move {
            let answer = coordinator.join(&node).await;
            match &answer {
                Ok(joined) => tracing::info!(session = joined.session.0, "joined"),
                Err(error) => tracing::warn!(?error, "not joined"),
            }
            News::Core(Event::Joined(answer))
        });
    }

    fn pull(&self, call: agent_core::PullCall) {
        let coordinator = Arc::clone(&self.coordinator);
        self.spawn_news(async move {
            let answer = coordinator.pull(&call).await;
            News::Worked {
                session: call.session,
                number: call.number,
                answer,
            }
        });
    }

    fn beat(&self, call: agent_core::BeatCall) {
        let coordinator = Arc::clone(&self.coordinator);
        self.spawn_news(async move {
            let answer = coordinator.beat(&call).await;
            News::Core(Event::Beaten {
                session: call.session,
                number: call.number,
                answer,
            })
        });
    }

    fn commit(&self, part: PartNo, session: Session) {
        let Some(saved) = self.parts.get(&part).cloned() else {
            return;
        };
        let coordinator = Arc::clone(&self.coordinator);
        self.spawn_news(async move {
            let answer = coordinator.commit(session, &saved.claim).await;
            let claim = &saved.claim;
            tracing::info!(job = %claim.grant.job, shard = %claim.grant.shard, attempt = claim.grant.attempt.0,
                rows = claim.rows, ?answer, "commit");
            News::Core(Event::Committed { part, answer })
        });
    }

    fn leave(&self, session: Session) {
        let coordinator = Arc::clone(&self.coordinator);
        self.spawn_news(async move { News::Core(Event::Left(coordinator.leave(session).await)) });
    }

    fn worked(&mut self, session: Session, number: PullNo, answer: Result<Work, CallError>) {
        let answer = answer.map(|work| {
            self.learn_sources(work.sources);
            let grants = work
                .grants
                .iter()
                .map(|info| info.granted.clone())
                .collect();
            for info in work.grants {
                self.books
                    .entry(info.granted.key.clone())
                    .or_insert_with(|| Book::new(info));
            }
            Pulled {
                grants,
                again_after: work.again_after,
            }
        });
        self.tell_core(Event::Pulled {
            session,
            number,
            answer,
        });
    }

    fn learn_sources(&mut self, sources: Vec<(SourceName, PathBuf)>) {
        if !self.settings.accept_sources {
            return;
        }
        for (name, folder) in sources {
            // The node's own configuration goes first.
            if self.settings.sources.contains_key(&name) {
                continue;
            }
            if let Err(error) = self.sources.add(name.clone(), &folder) {
                tracing::warn!(%name, %error, "a source of the coordinator is not to be had here");
            }
        }
    }

    // Lists and bundles.

    fn prepare(&self, grant: GrantKey) {
        let Some(book) = self.books.get(&grant) else {
            return self.tell_soon(News::Listed {
                grant,
                rows: Err(Unready::Never),
            });
        };
        let (spec, range, tracks) = (
            book.info.spec.clone(),
            book.info.granted.range,
            book.info.granted.tracks.clone(),
        );
        let fetcher = Arc::clone(&self.fetcher);
        self.spawn_news(async move {
            let rows = fetcher.rows(&spec, range, &tracks).await;
            News::Listed { grant, rows }
        });
    }

    fn tell_soon(&self, news: News) {
        self.spawn_news(async move { news });
    }

    fn listed(&mut self, grant: GrantKey, rows: Result<BTreeMap<Ordinal, CatalogRow>, Unready>) {
        let outcome = match (rows, self.books.get_mut(&grant)) {
            (Ok(rows), Some(book)) => {
                book.list = rows;
                Ok(())
            }
            (Ok(_), None) => Err(Unready::Never),
            (Err(why), _) => Err(why),
        };
        self.tell_core(Event::Prepared { grant, outcome });
    }

    // Devices.

    fn seat(&mut self, device: DeviceNo) -> Option<&mut Seat> {
        self.devices.get_mut(device.0 as usize)
    }

    fn say(&self, device: DeviceNo, message: &ToWorker) {
        if let Some(link) = self
            .devices
            .get(device.0 as usize)
            .and_then(|seat| seat.state.link())
        {
            link.say(message);
        }
    }

    /// Empties a seat: its worker is stopped, and the decoders are taken off what it will never hear.
    fn vacate(&mut self, device: DeviceNo) {
        let Some(seat) = self.seat(device) else {
            return;
        };
        seat.wait_told = 0.0;
        seat.stats = WorkerStats::default();
        if let State::Loading(link, ..) | State::Ready(link, ..) =
            std::mem::replace(&mut seat.state, State::Empty)
        {
            link.stop();
        }
        self.flights.retain(|_, flight| flight.device != device);
        for (_, slot) in self.slots.values().filter(|(of, _)| *of == device) {
            slot.interrupt_any();
        }
    }

    fn load(&mut self, device: DeviceNo, bundle: Digest) {
        self.vacate(device);
        let tenant = self
            .books
            .values()
            .find(|book| book.info.spec.bundle == bundle);
        let tenant = tenant
            .map(|book| book.info.spec.tenant.clone())
            .unwrap_or_default();
        if let Some(seat) = self.seat(device) {
            seat.state = State::Fetching(bundle);
        }
        let fetcher = Arc::clone(&self.fetcher);
        self.spawn_news(async move {
            let outcome = fetcher.bundle(&tenant, bundle).await;
            News::Fetched {
                device,
                bundle,
                outcome,
            }
        });
    }

    fn fetched(&mut self, device: DeviceNo, bundle: Digest, outcome: Result<Arc<Bundle>, Unready>) {
        let Some(Seat {
            state: State::Fetching(wanted),
            ..
        }) = self.seat(device)
        else {
            return;
        };
        if *wanted != bundle {
            return;
        }
        match outcome {
            Ok(opened) => self.start_worker(device, &opened),
            Err(why) => self.tell_core(Event::BundleUnready {
                device,
                bundle,
                why,
            }),
        }
    }

    fn start_worker(&mut self, device: DeviceNo, bundle: &Arc<Bundle>) {
        self.lives += 1;
        let (binary, life, slots) = (
            self.settings.worker.clone(),
            self.lives,
            self.settings.decoders,
        );
        let started = Link::start(
            &self.spawner,
            &binary,
            device,
            life,
            slots,
            self.tell.clone(),
        );
        let Some(seat) = self.seat(device) else {
            return;
        };
        match started {
            Ok((link, ears)) => {
                tracing::info!(device = %seat.device, pid = link.pid, bundle = %bundle.digest.short(), "worker started");
                link.say(&ToWorker::Load(Load {
                    bundle_dir: bundle.dir.display().to_string(),
                    bundle: bundle.digest,
                    device: seat.device.kind,
                    index: seat.device.index,
                    dtype: None,
                    slots,
                    max_batch: None,
                }));
                seat.state = State::Loading(link, ears, Arc::clone(bundle));
            }
            Err(error) => {
                tracing::error!(device = %seat.device, %error, "no worker");
                seat.state = State::Empty;
                self.tell_core(Event::WorkerDied {
                    device,
                    death: Death::Own,
                });
            }
        }
    }

    /// The worker has loaded its bundle: slots may attach their rings.
    fn loaded(&mut self, device: DeviceNo, loaded: Loaded) {
        let Some(seat) = self.seat(device) else {
            return;
        };
        match std::mem::replace(&mut seat.state, State::Empty) {
            State::Loading(link, ears, bundle) if loaded.bundle == bundle.digest => {
                let digest = bundle.digest;
                tracing::info!(device = %seat.device, dtype = %loaded.dtype, batch = loaded.max_batch, "bundle loaded");
                seat.state = State::Ready(Arc::clone(&link), bundle, loaded);
                self.tell_core(Event::DeviceReady {
                    device,
                    bundle: digest,
                });
                for ((number, (of, slot)), ear) in self.slots.iter().zip(ears) {
                    tracing::debug!(slot = number.0, "meets a worker");
                    if *of == device {
                        slot.meet(Arc::clone(&link), ear);
                    }
                }
            }
            other @ (State::Empty | State::Fetching(_) | State::Loading(..) | State::Ready(..)) => {
                seat.state = other;
                tracing::error!(device = device.0, "a worker loaded what it was not told to");
                self.say(device, &ToWorker::Stop);
            }
        }
    }

    fn take_out(&mut self, device: DeviceNo, code: Code) {
        if let Some(seat) = self.devices.get(device.0 as usize) {
            tracing::error!(device = %seat.device, %code, "the device is out of service");
            metrics::gauge!("trackscan_device_out", "device" => seat.device.to_string()).set(1.0);
        }
        self.vacate(device);
    }

    fn ended(&mut self, device: DeviceNo, life: u64, death: Death) {
        let current = self
            .seat(device)
            .is_some_and(|seat| seat.state.link().is_some_and(|link| link.life == life));
        if !current {
            return;
        }
        metrics::counter!("trackscan_worker_deaths", "device" => device.0.to_string()).increment(1);
        self.vacate(device);
        self.tell_core(Event::WorkerDied { device, death });
    }

    // Slots and tracks.

    fn seat_slot(&mut self, number: SlotNo, device: DeviceNo) -> std::io::Result<()> {
        let options = SlotOptions {
            slot: number,
            decoder: self.settings.decoder.clone(),
            tracks_per_decoder: self.settings.tracks_per_decoder,
            limits: Limits::default(),
        };
        let slot = Slot::start(options, self.spawner.clone(), self.tell.clone())?;
        self.slots.insert(number, (device, slot));
        Ok(())
    }

    fn slot_ready(&mut self, slot: SlotNo, link: &Link) {
        let current = self
            .devices
            .get(link.device.0 as usize)
            .and_then(|seat| seat.state.link());
        if current.is_some_and(|current| current.life == link.life) {
            self.tell_core(Event::SlotReady {
                device: link.device,
                slot,
            });
        }
    }

    fn begin(
        &mut self,
        token: Token,
        (device, slot): (DeviceNo, SlotNo),
        grant: GrantKey,
        ordinal: Ordinal,
    ) {
        let flight = Flight::new((grant.clone(), ordinal), (device, slot), wall());
        self.flights.insert(token, flight);
        let track = self
            .books
            .get(&grant)
            .and_then(|book| book.list.get(&ordinal))
            .cloned();
        let rate_hz = self.devices.get(device.0 as usize).and_then(Seat::rate_hz);
        let (Some(track), Some(rate_hz)) = (track, rate_hz) else {
            return self.end_soon(token, TrackOutcome::Unreachable);
        };
        match self.sources.get(&track.source) {
            Ok(source) => {
                let work = slot::Work {
                    token: token.0,
                    source,
                    key: track.key,
                    bytes: track.bytes,
                    rate_hz,
                };
                if let Some((_, slot)) = self.slots.get(&slot) {
                    slot.work(work);
                }
            }
            Err(error) => {
                tracing::warn!(source = %track.source, %error, "no such source here");
                self.end_soon(token, TrackOutcome::Unreachable);
                let link = self
                    .devices
                    .get(device.0 as usize)
                    .and_then(|seat| seat.state.link())
                    .cloned();
                if let Some(link) = link {
                    self.tell_soon(News::SlotReady { slot, link });
                }
            }
        }
    }

    /// Ends a try without a row; as news, since the core is at work.
    fn end_soon(&mut self, token: Token, outcome: TrackOutcome) {
        self.flights.remove(&token);
        self.tell_soon(News::Core(Event::TrackEnded { token, outcome }));
    }

    fn abort(&mut self, token: Token) {
        if let Some(flight) = self.flights.remove(&token)
            && let Some((_, slot)) = self.slots.get(&flight.slot)
        {
            slot.interrupt(token.0);
        }
    }

    fn reject(&mut self, grant: &GrantKey, ordinal: Ordinal, code: Code) {
        let Some(book) = self.books.get_mut(grant) else {
            return;
        };
        let Some(track) = book.list.get(&ordinal) else {
            return;
        };
        let row = rows::rejected(track, &book.info.spec, code, None);
        let now = wall();
        let made = MadeRow {
            row,
            ledger: types::Ledger::default(),
            from: now,
            to: now,
            screened_from: None,
        };
        book.made.insert(ordinal, made);
    }

    fn land(&mut self, token: Token, step: impl FnOnce(&mut Flight) -> Option<Landing>) {
        let Some(flight) = self.flights.get_mut(&token) else {
            return;
        };
        let Some(landing) = step(flight) else { return };
        let Some(flight) = self.flights.remove(&token) else {
            return;
        };
        let outcome = match landing {
            Landing::Lost(outcome) => outcome,
            Landing::Scored(told) => self.make_scored(&flight, *told),
            Landing::Unscannable(refusal, reading) => {
                self.make_unscannable(&flight, refusal, &reading)
            }
        };
        self.tell_core(Event::TrackEnded { token, outcome });
    }

    fn make_scored(
        &mut self,
        flight: &Flight,
        (summary, reading, digest, score): (
            audio::protocol::Summary,
            crate::news::Reading,
            Digest,
            engine::TrackScore,
        ),
    ) -> TrackOutcome {
        let Some((bundle, scorer)) = self
            .devices
            .get(flight.device.0 as usize)
            .and_then(Seat::scorer)
        else {
            return TrackOutcome::Unreachable;
        };
        let Some(book) = self.books.get_mut(&flight.grant) else {
            return TrackOutcome::Unreachable;
        };
        let Some(track) = book.list.get(&flight.ordinal) else {
            return TrackOutcome::Unreachable;
        };
        let (row, ledger) = rows::scored(
            track,
            &book.info.spec,
            &bundle,
            &scorer,
            (&summary, &reading, digest),
            score,
        );
        let device = scorer.device;
        metrics::counter!("trackscan_tracks", "device" => device, "verdict" => row.verdict.as_str()).increment(1);
        metrics::counter!("trackscan_stage_wait_microseconds", "stage" => "source")
            .increment(reading.wait_us);
        let made = MadeRow {
            row,
            ledger,
            from: flight.begun,
            to: wall(),
            screened_from: Some(flight.begun),
        };
        book.made.insert(flight.ordinal, made);
        TrackOutcome::Scored
    }

    fn make_unscannable(
        &mut self,
        flight: &Flight,
        refusal: crate::news::Refusal,
        reading: &crate::news::Reading,
    ) -> TrackOutcome {
        let Some(book) = self.books.get_mut(&flight.grant) else {
            return TrackOutcome::Unreachable;
        };
        let Some(track) = book.list.get(&flight.ordinal) else {
            return TrackOutcome::Unreachable;
        };
        tracing::info!(source = %track.source, key = track.key, code = %refusal.code, detail = refusal.detail, "unscannable");
        metrics::counter!("trackscan_unscannable", "code" => refusal.code.as_str()).increment(1);
        let (row, ledger) = rows::unscannable(track, &book.info.spec, refusal, reading);
        let made = MadeRow {
            row,
            ledger,
            from: flight.begun,
            to: wall(),
            screened_from: None,
        };
        book.made.insert(flight.ordinal, made);
        TrackOutcome::Unscannable
    }

    // News.

    fn take(&mut self, news: News) {
        match news {
            News::Core(event) => self.answered(event),
            News::Worked {
                session,
                number,
                answer,
            } => self.worked(session, number, answer),
            News::Listed { grant, rows } => self.listed(grant, rows),
            News::Fetched {
                device,
                bundle,
                outcome,
            } => self.fetched(device, bundle, outcome),
            News::Said {
                device,
                life,
                message,
            } => self.said(device, life, *message),
            News::Ended {
                device,
                life,
                death,
            } => self.ended(device, life, death),
            News::SlotReady { slot, link } => self.slot_ready(slot, &link),
            News::Decoded { token, outcome } => self.decoded(token, *outcome),
            News::Hashed { token, outcome } => {
                self.land(Token(token), |flight| flight.hashed(outcome))
            }
            News::Part { part, outcome } => self.part_written(part, outcome),
            News::Fatal(problem) => self.fatal = Some(problem),
        }
    }

    fn answered(&mut self, event: Event) {
        // A coordinator of another version will not change its mind.
        if event == Event::Joined(Err(CallError::Refused(Code::VersionMismatch))) {
            self.fatal = Some(Problem::new(Code::VersionMismatch, "join the coordinator"));
        } else {
            self.tell_core(event);
        }
    }

    fn decoded(&mut self, token: u64, outcome: Decoded) {
        self.land(Token(token), |flight| flight.decoded(outcome));
    }

    fn said(&mut self, device: DeviceNo, life: u64, message: FromWorker) {
        let current = self
            .seat(device)
            .is_some_and(|seat| seat.state.link().is_some_and(|link| link.life == life));
        if !current {
            return;
        }
        match message {
            FromWorker::Loaded(loaded) => self.loaded(device, loaded),
            FromWorker::LoadFailed { detail, bundle } => self.load_failed(device, &detail, bundle),
            FromWorker::Scored { token, score } => {
                self.land(Token(token), |flight| flight.scored(score))
            }
            FromWorker::TrackFailed {
                token,
                code,
                detail,
            } => self.track_failed(token, code, detail),
            FromWorker::CanaryResult {
                nonce,
                ok,
                worst,
                reason,
            } => {
                tracing::info!(device = device.0, ok, worst, reason, "canary");
                self.tell_core(Event::CanarySung {
                    device,
                    nonce,
                    good: ok,
                });
            }
            FromWorker::Beat(stats) => self.note_stats(device, stats),
            FromWorker::DeviceFailed { detail } => {
                tracing::error!(device = device.0, detail, "the device failed")
            }
            FromWorker::Ready { .. }
            | FromWorker::Drained { .. }
            | FromWorker::Aborted { .. }
            | FromWorker::RingLost { .. } => {}
        }
    }

    fn load_failed(&mut self, device: DeviceNo, detail: &str, bundle: bool) {
        tracing::error!(device = device.0, detail, "the bundle was not loaded");
        let Some(Seat {
            state: State::Loading(_, _, loading),
            ..
        }) = self.seat(device)
        else {
            return;
        };
        let digest = loading.digest;
        self.vacate(device);
        self.tell_core(if bundle {
            Event::BundleUnready {
                device,
                bundle: digest,
                why: Unready::Never,
            }
        } else {
            Event::WorkerDied {
                device,
                death: Death::Own,
            }
        });
    }

    fn track_failed(&mut self, token: u64, code: Code, detail: String) {
        if let Some(flight) = self.flights.get(&Token(token))
            && code == Code::RingViolation
            && let Some((_, slot)) = self.slots.get(&flight.slot)
        {
            // Its decoder is not to be trusted with another word.
            slot.interrupt(token);
        }
        self.land(Token(token), |flight| Some(flight.failed(code, detail)));
    }

    fn note_stats(&mut self, device: DeviceNo, stats: WorkerStats) {
        let Some(seat) = self.seat(device) else {
            return;
        };
        seat.stats = stats;
        let name = seat.device.to_string();
        for (stage, seconds) in [
            ("screen_wait", stats.wait_seconds),
            ("screen_read", stats.read_seconds),
            ("screen", stats.engine_seconds),
            ("screen_answer", stats.answer_seconds),
        ] {
            metrics::gauge!("trackscan_worker_seconds", "device" => name.clone(), "stage" => stage)
                .set(seconds);
        }
        metrics::gauge!("trackscan_worker_windows", "device" => name.clone())
            .set(stats.windows as f64);
        metrics::gauge!("trackscan_worker_batches", "device" => name).set(stats.batches as f64);
    }

    /// Looks for silent workers and for sources that do not answer.
    fn look_after(&mut self) {
        for seat in &self.devices {
            if let Some(link) = seat.state.link()
                && link.silence() > self.settings.silence
            {
                tracing::error!(device = %seat.device, pid = link.pid, "the worker hangs");
                link.kill_as_hung();
            }
        }
        let stuck: Vec<(SlotNo, DeviceNo)> = self
            .slots
            .iter()
            .filter(|(_, (_, slot))| {
                slot.waits_for_source()
                    .is_some_and(|wait| wait > SOURCE_DEADLINE)
            })
            .map(|(number, (device, _))| (*number, *device))
            .collect();
        for (slot, device) in stuck {
            self.replace_slot(slot, device);
        }
        metrics::gauge!("trackscan_open_tracks").set(self.core.open_tracks() as f64);
    }

    /// Gives up a slot whose thread waits for a source that does not answer; the thread ends when it is answered.
    fn replace_slot(&mut self, number: SlotNo, device: DeviceNo) {
        tracing::warn!(slot = number.0, "a source does not answer");
        let token = self
            .flights
            .iter()
            .find(|(_, flight)| flight.slot == number)
            .map(|(token, _)| *token);
        if let Err(error) = self.seat_slot(number, device) {
            tracing::error!(%error, "no new slot");
            return;
        }
        if let Some(token) = token {
            self.say(
                device,
                &ToWorker::AbortTrack {
                    slot: number.0,
                    token: token.0,
                },
            );
            self.end_soon(token, TrackOutcome::Unreachable);
        }
        let link = self
            .devices
            .get(device.0 as usize)
            .and_then(|seat| seat.state.link())
            .cloned();
        if let Some(link) = link
            && let Some(ear) = link.ear(number.0)
            && let Some((_, slot)) = self.slots.get(&number)
        {
            slot.meet(link, ear);
        }
    }

    // Parts.

    fn take_found(&mut self) -> std::io::Result<()> {
        for (number, saved) in (0..).map(PartNo).zip(self.shelf.find()?) {
            let found = Found {
                grant: saved.claim.grant.clone(),
                tracks: saved.claim.tracks.clone(),
                part: number,
            };
            tracing::info!(job = %found.grant.job, shard = %found.grant.shard, "a part of an earlier life");
            self.parts.insert(number, Arc::new(saved));
            self.tell_core(Event::Found(found));
        }
        Ok(())
    }

    fn write_part(
        &mut self,
        part: PartNo,
        grant: GrantKey,
        tracks: &TrackSet,
        device: Option<DeviceNo>,
    ) {
        if let Some(saved) = self.parts.get(&part).cloned() {
            let storage = self.storage.clone();
            return self.spawn_news(async move { put(part, saved, &storage).await });
        }
        let (node, name) = (
            self.settings.name.clone(),
            device.and_then(|device| self.name_of(device)),
        );
        let wait_us = device.map_or(0, |device| self.take_wait(device));
        let Some(book) = self.books.get(&grant) else {
            return;
        };
        let info = &book.info;
        let (spec, epoch, generation) = (info.spec.clone(), info.epoch, info.generation);
        let about = Circumstances {
            grant,
            spec,
            epoch,
            generation,
            node,
            device: name,
            wait_us,
        };
        let (footer, rows) = compose(&about, tracks, &book.made);
        let (shelf, storage) = (self.shelf.clone(), self.storage.clone());
        self.spawn_news(async move {
            let saved = tokio::task::spawn_blocking(move || shelf.save(&footer, &rows)).await;
            match saved {
                Ok(Ok(saved)) => put(part, Arc::new(saved), &storage).await,
                Ok(Err(problem)) => News::Part {
                    part,
                    outcome: Err(problem),
                },
                Err(error) => News::Part {
                    part,
                    outcome: Err(Problem::new(Code::Internal, error.to_string())),
                },
            }
        });
    }

    fn name_of(&self, device: DeviceNo) -> Option<String> {
        self.devices
            .get(device.0 as usize)
            .map(|seat| seat.device.to_string())
    }

    /// The device's waiting time since its last part, microseconds.
    fn take_wait(&mut self, device: DeviceNo) -> u64 {
        let Some(seat) = self.seat(device) else {
            return 0;
        };
        let since = (seat.stats.wait_seconds - seat.wait_told).max(0.0);
        seat.wait_told = seat.stats.wait_seconds;
        (since * 1e6) as u64
    }

    fn part_written(&mut self, part: PartNo, outcome: Result<(Arc<Saved>, bool), Problem>) {
        let stored = match outcome {
            Ok((saved, stored)) => {
                // Its rows are on disk now; they need not stay in memory too.
                if let Some(book) = self.books.get_mut(&saved.claim.grant) {
                    book.made
                        .retain(|ordinal, _| !saved.claim.tracks.contains(*ordinal));
                }
                if !self.core.has_part(part) {
                    return saved.remove();
                }
                self.parts.insert(part, saved);
                stored
            }
            Err(problem) => {
                tracing::error!(%problem, "a part was not written");
                false
            }
        };
        self.tell_core(Event::PartWritten { part, stored });
    }

    fn forget_part(&mut self, part: PartNo) {
        if let Some(saved) = self.parts.remove(&part) {
            saved.remove();
        }
    }

    fn stop_workers(&mut self) {
        for seat in &mut self.devices {
            if let State::Loading(link, ..) | State::Ready(link, ..) =
                std::mem::replace(&mut seat.state, State::Empty)
            {
                link.say(&ToWorker::Stop);
            }
        }
    }
}

async fn put(part: PartNo, saved: Arc<Saved>, storage: &Storage) -> News {
    let outcome = saved.put(storage).await;
    if let Err(error) = &outcome {
        tracing::warn!(%error, cause = ?std::error::Error::source(error), "a part was not put");
    }
    News::Part {
        part,
        outcome: Ok((saved, outcome.is_ok())),
    }
}

impl Seat {
    fn new(device: Device) -> Self {
        Self {
            device,
            state: State::Empty,
            stats: WorkerStats::default(),
            wait_told: 0.0,
        }
    }

    fn rate_hz(&self) -> Option<u32> {
        match &self.state {
            State::Ready(_, _, loaded) => Some(loaded.rate_hz),
            State::Empty | State::Fetching(_) | State::Loading(..) => None,
        }
    }

    fn scorer(&self) -> Option<(Arc<Bundle>, Scorer)> {
        match &self.state {
            State::Ready(_, bundle, loaded) => {
                let device = self.device.to_string();
                let scorer = Scorer {
                    device,
                    dtype: loaded.dtype,
                    rate_hz: loaded.rate_hz,
                    hop: loaded.hop,
                };
                Some((Arc::clone(bundle), scorer))
            }
            State::Empty | State::Fetching(_) | State::Loading(..) => None,
        }
    }
}

/// This machine's wall clock: for records that are shown.
fn wall() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A number that no other life of this node has, but for bad luck in 2^64.
fn nonce() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
