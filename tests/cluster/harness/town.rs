//! A world with a stand-in on each host, and lines of talk with them from outside. What the tests of this folder share.

use cluster::{Process, Program, Relay, World, program};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that must happen: generous, since tests share a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long nothing must come where nothing may: a packet on this machine takes a thousandth of it.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);

/// Where stand-ins listen.
pub(crate) const PORT: u16 = 7_000;

pub(crate) struct Town {
    doors: RefCell<Vec<Relay>>,
    pub(crate) echoes: BTreeMap<String, Process>,
    pub(crate) world: World,
    pub(crate) folder: TempDir,
}

impl Town {
    pub(crate) fn of(hosts: &[&str]) -> Self {
        Self::with(hosts, |program, _| program)
    }

    /// A town whose stand-ins are started as `prepared`.
    pub(crate) fn with(hosts: &[&str], prepared: impl Fn(Program, &Path) -> Program) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::make(&folder.path().join("logs"), hosts).unwrap();
        let start = |name: &&str| {
            let program = prepared(echo(&world, name), folder.path());
            let process = world.host(name).unwrap().start(program).unwrap();
            process.ready(PATIENCE).unwrap();
            ((*name).to_owned(), process)
        };
        Self {
            doors: RefCell::default(),
            echoes: hosts.iter().map(start).collect(),
            world,
            folder,
        }
    }

    /// Talk with the stand-in on `to`, from the host `from`.
    pub(crate) fn line(&self, from: &str, to: &str) -> Line {
        let address = SocketAddrV4::new(self.world.host(to).unwrap().address(), PORT);
        self.line_to(from, address)
    }

    /// Talk with whoever listens there, from the host `from`.
    pub(crate) fn line_to(&self, from: &str, to: SocketAddrV4) -> Line {
        let (door, outside) = Relay::inward(self.world.host(from).unwrap(), to).unwrap();
        self.doors.borrow_mut().push(door);
        Line::open(outside)
    }

    /// One question to the stand-in of a host, asked on that host.
    pub(crate) fn ask(&self, host: &str, question: &str) -> String {
        self.line(host, host).ask(question)
    }
}

/// The stand-in of a host, listening there.
pub(crate) fn echo(world: &World, host: &str) -> Program {
    let address = world.host(host).unwrap().address();
    let listen = SocketAddrV4::new(address, PORT).to_string();
    Program::new("echo", program("cluster-echo").unwrap(), &[&listen])
}

/// A connection to a stand-in.
pub(crate) struct Line {
    stream: BufReader<TcpStream>,
}

impl Line {
    pub(crate) fn open(address: impl std::net::ToSocketAddrs) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn say(&mut self, question: &str) {
        let mut text = question.to_owned();
        text.push('\n');
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// What comes within [`PATIENCE`].
    pub(crate) fn hear(&mut self) -> String {
        self.heard_within(PATIENCE).expect("an answer comes")
    }

    pub(crate) fn ask(&mut self, question: &str) -> String {
        self.say(question);
        self.hear()
    }

    /// The answer, where one comes; a connection that broke has none.
    pub(crate) fn try_ask(&mut self, question: &str) -> Option<String> {
        let asked = writeln!(self.stream.get_mut(), "{question}");
        asked.ok().and_then(|()| self.heard_within(PATIENCE).ok())
    }

    pub(crate) fn is_silent(&mut self) -> bool {
        let heard = self.heard_within(SILENCE);
        heard.is_err_and(|why| matches!(why, ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Whether the connection ends within [`PATIENCE`] without another word.
    pub(crate) fn breaks(&mut self) -> bool {
        let heard = self.heard_within(PATIENCE);
        heard.is_err_and(|why| why == ErrorKind::ConnectionReset || why == ErrorKind::UnexpectedEof)
    }

    fn heard_within(&mut self, limit: Duration) -> Result<String, ErrorKind> {
        self.stream.get_ref().set_read_timeout(Some(limit)).unwrap();
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Err(ErrorKind::UnexpectedEof),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(why) => Err(why.kind()),
        }
    }
}

/// Copies a program of this package. Another process does it: a file that this one has open for writing cannot be started by a
/// child of another test that is just being made.
pub(crate) fn copy(name: &str, to: &Path) {
    let built = program(name).unwrap();
    let copied = Command::new("cp").arg(built).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Looks every 20 ms until `found` gives something; `what` says for what is waited.
pub(crate) fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process runs or could: one that has ended and waits for its parent does not.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, tail)| tail.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}
