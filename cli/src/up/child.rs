//! One child of `up`: started so that it cannot outlive its parent, with its reports on a pipe; and the count of its
//! deaths, after which it is given up. The counting is pure and tested; starting and signalling are thin.

use crate::failure::{Failure, problem};
use rustix::process::{Pid, Signal};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines, Take};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::Instant;
use types::Code;

/// Deaths within [`DEATHS_WINDOW`] that end `up`: what dies this often does not heal by itself.
const DEATHS_MAX: usize = 5;
/// The window in which deaths count.
const DEATHS_WINDOW: Duration = Duration::from_secs(60);
/// Wait before the first restart; doubles with each death in the window.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Most that is read of a child's stdout: two reports of a line each, with room for long paths in them.
const REPORTS_BYTES_MAX: u64 = 64 << 10;

/// What a child says of itself, a line at a time.
pub(super) type Reports = Lines<BufReader<Take<ChildStdout>>>;

/// How to start a child.
pub(super) struct Plan {
    /// For messages.
    pub(super) name: &'static str,
    /// The binary.
    pub(super) binary: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
}

/// What to do after a death.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Start it again after this long.
    Restart(Duration),
    /// Give up.
    GiveUp,
}

/// Deaths of one child, as far as they count.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    at: VecDeque<Instant>,
}

impl Deaths {
    /// Counts a death and says what to do.
    pub(super) fn count(&mut self, now: Instant) -> Next {
        self.at.push_back(now);
        while self
            .at
            .front()
            .is_some_and(|at| now.duration_since(*at) > DEATHS_WINDOW)
        {
            self.at.pop_front();
        }
        if self.at.len() >= DEATHS_MAX {
            return Next::GiveUp;
        }
        let doublings = u32::try_from(self.at.len().saturating_sub(1)).unwrap_or(0);
        Next::Restart(BACKOFF_FIRST * 2u32.saturating_pow(doublings))
    }
}

/// Starts a child that the kernel ends with this thread's process, however that ends.
pub(super) fn start(plan: &Plan) -> Result<(Child, Reports), Failure> {
    let refuse = |why: String| {
        problem(
            Code::BinaryMissing,
            format!("could not start `{}`: {why}", plan.binary.display()),
        )
    };
    let mut command = Command::new(&plan.binary);
    command
        .args(&plan.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are made: prctl, setpgid, getppid and _exit.
    unsafe {
        command.pre_exec(move || die_with(parent));
    }
    let mut child = command.spawn().map_err(|why| refuse(why.to_string()))?;
    let stdout = child.stdout.take();
    let stdout = stdout.ok_or_else(|| refuse("its stdout is not a pipe".to_owned()))?;
    let reports = BufReader::new(stdout.take(REPORTS_BYTES_MAX)).lines();
    Ok((child, reports))
}

/// Runs in the child before exec. Its own process group keeps Ctrl-C for `up`, which then stops the children in order.
fn die_with(parent: u32) -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::setpgid(None, None)?;
    let orphaned = rustix::process::getppid()
        .is_none_or(|pid| pid.as_raw_nonzero().get().unsigned_abs() != parent);
    if orphaned {
        return Err(std::io::Error::other(
            "the parent ended before the child began",
        ));
    }
    Ok(())
}

/// Asks a child to drain and end.
pub(super) fn terminate(child: &Child) {
    let pid = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid {
        // A child that is gone already needs no signal.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_deaths_in_a_minute_end_it_and_slower_ones_do_not() {
        let start = Instant::now();
        let mut quick = Deaths::default();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let waits: Vec<_> = (0..4).map(|n| quick.count(after(n))).collect();
        let expected = [250, 500, 1_000, 2_000].map(|ms| Next::Restart(Duration::from_millis(ms)));
        assert_eq!(waits, expected);
        assert_eq!(quick.count(after(5)), Next::GiveUp);
        let mut slow = Deaths::default();
        assert!((0..50).all(|n| slow.count(after(n * 16)) != Next::GiveUp));
    }
}
