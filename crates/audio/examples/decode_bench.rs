//! Decodes files through a warm sandboxed decoder and prints what that cost, as one JSON line a round.
//!
//! `decode_bench DECODER ROUNDS FILE...`: native rate and channels; processor seconds of the decoder and of this parent,
//! which serves the bytes and drains the ring, apart.

use std::path::Path;

use audio::host::{Host, Outcome};
use audio::limits::Limits;
use audio::protocol::{ChannelRule, Decode, OutputSpec};
use audio::ring::SAMPLES_DEFAULT;

#[expect(clippy::print_stdout, reason = "a bench's figures are its output")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [decoder, rounds, files @ ..] = args.as_slice() else {
        return Err("usage: decode_bench DECODER ROUNDS FILE...".into());
    };
    let rounds: u64 = rounds.parse()?;
    let mut host = Host::start(Path::new(decoder), SAMPLES_DEFAULT)?;
    for round in 0..rounds {
        for name in files {
            let (decoder_us, parent_us, frames) = measure(&mut host, name, round)?;
            println!(
                "{{\"file\":{name:?},\"round\":{round},\"decoder_s\":{:.6},\"parent_s\":{:.6},\"frames\":{frames}}}",
                decoder_us as f64 / 1e6,
                parent_us as f64 / 1e6
            );
        }
    }
    Ok(())
}

fn measure(
    host: &mut Host,
    name: &str,
    token: u64,
) -> Result<(u64, u64, u64), Box<dyn std::error::Error>> {
    let mut file = std::fs::File::open(name)?;
    let output = OutputSpec {
        rate_hz: None,
        channels: ChannelRule::Native,
    };
    let job = Decode {
        token,
        bytes: file.metadata()?.len(),
        name: name.into(),
        output,
        limits: Limits::default(),
    };
    let before = cpu_us();
    let outcome = host.decode(&mut file, &job, &mut |_| {})?;
    let parent_us = cpu_us() - before;
    match outcome {
        Outcome::Done(summary) => Ok((summary.cpu_us, parent_us, summary.frames)),
        Outcome::Failed(failure) => {
            Err(format!("{name}: {} {}", failure.code, failure.detail).into())
        }
        Outcome::Died(code, how) => Err(format!("{name}: {code} {how}").into()),
    }
}

/// Processor time of this process, user and system, microseconds.
fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1000
}
