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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    voice: Mutex<Voice>,
    /// To each slot's ear, where one listens.
    mouths: Mutex<Vec<Option<Sender<SlotNews>>>>,
    child: Mutex<Child>,
    hung: AtomicBool,
    /// It was killed for closing or garbling its socket while it lived on.
    broken: AtomicBool,
    started: Instant,
    /// Milliseconds after `started` at which it last spoke.
    heard: AtomicU64,
}

/// The socket, and who may speak for a slot: a thread that was replaced may wake at any time and must change nothing.
#[derive(Debug)]
struct Voice {
    socket: OwnedFd,
    /// How often each slot's place was taken.
    turns: Vec<u64>,
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

/// A slot's place at its worker: what it hears, and the right to speak for the slot until another takes the place.
#[derive(Debug)]
pub(crate) struct SlotEar {
    slot: u32,
    turn: u64,
    /// Closes when the worker is gone or the place is taken.
    pub(crate) news: Receiver<SlotNews>,
}

impl Link {
    /// Starts a worker with `slots` slots, whose places nobody has taken yet.
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
    ) -> Result<Arc<Self>, SpawnError> {
        let failed = |source| SpawnError::Start {
            program: binary.display().to_string(),
            source,
        };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let listen = ours.try_clone().map_err(failed)?;
        let mut command = Command::new(binary);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = spawner.spawn(command, vec![theirs.into()])?;
        let link = Arc::new(Self {
            device,
            life,
            pid: child.id(),
            voice: Mutex::new(Voice {
                socket: ours.into(),
                turns: vec![0; slots as usize],
            }),
            mouths: Mutex::new((0..slots).map(|_| None).collect()),
            child: Mutex::new(child),
            hung: AtomicBool::new(false),
            broken: AtomicBool::new(false),
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
        Ok(link)
    }

    /// Says something. A worker that is gone hears nothing; its listener tells of that.
    pub(crate) fn say(&self, message: &ToWorker) {
        let _told_by_its_listener = self.say_with(&self.voice(), message, &[]);
    }

    /// Says something for a slot. False where the place is another's by now or the worker is gone: nothing was said.
    pub(crate) fn say_as(&self, ear: &SlotEar, message: &ToWorker) -> bool {
        self.say_for(ear, message, &[])
    }

    /// Attaches a ring to a slot. False as in [`Link::say_as`].
    pub(crate) fn attach(&self, ear: &SlotEar, ring: &RingFds) -> bool {
        self.say_for(
            ear,
            &ToWorker::AttachRing { slot: ear.slot },
            &ring.as_fds(),
        )
    }

    fn say_for(&self, ear: &SlotEar, message: &ToWorker, fds: &[BorrowedFd<'_>]) -> bool {
        let voice = self.voice();
        let current = voice.turns.get(ear.slot as usize) == Some(&ear.turn);
        current && self.say_with(&voice, message, fds)
    }

    fn say_with(&self, voice: &Voice, message: &ToWorker, fds: &[BorrowedFd<'_>]) -> bool {
        let written = frames::write(voice.socket.as_fd(), message, fds);
        if let Err(error) = &written {
            tracing::debug!(device = self.device.0, life = self.life, %error, "the worker hears nothing");
        }
        written.is_ok()
    }

    fn voice(&self) -> MutexGuard<'_, Voice> {
        self.voice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot's place: who had it before hears nothing any more and is not heard. None once the worker is gone.
    pub(crate) fn ear(&self, slot: u32) -> Option<SlotEar> {
        let mut voice = self.voice();
        let mut mouths = self.mouths.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = voice.turns.get_mut(slot as usize)?;
        let mouth = mouths.get_mut(slot as usize)?;
        let (new, news) = channel();
        *mouth = Some(new);
        *turn += 1;
        let turn = *turn;
        Some(SlotEar { slot, turn, news })
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

/// How long a worker whose socket has closed may take until it ends: libraries clean up, a device may be slow at that.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Whether a process is neither gone nor on its way: one that somebody killed may take seconds to give a device back, and
/// must not pass for one that only closed its socket.
fn lives_on(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The command's name may hold anything, also parentheses; the state and six numbers later the flags follow it.
    let mut fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace();
    let gone = matches!(fields.next(), Some("Z" | "X") | None);
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u32>().ok());
    !gone && flags.is_some_and(|flags| flags & EXITING == 0)
}

/// The kernel's mark of a process that is ending (`PF_EXITING`).
const EXITING: u32 = 0x4;

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
            | FromWorker::Separated { .. }
            | FromWorker::Loaded(_)
            | FromWorker::LoadFailed { .. }
            | FromWorker::CanaryResult { .. }
            | FromWorker::NoRoom { .. }
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
        if let Some(Some(mouth)) = mouths.get(slot as usize) {
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
        let until = Instant::now() + LAST_WORDS;
        while lives_on(self.link.pid) && Instant::now() < until {
            std::thread::sleep(WAIT_POLL);
        }
        if lives_on(self.link.pid) {
            self.link.broken.store(true, Ordering::Relaxed);
            self.link.kill();
        }
        let status = self.link.wait();
        let death = match &status {
            Ok(_) if self.link.broken.load(Ordering::Relaxed) => Death::Own,
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
    use tokio::sync::mpsc::Receiver;

    /// Starts a shell script in a worker's place with one slot; it lives as long as what comes third.
    fn start(script: &str) -> (Arc<Link>, Receiver<News>, impl Sized) {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("worker");
        std::fs::write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (tell, news) = crate::news::queue();
        let spawner = Spawner::start().unwrap();
        let link = Link::start(&spawner, &binary, DeviceNo(0), 1, 1, tell).unwrap();
        (link, news, (folder, spawner))
    }

    fn death(news: &mut Receiver<News>) -> Death {
        let told = news.blocking_recv().unwrap();
        let News::Ended { death, .. } = told else {
            panic!("{told:?}");
        };
        death
    }

    #[test]
    fn a_worker_that_closes_or_garbles_its_socket_and_lives_on_answers_for_that_itself() {
        for script in [
            "exec 3>&-; exec sleep 1000",
            "echo 'no frame of this protocol' >&3; exec sleep 1000",
        ] {
            let (_link, mut news, _kept) = start(script);
            assert_eq!(death(&mut news), Death::Own, "{script}");
        }
        let (link, mut news, _kept) = start("exec sleep 1000");
        let pid = rustix::process::Pid::from_raw(i32::try_from(link.pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert_eq!(death(&mut news), Death::Killed, "an outsider's kill");
    }

    #[test]
    fn who_lost_a_slots_place_is_neither_heard_nor_told_anything() {
        // It repeats what it is told, which as a word of its own means that the ring is attached.
        let (link, mut news, _kept) = start("exec cat <&3 >&3");
        let old = link.ear(0).unwrap();
        let new = link.ear(0).unwrap();
        let said = ToWorker::Track {
            slot: 0,
            token: 7,
            samples_max: None,
            patience_ms: None,
        };
        assert!(!link.say_as(&old, &said));
        assert!(old.news.recv().is_err(), "the old ear is closed");
        assert!(link.say_as(&new, &said));
        assert_eq!(new.news.recv(), Ok(SlotNews::Ready));
        assert!(link.ear(1).is_none(), "there is no such slot");
        link.kill();
        assert!(matches!(news.blocking_recv(), Some(News::Said { .. })));
        assert_eq!(death(&mut news), Death::Killed, "nothing else was said");
    }

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
