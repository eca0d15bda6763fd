//! Separates a track from a file with a network from a file, for comparison with `bench/separate_torch.py` of this crate,
//! which makes both. Run by `bench/parity.py` there and by `bench/separate.py` at the root.
//!
//! `separate FOLDER BATCH THREADS ROUNDS [cpu|cuda [f32|tf32|bf16|f16]]` reads `network.safetensors` and `track.f32`, writes
//! `ours.f32`, stem after stem, and prints one JSON object: processor seconds and seconds of a pass, after one that is not
//! counted.

use models::device;
use models::htdemucs::apply::{Overlap, separate};
use models::htdemucs::{self, Checkpoint, HtDemucs};
use models::params::values;
use std::error::Error;
use std::io::Write as _;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::time::Instant;
use tch::Tensor;
use types::{DeviceKind, Dtype};

type Done<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "separate FOLDER BATCH THREADS ROUNDS [cpu|cuda [f32|tf32|bf16|f16]]";

fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, batch, threads, rounds, how @ ..] = args.as_slice() else {
        return Err(USAGE.into());
    };
    let device = match how.first().map_or("cpu", String::as_str) {
        "cpu" => DeviceKind::Cpu,
        "cuda" => DeviceKind::Cuda,
        _ => return Err(USAGE.into()),
    };
    let dtype = match how.get(1).map_or("f32", String::as_str) {
        "f32" => Dtype::F32,
        "tf32" => Dtype::Tf32,
        "bf16" => Dtype::Bf16,
        "f16" => Dtype::F16,
        _ => return Err(USAGE.into()),
    };
    let opened = device::open(device, 0, dtype)?;
    device::set_threads(Some(threads.parse::<NonZeroU32>()?));
    device::keep_large_memory();
    let checkpoint = Checkpoint::parse(&std::fs::read(
        Path::new(folder).join("network.safetensors"),
    )?)?;
    let (_store, net) = htdemucs::load(
        &checkpoint.config,
        &checkpoint.tensors,
        opened.torch,
        device::kind(dtype),
    )?;
    drop(checkpoint.tensors);
    measure(&net, Path::new(folder), batch.parse()?, rounds.parse()?)
}

fn measure(net: &HtDemucs, folder: &Path, batch: NonZeroUsize, rounds: u32) -> Done<()> {
    let track = [track(
        &folder.join("track.f32"),
        net.config().audio_channels,
    )?];
    let pass = || separate(net, &track, batch, Overlap::default());
    write(&folder.join("ours.f32"), &values(&pass()?[0])?)?;
    let (cpu, wall) = (cpu_seconds()?, Instant::now());
    for _ in 0..rounds {
        pass()?;
    }
    let rounds = f64::from(rounds.max(1));
    let report = serde_json::json!({
        "cpu_seconds": (cpu_seconds()? - cpu) / rounds,
        "seconds": wall.elapsed().as_secs_f64() / rounds,
    });
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

/// Samples of a file, channel after channel.
fn track(path: &Path, channels: i64) -> Done<Tensor> {
    let bytes = std::fs::read(path)?;
    let samples: Vec<f32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|sample| f32::from_le_bytes(*sample))
        .collect();
    Ok(Tensor::f_from_slice(&samples)?.f_view([channels, -1])?)
}

fn write(path: &Path, samples: &[f32]) -> Done<()> {
    let bytes: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    Ok(std::fs::write(path, bytes)?)
}

/// Processor time of this process and all its threads.
fn cpu_seconds() -> Done<f64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec that lives for the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    if failed != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}
