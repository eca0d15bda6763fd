//! One host of a world: where programs start, and signals to everything that runs there. Made by the world; the programs
//! themselves are in `process`.

use crate::place::Place;
use crate::process::{Process, Program};
use crate::{keeper, spawn};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// A machine in a world, as far as its programs can tell.
pub struct Host {
    name: String,
    address: Ipv4Addr,
    logs: PathBuf,
    keeper: Mutex<Keeper>,
    place: Arc<Place>,
}

impl Host {
    /// Gives a keeper's namespace, into which a cable has been put, its address.
    pub(crate) fn plug(name: &str, address: Ipv4Addr, keeper: Keeper, logs: &Path) -> Result<Self> {
        let place = Arc::clone(keeper.place());
        let batch = format!("link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up\n");
        place.tool(&["ip", "-batch", "-"], &batch)?;
        Ok(Self {
            name: name.to_owned(),
            address,
            logs: logs.to_owned(),
            keeper: Mutex::new(keeper),
            place,
        })
    }

    /// Its name in the world.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, the same from every host.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Starts a program here. What it says goes to `HOST-NAME.log` and `HOST-NAME.out` in the world's folder.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(&self, program: Program) -> Result<Process> {
        let log = self
            .logs
            .join(format!("{}-{}.log", self.name, program.name));
        Process::start(program, &self.place, &log)
            .with_context(|| format!("on the host `{}`", self.name))
    }

    /// A hand that runs programs here to their end, from any thread.
    #[must_use]
    pub fn shell(&self) -> Shell {
        Shell {
            host: self.name.clone(),
            place: Arc::clone(&self.place),
            logs: self.logs.clone(),
        }
    }

    /// Sends a signal to everything that runs here, children of children too, and says to how many.
    ///
    /// # Errors
    /// Where the host's keeper does not answer.
    pub fn signal_all(&self, signal: Signal) -> Result<usize> {
        self.ask(signal.as_raw())
    }

    /// How many processes run here.
    ///
    /// # Errors
    /// Where the host's keeper does not answer.
    pub fn running(&self) -> Result<usize> {
        self.ask(0)
    }

    fn ask(&self, number: i32) -> Result<usize> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        keeper
            .ask(number)
            .with_context(|| format!("signal everything on the host `{}`", self.name))
    }

    /// Kills everything here and gives the namespace back.
    pub(crate) fn end(&self) -> Result<()> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        keeper
            .end()
            .with_context(|| format!("end the host `{}`", self.name))
    }
}

/// Runs programs on a host to their end, as a person at its keyboard does.
#[derive(Debug, Clone)]
pub struct Shell {
    host: String,
    place: Arc<Place>,
    logs: PathBuf,
}

impl Shell {
    /// Runs a program to its end and gives what it said. It bounds its own time; nothing here does.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn run(&self, program: &Program) -> Result<Output> {
        let log = self
            .logs
            .join(format!("{}-{}.log", self.host, program.name));
        let what = || format!("run `{}` on the host `{}`", program.name, self.host);
        let mut command = program.command(&self.place, &log).with_context(what)?;
        command.stderr(Stdio::piped());
        let child = spawn::bound(command).with_context(what)?;
        child.wait_with_output().with_context(what)
    }
}

/// The running program that keeps a namespace. Dropping it empties the namespace and ends it.
pub(crate) struct Keeper {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    place: Arc<Place>,
    owned: bool,
}

impl Keeper {
    /// A keeper outside of everything, in a user namespace of its own where root's rights are not there.
    pub(crate) fn first() -> Result<Self> {
        let mut command = Command::new(spawn::program("cluster-keeper")?);
        command.arg("first");
        Self::start(command, false)
    }

    /// A keeper in this one's user namespace, where it has one.
    pub(crate) fn next(&self) -> Result<Self> {
        let mut command = Command::new(spawn::program("cluster-keeper")?);
        Arc::new(Place::owner(self.child.id(), self.owned)?).enter(&mut command);
        Self::start(command, self.owned)
    }

    fn start(mut command: Command, owned: bool) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        let mut child = spawn::order(command).context("start the keeper of a host")?;
        let orders = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
        let mut said = String::new();
        answers.read_line(&mut said)?;
        let owned = match said.trim() {
            keeper::AS_ROOT => owned,
            keeper::IN_USER_NAMESPACE => true,
            _ => return Err(refused(child, orders)),
        };
        let place = Arc::new(Place::of(child.id(), owned)?);
        Ok(Self {
            child,
            orders,
            answers,
            place,
            owned,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    fn ask(&mut self, number: i32) -> Result<usize> {
        let orders = self.orders.as_mut().context("its world has ended")?;
        writeln!(orders, "{number}")?;
        let mut said = String::new();
        self.answers.read_line(&mut said)?;
        said.trim().parse().context("its keeper does not answer")
    }

    /// Closes the keeper's stdin, upon which it kills what is there and ends.
    fn end(&mut self) -> Result<()> {
        drop(self.orders.take());
        let status = self.child.wait()?;
        let mut said = String::new();
        if let Some(stderr) = self.child.stderr.as_mut() {
            stderr.read_to_string(&mut said)?;
        }
        ensure!(status.success(), "{}", said.trim());
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// What a keeper that could not begin says of it.
fn refused(child: Child, orders: Option<ChildStdin>) -> anyhow::Error {
    drop(orders);
    match child.wait_with_output() {
        Ok(output) => anyhow::anyhow!("{}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(why) => why.into(),
    }
}
