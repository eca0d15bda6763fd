//! One open file or object of a source: its bytes by offset, or whole, and whether it is still what it was.
//!
//! The agent serves a decoder's `read_at` from this. Reads may be made from several threads.

use std::io::{self, Read};

use bytes::Bytes;
use types::SourceName;

use super::SourceError;
use super::file::DiskFile;
use super::objects::ObjectFile;

/// What was opened, for reading.
#[derive(Debug)]
pub struct SourceFile(Opened);

#[derive(Debug)]
enum Opened {
    Disk(DiskFile),
    Object(ObjectFile),
}

impl From<DiskFile> for SourceFile {
    fn from(file: DiskFile) -> Self {
        Self(Opened::Disk(file))
    }
}

impl From<ObjectFile> for SourceFile {
    fn from(file: ObjectFile) -> Self {
        Self(Opened::Object(file))
    }
}

impl SourceFile {
    /// Its key.
    pub fn key(&self) -> &str {
        match &self.0 {
            Opened::Disk(file) => file.key(),
            Opened::Object(file) => file.key(),
        }
    }

    fn name(&self) -> &SourceName {
        match &self.0 {
            Opened::Disk(file) => file.name(),
            Opened::Object(file) => file.name(),
        }
    }

    /// Length in bytes when it was opened.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Opened::Disk(file) => file.len(),
            Opened::Object(file) => file.len(),
        }
    }

    /// Whether it had no bytes when it was opened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads at `offset`, up to the whole buffer; fewer bytes only at the end, 0 past it. The end is where it was when the
    /// file was opened: what is appended meanwhile is not shown.
    ///
    /// # Errors
    /// [`SourceError::Unavailable`] or [`SourceError::Unreadable`] when the system or store refuses; [`SourceError::Changed`]
    /// where another version of an object stands there.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        match &self.0 {
            Opened::Disk(file) => file.read_at(offset, buffer),
            Opened::Object(file) => file.read_at(offset, buffer),
        }
    }

    /// Reads the whole file, of at most `max` bytes and, where the snapshot knows it, of exactly `expected`.
    ///
    /// # Errors
    /// [`SourceError::TooLarge`], [`SourceError::Changed`], or [`SourceError::Unavailable`].
    pub fn read_whole(&self, max: u64, expected: Option<u64>) -> Result<Bytes, SourceError> {
        self.check_size(max, expected)?;
        let mut bytes = vec![0; usize::try_from(self.len()).unwrap_or(usize::MAX)];
        let read = self.read_at(0, &mut bytes)?;
        if read < bytes.len() {
            return Err(self.changed(format!("{read} of {} bytes were there", bytes.len())));
        }
        self.check_unchanged()?;
        Ok(bytes.into())
    }

    /// Checks the size against a bound and against what the snapshot says, before anything is read.
    ///
    /// # Errors
    /// [`SourceError::TooLarge`] or [`SourceError::Changed`].
    pub fn check_size(&self, max: u64, expected: Option<u64>) -> Result<(), SourceError> {
        let bytes = self.len();
        if let Some(expected) = expected.filter(|expected| *expected != bytes) {
            return Err(self.changed(format!("{bytes} bytes, {expected} in the snapshot")));
        }
        match bytes > max {
            true => {
                let (name, key) = (self.name().clone(), self.key().to_owned());
                Err(SourceError::TooLarge {
                    name,
                    key,
                    bytes,
                    max,
                })
            }
            false => Ok(()),
        }
    }

    /// Checks that it is what it was when it was opened: to be called after the last read. Each read of an object checks that by
    /// itself.
    ///
    /// # Errors
    /// [`SourceError::Changed`], or [`SourceError::Unavailable`].
    pub fn check_unchanged(&self) -> Result<(), SourceError> {
        match &self.0 {
            Opened::Disk(file) => file.check_unchanged(),
            Opened::Object(_) => Ok(()),
        }
    }

    /// Its bytes from the beginning. Where they cannot be read, the error has the [`SourceError`] as its cause.
    pub(crate) fn into_reader(self) -> Box<dyn Read + Send> {
        match self.0 {
            Opened::Disk(file) => Box::new(file.into_file()),
            Opened::Object(file) => Box::new(Reader { file, offset: 0 }),
        }
    }

    fn changed(&self, cause: String) -> SourceError {
        SourceError::Changed {
            name: self.name().clone(),
            key: self.key().to_owned(),
            cause,
        }
    }
}

/// An object from its beginning to its end.
struct Reader {
    file: ObjectFile,
    offset: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self
            .file
            .read_at(self.offset, buffer)
            .map_err(io::Error::other)?;
        self.offset += read as u64;
        Ok(read)
    }
}
