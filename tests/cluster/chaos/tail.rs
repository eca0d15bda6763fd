//! Reads the logs of a run as they grow and tells the books each line with the suite's own time. It keeps what a line is short of until the rest comes.

use crate::books::{Books, Line};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks: the error of each time that is taken from a log.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Bytes of a log that are read at a look: what is left waits for the next.
const PIECE: u64 = 1024 * 1024;

/// A running reader; it ends when it is told, or dropped.
pub(crate) struct Tail {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tail {
    /// Reads these logs, each of a process.
    pub(crate) fn begin(
        logs: Vec<(String, PathBuf)>,
        zero: Instant,
        books: Arc<Mutex<Books>>,
    ) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let mut logs: Vec<Log> = logs.into_iter().map(Log::new).collect();
        let thread = std::thread::spawn(move || {
            loop {
                let last = ended.load(Ordering::SeqCst);
                for log in &mut logs {
                    log.look(zero, &books);
                }
                if last {
                    return;
                }
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Self {
            end,
            thread: Some(thread),
        }
    }

    /// Reads what there is once more and ends.
    pub(crate) fn end(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.end();
    }
}

struct Log {
    process: String,
    path: PathBuf,
    at: u64,
    rest: Vec<u8>,
}

impl Log {
    fn new((process, path): (String, PathBuf)) -> Self {
        Self {
            process,
            path,
            at: 0,
            rest: Vec::new(),
        }
    }

    fn look(&mut self, zero: Instant, books: &Mutex<Books>) {
        // A log that is not there yet has nothing to say.
        let grown = std::fs::metadata(&self.path).is_ok_and(|found| found.len() > self.at);
        if !grown || self.more().is_none() {
            return;
        }
        let now_ms = u64::try_from(zero.elapsed().as_millis()).unwrap_or(u64::MAX);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n');
        let rest = self.rest.split_off(whole.map_or(0, |at| at + 1));
        let lines = std::mem::replace(&mut self.rest, rest);
        let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.split(|byte| *byte == b'\n') {
            // What is no line of ours, such as the words of a panic, is not for the books.
            if let Ok(line) = serde_json::from_slice::<Line>(line) {
                books.read(&self.process, &line, now_ms);
            }
        }
    }

    fn more(&mut self) -> Option<()> {
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(self.at)).ok()?;
        let read = file.take(PIECE).read_to_end(&mut self.rest).ok()?;
        self.at += u64::try_from(read).ok()?;
        Some(())
    }
}
