//! SHA-256 of what was read, on a thread of its own beside each decoder slot.
//!
//! Blocks that the decoder asks for in their order are hashed as they pass, so that most files are read once. What it
//! did not ask for in order is read here at the end. Its processor time is counted apart from decoding.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest as _, Sha256};
use storage::{Source, SourceError, SourceFile};
use types::Digest;

use crate::news::{News, Reading, Teller};
use crate::slot::talk::source_failed;
use crate::slot::{Shared, Wait};

/// Blocks that wait to be hashed: four megabytes, so that a decoder is rarely held up and memory stays small.
const BLOCKS_MAX: usize = 4;
/// Bytes read at once of what was not asked for.
const READ_BYTES: usize = 1 << 20;

/// The handle of a hashing thread, which ends with it.
#[derive(Debug)]
pub(crate) struct Hasher {
    work: SyncSender<Work>,
    /// Where the next block in order begins.
    next: u64,
}

enum Work {
    Begin(Arc<Source>, Arc<SourceFile>),
    Block(Vec<u8>),
    End(u64),
    Whole(SyncSender<Option<Digest>>),
}

impl Hasher {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when no thread can be made.
    pub(crate) fn start(news: Teller, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (work, inbox) = sync_channel(BLOCKS_MAX);
        std::thread::Builder::new()
            .name("hasher".into())
            .spawn(move || run(&inbox, &news, &shared.hashing))?;
        Ok(Self { work, next: 0 })
    }

    /// Begins a file; one that was begun and not ended is forgotten.
    pub(crate) fn begin(&mut self, source: Arc<Source>, file: Arc<SourceFile>) {
        self.next = 0;
        self.send(Work::Begin(source, file));
    }

    /// Takes a block that was served. One out of order is left for the end.
    pub(crate) fn block(&mut self, offset: u64, bytes: Vec<u8>) {
        if offset == self.next {
            self.next += bytes.len() as u64;
            self.send(Work::Block(bytes));
        }
    }

    /// Ends the file: what is missing is read, the digest goes out as news about `token`.
    pub(crate) fn end(&mut self, token: u64) {
        self.send(Work::End(token));
    }

    /// Ends a file that was refused: its digest where every one of its `bytes` has passed here, and none where some were not
    /// asked for or came out of order, since nothing more is read of it.
    pub(crate) fn whole(&mut self, bytes: u64) -> Option<Digest> {
        if self.next < bytes {
            return None;
        }
        let (answer, digest) = sync_channel(1);
        self.send(Work::Whole(answer));
        digest.recv().ok().flatten()
    }

    fn send(&self, work: Work) {
        // The thread ends only with this handle.
        let _gone = self.work.send(work);
    }
}

fn run(inbox: &Receiver<Work>, news: &Teller, waits: &Wait) {
    let mut begun: Option<(Arc<Source>, Arc<SourceFile>)> = None;
    let (mut hash, mut hashed) = (Sha256::new(), 0);
    while let Ok(work) = inbox.recv() {
        match work {
            Work::Begin(source, file) => {
                begun = Some((source, file));
                (hash, hashed) = (Sha256::new(), 0);
            }
            Work::Block(bytes) => {
                hash.update(&bytes);
                hashed += bytes.len() as u64;
            }
            Work::End(token) => {
                let Some((source, file)) = begun.take() else {
                    continue;
                };
                let digest = finish(&file, std::mem::take(&mut hash), hashed, waits);
                let outcome = digest.map_err(|error| {
                    let failed = || source_failed(&error, Reading::default(), &source, file.key());
                    Box::new(waits.timed(failed))
                });
                metrics::gauge!("trackscan_agent_hash_cpu_seconds", "thread" => name())
                    .set(cpu_seconds());
                if news.blocking_send(News::Hashed { token, outcome }).is_err() {
                    return;
                }
            }
            Work::Whole(answer) => {
                let passed = begun.take().filter(|(_, file)| hashed >= file.len());
                let digest = passed.and_then(|(_, file)| {
                    finish(&file, std::mem::take(&mut hash), hashed, waits).ok()
                });
                let _nobody_waits_any_more = answer.send(digest);
            }
        }
    }
}

/// Reads and hashes what is missing. Each wait for the source can be seen, since the track is in hand until this ends.
fn finish(
    file: &SourceFile,
    mut hash: Sha256,
    mut hashed: u64,
    waits: &Wait,
) -> Result<Digest, SourceError> {
    let mut buffer = if hashed < file.len() {
        vec![0; READ_BYTES]
    } else {
        Vec::new()
    };
    while hashed < file.len() {
        let read = waits.timed(|| file.read_at(hashed, &mut buffer))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        hashed += read as u64;
    }
    waits.timed(|| file.check_unchanged())?;
    Ok(Digest(hash.finalize().into()))
}

/// The thread's number: threads of one name are told apart by it.
fn name() -> String {
    rustix::thread::gettid().as_raw_nonzero().to_string()
}

/// Processor time of this thread, seconds.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
