//! One hostile file straight through the shipped decoder, alone in a process of its own: how it ends, and what it cost.

use audio::host::{Host, Outcome};
use audio::limits::Limits;
use audio::protocol::{ChannelRule, Decode, OutputSpec};
use audio::ring::SAMPLES_DEFAULT;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::process;

/// What a screen usually asks for.
const OUTPUT: OutputSpec = OutputSpec {
    rate_hz: Some(22_050),
    channels: ChannelRule::Mono,
};
/// Time between two looks at a decoder's memory; the last look comes after its answer, and finds the peak.
const LOOK: Duration = Duration::from_millis(5);

/// How a file ended and what it cost.
pub(crate) struct Seen {
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Processor time of the decoder, seconds; the whole wait where it died and could not say.
    pub(crate) seconds: f64,
    /// The most memory that the decoder ever held, bytes.
    pub(crate) peak: u64,
}

/// Decodes a file in a new decoder.
pub(crate) fn decode(binary: &Path, file: &Path) -> Seen {
    let mut host = Host::start(binary, SAMPLES_DEFAULT).expect("the decoder starts");
    let pid = host.pid().expect("a started decoder lives");
    let pid = i32::try_from(pid).expect("process numbers are small");
    let mut content = File::open(file).expect("the case was written");
    let job = Decode {
        token: 1,
        bytes: content.metadata().expect("the case was written").len(),
        name: file
            .file_name()
            .expect("a case has a name")
            .to_string_lossy()
            .into_owned(),
        output: OUTPUT,
        limits: Limits::default(),
    };
    let (peak, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(process::most_memory(pid), Ordering::Relaxed);
                std::thread::sleep(LOOK);
            }
        });
        let outcome = host
            .decode(&mut content, &job, &mut |_| ())
            .expect("the system lets the parent wait");
        ended.store(true, Ordering::Relaxed);
        outcome
    });
    peak.fetch_max(process::most_memory(pid), Ordering::Relaxed);
    let seconds = match &outcome {
        Outcome::Done(summary) => summary.cpu_us as f64 / 1e6,
        Outcome::Failed(failure) => failure.cpu_us as f64 / 1e6,
        Outcome::Died(..) => started.elapsed().as_secs_f64(),
    };
    Seen {
        outcome,
        seconds,
        peak: peak.into_inner(),
    }
}
