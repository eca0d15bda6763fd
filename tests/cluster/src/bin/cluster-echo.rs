//! A stand-in for a program of Trackscan in the harness's own tests: `cluster-echo ADDRESS` answers each line it gets over TCP, counts
//! datagrams, syncs a file and says what time it is when asked. The product has no use for it.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use types::Report;

/// Datagrams between two pauses of a thrower: what a socket's buffer holds with room to spare.
const THROWN_AT_ONCE: u64 = 50;
/// How long a thrower pauses, so that the other side reads what arrived.
const PAUSE: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let address = std::env::args().nth(1).context("say where to listen")?;
    let listener = TcpListener::bind(&address).with_context(|| format!("listen on {address}"))?;
    let listening = listener.local_addr()?;
    let caught = Arc::new(AtomicU64::new(0));
    let socket = UdpSocket::bind(listening)?;
    let counter = Arc::clone(&caught);
    std::thread::spawn(move || count(&socket, &counter));
    report(&Report::Ready {
        listening: Some(listening),
    })?;
    for stream in listener.incoming() {
        let (stream, caught) = (stream?, Arc::clone(&caught));
        // A caller that goes away ends its own thread.
        std::thread::spawn(move || serve(stream, &caught));
    }
    Ok(())
}

fn report(report: &Report) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(report)?)?;
    out.flush().context("report on stdout")
}

fn count(socket: &UdpSocket, caught: &AtomicU64) {
    let mut datagram = [0; 64];
    while socket.recv(&mut datagram).is_ok() {
        caught.fetch_add(1, Ordering::SeqCst);
    }
}

fn serve(stream: TcpStream, caught: &AtomicU64) -> Result<()> {
    let (caller, mut answers) = (stream.peer_addr()?, stream.try_clone()?);
    for line in BufReader::new(stream).lines() {
        let answer = match line?.as_str() {
            "caller" => caller.ip().to_string(),
            line => answer(line, caught)?,
        };
        writeln!(answers, "{answer}")?;
    }
    Ok(())
}

/// What a line is answered with: its own text, unless it is one of the questions.
fn answer(line: &str, caught: &AtomicU64) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["caught"] => caught.load(Ordering::SeqCst).to_string(),
        ["throw", to, count] => throw(to, count.parse()?)?,
        ["time"] => SystemTime::UNIX_EPOCH.elapsed()?.as_millis().to_string(),
        ["rises"] => rises_ms().to_string(),
        ["sync", path] => sync(path)?,
        ["arguments"] => std::env::args().collect::<Vec<_>>().join(" "),
        _ => line.to_owned(),
    })
}

/// The clock that only ever rises, as the C library gives it.
fn rises_ms() -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the library writes one such struct, which lives through the call; this clock cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

fn throw(to: &str, count: u64) -> Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    for number in 0..count {
        socket.send_to(b"caught?", to)?;
        if number % THROWN_AT_ONCE == 0 {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(count.to_string())
}

/// How many microseconds a sync took, or the error it met with. Straight to the kernel, past the C library.
fn sync(path: &str) -> Result<String> {
    let mut file = File::create(path).with_context(|| format!("write `{path}`"))?;
    file.write_all(b"synced")?;
    let begun = Instant::now();
    Ok(match rustix::fs::fdatasync(&file) {
        Ok(()) => begun.elapsed().as_micros().to_string(),
        Err(why) => why.to_string(),
    })
}
