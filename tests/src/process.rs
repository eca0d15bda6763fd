//! Living processes as `/proc` shows them: names, parents, and signals to them. Suites use it to find their victims.

use rustix::process::{Pid, Signal};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// A command and where its child is to be sent.
type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts a child that dies with this test process, however that ends. The kernel ends it with the *thread* that started it,
/// so one thread that lives as long as the process starts them all.
///
/// # Panics
/// When the child cannot be started.
#[must_use]
pub fn spawn_bound(mut command: Command) -> Child {
    static ORDERS: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, received) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in received {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            Ok(rustix::process::set_parent_process_death_signal(Some(
                Signal::KILL,
            ))?)
        });
    }
    let (answer, child) = mpsc::channel();
    orders
        .lock()
        .expect("no holder panics")
        .send((command, answer))
        .expect("the thread lives as long as the process");
    child
        .recv()
        .expect("each order is answered")
        .expect("the child starts")
}

/// A process as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub pid: i32,
    /// Its parent's number.
    pub parent: i32,
    /// The name the kernel shows: the first 15 bytes of the binary's.
    pub name: String,
}

/// Every process that lives and is no zombie.
#[must_use]
pub fn all() -> Vec<Seen> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| one(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// One process, where it lives.
#[must_use]
pub fn one(pid: i32) -> Option<Seen> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let mut fields = tail.split_whitespace();
    let alive = !matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let name = head.split_once('(')?.1.to_owned();
    alive.then_some(Seen { pid, parent, name })
}

/// All descendants of a process, children first.
#[must_use]
pub fn descendants(root: i32) -> Vec<Seen> {
    let all = all();
    let mut found: Vec<Seen> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|seen| seen.parent == parent);
        for child in children {
            parents.push(child.pid);
            found.push(child.clone());
        }
    }
    found
}

/// The most memory that a living process ever held, bytes; 0 once it is gone.
#[must_use]
pub fn most_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// Sends a signal; a process that is gone already is no matter.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Looks every 20 ms until `found` gives something.
///
/// # Panics
/// When it has not within `limit`: `what` says for what was waited.
pub fn wait_for<T>(what: &str, limit: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
