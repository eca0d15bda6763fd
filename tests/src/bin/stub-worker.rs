//! A worker without libtorch: the shipped loop around the deterministic stub engine. Suites start it in the place of
//! `trackscan-worker`; `TRACKSCAN_STUB_*` gives it delays and a failing canary (see `engine::stub`).
//!
//! `stub-worker devices` prints one device, or as many as `TRACKSCAN_STUB_DEVICES` says, as the shipped worker prints this machine's: processors,
//! or what `TRACKSCAN_STUB_DEVICE` says (`cpu`, `cuda`).

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
    let kind: DeviceKind = match std::env::var("TRACKSCAN_STUB_DEVICE") {
        Ok(kind) => kind.parse()?,
        Err(_) => DeviceKind::Cpu,
    };
    let count: u32 = match std::env::var("TRACKSCAN_STUB_DEVICES") {
        Ok(count) => count.parse()?,
        Err(_) => 1,
    };
    let device = |index| Device {
        kind,
        index,
        name: "stub".to_owned(),
        memory_bytes: 0,
    };
    let devices: Vec<Device> = (0..count).map(device).collect();
    Ok(serde_json::to_writer(std::io::stdout(), &devices)?)
}
