//! The journal of a coordinator: each event that its core was told, with the time and a digest of what the core did, in a
//! file of its own for each reign. `trackscan-sim replay --journal FILE` feeds it to a core again, so that what a cluster did
//! can be looked at where no cluster is. Written only where an operator names a folder.
//!
//! The driver holds it. A journal that cannot be written ends with a warning; the coordinator goes on without.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use scheduler::journal::{Noted, Writer};
use scheduler::{Action, Config, Core, Event};
use types::{Code, Epoch, Millis, Problem};

/// Largest journal, in bytes: days of a busy cluster, and no disk is filled by one that was forgotten.
const JOURNAL_BYTES_MAX: u64 = 8 << 30;

/// A journal as it lies on disk at a moment.
#[derive(Debug)]
pub(crate) struct Written {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Its length: more may be added, and nothing before that is changed.
    pub(crate) bytes: u64,
}

/// A journal that is being written.
pub(crate) struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
    writer: Writer,
    bytes: u64,
    /// Lines can no longer be added: one is missing, so those after it would be no journal.
    ended: bool,
}

impl Journal {
    /// Begins the journal of one reign in a folder that is made where there is none.
    ///
    /// # Errors
    /// `CONFIG_INVALID` where the folder cannot be written.
    pub(crate) fn begin(folder: &Path, epoch: Epoch, policy: &Config) -> Result<Self, Problem> {
        let path = folder.join(format!("reign-{epoch}.jsonl"));
        let opened = std::fs::create_dir_all(folder).and_then(|()| File::create(&path));
        let file = opened.map_err(|error| {
            let what = format!("write journal `{}`: {error}", path.display());
            Problem::new(Code::ConfigInvalid, what)
        })?;
        let mut journal = Self {
            path,
            file: BufWriter::new(file),
            writer: Writer::new(),
            bytes: 0,
            ended: false,
        };
        let first = journal.writer.begin(policy);
        journal.add(&first);
        journal.flush();
        Ok(journal)
    }

    /// Notes an event before the core takes it.
    pub(crate) fn note(now: Millis, event: &Event) -> Noted {
        Noted::new(now, event)
    }

    /// Adds the event with what the core did.
    pub(crate) fn did(&mut self, noted: Noted, actions: &[Action]) {
        let line = self.writer.event(noted, actions);
        self.add(&line);
    }

    /// Adds what the core knows, at the end.
    pub(crate) fn knows(&mut self, core: &Core) {
        let line = self.writer.state(core);
        self.add(&line);
        self.flush();
    }

    /// The journal so far, after what the core knows.
    pub(crate) fn so_far(&mut self, core: &Core) -> Written {
        self.knows(core);
        Written {
            path: self.path.clone(),
            bytes: self.bytes,
        }
    }

    /// Hands what was added to the system: a coordinator that is killed after it has lost no line before.
    pub(crate) fn flush(&mut self) {
        if let Err(error) = self.file.flush() {
            self.end(&error.to_string());
        }
    }

    fn add(&mut self, line: &str) {
        if self.ended {
            return;
        }
        self.bytes += line.len() as u64;
        if self.bytes > JOURNAL_BYTES_MAX {
            return self.end("it has reached its largest size");
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            self.end(&error.to_string());
        }
    }

    fn end(&mut self, why: &str) {
        if !self.ended {
            tracing::warn!(journal = %self.path.display(), why, "the journal ends here; the coordinator goes on without");
        }
        self.ended = true;
    }
}
