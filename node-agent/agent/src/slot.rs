//! One decoder slot: a decoder process, its ring, and the track that goes through them. A thread of its own, since all of
//! it waits.
//!
//! The decoder asks for bytes, this thread reads them from the source and passes them on; the PCM goes past this process,
//! through the ring to the worker. Whatever a decoder says is checked against the little that must hold; a decoder that
//! breaks that, dies, or is taken off its track is replaced, with a new ring.

mod decoder;
mod run;
mod silence;
pub(crate) mod talk;

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use agent_core::SlotNo;
use audio::child::Spawner;
use audio::limits::Limits;
use audio::protocol::{ChannelRule, OutputSpec};
use engine::{LoadedResidual, ResidualPass, ToWorker};
use storage::Source;

use crate::hasher::Hasher;
use crate::news::Teller;
use crate::worker::{Link, SlotEar};
use run::Thread;

/// Commands that wait: a worker's life, a track, and an end, with room for a life that ends at once.
const COMMANDS_MAX: usize = 8;
/// What a slot's thread needs for its life.
#[derive(Clone, Debug)]
pub(crate) struct SlotOptions {
    /// Its number.
    pub(crate) slot: SlotNo,
    /// The decoder's binary.
    pub(crate) decoder: PathBuf,
    /// Tracks after which its decoder is replaced.
    pub(crate) tracks_per_decoder: u32,
    /// What one track may cost.
    pub(crate) limits: Limits,
    /// Longest time for which a decoder may say nothing while its ring has room and nothing comes into it, or take nothing that it
    /// asked for.
    pub(crate) silence: Duration,
    /// Longest time for which it may leave its ring empty, besides what sound and source excuse.
    pub(crate) patience: Duration,
}

/// One track to decode.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// The try.
    pub(crate) token: u64,
    /// Where it is read.
    pub(crate) source: Arc<Source>,
    /// Its key there.
    pub(crate) key: String,
    /// Its size as the snapshot has it.
    pub(crate) bytes: Option<u64>,
    /// Its version as the snapshot has it.
    pub(crate) content_id: Option<String>,
    /// The rate at which the worker hears.
    pub(crate) rate_hz: u32,
    /// Where the track is there for its residual: how the worker hears it then, and which segments of it.
    pub(crate) residual: Option<(LoadedResidual, ResidualPass)>,
}

impl Work {
    /// What the decoder is to put into the ring.
    fn output(&self) -> OutputSpec {
        let (rate_hz, channels) = match &self.residual {
            None => (self.rate_hz, ChannelRule::Mono),
            Some((residual, _)) if residual.channels == 1 => (residual.rate_hz, ChannelRule::Mono),
            Some((residual, _)) => (residual.rate_hz, ChannelRule::Stereo),
        };
        OutputSpec {
            rate_hz: Some(rate_hz),
            channels,
        }
    }

    /// Channels of that.
    fn channels(&self) -> u16 {
        match self.output().channels {
            ChannelRule::Stereo => 2,
            ChannelRule::Mono | ChannelRule::Native => 1,
        }
    }

    /// What the worker is told of the track before its first sample comes.
    fn begin(&self, slot: SlotNo, limits: &Limits, patience_ms: u64) -> ToWorker {
        let seconds = u64::from(limits.duration_s) + 1;
        let rate_hz = self.output().rate_hz.unwrap_or(self.rate_hz);
        // A second is for what a resampler adds at the ends.
        let samples_max = seconds * u64::from(rate_hz) * u64::from(self.channels());
        match &self.residual {
            None => ToWorker::Track {
                slot: slot.0,
                token: self.token,
                samples_max: Some(samples_max),
                patience_ms: Some(patience_ms),
            },
            Some((_, pass)) => ToWorker::Separate {
                slot: slot.0,
                token: self.token,
                pass: pass.clone(),
                samples_max: Some(samples_max),
                patience_ms: Some(patience_ms),
            },
        }
    }
}

enum Command {
    Worker(Arc<Link>, SlotEar),
    Work(Box<Work>),
    Quit,
}

/// The handle of a slot's thread.
#[derive(Debug)]
pub(crate) struct Slot {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
}

/// The try in hand with a copy of its decoder's socket, so that the decoder can be taken off it.
type Current = Option<(u64, Option<UnixStream>)>;

/// What handle and threads share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    current: Mutex<Current>,
    /// The last try that was interrupted.
    interrupted: AtomicU64,
    /// The handle is gone: another thread has the slot.
    retired: AtomicBool,
    /// The slot's thread waits for a source.
    pub(crate) reading: Wait,
    /// The hasher's thread waits for a source.
    pub(crate) hashing: Wait,
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody wants to hear of the try any more.
    fn is_given_up(&self, token: u64) -> bool {
        self.retired.load(Ordering::Acquire) || self.interrupted.load(Ordering::Acquire) == token
    }
}

/// A wait that other threads can see.
#[derive(Debug, Default)]
pub(crate) struct Wait(Mutex<Option<Instant>>);

impl Wait {
    /// Does something that waits, and lets that be seen.
    pub(crate) fn timed<T>(&self, wait: impl FnOnce() -> T) -> T {
        let mark = |since| *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
        mark(Some(Instant::now()));
        let done = wait();
        mark(None);
        done
    }

    /// How long it has lasted, while it does.
    fn lasts(&self) -> Option<Duration> {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed())
    }
}

/// No try: tokens count from 0 far below it.
const NONE: u64 = u64::MAX;

impl Slot {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when no thread can be made.
    pub(crate) fn start(
        options: SlotOptions,
        spawner: Spawner,
        news: Teller,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = sync_channel(COMMANDS_MAX);
        let shared = Arc::new(Shared {
            interrupted: AtomicU64::new(NONE),
            ..Shared::default()
        });
        let hasher = Hasher::start(news.clone(), Arc::clone(&shared))?;
        let thread = Thread {
            options,
            spawner,
            news,
            shared: Arc::clone(&shared),
            hasher,
            decoder: None,
            worker: None,
        };
        std::thread::Builder::new()
            .name("slot".into())
            .spawn(move || thread.run(&inbox))?;
        Ok(Self { commands, shared })
    }

    /// A new worker serves the device: rings are to be attached to it.
    pub(crate) fn meet(&self, link: Arc<Link>, ear: SlotEar) {
        self.send(Command::Worker(link, ear));
    }

    /// Decodes a track. The slot must have said that it is ready.
    pub(crate) fn work(&self, work: Work) {
        // From now on it can be interrupted, also before the thread has read the command.
        *self.shared.current() = Some((work.token, None));
        self.send(Command::Work(Box::new(work)));
    }

    /// Takes the decoder off this try, if it is on it. The slot says when it is ready again.
    pub(crate) fn interrupt(&self, token: u64) {
        let current = self.shared.current();
        if let Some((_, socket)) = current.as_ref().filter(|(of, _)| *of == token) {
            self.shared.interrupted.store(token, Ordering::Release);
            hang_up(socket.as_ref());
        }
    }

    /// Takes the decoder off whatever it does.
    pub(crate) fn interrupt_any(&self) {
        let current = self.shared.current();
        if let Some((token, socket)) = current.as_ref() {
            self.shared.interrupted.store(*token, Ordering::Release);
            hang_up(socket.as_ref());
        }
    }

    /// How long one of its threads has been waiting for a source.
    pub(crate) fn waits_for_source(&self) -> Option<Duration> {
        self.shared.reading.lasts().max(self.shared.hashing.lasts())
    }

    /// Tells for how long its threads live, also without this handle.
    pub(crate) fn life(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    fn send(&self, command: Command) {
        match self.commands.try_send(command) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::error!("a slot was told more than it can have asked for")
            }
            Err(TrySendError::Disconnected(_)) => tracing::error!("a slot's thread is gone"),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.retired.store(true, Ordering::Release);
        self.interrupt_any();
        let _thread_gone = self.commands.try_send(Command::Quit);
    }
}

fn hang_up(socket: Option<&UnixStream>) {
    if let Some(socket) = socket {
        let _already_gone = socket.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::Sources;
    use types::SourceName;

    /// A slot whose thread never comes round to anything.
    fn slot() -> (Slot, std::sync::mpsc::Receiver<Command>) {
        let (commands, inbox) = sync_channel(COMMANDS_MAX);
        let shared = Arc::new(Shared {
            interrupted: AtomicU64::new(NONE),
            ..Shared::default()
        });
        (Slot { commands, shared }, inbox)
    }

    fn work(token: u64) -> Work {
        let folder = tempfile::tempdir().unwrap();
        let name = SourceName::new("music").unwrap();
        let mut sources = Sources::default();
        sources.add(name.clone(), folder.path()).unwrap();
        Work {
            token,
            source: sources.get(&name).unwrap(),
            key: "a.wav".to_owned(),
            bytes: None,
            content_id: None,
            rate_hz: 16_000,
            residual: None,
        }
    }

    #[test]
    fn a_track_for_its_residual_is_asked_for_in_its_own_rate_and_channels() {
        let limits = Limits {
            duration_s: 9,
            ..Limits::default()
        };
        let mut work = work(7);
        assert_eq!((work.output().rate_hz, work.channels()), (Some(16_000), 1));
        assert!(matches!(
            work.begin(SlotNo(3), &limits, 5),
            ToWorker::Track {
                slot: 3,
                token: 7,
                samples_max: Some(160_000),
                patience_ms: Some(5),
            }
        ));
        let pass = ResidualPass {
            starts: vec![0, 8],
            mean: 0.5,
            deviation: 0.25,
        };
        for (channels, rule) in [(1, ChannelRule::Mono), (2, ChannelRule::Stereo)] {
            let residual = LoadedResidual {
                rate_hz: 44_100,
                channels,
                segment: 8,
                max_batch: 1,
            };
            work.residual = Some((residual, pass.clone()));
            let output = work.output();
            assert_eq!((output.rate_hz, output.channels), (Some(44_100), rule));
            let values = 441_000 * u64::from(channels);
            let told = work.begin(SlotNo(3), &limits, 5);
            assert!(
                matches!(&told, ToWorker::Separate { pass: of, samples_max: Some(max), .. } if *of == pass && *max == values),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_try_can_be_interrupted_before_its_thread_has_read_of_it() {
        let (slot, _inbox) = slot();
        slot.work(work(7));
        slot.interrupt(6);
        assert!(!slot.shared.is_given_up(7), "another try was meant");
        slot.interrupt_any();
        assert!(slot.shared.is_given_up(7) && !slot.shared.is_given_up(8));
    }

    #[test]
    fn a_thread_whose_handle_is_gone_learns_it_and_is_counted_until_it_ends() {
        let (slot, inbox) = slot();
        slot.work(work(7));
        let (life, thread) = (slot.life(), Arc::clone(&slot.shared));
        drop(slot);
        assert!(thread.is_given_up(7) && thread.is_given_up(8));
        assert_eq!(life.strong_count(), 1);
        drop((thread, inbox));
        assert_eq!(life.strong_count(), 0);
    }

    #[test]
    fn a_wait_shows_while_it_lasts_and_not_afterwards() {
        let (slot, _inbox) = slot();
        assert_eq!(slot.waits_for_source(), None);
        slot.shared
            .hashing
            .timed(|| assert!(slot.waits_for_source().is_some()));
        slot.shared
            .reading
            .timed(|| assert!(slot.waits_for_source().is_some()));
        assert_eq!(slot.waits_for_source(), None);
    }
}
