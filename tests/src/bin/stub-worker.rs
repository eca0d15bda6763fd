//! A worker without libtorch: the shipped loop around the deterministic stub engine. Suites start it in the place of
//! `trackscan-worker`; `TRACKSCAN_STUB_*` gives it delays and a failing canary (see `engine::stub`).
//!
//! `stub-worker devices` prints one device, as the shipped worker prints this machine's: a processor, or what
//! `TRACKSCAN_STUB_DEVICE` says (`cpu`, `cuda`).

use engine::stub::{StubEngine, StubOptions};
use types::{Device, DeviceKind};

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("devices") => devices(),
        Some(_) | None => serve(),
    }
}

fn serve() -> anyhow::Result<()> {
    let options = StubOptions::read(|name| std::env::var(name).ok());
    Ok(engine::serve(|load| Ok(StubEngine::new(options, load)))?)
}

fn devices() -> anyhow::Result<()> {
    let name = "stub".to_owned();
    let kind: DeviceKind = match std::env::var("TRACKSCAN_STUB_DEVICE") {
        Ok(kind) => kind.parse()?,
        Err(_) => DeviceKind::Cpu,
    };
    let device = Device {
        kind,
        index: 0,
        name,
        memory_bytes: 0,
    };
    Ok(serde_json::to_writer(std::io::stdout(), &[device])?)
}
