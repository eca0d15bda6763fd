//! The sandboxed child that decodes untrusted audio.
//!
//! Started by the agent with a control socket and a ring as its only descriptors ([`audio::child`]); it gives up every
//! right it does not need before the first byte of any file reaches it, then decodes one track after another. It opens
//! nothing, connects to nothing, starts nothing: bytes come by `ReadAt` over the socket, PCM goes into the ring.

mod attempt;
mod limits;
mod remote;
mod session;
mod watchdog;

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use audio::Channel;
use audio::child::{CONTROL_FD, DATA_FD, EXIT_PROTOCOL, EXIT_SANDBOX, MEMORY_FD, SPACE_FD};
use audio::ring::{RingFds, Writer};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args == ["--version"] {
        return print_version();
    }
    let Some((control, peer, writer)) = inherited() else {
        return complain(
            "trackscan-decoder is started by trackscan's node-agent, not by hand",
            EXIT_PROTOCOL,
        );
    };
    session::quiet_panics();
    // Refused, decoding is as right, and a little dearer.
    let _unheard = audio::turns::take_long();
    if let Err(error) = watchdog::start().and_then(|()| sandbox::enter(limits::LIMITS)) {
        return complain(&format!("the sandbox was refused: {error}"), EXIT_SANDBOX);
    }
    match args.as_slice() {
        [] => exit_code(session::Session::new(Channel::new(control), peer, writer).run()),
        [mode, what] if mode == "attempt" => attempt::run(what),
        _ => exit_code(EXIT_PROTOCOL),
    }
}

/// Takes the descriptors that the agent passed; none when they are not what they should be.
fn inherited() -> Option<(UnixStream, OwnedFd, Writer)> {
    let [control, memory, data, space] = [CONTROL_FD, MEMORY_FD, DATA_FD, SPACE_FD].map(take);
    let control = UnixStream::from(control?);
    // A second handle for noticing, while the ring is full, that the agent is gone.
    let peer = OwnedFd::from(control.try_clone().ok()?);
    let ring = RingFds {
        memory: memory?,
        data: data?,
        space: space?,
    };
    Some((control, peer, Writer::attach(ring).ok()?))
}

/// Takes ownership of an inherited descriptor if it is open.
fn take(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: a query on a number; it touches no memory.
    let open = unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
    // SAFETY: it is open, and nothing else in this fresh process owns it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

#[expect(
    clippy::print_stdout,
    reason = "a version asked for by a person or by scanctl is data"
)]
fn print_version() -> ExitCode {
    println!("trackscan-decoder {}", env!("CARGO_PKG_VERSION"));
    ExitCode::SUCCESS
}

fn complain(message: &str, code: i32) -> ExitCode {
    eprintln!("{message}");
    exit_code(code)
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
