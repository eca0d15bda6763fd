//! The reader: a process of its own that parses one untrusted file and can do nothing else. Started by [`super::parent`] with
//! the file's bytes on standard input and the answer's reader on standard output, and no other descriptor.
//!
//! It gives up every right before the first byte reaches it: it cannot open, connect or start anything, and its memory and
//! processor time are bounded. Its answer is what the file holds, or why it is refused as JSON; which of them, its exit
//! status says.

use checkpoint::{Bag, INPUT_BYTES_MAX, Stated};
use clap::ValueEnum;
use sandbox::Limits;
use std::fs;
use std::io::{self, Read as _, Write as _};

/// The answer is a refusal, as JSON.
pub(super) const EXIT_REFUSED: i32 = 70;
/// The kernel refused the sandbox.
pub(super) const EXIT_SANDBOX: i32 = 72;
/// The file made it panic, which is a fault of ours.
pub(super) const EXIT_PANICKED: i32 = 74;
/// Nobody takes the answer, or the input fails.
const EXIT_BROKEN: i32 = 75;

/// Address space beyond what the program has when it starts: the file, which is collected in pieces that double, and as much
/// again for what is made of its pickle.
const MEMORY_BYTES: u64 = 3 * INPUT_BYTES_MAX;
/// Processor time of its life, seconds: the largest file takes five.
const LIFE_CPU_S: u64 = 120;
/// Standard input, output and error.
const DESCRIPTORS: u32 = 3;
/// Longest bag, bytes, and one more: what is longer is refused for it.
const BAG_BYTES_MAX: u64 = (1 << 16) + 1;

/// What is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Weights with class and arguments.
    Checkpoint,
    /// The file that says which weights a name stands for.
    Bag,
}

/// Parses standard input and ends the process.
pub(crate) fn run(what: What) -> ! {
    std::panic::set_hook(Box::new(|_| end(EXIT_PANICKED)));
    if enter().is_err() {
        end(EXIT_SANDBOX);
    }
    let code = match what {
        What::Checkpoint => checkpoint(),
        What::Bag => bag(),
    };
    end(code.unwrap_or(EXIT_BROKEN))
}

/// Ends at once: what libraries would do at the end of a process, the sandbox does not let them.
fn end(code: i32) -> ! {
    // SAFETY: ends the process without running anything else; what was to be written has been written by system calls.
    unsafe { libc::_exit(code) }
}

fn enter() -> io::Result<()> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        // A thread that was there before stays outside of the filter.
        return Err(io::Error::other("another thread is there already"));
    }
    sandbox::enter(Limits {
        address_space: mapped_bytes()? + MEMORY_BYTES,
        descriptors: DESCRIPTORS,
        cpu_s: LIFE_CPU_S,
    })
}

/// Address space that the program and its libraries take.
fn mapped_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes << 10)
        .ok_or_else(|| io::Error::other("the kernel does not say how much is mapped"))
}

fn input(bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn checkpoint() -> io::Result<i32> {
    let bytes = input(INPUT_BYTES_MAX + 1)?;
    match Stated::read(&bytes) {
        Ok(stated) => {
            stated.write(&mut io::stdout().lock())?;
            Ok(0)
        }
        Err(refusal) => answer(&refusal, EXIT_REFUSED),
    }
}

fn bag() -> io::Result<i32> {
    let bytes = input(BAG_BYTES_MAX)?;
    match Bag::parse(&String::from_utf8_lossy(&bytes)) {
        Ok(bag) => answer(&bag, 0),
        Err(refusal) => answer(&refusal, EXIT_REFUSED),
    }
}

fn answer(said: &impl serde::Serialize, code: i32) -> io::Result<i32> {
    let text = serde_json::to_vec(said).map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    out.write_all(&text)?;
    out.flush()?;
    Ok(code)
}
