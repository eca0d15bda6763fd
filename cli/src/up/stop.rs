//! The signals that ask `up` to stop: SIGTERM, SIGHUP, and SIGINT, which also makes the exit code 130. The first lets the
//! children drain, the next one ends them at once. Only counts; ending children is the keeper's.

use crate::failure::Failure;
use crate::signals::Listener;
use tokio::signal::unix::SignalKind;

/// The wish to stop, as signals bring it.
pub(super) struct Stop {
    terminate: Listener,
    hangup: Listener,
    interrupt: Listener,
    /// Whether SIGINT was among the signals.
    pub(super) interrupted: bool,
    /// Whether a signal came during the drain: nothing is waited for any more.
    pub(super) at_once: bool,
}

impl Stop {
    /// Listens from now on; a signal that whoever started `up` has ignored, as `nohup` does with SIGHUP, asks for nothing.
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            terminate: Listener::new(SignalKind::terminate())?,
            hangup: Listener::new(SignalKind::hangup())?,
            interrupt: Listener::new(SignalKind::interrupt())?,
            interrupted: false,
            at_once: false,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            () = self.terminate.heard() => {}
            () = self.hangup.heard() => {}
            () = self.interrupt.heard() => self.interrupted = true,
        }
    }
}
