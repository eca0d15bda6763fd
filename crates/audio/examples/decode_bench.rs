//! Decodes files through a warm sandboxed decoder and prints what that cost, as one JSON line a file and round.
//!
//! `decode_bench DECODER ROUNDS [--mono HZ] FILE...`: at the file's own rate and channels, or as the worker hears them.
//! Processor seconds of the decoder, of this parent, which serves the bytes and drains the ring, and of the content hash
//! over the same bytes stand apart; the wall time of decoding and of the hash too. Run by the drivers in `bench/` at the root.

use std::path::Path;
use std::time::Instant;

use audio::host::{Host, Outcome};
use audio::limits::Limits;
use audio::protocol::{ChannelRule, Decode, OutputSpec};
use audio::ring::SAMPLES_DEFAULT;
use types::Digest;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [decoder, rounds, rest @ ..] = args.as_slice() else {
        return Err("usage: decode_bench DECODER ROUNDS [--mono HZ] FILE...".into());
    };
    let (output, files) = wanted(rest)?;
    let mut host = Host::start(Path::new(decoder), SAMPLES_DEFAULT)?;
    for round in 0..rounds.parse()? {
        for name in files {
            measure(&mut host, name, output, round)?;
        }
    }
    Ok(())
}

fn wanted(rest: &[String]) -> Result<(OutputSpec, &[String]), Failed> {
    let (rate_hz, channels, files) = match rest {
        [flag, hertz, files @ ..] if flag == "--mono" => {
            (Some(hertz.parse()?), ChannelRule::Mono, files)
        }
        files => (None, ChannelRule::Native, files),
    };
    Ok((OutputSpec { rate_hz, channels }, files))
}

#[expect(clippy::print_stdout, reason = "a bench's figures are its output")]
fn measure(host: &mut Host, name: &str, output: OutputSpec, round: u64) -> Result<(), Failed> {
    let mut file = std::fs::File::open(name)?;
    let job = Decode {
        token: round,
        bytes: file.metadata()?.len(),
        name: name.into(),
        output,
        limits: Limits::default(),
    };
    let (outcome, parent_s, decode_wall_s) = timed(|| host.decode(&mut file, &job, &mut |_| {}));
    let Outcome::Done(summary) = outcome? else {
        return Err(format!("{name} was not decoded").into());
    };
    let bytes = std::fs::read(name)?;
    let (digest, hash_s, hash_wall_s) = timed(|| Digest::of(&bytes));
    let (decoder_s, frames) = (summary.cpu_us as f64 / 1e6, summary.frames);
    println!(
        "{{\"file\":{name:?},\"round\":{round},\"frames\":{frames},\"sha256\":\"{digest}\",\"decoder_s\":{decoder_s:.6},\"parent_s\":{parent_s:.6},\"hash_s\":{hash_s:.6},\"decode_wall_s\":{decode_wall_s:.6},\"hash_wall_s\":{hash_wall_s:.6}}}"
    );
    Ok(())
}

/// What `work` gives, the processor seconds that this process spent on it, and how long it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64, f64) {
    let (begun, before) = (Instant::now(), cpu_seconds());
    let done = work();
    (done, cpu_seconds() - before, begun.elapsed().as_secs_f64())
}

/// Processor seconds of this process, user and system.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
