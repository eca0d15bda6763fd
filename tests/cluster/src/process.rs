//! A program on a host: started with its variables and log, signalled, waited for, started again. Suites hold a [`Process`];
//! a thread of its own reaps it the moment it ends, and dropping it kills it with all its children.

use crate::clock::Clock;
use crate::disk::Disk;
use crate::place::Place;
use crate::{life, spawn};
use anyhow::{Context, Result, bail, ensure};
use life::Life;
use rustix::process::Signal;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use types::Report;

/// What to start, and what it may be subjected to later.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name in logs and records.
    pub name: String,
    /// The binary.
    pub binary: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its variables beside those of the suite.
    pub variables: Vec<(String, String)>,
    /// The disk whose syncs it and its children wait for; none where its syncs are never slow.
    pub disk: Option<Disk>,
    /// The clock that it and its children read; the machine's where there is none.
    pub clock: Option<Clock>,
}

impl Program {
    /// A program with arguments and nothing else.
    #[must_use]
    pub fn new(name: &str, binary: PathBuf, arguments: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            binary,
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            variables: Vec::new(),
            disk: None,
            clock: None,
        }
    }

    /// The same with these arguments in the place of its own.
    #[must_use]
    pub fn given(mut self, arguments: Vec<String>) -> Self {
        self.arguments = arguments;
        self
    }

    /// The same with one more variable.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// The same on a disk that can be slowed.
    #[must_use]
    pub fn on(mut self, disk: &Disk) -> Self {
        self.disk = Some(disk.clone());
        self
    }

    /// The same by a clock that can be stepped.
    #[must_use]
    pub fn by(mut self, clock: &Clock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    pub(crate) fn command(&self, place: &Arc<Place>, log: &Path) -> Result<Command> {
        let mut command = Command::new(&self.binary);
        command
            .args(&self.arguments)
            .envs(self.variables.iter().cloned())
            .envs(self.clock.iter().flat_map(Clock::variables))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(appended(log)?);
        place.enter(&mut command);
        Ok(command)
    }
}

/// A started program, alive or ended.
pub struct Process {
    program: Program,
    place: Arc<Place>,
    log: PathBuf,
    life: Arc<Life>,
}

impl Process {
    pub(crate) fn start(program: Program, place: &Arc<Place>, log: &Path) -> Result<Self> {
        let life = begin(&program, place, log)?;
        Ok(Self {
            program,
            place: Arc::clone(place),
            log: log.to_owned(),
            life,
        })
    }

    /// Its number, also after it ended.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.life.pid()
    }

    /// What was started.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What it said on stderr so far, in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its exit status once it has ended.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        self.life.ended()
    }

    /// Waits for its ready line and gives the address it listens on, where it says one.
    ///
    /// # Errors
    /// When it ends or reports a fault first, or says nothing within `limit`; its log is in the text.
    pub fn ready(&self, limit: Duration) -> Result<Option<SocketAddr>> {
        let what = format!("wait for `{}` to be ready", self.program.name);
        match self.life.report(limit) {
            Some(Report::Ready { listening }) => Ok(listening),
            Some(Report::Failed(problem)) => bail!("{what}: it reports {problem:?}"),
            Some(report @ (Report::Drained | Report::Rebuilt(_) | Report::Probed(_))) => {
                bail!("{what}: it reports {report:?}")
            }
            None => bail!(
                "{what}: ended {:?}, after at most {limit:?}; it said:\n{}",
                self.ended(),
                self.log()
            ),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it lives on after `limit`.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let ended = self.life.wait(limit);
        ended.with_context(|| {
            format!(
                "wait {limit:?} for `{}` to end: it lives on; it said:\n{}",
                self.program.name,
                self.log()
            )
        })
    }

    /// Sends it a signal; false where it has ended already.
    pub fn signal(&self, signal: Signal) -> bool {
        self.life.signal(signal)
    }

    /// Sends a signal to it and to all below it, parents first.
    pub fn signal_tree(&self, signal: Signal) -> bool {
        let below = life::descendants(self.pid());
        let lived = self.signal(signal);
        // A child that ended in between needs no signal; its number is not given away again so soon.
        for pid in below {
            let _ = rustix::process::kill_process(pid, signal);
        }
        lived
    }

    /// Kills it as a fault would: it alone, at once. Returns when it is reaped.
    ///
    /// # Errors
    /// When it lives on after `limit`, as a process does that waits for a broken disk.
    pub fn kill(&self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::KILL);
        self.wait(limit)
    }

    /// Starts it again with the same arguments once it has ended.
    ///
    /// # Errors
    /// When it still lives or cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(
            self.ended().is_some(),
            "start `{}` again: it still lives",
            self.program.name
        );
        self.life = begin(&self.program, &self.place, &self.log)?;
        Ok(())
    }

    /// The same with another build of the program.
    ///
    /// # Errors
    /// As [`Process::start_again`].
    pub fn start_other(&mut self, binary: &Path) -> Result<()> {
        binary.clone_into(&mut self.program.binary);
        self.start_again()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal_tree(Signal::KILL);
        let _ = self.life.wait(life::REAPED_WITHIN);
    }
}

fn begin(program: &Program, place: &Arc<Place>, log: &Path) -> Result<Arc<Life>> {
    let what = || {
        let (name, binary) = (&program.name, program.binary.display());
        format!("start `{name}` from `{binary}`")
    };
    let mut command = program.command(place, log).with_context(what)?;
    let watched = program.disk.as_ref().map(|disk| disk.watch(&mut command));
    let watched = watched.transpose().with_context(what)?;
    let child = spawn::bound(command).with_context(what)?;
    watched.map(|watched| watched.begin()).transpose()?;
    Life::of(child, appended(&log.with_extension("out"))?)
}

fn appended(path: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(path);
    file.with_context(|| format!("open the log `{}`", path.display()))
}
