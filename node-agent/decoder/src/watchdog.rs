//! Ends a decoder that computes without getting anywhere.
//!
//! A timer on the process's own processor time ticks once a second; its signal handler compares a counter that every
//! packet raises. Waiting for bytes or space uses no processor time, so it does not count, nor does a busy machine.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use audio::child::EXIT_STALLED;
use audio::limits::STALL_S;

/// Raised by each packet.
static PROGRESS: AtomicU64 = AtomicU64::new(0);
/// What the last tick saw.
static SEEN: AtomicU64 = AtomicU64::new(0);
/// Ticks without progress.
static STALLED: AtomicU32 = AtomicU32::new(0);
/// How many of them are too many.
static LIMIT: AtomicU32 = AtomicU32::new(STALL_S);

/// Notes progress.
pub(crate) fn progress() {
    PROGRESS.fetch_add(1, Ordering::Relaxed);
}

/// Sets how many seconds of processor time a track may compute without progress.
pub(crate) fn allow(seconds: u32) {
    LIMIT.store(seconds.max(1), Ordering::Relaxed);
    progress();
}

/// Starts the timer. Called once, before the sandbox forbids it.
pub(crate) fn start() -> io::Result<()> {
    let second = libc::timeval {
        tv_sec: 1,
        tv_usec: 0,
    };
    let timer = libc::itimerval {
        it_interval: second,
        it_value: second,
    };
    // SAFETY: the handler only touches atomics and ends the process, both allowed in signal context; the structures are
    // valid for the calls and zero is a valid start for `sigaction`.
    let refused = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tick as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut()) != 0
            || libc::setitimer(libc::ITIMER_PROF, &timer, std::ptr::null_mut()) != 0
    };
    if refused {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

extern "C" fn tick(_signal: libc::c_int) {
    let now = PROGRESS.load(Ordering::Relaxed);
    if SEEN.swap(now, Ordering::Relaxed) != now {
        STALLED.store(0, Ordering::Relaxed);
    } else if STALLED.fetch_add(1, Ordering::Relaxed) + 1 >= LIMIT.load(Ordering::Relaxed) {
        // SAFETY: ends the process without running anything else, as a signal handler must.
        unsafe { libc::_exit(EXIT_STALLED) };
    }
}
