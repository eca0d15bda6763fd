//! The signals that ask `up` to stop: SIGTERM, SIGHUP, and SIGINT, which also makes the exit code 130. The first lets the
//! children drain, the next one ends them at once. Only counts; ending children is the keeper's.

use crate::failure::{Failure, problem};
use tokio::signal::unix::{Signal, SignalKind, signal};
use types::Code;

/// The wish to stop, as signals bring it.
pub(super) struct Stop {
    terminate: Signal,
    hangup: Signal,
    interrupt: Signal,
    /// Whether SIGINT was among the signals.
    pub(super) interrupted: bool,
    /// Whether a signal came during the drain: nothing is waited for any more.
    pub(super) at_once: bool,
}

impl Stop {
    /// Listens from now on; until now the signals would have ended this process.
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|why| {
                problem(
                    Code::Internal,
                    format!("could not listen for signals: {why}"),
                )
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            interrupted: false,
            at_once: false,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
            _ = self.interrupt.recv() => self.interrupted = true,
        }
    }
}
