//! One life of a process: a thread that reaps it, a thread that reads its stdout for reports, and signals that can never hit another
//! process. Used by `process` alone.

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use types::Report;

/// How long a killed process may take to be gone: a busy machine is slow, and then something is wrong with it.
pub(crate) const REAPED_WITHIN: Duration = Duration::from_secs(30);

/// Reports that nobody has asked for yet: a process makes two in its life.
const REPORTS_MAX: usize = 16;

/// Bytes of one line of stdout: reports have a few hundred, and a line without end must not fill memory.
const LINE_MAX: u64 = 64 * 1024;

/// A process until it is reaped, and what is known of it.
pub(crate) struct Life {
    pid: Pid,
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Default)]
struct Known {
    reports: VecDeque<Report>,
    silent: bool,
    ended: Option<ExitStatus>,
}

impl Life {
    /// Takes a child over; its stdout goes on to `out`.
    pub(crate) fn of(mut child: Child, out: File) -> Result<Arc<Self>> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let life = Arc::new(Self {
            pid: pid.context("a child has a number")?,
            known: Mutex::default(),
            changed: Condvar::new(),
        });
        let (reader, reaper) = (Arc::clone(&life), Arc::clone(&life));
        std::thread::spawn(move || reader.read(stdout, out));
        std::thread::spawn(move || reaper.reap(child));
        Ok(life)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.known().ended
    }

    /// The next report; none where it ends without one or `limit` passes.
    pub(crate) fn report(&self, limit: Duration) -> Option<Report> {
        let nothing = |known: &mut Known| known.reports.is_empty() && !known.silent;
        let waited = self
            .changed
            .wait_timeout_while(self.known(), limit, nothing);
        waited.ok()?.0.reports.pop_front()
    }

    pub(crate) fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let lives = |known: &mut Known| known.ended.is_none();
        let waited = self.changed.wait_timeout_while(self.known(), limit, lives);
        waited.ok()?.0.ended
    }

    /// Sends a signal unless it has been reaped: until then its number is its own, and the lock holds the reaper back.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let known = self.known();
        known.ended.is_none() && rustix::process::kill_process(self.pid, signal).is_ok()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, stdout: ChildStdout, mut out: File) {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        while let Ok(1..) = stdout.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            // A full disk loses the record of what was said, not the report.
            let _ = out.write_all(&line);
            if let Ok(report) = serde_json::from_slice(&line) {
                let mut known = self.known();
                known.reports.push_back(report);
                if known.reports.len() > REPORTS_MAX {
                    known.reports.pop_front();
                }
                self.changed.notify_all();
            }
            line.clear();
        }
        self.known().silent = true;
        self.changed.notify_all();
    }

    fn reap(&self, mut child: Child) {
        // Seen first and reaped below the lock, so that no signal falls between the two.
        let seen = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = waitid(WaitId::Pid(self.pid), seen) {}
        let mut known = self.known();
        known.ended = child.wait().ok();
        self.changed.notify_all();
    }
}

/// All living processes below one, nearest first.
pub(crate) fn descendants(root: i32) -> Vec<Pid> {
    let all = parents();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = all.iter().filter(|(_, its)| *its == parent);
        found.extend(children.map(|(pid, _)| *pid));
        next += 1;
    }
    found
        .into_iter()
        .skip(1)
        .filter_map(Pid::from_raw)
        .collect()
}

/// Each process and its parent.
fn parents() -> Vec<(i32, i32)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (_, tail) = stat.rsplit_once(')')?;
            Some((pid, tail.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect()
}
