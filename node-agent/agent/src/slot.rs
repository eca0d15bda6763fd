//! One decoder slot: a decoder process, its ring, and the track that goes through them. A thread of its own, since all of
//! it waits.
//!
//! The decoder asks for bytes, this thread reads them from the source and passes them on; the PCM goes past this process,
//! through the ring to the worker. Whatever a decoder says is checked against the little that must hold; a decoder that
//! breaks that, dies, or is taken off its track is replaced, with a new ring.

mod run;
mod talk;

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_core::SlotNo;
use audio::child::Spawner;
use audio::limits::Limits;
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
    /// The rate at which the worker hears.
    pub(crate) rate_hz: u32,
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

/// What handle and thread share.
#[derive(Debug, Default)]
struct Shared {
    /// The try in hand with a copy of its decoder's socket, so that the decoder can be taken off it.
    current: Mutex<Option<(u64, Option<UnixStream>)>>,
    /// The last try that was interrupted.
    interrupted: AtomicU64,
    /// When it began to wait for a source, while it does.
    reading: Mutex<Option<Instant>>,
}

impl Shared {
    /// Does something that waits for a source, and lets that be seen.
    fn timed<T>(&self, wait: impl FnOnce() -> T) -> T {
        let mark = |since| *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = since;
        mark(Some(Instant::now()));
        let done = wait();
        mark(None);
        done
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
        let hasher = Hasher::start(news.clone())?;
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
        self.send(Command::Work(Box::new(work)));
    }

    /// Takes the decoder off this try, if it is on it. The slot says when it is ready again.
    pub(crate) fn interrupt(&self, token: u64) {
        let current = self
            .shared
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, socket)) = current.as_ref().filter(|(of, _)| *of == token) {
            self.shared.interrupted.store(token, Ordering::Release);
            hang_up(socket.as_ref());
        }
    }

    /// Takes the decoder off whatever it does.
    pub(crate) fn interrupt_any(&self) {
        let current = self
            .shared
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((token, socket)) = current.as_ref() {
            self.shared.interrupted.store(*token, Ordering::Release);
            hang_up(socket.as_ref());
        }
    }

    /// How long its thread has been waiting for a source.
    pub(crate) fn waits_for_source(&self) -> Option<Duration> {
        let reading = self
            .shared
            .reading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reading.map(|since| since.elapsed())
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
        self.interrupt_any();
        let _thread_gone = self.commands.try_send(Command::Quit);
    }
}

fn hang_up(socket: Option<&UnixStream>) {
    if let Some(socket) = socket {
        let _already_gone = socket.shutdown(Shutdown::Both);
    }
}
