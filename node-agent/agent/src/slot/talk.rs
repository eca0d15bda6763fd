//! What passes between a slot and its decoder: bytes served, words checked, and what an end means.

use std::time::{Duration, Instant};

use audio::Channel;
use audio::limits::Limits;
use audio::protocol::{Failure, FrameError, READ_BYTES_MAX, Summary, ToDecoder};
use storage::{Source, SourceError, SourceFile};
use types::Code;

use super::{Shared, Work};
use crate::hasher::Hasher;
use crate::news::{Decoded, Reading, Refusal};

/// How a conversation with a decoder ended.
pub(super) enum Talk {
    Done(Box<Summary>),
    Failed(Failure),
    /// A source failed.
    Source(SourceError),
    /// The file became shorter while it was read.
    Shrunk,
    /// The worker is gone, or the slot is another thread's: the decoder was told nothing.
    Unheard,
    /// The socket closed.
    Broken(String),
    /// The decoder said what no decoder of ours says.
    Nonsense(String),
}

/// How long a process whose socket has closed may take to be gone, and how often it is looked at.
const LAST_WORDS: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Whether a child of this process has ended by itself; it stays to be waited for.
pub(super) fn has_ended(pid: u32) -> bool {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let until = Instant::now() + LAST_WORDS;
    loop {
        match waitid(WaitId::Pid(pid), look) {
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
            Ok(ended) => return ended.is_some(),
            Err(_) => return true,
        }
    }
}

/// Answers one request for bytes.
pub(super) fn serve(
    channel: &mut Channel,
    hasher: &mut Hasher,
    shared: &Shared,
    file: &SourceFile,
    offset: u64,
    length: u32,
    reading: &mut Reading,
) -> Result<(), Talk> {
    let within = offset
        .checked_add(length.into())
        .is_some_and(|end| end <= file.len());
    if length == 0 || length > READ_BYTES_MAX || !within {
        return Err(Talk::Nonsense(format!(
            "it asked for {length} bytes at {offset}"
        )));
    }
    let begun = Instant::now();
    let mut bytes = vec![0; length as usize];
    let read = shared.reading.timed(|| file.read_at(offset, &mut bytes));
    reading.wait_us += micros(begun.elapsed());
    let broken = |error: FrameError| Talk::Broken(error.to_string());
    match read {
        Ok(read) if read == bytes.len() => {
            reading.served += u64::from(length);
            channel
                .send_with(&ToDecoder::Bytes { offset, length }, &bytes)
                .map_err(broken)?;
            hasher.block(offset, bytes);
            Ok(())
        }
        Ok(_) => Err(Talk::Shrunk),
        Err(error) => Err(Talk::Source(error)),
    }
}

pub(super) fn check(
    file: SourceFile,
    expected: Option<u64>,
    limits: &Limits,
) -> Result<SourceFile, SourceError> {
    file.check_size(limits.file_bytes, expected)?;
    Ok(file)
}

pub(super) fn is_consistent(summary: &Summary, work: &Work) -> bool {
    summary.token == work.token
        && Some(summary.rate_hz) == work.output().rate_hz
        && summary.channels == work.channels()
}

/// What a failure to read `key` means for its track. May read a little of the source's other files.
pub(crate) fn source_failed(
    error: &SourceError,
    reading: Reading,
    source: &Source,
    key: &str,
) -> Decoded {
    if source.bears_out(error, key) {
        return refused(error.code(), &error.to_string(), reading);
    }
    let alone = source.answers_besides(key);
    tracing::warn!(source = %source.name(), key, alone, error = types::chain(error), "not read");
    if alone {
        Decoded::Unreadable
    } else {
        Decoded::Unreachable
    }
}

pub(super) fn refused(code: Code, detail: &str, reading: Reading) -> Decoded {
    let refusal = Refusal {
        code,
        detail: detail.to_owned(),
        provenance: Vec::new(),
        cpu_us: 0,
        sha256: None,
    };
    Decoded::Failed(refusal, reading)
}

/// A span in microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
