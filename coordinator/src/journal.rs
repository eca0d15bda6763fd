//! The journal of a coordinator: each event that its core was told, with the time and a digest of what the core did, in a
//! file of its own for each reign. `trackscan-sim replay --journal FILE` feeds it to a core again, so that what a cluster did
//! can be looked at where no cluster is. Written only where an operator names a folder.
//!
//! The driver holds it. A journal that cannot be written ends with a warning; the coordinator goes on without, and whoever
//! asks for that journal is told where it ends. Journals of earlier reigns go, oldest first, where their folder grows too large.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use scheduler::journal::{Noted, Writer};
use scheduler::{Action, Config, Core, Event};
use types::{Code, Epoch, Millis, Problem};

/// How large journals may grow, in bytes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Of one reign: days of a busy cluster, and no disk is filled by one that was forgotten.
    journal: u64,
    /// Of the reigns before it, together: a coordinator that is started again and again fills no disk either, and what led
    /// to its last death is kept.
    earlier: u64,
}

/// The folder holds 16 GiB at most.
const BOUNDS: Bounds = Bounds {
    journal: 8 << 30,
    earlier: 8 << 30,
};

/// A journal as it lies on disk at a moment.
#[derive(Debug)]
pub(crate) struct Written {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Its length: more may be added, and nothing before that is changed.
    pub(crate) bytes: u64,
    /// Why nothing was added any more before this moment came, if so.
    pub(crate) ended: Option<String>,
}

/// A journal that is being written.
pub(crate) struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
    writer: Writer,
    bytes: u64,
    bytes_max: u64,
    /// Why lines can no longer be added: one is missing, so those after it would be no journal.
    ended: Option<String>,
}

impl Journal {
    /// Begins the journal of one reign in a folder that is made where there is none.
    ///
    /// # Errors
    /// `CONFIG_INVALID` where the folder cannot be written.
    pub(crate) fn begin(folder: &Path, epoch: Epoch, policy: &Config) -> Result<Self, Problem> {
        Self::begin_within(BOUNDS, folder, epoch, policy)
    }

    fn begin_within(
        bounds: Bounds,
        folder: &Path,
        epoch: Epoch,
        policy: &Config,
    ) -> Result<Self, Problem> {
        let opened = std::fs::create_dir_all(folder).and_then(|()| create(folder, epoch));
        let (path, file) = opened.map_err(|error| {
            let what = format!("write a journal in `{}`: {error}", folder.display());
            Problem::new(Code::ConfigInvalid, what)
        })?;
        trim(folder, &path, bounds.earlier);
        let mut journal = Self {
            path,
            file: BufWriter::new(file),
            writer: Writer::new(),
            bytes: 0,
            bytes_max: bounds.journal,
            ended: None,
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
            ended: self.ended.clone(),
        }
    }

    /// Hands what was added to the system: a coordinator that is killed after it has lost no line before.
    pub(crate) fn flush(&mut self) {
        if let Err(error) = self.file.flush() {
            self.end(&error.to_string());
        }
    }

    fn add(&mut self, line: &str) {
        if self.ended.is_some() {
            return;
        }
        let bytes = self.bytes + line.len() as u64;
        if bytes > self.bytes_max {
            return self.end(&format!("it would be larger than {} bytes", self.bytes_max));
        }
        self.bytes = bytes;
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            self.end(&error.to_string());
        }
    }

    fn end(&mut self, why: &str) {
        if self.ended.is_none() {
            tracing::warn!(journal = %self.path.display(), why, "the journal ends here; the coordinator goes on without");
            self.ended = Some(why.to_owned());
        }
    }
}

/// How journals are named: the reign's epoch lies between, and a number where an earlier store had a reign of that epoch.
const PREFIX: &str = "reign-";
const SUFFIX: &str = ".jsonl";
/// Journals of one epoch: that many stores were lost, each made anew.
const SAME_EPOCH_MAX: u32 = 1_000;

/// A new file for the journal of a reign. A store that was made anew counts its reigns from one, and what is written of those before
/// is never written over.
fn create(folder: &Path, epoch: Epoch) -> std::io::Result<(PathBuf, File)> {
    let mut last = None;
    for number in 1..=SAME_EPOCH_MAX {
        let again = match number {
            1 => String::new(),
            _ => format!("-{number}"),
        };
        let path = folder.join(format!("{PREFIX}{epoch}{again}{SUFFIX}"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| ErrorKind::AlreadyExists.into()))
}

/// Whether a file's name is a journal's.
fn is_journal(name: &str) -> bool {
    let number = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    let mut numbers = number.unwrap_or_default().splitn(2, '-');
    numbers.all(|number| number.parse::<u64>().is_ok())
}

/// Removes the oldest journals beside the one that begins, until the others take no more than so many bytes. What cannot be
/// listed or removed stays: no coordinator is kept from starting by an old journal.
fn trim(folder: &Path, begun: &Path, bytes_max: u64) {
    let mut earlier = journals(folder).unwrap_or_default();
    earlier.retain(|(_, path, _)| path != begun);
    earlier.sort_unstable();
    let mut bytes = 0;
    for (_, path, len) in earlier.into_iter().rev() {
        bytes += len;
        if bytes > bytes_max {
            let removed = std::fs::remove_file(&path);
            tracing::warn!(journal = %path.display(), bytes_max, ?removed, "journals take too much room; this old one goes");
        }
    }
}

/// The journals in a folder: when each was last written, its path and its length.
fn journals(folder: &Path) -> std::io::Result<Vec<(SystemTime, PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_file() && entry.file_name().to_str().is_some_and(is_journal) {
            found.push((about.modified()?, entry.path(), about.len()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Bounds = Bounds {
        journal: 1 << 20,
        earlier: 1 << 20,
    };

    fn begin(bounds: Bounds, folder: &Path, epoch: u64) -> Journal {
        Journal::begin_within(bounds, folder, Epoch(epoch), &Config::default()).unwrap()
    }

    #[test]
    fn a_journal_that_has_reached_its_size_says_that_it_ended_and_holds_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = begin(ROOMY, folder.path(), 1);
        whole.knows(&Core::with_config(Config::default()));
        let first = whole.so_far(&Core::with_config(Config::default()));
        assert_eq!(first.ended, None);
        let small = Bounds {
            journal: first.bytes - 1,
            ..ROOMY
        };
        let mut cut = begin(small, folder.path(), 2);
        let core = Core::with_config(Config::default());
        (0..5).for_each(|_| cut.knows(&core));
        let written = cut.so_far(&core);
        assert!(written.ended.is_some_and(|why| why.contains("larger than")));
        let text = std::fs::read_to_string(&written.path).unwrap();
        assert_eq!(text.len() as u64, written.bytes);
        assert!(text.ends_with('\n') && written.bytes < first.bytes);
    }

    #[test]
    fn the_journal_of_a_store_that_is_gone_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let begun = [1, 2, 1, 1].map(|epoch| begin(ROOMY, folder.path(), epoch).path);
        let names = begun.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        let expected = ["reign-1", "reign-2", "reign-1-2", "reign-1-3"];
        assert_eq!(names, expected.map(|name| format!("{name}.jsonl")));
        assert_eq!(journals(folder.path()).unwrap().len(), 4);
        for other in [
            "reign-.jsonl",
            "reign-x.jsonl",
            "reign-1-2-3.jsonl",
            "notes.jsonl",
        ] {
            assert!(!is_journal(other), "{other}");
        }
    }

    #[test]
    fn the_oldest_journals_go_where_those_of_earlier_reigns_take_too_much_room() {
        let folder = tempfile::tempdir().unwrap();
        let old = |name: &str, bytes: usize, age: u64| {
            let path = folder.path().join(name);
            std::fs::write(&path, vec![b'x'; bytes]).unwrap();
            let at = SystemTime::now() - std::time::Duration::from_secs(age);
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(at)
                .unwrap();
        };
        old("reign-9.jsonl", 60, 300);
        old("reign-10.jsonl", 60, 200);
        old("reign-11.jsonl", 40, 100);
        old("notes.jsonl", 1_000, 400);
        let bounds = Bounds {
            earlier: 100,
            ..ROOMY
        };
        drop(begin(bounds, folder.path(), 12));
        let mut left: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort_unstable();
        let expected = [
            "notes.jsonl",
            "reign-10.jsonl",
            "reign-11.jsonl",
            "reign-12.jsonl",
        ];
        assert_eq!(left, expected);
    }
}
