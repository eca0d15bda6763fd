//! The signals that end a command: SIGINT, SIGTERM and SIGHUP, each with its exit code, and none that whoever started the command
//! has ignored. A command that is told of them tidies up; the system's own way would leave its unfinished file behind.

use crate::failure::{Exit, Failure, problem};
use std::future::pending;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OnceCell, watch};
use types::Code;

/// Waits for the first signal of this process, and gives the exit code that belongs to it. From the first look on such signals do
/// nothing else; one that came between two looks is known to the next.
pub(crate) async fn end() -> Result<Exit, Failure> {
    static FIRST: OnceCell<watch::Receiver<Option<Exit>>> = OnceCell::const_new();
    let mut first = FIRST
        .get_or_try_init(async || listen_for_the_first())
        .await?
        .clone();
    match first.wait_for(Option::is_some).await.map(|exit| *exit) {
        Ok(Some(exit)) => Ok(exit),
        // The runtime ends, and this with it.
        Ok(None) | Err(_) => pending().await,
    }
}

fn listen_for_the_first() -> Result<watch::Receiver<Option<Exit>>, Failure> {
    let mut interrupt = Listener::new(SignalKind::interrupt())?;
    let mut terminate = Listener::new(SignalKind::terminate())?;
    let mut hangup = Listener::new(SignalKind::hangup())?;
    let (tell, told) = watch::channel(None);
    tokio::spawn(async move {
        let exit = tokio::select! {
            () = interrupt.heard() => Exit::Interrupted,
            () = terminate.heard() => Exit::Terminated,
            () = hangup.heard() => Exit::HungUp,
        };
        tell.send_replace(Some(exit));
    });
    Ok(told)
}

/// Listens for one signal, unless whoever started the command has it ignored, as `nohup` does with SIGHUP.
pub(crate) struct Listener(Option<tokio::signal::unix::Signal>);

impl Listener {
    /// Listens from now on; until now the signal would have ended this process.
    pub(crate) fn new(kind: SignalKind) -> Result<Self, Failure> {
        if is_ignored(kind) {
            return Ok(Self(None));
        }
        let why = |why| {
            problem(
                Code::Internal,
                format!("could not listen for signals: {why}"),
            )
        };
        signal(kind).map(|signal| Self(Some(signal))).map_err(why)
    }

    /// Waits for the next one.
    pub(crate) async fn heard(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => pending().await,
        }
    }
}

/// Whether the process ignores the signal, as the kernel says; where it does not say, it is listened for.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_among_ignored(&status, kind.as_raw_value())
}

fn is_among_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_ignored_where_its_bit_is_set() {
        let check = |status: &str, signal: i32, expected: bool| {
            assert_eq!(is_among_ignored(status, signal), expected, "{status:?}");
        };
        let nohup = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000000001\n";
        check(nohup, 1, true);
        check(nohup, 2, false);
        check("SigIgn:\t0000000000004000\n", 15, true);
        check("", 1, false);
        check("SigIgn:\tnonsense\n", 1, false);
    }
}
