//! One version of an object, read in windows: the first comes with the opening, so that a small object costs one request.
//!
//! Called by [`super::super::SourceFile`]. Every request names the version and every answer is checked for it, since not every store
//! minds the condition.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::ObjectMeta;
use types::SourceName;

use super::{Got, Objects};
use crate::sources::SourceError;

/// Bytes that come with the opening, and with a read somewhere else: a header and its tables, and a compressed track of a minute.
const FIRST_BYTES: u64 = 1 << 20;
/// Bytes that come with a read that goes on where the last window ended. A slot holds one window at a time, and a node has a slot
/// for each core at most.
const NEXT_BYTES: u64 = 4 << 20;

/// What a snapshot's content id begins with where it is an object's tag.
pub(super) const ETAG: &str = "etag:";

/// An object, opened for reading.
#[derive(Debug)]
pub(crate) struct ObjectFile {
    objects: Arc<Objects>,
    key: String,
    bytes: u64,
    etag: Option<String>,
    window: Mutex<Window>,
}

/// The bytes that were read last.
#[derive(Clone, Debug, Default)]
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Copies what it has at `offset`; gives how many bytes.
    fn copy(&self, offset: u64, buffer: &mut [u8]) -> usize {
        if !(self.start..self.end()).contains(&offset) {
            return 0;
        }
        let from = (offset - self.start) as usize;
        let count = buffer.len().min(self.bytes.len() - from);
        buffer[..count].copy_from_slice(&self.bytes[from..from + count]);
        count
    }
}

/// The words for a version of an object in a listing.
pub(super) fn content_id(meta: &ObjectMeta) -> Option<String> {
    meta.e_tag.as_ref().map(|etag| format!("{ETAG}{etag}"))
}

impl ObjectFile {
    pub(super) fn open(
        objects: Arc<Objects>,
        key: &str,
        content_id: Option<&str>,
    ) -> Result<Self, SourceError> {
        let wanted = content_id.and_then(|id| id.strip_prefix(ETAG));
        let (meta, window) = match objects.get(key, 0..FIRST_BYTES, wanted) {
            Ok(Got { meta, range, bytes }) => (
                meta,
                Window {
                    start: range.start,
                    bytes,
                },
            ),
            // No range lies in an object without bytes.
            Err(SourceError::Unavailable { source, .. }) if source.to_string().contains("416") => {
                (objects.head(key)?, Window::default())
            }
            Err(other) => return Err(other),
        };
        let file = Self {
            key: key.to_owned(),
            bytes: meta.size,
            etag: wanted.map(str::to_owned).or(meta.e_tag.clone()),
            window: Mutex::new(window),
            objects,
        };
        file.check_version(&meta)?;
        file.check_window(&(0..FIRST_BYTES.min(file.bytes)), &file.window())?;
        Ok(file)
    }

    pub(in crate::sources) fn name(&self) -> &SourceName {
        self.objects.name()
    }

    pub(in crate::sources) fn key(&self) -> &str {
        &self.key
    }

    pub(in crate::sources) fn len(&self) -> u64 {
        self.bytes
    }

    /// Fills the buffer as far as the object goes.
    pub(in crate::sources) fn read_at(
        &self,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, SourceError> {
        let left = self.bytes.saturating_sub(offset).min(buffer.len() as u64);
        let buffer = &mut buffer[..left as usize];
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled as u64;
            let window = self.window();
            match window.copy(at, &mut buffer[filled..]) {
                0 => self.fetch(at, window.end())?,
                copied => filled += copied,
            }
        }
        if filled > 0 {
            self.objects.witness.note(&self.key);
        }
        Ok(filled)
    }

    fn window(&self) -> Window {
        self.window
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads the window at `at`; a larger one where the reader goes on from the last.
    fn fetch(&self, at: u64, last_end: u64) -> Result<(), SourceError> {
        let bytes = if at == last_end {
            NEXT_BYTES
        } else {
            FIRST_BYTES
        };
        let range = at..(at + bytes).min(self.bytes);
        let got = self
            .objects
            .get(&self.key, range.clone(), self.etag.as_deref())?;
        self.check_version(&got.meta)?;
        let window = Window {
            start: got.range.start,
            bytes: got.bytes,
        };
        self.check_window(&range, &window)?;
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = window;
        Ok(())
    }

    fn check_version(&self, found: &ObjectMeta) -> Result<(), SourceError> {
        let same_tag = self.etag.is_none() || found.e_tag.is_none() || self.etag == found.e_tag;
        if same_tag && found.size == self.bytes {
            return Ok(());
        }
        Err(SourceError::Changed {
            name: self.name().clone(),
            key: self.key.clone(),
            cause: "another version stands there".to_owned(),
        })
    }

    /// Whether all that was asked for came.
    fn check_window(&self, wanted: &Range<u64>, window: &Window) -> Result<(), SourceError> {
        match (window.start, window.end()) == (wanted.start, wanted.end) {
            true => Ok(()),
            false => {
                let cause = format!(
                    "{} of {} bytes came",
                    window.bytes.len(),
                    wanted.end - wanted.start
                );
                Err(self
                    .objects
                    .unavailable(&self.key, std::io::Error::other(cause)))
            }
        }
    }
}
