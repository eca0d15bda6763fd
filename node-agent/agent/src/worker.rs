//! One device's worker process: started, spoken to, listened to, and buried.
//!
//! A worker's life has a number; whatever an older life says or held is void. A thread per life listens; its end of the
//! socket closes when the process is gone, however it went, so that no death is missed. The kernel kills workers with
//! this process (see [`Spawner`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_core::{Death, DeviceNo};
use audio::child::{SpawnError, Spawner};
use audio::ring::RingFds;
use engine::frames::{self, FrameError, FrameReader};
use engine::{FromWorker, ToWorker};

use crate::news::{News, Teller};

/// How long a worker that was told to stop may take before it is killed: a batch, not a load.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The way to a living worker.
#[derive(Debug)]
pub(crate) struct Link {
    /// Its device.
    pub(crate) device: DeviceNo,
    /// Its life.
    pub(crate) life: u64,
    /// Its process id.
    pub(crate) pid: u32,
    socket: Mutex<OwnedFd>,
    /// To each slot's ear.
    mouths: Mutex<Vec<Sender<SlotNews>>>,
    child: Mutex<Child>,
    hung: AtomicBool,
    started: Instant,
    /// Milliseconds after `started` at which it last spoke.
    heard: AtomicU64,
}

/// What a worker says about one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotNews {
    /// The ring is attached.
    Ready,
    /// The track is read to its end.
    Drained(u64),
    /// The track is forgotten.
    Aborted(u64),
    /// The ring lied and is gone.
    Violated(u64),
}

/// What a slot hears from its worker. It closes when the worker is gone.
pub(crate) type SlotEar = Receiver<SlotNews>;

impl Link {
    /// Starts a worker with `slots` slots. Returns the way to it and each slot's ear.
    ///
    /// # Errors
    /// [`SpawnError`] when the process cannot be started.
    pub(crate) fn start(
        spawner: &Spawner,
        binary: &Path,
        device: DeviceNo,
        life: u64,
        slots: u32,
        news: Teller,
    ) -> Result<(Arc<Self>, Vec<SlotEar>), SpawnError> {
        let failed = |source| SpawnError::Start {
            program: binary.display().to_string(),
            source,
        };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let listen = ours.try_clone().map_err(failed)?;
        let mut command = Command::new(binary);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = spawner.spawn(command, vec![theirs.into()])?;
        let (mouths, ears): (Vec<Sender<SlotNews>>, Vec<SlotEar>) =
            (0..slots).map(|_| channel()).unzip();
        let link = Arc::new(Self {
            device,
            life,
            pid: child.id(),
            socket: Mutex::new(ours.into()),
            mouths: Mutex::new(mouths),
            child: Mutex::new(child),
            hung: AtomicBool::new(false),
            started: Instant::now(),
            heard: AtomicU64::new(0),
        });
        let listener = Listener {
            link: Arc::clone(&link),
            news,
        };
        let name = format!("worker-{}", device.0);
        std::thread::Builder::new()
            .name(name)
            .spawn(move || listener.run(listen))
            .map_err(failed)?;
        Ok((link, ears))
    }

    /// Says something. A worker that is gone hears nothing; its listener tells of that.
    pub(crate) fn say(&self, message: &ToWorker) {
        self.say_with(message, &[]);
    }

    /// Attaches a ring to a slot.
    pub(crate) fn attach(&self, slot: u32, ring: &RingFds) {
        self.say_with(&ToWorker::AttachRing { slot }, &ring.as_fds());
    }

    fn say_with(&self, message: &ToWorker, fds: &[BorrowedFd<'_>]) {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = frames::write(socket.as_fd(), message, fds) {
            tracing::debug!(device = self.device.0, life = self.life, %error, "the worker hears nothing");
        }
    }

    /// A new ear for a slot whose thread is replaced; the old one hears nothing any more.
    pub(crate) fn ear(&self, slot: u32) -> Option<SlotEar> {
        let mut mouths = self.mouths.lock().unwrap_or_else(PoisonError::into_inner);
        let mouth = mouths.get_mut(slot as usize)?;
        let (new, ear) = channel();
        *mouth = new;
        Some(ear)
    }

    /// How long it has been silent.
    pub(crate) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(heard)
    }

    /// Kills a worker that hangs.
    pub(crate) fn kill_as_hung(&self) {
        self.hung.store(true, Ordering::Relaxed);
        self.kill();
    }

    /// Tells it to stop, and kills it if it takes too long. Waits on a thread of its own.
    pub(crate) fn stop(self: Arc<Self>) {
        self.say(&ToWorker::Stop);
        let patience = std::thread::Builder::new().name("worker-stop".into());
        let spawned = patience.spawn(move || {
            std::thread::sleep(STOP_GRACE);
            self.kill();
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to wait for a worker's end");
        }
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // A child that is already waited for is not killed again: std knows its status.
        let _already_gone = child.kill();
    }

    fn wait(&self) -> std::io::Result<ExitStatus> {
        loop {
            if let Some(status) = self
                .child
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .try_wait()?
            {
                return Ok(status);
            }
            std::thread::sleep(WAIT_POLL);
        }
    }
}

/// How often a worker whose socket has closed is asked for its status: it is about to end, or is killed.
const WAIT_POLL: Duration = Duration::from_millis(5);

struct Listener {
    link: Arc<Link>,
    news: Teller,
}

impl Listener {
    fn run(self, socket: UnixStream) {
        let mut reader = FrameReader::new(socket);
        loop {
            match reader.read::<FromWorker>() {
                Ok(Some(message)) => self.pass_on(message),
                Ok(None) => break,
                Err(error) => {
                    self.complain(&error);
                    break;
                }
            }
        }
        self.bury();
    }

    fn pass_on(&self, message: FromWorker) {
        let heard = u64::try_from(self.link.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.link.heard.store(heard, Ordering::Relaxed);
        match &message {
            FromWorker::Ready { slot } => self.tell(*slot, SlotNews::Ready),
            FromWorker::Drained { slot, token } => self.tell(*slot, SlotNews::Drained(*token)),
            FromWorker::Aborted { slot, token } => self.tell(*slot, SlotNews::Aborted(*token)),
            FromWorker::RingLost { slot, token } => self.tell(*slot, SlotNews::Violated(*token)),
            FromWorker::TrackFailed { .. }
            | FromWorker::Scored { .. }
            | FromWorker::Loaded(_)
            | FromWorker::LoadFailed { .. }
            | FromWorker::CanaryResult { .. }
            | FromWorker::Beat(_)
            | FromWorker::DeviceFailed { .. } => {}
        }
        let (device, life) = (self.link.device, self.link.life);
        let _shell_gone = self.news.blocking_send(News::Said {
            device,
            life,
            message: Box::new(message),
        });
    }

    fn tell(&self, slot: u32, news: SlotNews) {
        let mouths = self
            .link
            .mouths
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(mouth) = mouths.get(slot as usize) {
            let _slot_gone = mouth.send(news);
        }
    }

    fn complain(&self, error: &FrameError) {
        tracing::warn!(device = self.link.device.0, %error, "the worker's socket is of no more use");
    }

    fn bury(self) {
        // Whoever waits for an answer learns that none will come.
        self.link
            .mouths
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        // A worker whose socket is closed serves nobody, whether it knows or not.
        std::thread::sleep(WAIT_POLL);
        if matches!(
            self.link
                .child
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .try_wait(),
            Ok(None)
        ) {
            std::thread::sleep(WAIT_POLL * 20);
            self.link.kill();
        }
        let status = self.link.wait();
        let death = match &status {
            Ok(status) => death_of(*status, self.link.hung.load(Ordering::Relaxed)),
            Err(_) => Death::Own,
        };
        let (device, life, pid) = (self.link.device, self.link.life, self.link.pid);
        tracing::info!(device = device.0, pid, ?status, "the worker ended");
        let _shell_gone = self.news.blocking_send(News::Ended {
            device,
            life,
            death,
        });
    }
}

/// Who ended a process.
pub(crate) fn death_of(status: ExitStatus, hung: bool) -> Death {
    match status.signal() {
        _ if hung => Death::Hung,
        Some(libc::SIGKILL | libc::SIGTERM | libc::SIGINT) => Death::Killed,
        Some(_) | None => Death::Own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_from_outside_is_told_from_a_fault_of_its_own() {
        let check = |raw: i32, hung: bool, expected: Death| {
            assert_eq!(
                death_of(ExitStatus::from_raw(raw), hung),
                expected,
                "{raw} {hung}"
            );
        };
        check(libc::SIGKILL, false, Death::Killed);
        check(libc::SIGKILL, true, Death::Hung);
        check(libc::SIGABRT, false, Death::Own);
        check(libc::SIGSEGV, false, Death::Own);
        check(1 << 8, false, Death::Own);
        check(0, false, Death::Own);
    }
}
