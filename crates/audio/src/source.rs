//! Where a file's bytes come from: ranges that are asked for, kept in a few blocks, so that parsers which read byte by
//! byte cost few requests.
//!
//! [`ReadAt`] is what the owner of the bytes offers: the decoder's control socket, a slice in tests, an open file in
//! training. [`Blocks`] turns it into cheap small reads. It never holds more than two blocks of [`BLOCK_BYTES_MAX`].

use std::io;
use std::sync::{Arc, OnceLock};

use types::Code;

use crate::fault::Fault;
use crate::protocol::READ_BYTES_MAX;

/// The first block of a sequence, and any block fetched out of sequence: enough for headers and small files.
const BLOCK_BYTES_MIN: usize = 64 * 1024;
/// The largest block: what one request may ask for.
const BLOCK_BYTES_MAX: usize = READ_BYTES_MAX as usize;
/// The block in sequence, and one for glances elsewhere (a trailer, an index at the end).
const BLOCKS: usize = 2;

/// A file's bytes, by range.
pub trait ReadAt: Send + Sync {
    /// The file's length.
    fn bytes(&self) -> u64;

    /// Fills `out` with the bytes from `offset` on; the range lies within the length, and `out` is at most one MiB.
    ///
    /// # Errors
    /// The code that the track shall end in. No further call is made afterwards.
    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Code>;
}

impl ReadAt for &[u8] {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Code> {
        let start = usize::try_from(offset).map_err(|_| Code::SourceChanged)?;
        let range = self.get(start..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(range.ok_or(Code::SourceChanged)?);
        Ok(())
    }
}

impl ReadAt for std::fs::File {
    fn bytes(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Code> {
        std::os::unix::fs::FileExt::read_exact_at(self, out, offset)
            .map_err(|_| Code::SourceChanged)
    }
}

/// A file's bytes behind a small cache.
pub struct Blocks<R> {
    source: R,
    bytes: u64,
    slots: [Block; BLOCKS],
    /// Which slot was filled last; the other one is filled next, unless the last one is continued.
    last: usize,
    /// Set once reading has failed; parsers may swallow the error, the decoder asks here.
    fault: Arc<OnceLock<Code>>,
}

#[derive(Default)]
struct Block {
    offset: u64,
    data: Vec<u8>,
}

impl Block {
    fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }

    fn holds(&self, offset: u64) -> bool {
        (self.offset..self.end()).contains(&offset)
    }
}

impl<R: ReadAt> Blocks<R> {
    /// An empty cache over `source`.
    pub fn new(source: R) -> Self {
        Self {
            bytes: source.bytes(),
            source,
            slots: Default::default(),
            last: 0,
            fault: Arc::default(),
        }
    }

    /// The file's length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The code of the read that failed, if one did.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
            .get()
            .map(|code| Fault::new(*code, "the file's bytes could not be read"))
    }

    /// What [`Blocks::fault`] tells, for while the blocks are lent to a parser.
    #[cfg(feature = "decode")]
    pub(crate) fn fault_handle(&self) -> Arc<OnceLock<Code>> {
        Arc::clone(&self.fault)
    }

    /// As many bytes from `offset` on as are there, at most `out.len()`.
    ///
    /// # Errors
    /// When the bytes cannot be had; [`Blocks::fault`] tells why.
    pub fn read(&mut self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < out.len() {
            let piece = self.piece(offset + done as u64)?;
            if piece.is_empty() {
                break;
            }
            let length = piece.len().min(out.len() - done);
            out[done..done + length].copy_from_slice(&piece[..length]);
            done += length;
        }
        Ok(done)
    }

    /// The `N` bytes from `offset` on, or none when the file ends before.
    ///
    /// # Errors
    /// As [`Blocks::read`].
    pub fn array<const N: usize>(&mut self, offset: u64) -> io::Result<Option<[u8; N]>> {
        let mut out = [0; N];
        Ok((self.read(offset, &mut out)? == N).then_some(out))
    }

    /// The `length` bytes from `offset` on, fewer when the file ends before. The caller bounds `length`.
    ///
    /// # Errors
    /// As [`Blocks::read`].
    pub fn vec(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let there = self.bytes.saturating_sub(offset).min(length as u64) as usize;
        let mut out = vec![0; there];
        let read = self.read(offset, &mut out)?;
        out.truncate(read);
        Ok(out)
    }

    /// The cached bytes from `offset` on, fetched if need be; empty at the end of the file.
    fn piece(&mut self, offset: u64) -> io::Result<&[u8]> {
        if offset >= self.bytes {
            return Ok(&[]);
        }
        let slot = match self.slots.iter().position(|block| block.holds(offset)) {
            Some(slot) => slot,
            None => self.fetch(offset)?,
        };
        let block = &self.slots[slot];
        Ok(&block.data[(offset - block.offset) as usize..])
    }

    /// Fills a slot from `offset` on. A continued sequence doubles its block each time.
    fn fetch(&mut self, offset: u64) -> io::Result<usize> {
        if self.fault.get().is_some() {
            return Err(io::ErrorKind::Other.into());
        }
        let continued = self
            .slots
            .iter()
            .position(|block| block.end() == offset && !block.data.is_empty());
        let slot = continued.unwrap_or((self.last + 1) % BLOCKS);
        let wanted = match continued {
            Some(slot) => (self.slots[slot].data.len() * 2).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX),
            None => BLOCK_BYTES_MIN,
        };
        let length = (self.bytes - offset).min(wanted as u64) as usize;
        let block = &mut self.slots[slot];
        block.data.resize(length, 0);
        block.offset = offset;
        if let Err(code) = self.source.read_at(offset, &mut block.data) {
            block.data.clear();
            let _first_wins = self.fault.set(code);
            return Err(io::ErrorKind::Other.into());
        }
        self.last = slot;
        Ok(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts requests and checks their bounds.
    struct Counting {
        bytes: Vec<u8>,
        requests: Arc<std::sync::atomic::AtomicUsize>,
    }

    impl ReadAt for Counting {
        fn bytes(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Code> {
            assert!(!out.is_empty() && out.len() <= READ_BYTES_MAX as usize);
            self.requests
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.bytes.as_slice().read_at(offset, out)
        }
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 31 % 251) as u8).collect()
    }

    #[test]
    fn ten_mebibytes_read_in_order_cost_fewer_than_twenty_requests() {
        let requests = Arc::default();
        let mut blocks = Blocks::new(Counting {
            bytes: pattern(10 << 20),
            requests: Arc::clone(&requests),
        });
        let mut out = [0; 32 * 1024];
        let mut offset = 0;
        loop {
            let read = blocks.read(offset, &mut out).unwrap();
            if read == 0 {
                break;
            }
            offset += read as u64;
        }
        assert_eq!(offset, 10 << 20);
        assert!(requests.load(std::sync::atomic::Ordering::Relaxed) < 20);
    }

    #[test]
    fn a_glance_at_the_end_does_not_lose_the_block_at_the_start() {
        let requests = Arc::default();
        let mut blocks = Blocks::new(Counting {
            bytes: pattern(1 << 20),
            requests: Arc::clone(&requests),
        });
        for offset in [0, (1 << 20) - 128, 100, 200] {
            assert!(blocks.array::<128>(offset).unwrap().is_some());
        }
        assert_eq!(requests.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[test]
    fn a_failed_read_is_remembered_and_never_asked_again() {
        struct Failing;
        impl ReadAt for Failing {
            fn bytes(&self) -> u64 {
                10
            }
            fn read_at(&mut self, _: u64, _: &mut [u8]) -> Result<(), Code> {
                Err(Code::SourceChanged)
            }
        }
        let mut blocks = Blocks::new(Failing);
        assert!(blocks.array::<4>(0).is_err());
        assert_eq!(blocks.fault().unwrap().code, Code::SourceChanged);
    }

    proptest! {
        #[test]
        fn any_reads_give_the_files_bytes(length in 0usize..400_000, reads in prop::collection::vec((0u64..450_000, 0usize..90_000), 1..20)) {
            let file = pattern(length);
            let mut blocks = Blocks::new(file.as_slice());
            for (offset, wanted) in reads {
                let expected = file.get(offset as usize..).unwrap_or(&[]);
                let expected = &expected[..expected.len().min(wanted)];
                prop_assert_eq!(&blocks.vec(offset, wanted).unwrap()[..], expected);
            }
        }
    }
}
