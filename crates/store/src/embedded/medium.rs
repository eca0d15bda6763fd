//! What the embedded store stands on: a medium that can be read, written, resized and synced, and two ways to
//! lend it to redb. [`Live`] passes everything through; [`Rehearsal`] keeps every write in memory, so that opening
//! and checking a file can be tried without changing one byte of it.
//!
//! Locking is not done here: the folder's lock file keeps other processes out before a medium is made.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;
use rustix::fs::{Advice, fadvise};

/// Bytes on some medium. Tests put one that fails, tears and forgets in the place of a file.
pub(super) trait Medium: std::fmt::Debug + Send + Sync + 'static {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out` from `offset`; an error when the medium ends before.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes at `offset`.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or extends with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns when everything written so far would survive a power cut.
    fn sync(&self) -> io::Result<()>;
    /// Drops what is cached but not known to be on the medium, so that the next read tells the truth.
    fn forget_cache(&self) -> io::Result<()>;
}

impl Medium for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    /// After a failed sync Linux keeps pages that never reached the disk and calls them clean.
    fn forget_cache(&self) -> io::Result<()> {
        Ok(fadvise(self, 0, None, Advice::DontNeed)?)
    }
}

/// Lends a medium to redb as it is.
#[derive(Debug)]
pub(super) struct Live(pub(super) Arc<dyn Medium>);

impl StorageBackend for Live {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Lends a medium to redb for reading, and keeps what redb writes to itself.
#[derive(Debug)]
pub(super) struct Rehearsal {
    beneath: Arc<dyn Medium>,
    overlay: Mutex<Overlay>,
}

#[derive(Debug)]
struct Overlay {
    len: u64,
    /// Bytes of the medium beneath that still show; a cut hides the rest for good.
    shown: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

/// Bytes per block of the overlay: redb's page size, so that most of its writes are whole blocks.
const BLOCK_BYTES: u64 = 4_096;

impl Rehearsal {
    pub(super) fn over(beneath: Arc<dyn Medium>) -> io::Result<Self> {
        let len = beneath.len()?;
        let overlay = Mutex::new(Overlay {
            len,
            shown: len,
            blocks: BTreeMap::new(),
        });
        Ok(Self { beneath, overlay })
    }

    fn overlay(&self) -> std::sync::MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn block_beneath(&self, block: u64, shown: u64) -> io::Result<Box<[u8]>> {
        let mut bytes = vec![0; BLOCK_BYTES as usize].into_boxed_slice();
        let start = block * BLOCK_BYTES;
        let visible = shown.saturating_sub(start).min(BLOCK_BYTES) as usize;
        if visible > 0 {
            self.beneath.read(start, &mut bytes[..visible])?;
        }
        Ok(bytes)
    }
}

/// The pieces of `[offset, offset + len)` by block: block number, start within the block, bytes.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + len as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let (block, within) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let bytes = (BLOCK_BYTES - within).min(end - at);
            at += bytes;
            (block, within as usize, bytes as usize)
        })
    })
}

fn past_end(offset: u64, bytes: usize, len: u64) -> io::Error {
    let text = format!("{bytes} bytes at {offset} are past the end at {len}");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

impl StorageBackend for Rehearsal {
    fn len(&self) -> io::Result<u64> {
        Ok(self.overlay().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let overlay = self.overlay();
        match offset.checked_add(out.len() as u64) {
            Some(end) if end <= overlay.len => {}
            Some(_) | None => return Err(past_end(offset, out.len(), overlay.len)),
        }
        let mut rest = out;
        for (block, within, bytes) in pieces(offset, rest.len()) {
            let (piece, after) = rest.split_at_mut(bytes);
            match overlay.blocks.get(&block) {
                Some(kept) => piece.copy_from_slice(&kept[within..within + bytes]),
                None => {
                    let beneath = self.block_beneath(block, overlay.shown)?;
                    piece.copy_from_slice(&beneath[within..within + bytes]);
                }
            }
            rest = after;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut overlay = self.overlay();
        overlay.shown = overlay.shown.min(len);
        overlay.blocks.split_off(&len.div_ceil(BLOCK_BYTES));
        if let Some(last) = overlay.blocks.get_mut(&(len / BLOCK_BYTES)) {
            last[(len % BLOCK_BYTES) as usize..].fill(0);
        }
        overlay.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut overlay = self.overlay();
        let shown = overlay.shown;
        let mut rest = data;
        for (block, within, bytes) in pieces(offset, data.len()) {
            let (piece, after) = rest.split_at(bytes);
            let kept = match overlay.blocks.entry(block) {
                std::collections::btree_map::Entry::Occupied(kept) => kept.into_mut(),
                std::collections::btree_map::Entry::Vacant(none) => {
                    none.insert(self.block_beneath(block, shown)?)
                }
            };
            kept[within..within + bytes].copy_from_slice(piece);
            rest = after;
        }
        overlay.len = overlay.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Act {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0u64..20_000, prop::collection::vec(any::<u8>(), 1..6_000))
                .prop_map(|(at, bytes)| Act::Write(at, bytes)),
            (0u64..20_000).prop_map(Act::SetLen),
        ]
    }

    proptest! {
        #[test]
        fn a_rehearsal_shows_what_a_file_would_and_leaves_it_alone(
            start in prop::collection::vec(1u8..255, 0..10_000),
            acts in prop::collection::vec(act(), 1..12),
        ) {
            let file = tempfile::tempfile().unwrap();
            Medium::write(&file, 0, &start).unwrap();
            let file = Arc::new(file);
            let rehearsal = Rehearsal::over(file.clone()).unwrap();
            let mut model = start.clone();
            for act in acts {
                match act {
                    Act::Write(at, bytes) => {
                        let end = at as usize + bytes.len();
                        model.resize(model.len().max(end), 0);
                        model[at as usize..end].copy_from_slice(&bytes);
                        rehearsal.write(at, &bytes).unwrap();
                    }
                    Act::SetLen(len) => {
                        model.resize(len as usize, 0);
                        rehearsal.set_len(len).unwrap();
                    }
                }
            }
            let mut seen = vec![0; model.len()];
            prop_assert_eq!(StorageBackend::len(&rehearsal).unwrap(), model.len() as u64);
            rehearsal.read(0, &mut seen).unwrap();
            prop_assert_eq!(seen, model);
            let mut untouched = vec![0; start.len()];
            prop_assert_eq!(Medium::len(&*file).unwrap(), start.len() as u64);
            Medium::read(&*file, 0, &mut untouched).unwrap();
            prop_assert_eq!(untouched, start);
        }
    }

    #[test]
    fn reading_past_the_end_is_an_error_not_zeros() {
        let file = tempfile::tempfile().unwrap();
        Medium::write(&file, 0, b"abc").unwrap();
        let rehearsal = Rehearsal::over(Arc::new(file)).unwrap();
        assert!(rehearsal.read(1, &mut [0; 3]).is_err());
        assert!(rehearsal.read(u64::MAX, &mut [0; 3]).is_err());
    }
}
