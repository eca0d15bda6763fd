//! Slow and broken syncs of chosen processes: the kernel hands each `fsync` and `fdatasync` of theirs to a thread here, which lets it
//! pass late or refuses it. `process` puts programs on a [`Disk`], suites order what it does; whoever is not started on one
//! notices nothing.

use crate::syncs::{self, Listener};
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Syncs that wait at once: one per thread of the processes, and none of ours has that many. Beyond it the oldest passes at once.
const WAITING_MAX: usize = 4_096;

/// How often waiting syncs are looked at: the error of a delay.
const TICK: Duration = Duration::from_millis(2);

/// How often the thread looks without any.
const IDLE: Duration = Duration::from_millis(500);

/// The order that refuses every sync; any other number is a delay in microseconds.
const BROKEN: u64 = u64::MAX;

/// What the syncs of some processes meet with. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    order: Arc<AtomicU64>,
    seen: Arc<AtomicU64>,
}

impl Disk {
    /// A disk that is well.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From here on each sync takes so much longer.
    pub fn slow(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(BROKEN - 1);
        self.order.store(micros, Ordering::SeqCst);
    }

    /// From here on each sync fails with EIO.
    pub fn fail(&self) {
        self.order.store(BROKEN, Ordering::SeqCst);
    }

    /// The disk is well again; what waits passes.
    pub fn heal(&self) {
        self.order.store(0, Ordering::SeqCst);
    }

    /// Syncs so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// Has the command's child hand its syncs over before it becomes its program.
    pub(crate) fn watch(&self, command: &mut Command) -> Result<Watched> {
        let (ours, theirs) = UnixStream::pair().context("make a pair of sockets")?;
        // SAFETY: between fork and exec only prctl, seccomp and sendmsg are called, which are async-signal-safe; nothing is allocated.
        unsafe {
            command.pre_exec(move || syncs::hand_over(&theirs));
        }
        let disk = self.clone();
        Ok(Watched { disk, ours })
    }
}

/// A child whose syncs are about to be handed over.
pub(crate) struct Watched {
    disk: Disk,
    ours: UnixStream,
}

impl Watched {
    /// Takes them over, until the child and all its children have ended.
    pub(crate) fn begin(self) -> Result<()> {
        let listener = syncs::receive(&self.ours).context("take over the syncs of a child")?;
        std::thread::spawn(move || serve(&listener, &self.disk));
        Ok(())
    }
}

/// Lets each sync pass once it has waited long enough by the order of that moment; the oldest is always due first.
fn serve(listener: &Listener, disk: &Disk) {
    let mut waiting: VecDeque<(u64, Instant)> = VecDeque::new();
    loop {
        match listener.next(if waiting.is_empty() { IDLE } else { TICK }) {
            syncs::Next::Sync(id) => {
                disk.seen.fetch_add(1, Ordering::SeqCst);
                waiting.push_back((id, Instant::now()));
            }
            syncs::Next::Nothing => {}
            syncs::Next::Over => return,
        }
        let order = disk.order.load(Ordering::SeqCst);
        while let Some((id, since)) = waiting.front().copied() {
            if !is_due(order, since) && waiting.len() <= WAITING_MAX {
                break;
            }
            listener.answer(id, order == BROKEN);
            waiting.pop_front();
        }
    }
}

fn is_due(order: u64, since: Instant) -> bool {
    order == BROKEN || since.elapsed() >= Duration::from_micros(order)
}
