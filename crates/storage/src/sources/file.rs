//! One open file of a folder: its bytes by offset, and whether it is still what it was.
//!
//! Called by [`super::SourceFile`]. Reads take no lock and may be made from several threads.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, fadvise};
use types::SourceName;

use super::SourceError;
use super::witness::Witness;

/// Where a file says that it gave bytes, and the disk that its source's folder was on when it was opened.
pub(super) type Note = (Arc<Witness>, u64);

/// A regular file, opened for reading.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: File,
    name: SourceName,
    key: String,
    stamp: Stamp,
    /// Where its key is noted once it has given bytes, and whether it was.
    witness: Note,
    noted: AtomicBool,
}

/// Bytes asked for to see whether a file gives any: the least that a file system reads.
const PROBE_BYTES: usize = 4_096;

/// What changes when a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            bytes: metadata.size(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        })
    }
}

impl DiskFile {
    pub(super) fn new(
        file: File,
        name: &SourceName,
        key: &str,
        witness: Note,
    ) -> Result<Self, SourceError> {
        let (name, key) = (name.clone(), key.to_owned());
        match Stamp::of(&file) {
            Ok(stamp) => Ok(Self {
                file,
                name,
                key,
                stamp,
                witness,
                noted: AtomicBool::new(false),
            }),
            Err(source) => Err(SourceError::of(source, &name, &key)),
        }
    }

    /// Its source's name.
    pub(super) fn name(&self) -> &SourceName {
        &self.name
    }

    /// Its key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Length in bytes when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.stamp.bytes
    }

    /// Reads at `offset`, up to the whole buffer; fewer bytes only at the end, 0 past it. The end is where it was when the
    /// file was opened: what is appended meanwhile is not shown.
    ///
    /// # Errors
    /// [`SourceError::Unavailable`] or [`SourceError::Unreadable`] when the system refuses.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let left = self
            .stamp
            .bytes
            .saturating_sub(offset)
            .min(buffer.len() as u64);
        let buffer = &mut buffer[..left as usize];
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        if filled > 0 {
            self.note();
        }
        Ok(filled)
    }

    /// Whether its first bytes can be read, from where they lie if the system forgets what it holds of them.
    pub(super) fn gives_bytes(&self) -> bool {
        let _only_advice = fadvise(&self.file, 0, None, Advice::DontNeed);
        self.read_at(0, &mut [0; PROBE_BYTES])
            .is_ok_and(|read| read > 0)
    }

    fn note(&self) {
        if !self.noted.swap(true, Ordering::Relaxed) {
            let (witness, disk) = &self.witness;
            witness.note(&self.key, *disk);
        }
    }

    /// Checks that size and modification time are what they were when it was opened: to be called after the last read.
    ///
    /// # Errors
    /// [`SourceError::Changed`], or [`SourceError::Unavailable`].
    pub(super) fn check_unchanged(&self) -> Result<(), SourceError> {
        let now = Stamp::of(&self.file).map_err(|error| self.failed(error))?;
        match now == self.stamp {
            true => Ok(()),
            false => Err(SourceError::Changed {
                name: self.name.clone(),
                key: self.key.clone(),
                cause: "it was written while it was read".to_owned(),
            }),
        }
    }

    pub(super) fn into_file(self) -> File {
        self.file
    }

    fn failed(&self, error: io::Error) -> SourceError {
        SourceError::of(error, &self.name, &self.key)
    }
}
