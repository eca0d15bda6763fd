//! One server process: started, signalled, killed when it is dropped and when the test process ends. Used by the cluster alone.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) use rustix::process::Signal;
use rustix::process::{Pid, kill_process, set_parent_process_death_signal};

/// Between two looks whether a process stands still.
const STOP_LOOK: Duration = Duration::from_millis(1);

/// A process that lives no longer than this.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts a program whose words go to `log`.
    pub(super) fn start(program: &Path, arguments: &[String], log: &Path) -> Self {
        let words = File::options().create(true).append(true).open(log);
        let words = words.expect("the test's folder can be written");
        let errors = words.try_clone().expect("an open file can be shared");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(words)
            .stderr(errors);
        // A variable of the surroundings would be another setting of the server.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(name);
            }
        }
        // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        Self(command.spawn().expect("the server's program starts"))
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a process has a number");
        kill_process(pid, signal).expect("a child that was not waited for can be signalled");
    }

    /// Stops the process and waits until each of its threads stands still: the signal is taken when a thread runs next.
    pub(super) async fn stop(&self) {
        self.signal(Signal::STOP);
        while !self.stands_still() {
            tokio::time::sleep(STOP_LOOK).await;
        }
    }

    fn stands_still(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.id()));
        let threads = threads.expect("a child that was not waited for is in /proc");
        let mut states = threads.filter_map(|thread| {
            let stat = std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
            // After the name, which may hold anything and ends in the last parenthesis.
            stat.rsplit_once(") ")?.1.chars().next()
        });
        states.all(|state| matches!(state, 'T' | 'Z'))
    }

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing is left to be done where it has ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port that nobody listens on just now.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("this machine has a free port");
    let address = listener.local_addr().expect("a listener has an address");
    address.port()
}
