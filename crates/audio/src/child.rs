//! How a decoder is started and what its death means. Used by the agent's pool and by tests; decodes nothing itself.
//!
//! A decoder is `trackscan-decoder` without arguments, with an empty environment, in a process group of its own, with
//! exactly these descriptors: 0 to 2 `/dev/null`, [`CONTROL_FD`] the control socket, [`MEMORY_FD`] the ring's memory,
//! [`DATA_FD`] and [`SPACE_FD`] its eventfds. It is killed by the kernel when the *thread* that started it ends, so one
//! long-lived thread starts them all: [`Spawner`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use types::Code;

use crate::ring::{RingError, RingFds};

/// The control socket in a decoder.
pub const CONTROL_FD: RawFd = 3;
/// The ring's memory in a decoder.
pub const MEMORY_FD: RawFd = 4;
/// The ring's data eventfd in a decoder.
pub const DATA_FD: RawFd = 5;
/// The ring's space eventfd in a decoder.
pub const SPACE_FD: RawFd = 6;

/// A decoder's exit status when it made no progress for too long.
pub const EXIT_STALLED: i32 = 71;
/// A decoder's exit status when the kernel refused its sandbox.
pub const EXIT_SANDBOX: i32 = 72;
/// A decoder's exit status when its descriptors or messages make no sense.
pub const EXIT_PROTOCOL: i32 = 73;
/// A decoder's exit status when a file made it panic; the panic's text went out as `Failed` before.
pub const EXIT_PANICKED: i32 = 74;

/// Spawn requests that wait at most: a pool starts a few dozen decoders at once, each in about a millisecond.
const REQUESTS_MAX: usize = 64;

/// The code of the track that a decoder worked on when it ended this way.
#[must_use]
pub fn code_of_death(status: ExitStatus) -> Code {
    match status.code() {
        Some(EXIT_STALLED) => Code::DecodeStalled,
        Some(EXIT_SANDBOX) => Code::SandboxUnavailable,
        Some(_) => Code::DecodeCrash,
        None if status.signal() == Some(libc::SIGXCPU) => Code::DecodeCpuLimit,
        None => Code::DecodeCrash,
    }
}

/// Why no decoder was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The ring could not be made.
    #[error("cannot make the ring of a decoder")]
    Ring(#[from] RingError),
    /// The process could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The binary.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The spawning thread is gone, which happens only when it panicked.
    #[error("the thread that starts processes is gone")]
    Spawner,
}

/// A running decoder and this side's ends of everything it shares. Dropping it kills it.
#[derive(Debug)]
pub struct DecoderChild {
    process: Child,
    /// This end of the control socket, blocking. For a runtime: `set_nonblocking(true)` and convert.
    pub control: UnixStream,
    /// The ring; the worker gets [`RingFds::try_clone`] of it.
    pub ring: RingFds,
}

impl DecoderChild {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills it if it still runs, takes it off the process table and says how it ended.
    ///
    /// # Errors
    /// The system's, when the process cannot be waited for.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        self.process.kill()?;
        self.process.wait()
    }

    /// How it ended, waiting for it: for after its socket has closed.
    ///
    /// # Errors
    /// The system's, when the process cannot be waited for.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait()
    }
}

impl Drop for DecoderChild {
    fn drop(&mut self) {
        let _already_gone = self.end();
    }
}

/// The thread that starts processes that must not outlive this one.
///
/// The kernel ties a parent-death signal to the thread that forked; a runtime's threads come and go, this one stays
/// until the last handle is dropped, which kills every child it started.
#[derive(Clone, Debug)]
pub struct Spawner {
    requests: SyncSender<Request>,
}

struct Request {
    command: Command,
    fds: Vec<OwnedFd>,
    answer: Sender<io::Result<Child>>,
}

impl Spawner {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when no thread can be made.
    pub fn start() -> io::Result<Self> {
        let (requests, inbox) = sync_channel(REQUESTS_MAX);
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || serve(&inbox))?;
        Ok(Self { requests })
    }

    /// Starts `command` with `fds` as its descriptors 3, 4, … and nothing else open, to be killed with this process.
    /// Blocks for about a millisecond.
    ///
    /// # Errors
    /// [`SpawnError::Start`] when the system refuses.
    pub fn spawn(&self, command: Command, fds: Vec<OwnedFd>) -> Result<Child, SpawnError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let (answer, outcome) = channel();
        self.requests
            .send(Request {
                command,
                fds,
                answer,
            })
            .map_err(|_| SpawnError::Spawner)?;
        let outcome = outcome.recv().map_err(|_| SpawnError::Spawner)?;
        outcome.map_err(|source| SpawnError::Start { program, source })
    }

    /// Starts the decoder at `binary` with a fresh ring of `ring_samples` values.
    ///
    /// # Errors
    /// [`SpawnError`] when the ring cannot be made or the process not started.
    pub fn spawn_decoder(
        &self,
        binary: &Path,
        ring_samples: usize,
    ) -> Result<DecoderChild, SpawnError> {
        self.spawn_decoder_with(binary, &[], ring_samples)
    }

    /// As [`Spawner::spawn_decoder`], with arguments: for the decoder's own tests.
    ///
    /// # Errors
    /// As there.
    pub fn spawn_decoder_with(
        &self,
        binary: &Path,
        args: &[&str],
        ring_samples: usize,
    ) -> Result<DecoderChild, SpawnError> {
        let failed = |source| SpawnError::Start {
            program: binary.display().to_string(),
            source,
        };
        let ring = RingFds::create(ring_samples)?;
        let RingFds {
            memory,
            data,
            space,
        } = ring.try_clone()?;
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(binary);
        command
            .args(args)
            .env_clear()
            .process_group(0)
            .current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = self.spawn(command, vec![theirs.into(), memory, data, space])?;
        Ok(DecoderChild {
            process,
            control,
            ring,
        })
    }
}

fn serve(inbox: &Receiver<Request>) {
    while let Ok(Request {
        command,
        fds,
        answer,
    }) = inbox.recv()
    {
        // A caller that stopped waiting drops the child's handle, not the child; the pool always waits.
        let _gone = answer.send(start(command, &fds));
    }
}

fn start(mut command: Command, fds: &[OwnedFd]) -> io::Result<Child> {
    // Copies above the targets, so that no `dup2` below overwrites a descriptor that is still to be copied; and no number
    // free among the targets, where the standard library's own pipe to the child would lie.
    let floor = FIRST_FD + fds.len() as RawFd;
    let _taken = occupy_below(floor, fds.first())?;
    let above = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, floor).map_err(io::Error::from);
    let copies = fds
        .iter()
        .map(above)
        .collect::<io::Result<Vec<OwnedFd>>>()?;
    let parent = rustix::process::getpid().as_raw_nonzero().get();
    let numbers: Vec<RawFd> = copies.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: the closure runs between fork and exec and makes system calls only; it allocates and locks nothing.
    unsafe { command.pre_exec(move || settle(&numbers, parent)) };
    command.spawn()
}

/// Takes all free numbers from the first target up to `floor`, with copies of `fd`, until dropped.
fn occupy_below(floor: RawFd, fd: Option<&OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let mut taken = Vec::new();
    if let Some(fd) = fd {
        while taken
            .last()
            .is_none_or(|last: &OwnedFd| last.as_raw_fd() < floor)
        {
            taken.push(rustix::io::fcntl_dupfd_cloexec(fd, FIRST_FD)?);
        }
    }
    Ok(taken)
}

/// The first inherited descriptor after the standard three.
const FIRST_FD: RawFd = 3;

/// In the child, before exec: dies with its parent, descriptors in their places, all others closed at exec.
fn settle(fds: &[RawFd], parent: i32) -> io::Result<()> {
    let refused = |done: i32| {
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: plain system calls on numbers; see each man page for why none touches memory of ours.
    unsafe {
        refused(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        if libc::getppid() != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        for (fd, target) in fds.iter().zip(FIRST_FD..) {
            refused(libc::dup2(*fd, target))?;
        }
        let rest = (FIRST_FD + fds.len() as RawFd) as libc::c_uint;
        refused(libc::close_range(
            rest,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as i32,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// Runs a shell command with copies of one pipe's end as descriptors 3 and 4, and returns what it wrote there.
    fn written_by(script: &str) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .env_clear()
            .stdin(Stdio::null());
        let fds = vec![writer.try_clone().unwrap().into(), writer.into()];
        // Kept until the child has ended, which would die with it.
        let spawner = Spawner::start().unwrap();
        let mut child = spawner.spawn(command, fds).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        text
    }

    #[test]
    fn a_child_gets_its_descriptors_in_their_places_and_no_others() {
        let _elsewhere = std::fs::File::open("/dev/null").unwrap();
        // Built-in commands only, since a shell opens pipes of its own for others.
        let script = "echo three >&3; echo four >&4; for n in 5 6 7 8 9; do [ -e /proc/$$/fd/$n ] && echo $n >&4; done";
        assert_eq!(written_by(script), "three\nfour\n");
    }

    #[test]
    fn a_child_is_to_die_with_its_parent() {
        let (mut reader, writer) = io::pipe().unwrap();
        let spawner = Spawner::start().unwrap();
        let mut command = Command::new("/bin/sleep");
        command.arg("1000");
        let mut child = spawner.spawn(command, vec![writer.into()]).unwrap();
        drop(spawner);
        // The thread that started it is gone, so the kernel has killed it; its end of the pipe closes.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn what_cannot_be_started_is_named() {
        let outcome = Spawner::start()
            .unwrap()
            .spawn_decoder(Path::new("/nonexistent/decoder"), crate::ring::SAMPLES_MIN);
        assert!(
            matches!(outcome, Err(SpawnError::Start { program, .. }) if program == "/nonexistent/decoder")
        );
    }

    #[test]
    fn each_death_has_its_code() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        #[rustfmt::skip]
        let rows = [
            (exited(EXIT_STALLED), Code::DecodeStalled),
            (exited(EXIT_SANDBOX), Code::SandboxUnavailable),
            (exited(EXIT_PANICKED), Code::DecodeCrash),
            (exited(0), Code::DecodeCrash),
            (ExitStatus::from_raw(libc::SIGXCPU), Code::DecodeCpuLimit),
            (ExitStatus::from_raw(libc::SIGABRT), Code::DecodeCrash),
            (ExitStatus::from_raw(libc::SIGKILL), Code::DecodeCrash),
        ];
        for (status, code) in rows {
            assert_eq!(code_of_death(status), code, "{status}");
        }
    }
}
