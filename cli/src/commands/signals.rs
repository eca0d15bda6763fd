//! The signals that end a command: SIGINT, SIGTERM and SIGHUP, each with its exit code. A command that is told of them tidies
//! up; the system's own way would leave its unfinished file behind.

use crate::failure::{Exit, Failure, problem};
use std::future::pending;
use tokio::signal::unix::{Signal, SignalKind, signal};
use types::Code;

/// Waits for the first signal, and gives the exit code that belongs to it. From the first look on such signals do nothing else.
pub(super) async fn end() -> Result<Exit, Failure> {
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(tokio::select! {
        () = heard(&mut interrupt) => Exit::Interrupted,
        () = heard(&mut terminate) => Exit::Terminated,
        () = heard(&mut hangup) => Exit::HungUp,
    })
}

/// Listens for a signal, unless whoever started the command has it ignored, as `nohup` does with SIGHUP.
fn listen(kind: SignalKind) -> Result<Option<Signal>, Failure> {
    if is_ignored(kind) {
        return Ok(None);
    }
    let why = |why| {
        problem(
            Code::Internal,
            format!("could not listen for signals: {why}"),
        )
    };
    signal(kind).map(Some).map_err(why)
}

async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => pending().await,
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
