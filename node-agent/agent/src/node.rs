//! The node: the core's shell. One task takes news and time to the core and carries out what it asks for; all that waits
//! or computes runs elsewhere and tells news.

mod calls;
mod flights;
mod seats;
mod unfinished;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use agent_core::{
    Action, Actions, CallError, Config, Core, Death, DeviceNo, Event, Found, GrantKey, PartNo,
    Pulled, SlotNo, Token, TrackOutcome, Unready,
};
use audio::child::Spawner;
use audio::limits::Limits;
use bundle::{Bundle, Residual};
use engine::{FromWorker, Load, Loaded, LoadedResidual, ToWorker, WorkerStats};
use runtime::shutdown::Shutdown;
use storage::{Place, Sources, Storage};
use tokio::sync::mpsc;
use types::{Code, Device, Digest, Millis, Problem, PullNo, Session, SourceName, Stage};

use crate::clock::FleetClock;
use crate::coordinator::{Coordinator, Introduction, Work};
use crate::fetch::{Fetcher, Rows};
use crate::news::{Decoded, News, Teller, queue};
use crate::parts::{Circumstances, Flushed, Saved, Shelf, compose};
use crate::residual;
use crate::rows::{self, MadeRow, Scorer};
use crate::settings::NodeSettings;
use crate::slot::{self, Shared, Slot, SlotOptions};
use crate::tracks::{Book, Flight, Landing, Measured};
use crate::worker::Link;

/// How often silence and slow sources are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Threads that wait for sources beyond their tracks, at most: each holds an open file and its stack, and a source that
/// never answers would take more with every try. Beyond that a slot waits until its own thread is answered.
const ABANDONED_MAX: usize = 64;

/// How long a farewell may take once a drain's time is over: one call on a good day, and within what a supervisor that allowed
/// the drain allows beyond it.
const FAREWELL: Duration = Duration::from_secs(3);

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
    /// What its parts are stamped with.
    pub clock: FleetClock,
}

/// A node at work.
pub struct Node {
    settings: NodeSettings,
    coordinator: Arc<dyn Coordinator>,
    clock: FleetClock,
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
    /// Slots that were replaced, for as long as their threads live.
    abandoned: Vec<Weak<Shared>>,
    books: BTreeMap<GrantKey, Book>,
    flights: BTreeMap<Token, Flight>,
    parts: BTreeMap<PartNo, Arc<Saved>>,
    /// What a device waited for parts that are not on disk yet, microseconds: a part that is written again has the same bytes.
    waits: BTreeMap<PartNo, u64>,
    lives: u64,
    /// Events that came up while the core was told of another.
    waiting: VecDeque<Event>,
    telling: bool,
    fatal: Option<Problem>,
    exit: bool,
}

/// Why a node ended that could work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its process was asked to end: another life may follow at once.
    Asked,
    /// An operator drained it, as the coordinator told: another life would be drained again.
    Drained,
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
    Loading(Arc<Link>, Arc<Bundle>),
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
            mut settings,
            devices,
            storage,
            coordinator,
            clock,
        } = equipment;
        let internal = |error: std::io::Error| {
            Problem::new(Code::Internal, format!("start the node: {error}"))
        };
        let shelf = Shelf::open(&settings.data.join("parts")).map_err(internal)?;
        let mut sources = Sources::default();
        for (name, at) in &settings.sources {
            match &at.place {
                Place::Folder(folder) => sources.configure(name.clone(), folder),
                Place::S3(_) | Place::Gcs(_) | Place::Azure { .. } => {
                    let connected = sources.connect(name.clone(), at);
                    connected.map_err(|error| Problem::of(Code::ConfigInvalid, &error))?;
                }
            }
        }
        let count = u32::try_from(devices.len())
            .map_err(|_| Problem::new(Code::Internal, "count devices"))?;
        // A device without a decoder would never have work.
        settings.decoders = settings.decoders.max(count);
        let introduction = Arc::new(Introduction {
            devices: devices.clone(),
            stages: settings.stages.stages(),
            decoders: settings.decoders,
            sources: settings.sources.keys().cloned().collect(),
            accepts_sources: settings.accept_sources,
            nonce: nonce(),
        });
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
            clock,
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
            abandoned: Vec::new(),
            books: BTreeMap::new(),
            flights: BTreeMap::new(),
            parts: BTreeMap::new(),
            waits: BTreeMap::new(),
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

    /// Works until the end is asked for and what is in hand is done. Where the drain's time is over before, what is in hand is given
    /// up and all that is held given back, so that nobody takes the tracks for what ended the node.
    ///
    /// # Errors
    /// When the node cannot work at all.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<Ended, Problem> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut asked = false;
        let (mut patience, mut farewell) = (None::<Instant>, None::<Instant>);
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
            let is_over = |time: Option<Instant>| time.is_some_and(|until| Instant::now() >= until);
            if farewell.is_none() && is_over(patience) {
                tracing::warn!("the drain's time is over; what is in hand is given up");
                farewell = Some(Instant::now() + FAREWELL);
                self.tell_core(Event::DrainOver);
            } else if is_over(farewell) {
                tracing::warn!("the farewell has no answer; what is not committed stays on disk");
                break;
            }
        }
        self.stop_workers();
        let ended = if asked { Ended::Asked } else { Ended::Drained };
        self.fatal.map_or(Ok(ended), Err)
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
            Action::Sing {
                device,
                stage,
                nonce,
            } => self.sing(device, stage, nonce),
            Action::WritePart {
                part,
                grant,
                tracks,
                onward,
                withheld,
                borderline,
                device,
            } => {
                let flushed = Flushed {
                    tracks,
                    onward,
                    withheld,
                    borderline,
                };
                self.write_part(part, grant, flushed, device);
            }
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
                    .is_some_and(|wait| wait > self.settings.source_silence)
            })
            .map(|(number, (device, _))| (*number, *device))
            .collect();
        for (slot, device) in stuck {
            self.give_up_slot(slot, device);
        }
        metrics::gauge!("trackscan_open_tracks").set(self.core.open_tracks() as f64);
        metrics::counter!("trackscan_invariant_violations_total", "invariant" => "I19")
            .absolute(self.core.unrenewed_commits());
    }
}

async fn put(part: PartNo, saved: Arc<Saved>, storage: &Storage) -> News {
    let outcome = saved.put(storage).await;
    if let Err(error) = &outcome {
        tracing::warn!(%error, cause = ?std::error::Error::source(error), "a part was not put");
    }
    News::Part {
        part,
        outcome: Ok((saved, outcome.map_err(|error| error.code()))),
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

    /// The way to its worker, once that has loaded its bundle.
    fn ready(&self) -> Option<&Arc<Link>> {
        match &self.state {
            State::Ready(link, ..) => Some(link),
            State::Empty | State::Fetching(_) | State::Loading(..) => None,
        }
    }

    fn rate_hz(&self) -> Option<u32> {
        match &self.state {
            State::Ready(_, _, loaded) => Some(loaded.rate_hz),
            State::Empty | State::Fetching(_) | State::Loading(..) => None,
        }
    }

    /// As [`residual::served`]; not before the bundle is loaded.
    fn residual(&self) -> Result<(&Residual, LoadedResidual), &'static str> {
        match &self.state {
            State::Ready(_, bundle, loaded) => residual::served(&bundle.manifest, loaded),
            State::Empty | State::Fetching(_) | State::Loading(..) => Err("no bundle is loaded"),
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
                    residual: loaded.residual,
                };
                Some((Arc::clone(bundle), scorer))
            }
            State::Empty | State::Fetching(_) | State::Loading(..) => None,
        }
    }
}

/// A number that no other life of this node has, but for bad luck in 2^64.
fn nonce() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
