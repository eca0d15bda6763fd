//! A suite that does nothing but wait to be killed: `cluster-doomed FOLDER` makes two hosts with a stand-in on one of them, says its numbers
//! and a way in, and waits. The harness's own tests kill it and look for what is left.

use anyhow::{Context, Result};
use cluster::{Program, Relay, World, program};
use std::io::Write;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

/// How long the stand-in may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the stand-in listens.
const PORT: u16 = 7_000;

fn main() -> Result<()> {
    let folder = std::env::args()
        .nth(1)
        .context("say which folder to log in")?;
    let world = World::make(&PathBuf::from(folder), &["a", "b"])?;
    let (a, b) = (world.host("a")?, world.host("b")?);
    let address = SocketAddrV4::new(b.address(), PORT);
    let listen = address.to_string();
    let echo = b.start(Program::new("echo", program("cluster-echo")?, &[&listen]))?;
    echo.ready(PATIENCE)?;
    // It leaves its group and its parent, as no child of ours should.
    let stray = "setsid sleep 100000 & echo $!";
    let stray = a.start(Program::new("stray", "/bin/sh".into(), &["-c", stray]))?;
    stray.wait(PATIENCE)?;
    let (_door, way_in) = Relay::inward(a, address)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {way_in}", echo.pid())?;
    out.flush()?;
    loop {
        std::thread::park();
    }
}
