//! Measures the engine on windows of PCM from a file: processor seconds of all threads, and the logits for comparison
//! with `bench/screen_torch.py` of this crate. Run by `bench/screen.py` at the root.
//!
//! `screen_bench BUNDLE PCM BATCH THREADS ROUNDS [cpu|cuda [f32|tf32|bf16|f16]]` prints one JSON object. `screen_bench sample FOLDER`
//! writes a bundle of the usual size with random weights there, for measuring where no trained bundle is at hand.

use bundle::{Architecture, CnnV1, Manifest, Pooling, Tensors, sample};
use engine::{Engine, Load};
use models::TorchEngine;
use std::error::Error;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::Path;
use types::{DeviceKind, Digest, Dtype};

type Done = Result<(), Box<dyn Error>>;

const USAGE: &str =
    "screen_bench BUNDLE PCM BATCH THREADS ROUNDS [DEVICE [DTYPE]], or screen_bench sample FOLDER";

fn main() -> Done {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["sample", folder] => write_sample(Path::new(folder)),
        [folder, pcm, batch, threads, rounds, how @ ..] if how.len() <= 2 => measure(
            &wanted(folder, batch.parse()?, how)?,
            pcm,
            threads.parse()?,
            rounds.parse()?,
        ),
        _ => Err(USAGE.into()),
    }
}

fn measure(wanted: &Load, pcm: &str, threads: NonZeroU32, rounds: u32) -> Done {
    let batch = wanted.max_batch.unwrap_or(1) as usize;
    let bytes = std::fs::read(pcm)?;
    let pcm: Vec<f32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|sample| f32::from_le_bytes(*sample))
        .collect();
    let mut engine = TorchEngine::load(wanted, Some(threads))?;
    let size = engine.info().window.samples() * batch;
    let mut pass = || -> Result<Vec<f32>, Box<dyn Error>> {
        let mut logits = Vec::new();
        for part in pcm.chunks_exact(size) {
            logits.extend(engine.screen(part, batch)?.iter().map(|score| score.logit));
        }
        Ok(logits)
    };
    let logits = pass()?;
    let before = cpu_seconds()?;
    for _ in 0..rounds {
        pass()?;
    }
    let seconds = (cpu_seconds()? - before) / f64::from(rounds);
    let report =
        serde_json::json!({ "cpu_seconds": seconds, "windows": logits.len(), "logits": logits });
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

/// What is loaded: by `how` the kind of device and its number format, single precision on the processor where nothing is said.
fn wanted(folder: &str, batch: u32, how: &[&str]) -> Result<Load, Box<dyn Error>> {
    let manifest = std::fs::read(Path::new(folder).join(bundle::MANIFEST_FILE))?;
    Ok(Load {
        bundle_dir: folder.to_owned(),
        bundle: Digest::of(&manifest),
        device: how
            .first()
            .copied()
            .unwrap_or("cpu")
            .parse::<DeviceKind>()?,
        index: 0,
        dtype: Some(how.get(1).copied().unwrap_or("f32").parse::<Dtype>()?),
        slots: 0,
        max_batch: Some(batch),
    })
}

/// Processor time of this process and all its threads.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
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

fn write_sample(folder: &Path) -> Done {
    let mut manifest = sample::manifest();
    let cnn = CnnV1 {
        channels: vec![16, 32, 64, 96, 128],
        pooling: Pooling::MeanMax,
        hidden: 64,
        dropout: 0.2,
    };
    let mel = &mut manifest.screen.preprocessing;
    (mel.rate_hz, mel.n_fft, mel.hop, mel.mels) = (22_050, 1_024, 256, 96);
    (mel.low_hz, mel.high_hz) = (40.0, 9_500.0);
    (
        manifest.screen.windows.frames,
        manifest.screen.windows.stride,
    ) = (256, 256);
    let weights = random(&cnn)?;
    manifest.screen.architecture = Architecture::CnnV1(cnn);
    let clip = bundle::Clip(vec![0.25; 2 * 256 * 256]);
    manifest.canary.scores = models::canary::known_scores(&manifest.screen, &weights, &clip)?;
    write(folder, manifest, &weights, &clip)
}

fn random(cnn: &CnnV1) -> Result<Tensors, tch::TchError> {
    tch::manual_seed(1);
    let store = tch::nn::VarStore::new(tch::Device::Cpu);
    models::screen::ScreenNet::new(&store.root(), cnn)?;
    models::params::save(&store)
}

fn write(folder: &Path, manifest: Manifest, weights: &Tensors, clip: &bundle::Clip) -> Done {
    let mut contents = sample::contents();
    contents.insert(manifest.screen.weights.clone(), weights.to_bytes());
    contents.insert(
        manifest.canary.clip.clone(),
        bundle::Clip::bytes_of(&clip.0),
    );
    bundle::write(folder, manifest, &contents, &sample::key())?;
    Ok(())
}
