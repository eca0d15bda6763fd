//! A worker without libtorch: the shipped loop around the deterministic stub engine. Suites start it in the place of
//! `trackscan-worker`; `TRACKSCAN_STUB_*` gives it delays and a failing canary (see `engine::stub`).

use engine::stub::{StubEngine, StubOptions};

fn main() -> anyhow::Result<()> {
    let options = StubOptions::read(|name| std::env::var(name).ok());
    Ok(engine::serve(|load| Ok(StubEngine::new(options, load)))?)
}
