//! How a process of Trackscan begins and ends, called from `main` of the coordinator and the node agent: settings, logs,
//! then the process's own work, then one message on stderr and an exit status. Whoever started it reads on stdout, one
//! JSON line each, when it was ready and why it ended; a terminal is spared them.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;
use types::{Code, Probed, Problem, Rebuilt, Report};

use crate::config::{ConfigError, Loaded, Program};
use crate::shutdown::Shutdown;
use crate::telemetry::{self, LogFormat, MetricsAddress, TelemetryError};

/// Exit status of a process whose configuration cannot be used: starting it again does not help.
const EXIT_CONFIG: u8 = 2;

/// Loads the settings and runs a process over them. Help, version and `--print-config` end it before.
pub fn main<T: DeserializeOwned>(
    program: &Program,
    run: impl FnOnce(&Loaded<T>) -> Result<(), Problem>,
) -> ExitCode {
    main_of(program, std::env::args_os(), run)
}

/// The same for a process that has taken words of its own out of its arguments; the first of the rest is the program's name.
pub fn main_of<T: DeserializeOwned>(
    program: &Program,
    args: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(&Loaded<T>) -> Result<(), Problem>,
) -> ExitCode {
    let loaded = match program.load_from::<T>(args, |name| std::env::var(name).ok()) {
        Ok(loaded) => loaded,
        Err(ConfigError::Flags(error)) => error.exit(),
        Err(error) => return fail(program, &Problem::of(Code::ConfigInvalid, &error)),
    };
    if loaded.print_only {
        return print(&loaded);
    }
    match run(&loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(program, &problem),
    }
}

/// Ends a process whose own words make no sense, as one whose configuration does not.
#[must_use]
pub fn refuse(program: &Program, problem: &Problem) -> ExitCode {
    fail(program, problem)
}

/// Sends logs to stderr and gives the threads that all waiting is done on.
///
/// # Errors
/// `CONFIG_INVALID` for a filter that does not parse; `INTERNAL` where threads cannot be started.
pub fn threads(format: LogFormat, filter: &str) -> Result<tokio::runtime::Runtime, Problem> {
    telemetry::logs(format, filter).map_err(|error| Problem::of(Code::ConfigInvalid, &error))?;
    let threads = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    threads.map_err(|error| Problem::new(Code::Internal, format!("start threads: {error}")))
}

/// Watches the signals that ask for the end, and serves metrics. From within the threads.
///
/// # Errors
/// `ADDRESS_IN_USE` or `CONFIG_INVALID` where metrics cannot be served; `INTERNAL` where signals cannot be watched.
pub async fn attend(metrics: MetricsAddress, program: &Program) -> Result<Shutdown, Problem> {
    let shutdown = Shutdown::on_signals();
    let shutdown = shutdown
        .map_err(|error| Problem::new(Code::Internal, format!("watch signals: {error}")))?;
    once_freed(async || telemetry::metrics(metrics, program.version).map_err(unmeasured)).await?;
    Ok(shutdown)
}

fn unmeasured(error: TelemetryError) -> Problem {
    let code = match &error {
        TelemetryError::Address { source, .. } => bind_code(source.kind()),
        TelemetryError::Metrics { .. } => Code::AddressInUse,
        TelemetryError::Filter { .. } | TelemetryError::LogsTwice => Code::Internal,
    };
    Problem::of(code, &error)
}

/// How long a folder or an address may still be held by a process that was killed and is just ending: a disk that syncs holds it up.
const FREED_WAIT: Duration = Duration::from_secs(3);
/// Time between two tries.
const FREED_LOOK: Duration = Duration::from_millis(50);

/// Takes a folder or an address, and tries again for a short while where somebody holds it: whoever was started after a kill finds
/// what was killed still ending.
///
/// # Errors
/// `DATA_LOCKED` or `ADDRESS_IN_USE` where it is held on; any other at once.
pub async fn once_freed<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, Problem>,
) -> Result<T, Problem> {
    let until = Instant::now() + FREED_WAIT;
    loop {
        let taken = attempt().await;
        let held = matches!(&taken, Err(problem) if matches!(problem.code, Code::DataLocked | Code::AddressInUse));
        if !held || Instant::now() >= until {
            return taken;
        }
        tokio::time::sleep(FREED_LOOK).await;
    }
}

/// Tells whoever started this process that it is ready: from here on it does its work, and answers where it listens.
pub fn ready(listening: Option<SocketAddr>) {
    report(&Report::Ready { listening });
}

/// Tells whoever started this process that it ends because an operator drained it, and is not to be started again.
pub fn drained() {
    report(&Report::Drained);
}

/// Tells whoever started this process what it has rebuilt, on a terminal too: that is what was asked for.
pub fn rebuilt(rebuilt: Rebuilt) {
    answer(&Report::Rebuilt(rebuilt));
}

/// Tells whoever started this process what it found out about a storage, on a terminal too.
pub fn probed(probed: Probed) {
    answer(&Report::Probed(probed));
}

#[expect(
    clippy::print_stdout,
    reason = "what was asked for is this program's data"
)]
fn answer(report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        println!("{line}");
    }
}

/// The code of an address that cannot be listened on: somebody else's, wrong as configured, or a lack of this machine's.
#[must_use]
pub const fn bind_code(kind: ErrorKind) -> Code {
    if matches!(kind, ErrorKind::AddrInUse) {
        Code::AddressInUse
    } else if matches!(
        kind,
        ErrorKind::AddrNotAvailable | ErrorKind::PermissionDenied
    ) {
        Code::ConfigInvalid
    } else {
        Code::Internal
    }
}

/// Writes one line to stdout. Nobody may be reading it, and that is no fault of this process.
fn report(report: &Report) {
    let mut stdout = std::io::stdout().lock();
    if stdout.is_terminal() {
        return;
    }
    if let Ok(line) = serde_json::to_string(report) {
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the configuration that was asked for is this program's data"
)]
fn print<T>(loaded: &Loaded<T>) -> ExitCode {
    print!("{}", loaded.print());
    ExitCode::SUCCESS
}

/// Says on stderr, and to whoever started it, why the process ends; logs may not be set up.
fn fail(program: &Program, problem: &Problem) -> ExitCode {
    report(&Report::Failed(problem.clone()));
    let code = problem.code;
    let (name, message) = (program.name, &problem.message);
    let (cause, fix) = (code.cause(), code.fix());
    // Who reads stderr may be gone as well.
    let _ = writeln!(
        std::io::stderr(),
        "{name}: {code}: {message}\n  {cause}\n  {fix}"
    );
    if matches!(code, Code::ConfigInvalid) {
        return ExitCode::from(EXIT_CONFIG);
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_tried_again_for_a_while_and_what_is_wrong_is_not() {
        for (code, held, expected) in [
            (Code::DataLocked, 3, Ok(4)),
            (Code::ConfigInvalid, 3, Err(1)),
        ] {
            let mut tries = 0;
            let taken = once_freed(async || {
                tries += 1;
                match tries <= held {
                    true => Err(Problem::new(code, "held")),
                    false => Ok(()),
                }
            });
            let taken = taken.await;
            assert_eq!(taken.map(|()| tries).map_err(|_| tries), expected, "{code}");
        }
    }

    #[test]
    fn an_address_is_in_use_only_where_the_system_says_so() {
        for (kind, code) in [
            (ErrorKind::AddrInUse, Code::AddressInUse),
            (ErrorKind::AddrNotAvailable, Code::ConfigInvalid),
            (ErrorKind::PermissionDenied, Code::ConfigInvalid),
            (ErrorKind::OutOfMemory, Code::Internal),
        ] {
            assert_eq!(bind_code(kind), code, "{kind}");
        }
    }
}
