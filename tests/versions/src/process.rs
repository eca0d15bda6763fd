//! A process of the product that a suite has started: what it reports on stdout, and its end. It goes with the one who holds it.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use types::Report;

/// How long a process may take to begin or to end: a hundred times what it takes on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running process.
pub struct Process {
    child: Child,
    reports: mpsc::Receiver<Report>,
    log: PathBuf,
}

impl Process {
    /// Starts one; what it says on stderr is added to `log`. It ends with the thread that starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let stderr = File::options().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                Ok(rustix::process::set_parent_process_death_signal(Some(
                    Signal::KILL,
                ))?)
            });
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let (told, reports) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(report) = serde_json::from_str(&line) {
                    let _ = told.send(report);
                }
            }
        });
        Ok(Self {
            child,
            reports,
            log: log.to_owned(),
        })
    }

    /// Its next report.
    ///
    /// # Errors
    /// Where none comes within [`PATIENCE`]; the log stands in the message.
    pub fn report(&self) -> Result<Report> {
        let report = self.reports.recv_timeout(PATIENCE);
        report.with_context(|| format!("wait for a report:\n{}", self.log()))
    }

    /// What it and those before it in the same log said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// SIGKILL, and its end.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// Where it does not end well within [`PATIENCE`].
    pub fn terminate(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        rustix::process::kill_process(pid.context("a child has a number")?, Signal::TERM)?;
        let ended = until("a process to end", || self.ended().transpose())??;
        if !ended.success() {
            bail!("a process ended with {ended}:\n{}", self.log());
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that was ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer.
///
/// # Errors
/// Where there is none within [`PATIENCE`].
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> Result<T> {
    let over = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return Ok(found);
        }
        if std::time::Instant::now() > over {
            bail!("waited {PATIENCE:?} for {what}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
