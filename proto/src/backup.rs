//! The form of a backup file: a first line, then frames, each with its length before it. Written by the coordinator, read by scanctl, which
//! checks it, and by a restore. Pure: bytes in, frames out; every length is bounded before anything is kept.
//!
//! Whether a file is whole is said by its last frame: how many records there are, and a digest over all frames in their order. A file
//! without it is none.

use prost::Message;
use types::{Code, Digest, Problem};

use crate::v1;

/// What a backup begins with.
pub const FIRST_LINE: &[u8] = b"trackscan-backup 1\n";

/// Longest frame: a page of the store has at most 2 MiB of keys and values, or one record of 1.5 MiB; names and lengths take the rest.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// The digest over frames, one after another.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Chain {
    digest: Option<Digest>,
    entries: u64,
    bytes: u64,
}

impl Chain {
    fn add(&mut self, frame: &[u8], page: Option<&v1::BackupPage>) {
        let before = self.digest.map_or([].as_slice().to_vec(), |d| d.0.to_vec());
        self.digest = Some(Digest::of(&[before.as_slice(), frame].concat()));
        for entry in page.into_iter().flat_map(|page| &page.entries) {
            self.entries += 1;
            self.bytes += (entry.key.len() + entry.value.len()) as u64;
        }
    }

    fn end(&self) -> v1::BackupEnd {
        v1::BackupEnd {
            entries: self.entries,
            bytes: self.bytes,
            chain_sha256: self
                .digest
                .map_or_else(Vec::new, |digest| digest.0.to_vec()),
        }
    }
}

/// Makes the bytes of a backup, piece by piece.
#[derive(Debug, Default)]
pub struct Writer {
    chain: Chain,
}

impl Writer {
    /// The first bytes.
    #[must_use]
    pub fn header(&mut self, header: v1::BackupHeader) -> Vec<u8> {
        let frame = self.frame(v1::backup_frame::Frame::Header(header));
        [FIRST_LINE, &frame].concat()
    }

    /// The bytes of a page of records.
    #[must_use]
    pub fn page(&mut self, page: v1::BackupPage) -> Vec<u8> {
        self.frame(v1::backup_frame::Frame::Page(page))
    }

    /// The last bytes.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        let end = self.chain.end();
        self.frame(v1::backup_frame::Frame::End(end))
    }

    fn frame(&mut self, frame: v1::backup_frame::Frame) -> Vec<u8> {
        let page = match &frame {
            v1::backup_frame::Frame::Page(page) => Some(page.clone()),
            v1::backup_frame::Frame::Header(_) | v1::backup_frame::Frame::End(_) => None,
        };
        let bytes = v1::BackupFrame { frame: Some(frame) }.encode_to_vec();
        self.chain.add(&bytes, page.as_ref());
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes(), bytes.as_slice()].concat()
    }
}

/// What a whole backup says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// Its header.
    pub header: v1::BackupHeader,
    /// Records.
    pub entries: u64,
    /// Bytes of all keys and values.
    pub bytes: u64,
    /// The digest over its frames, by which two backups are told apart.
    pub digest: Digest,
}

/// Reads a backup as its bytes come.
#[derive(Debug, Default)]
pub struct Reader {
    waiting: Vec<u8>,
    began: bool,
    chain: Chain,
    header: Option<v1::BackupHeader>,
    last_key: Option<String>,
    end: Option<v1::BackupEnd>,
}

impl Reader {
    /// Takes the next bytes and gives the pages that they complete.
    ///
    /// # Errors
    /// `BACKUP_DAMAGED` with what does not fit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<v1::BackupPage>, Problem> {
        self.waiting.extend_from_slice(bytes);
        if !self.began && !self.begin()? {
            return Ok(Vec::new());
        }
        let mut pages = Vec::new();
        while let Some(frame) = self.next_frame()? {
            pages.extend(self.take(&frame)?);
        }
        Ok(pages)
    }

    /// What the backup says of itself, once its header came.
    #[must_use]
    pub const fn header(&self) -> Option<&v1::BackupHeader> {
        self.header.as_ref()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `BACKUP_DAMAGED` where the file ended before it was whole.
    pub fn finish(self) -> Result<Whole, Problem> {
        match (self.header, self.end, self.chain.digest) {
            (Some(header), Some(end), Some(digest)) if self.waiting.is_empty() => Ok(Whole {
                header,
                entries: end.entries,
                bytes: end.bytes,
                digest,
            }),
            (_, Some(_), _) => Err(damaged("bytes follow its end")),
            (_, None, _) => Err(damaged("it ends before it is whole")),
        }
    }

    fn begin(&mut self) -> Result<bool, Problem> {
        let length = FIRST_LINE.len().min(self.waiting.len());
        if self.waiting[..length] != FIRST_LINE[..length] {
            return Err(damaged("it does not begin as a backup of this version"));
        }
        self.began = length == FIRST_LINE.len();
        if self.began {
            self.waiting.drain(..length);
        }
        Ok(self.began)
    }

    fn next_frame(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        let Some(length) = self.waiting.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(damaged(&format!("a frame of {length} bytes")));
        }
        if self.waiting.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let frame = self.waiting[LENGTH_BYTES..LENGTH_BYTES + length].to_vec();
        self.waiting.drain(..LENGTH_BYTES + length);
        Ok(Some(frame))
    }

    fn take(&mut self, bytes: &[u8]) -> Result<Option<v1::BackupPage>, Problem> {
        use v1::backup_frame::Frame;
        let frame = v1::BackupFrame::decode(bytes);
        let frame = frame.map_err(|error| damaged(&format!("a frame: {error}")))?;
        match (frame.frame, self.header.is_some(), self.end.is_some()) {
            (_, _, true) => Err(damaged("a frame follows its end")),
            (Some(Frame::Header(header)), false, _) => {
                self.chain.add(bytes, None);
                self.header = Some(header);
                Ok(None)
            }
            (Some(Frame::Page(page)), true, _) => {
                self.check_order(&page)?;
                self.chain.add(bytes, Some(&page));
                Ok(Some(page))
            }
            (Some(Frame::End(end)), true, _) if end == self.chain.end() => {
                self.end = Some(end);
                Ok(None)
            }
            (Some(Frame::End(_)), true, _) => {
                Err(damaged("its records do not come to the digest at its end"))
            }
            (_, _, _) => Err(damaged("its frames are not in order")),
        }
    }

    fn check_order(&mut self, page: &v1::BackupPage) -> Result<(), Problem> {
        for entry in &page.entries {
            if self
                .last_key
                .as_ref()
                .is_some_and(|last| *last >= entry.key)
            {
                return Err(damaged("its keys do not rise"));
            }
            self.last_key = Some(entry.key.clone());
        }
        Ok(())
    }
}

fn damaged(cause: &str) -> Problem {
    Problem::new(Code::BackupDamaged, format!("read the backup: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str) -> v1::BackupEntry {
        v1::BackupEntry {
            key: key.to_owned(),
            value: vec![7; 3],
        }
    }

    fn page(keys: &[&str]) -> v1::BackupPage {
        v1::BackupPage {
            entries: keys.iter().map(|key| entry(key)).collect(),
        }
    }

    fn header() -> v1::BackupHeader {
        v1::BackupHeader {
            version: "1".to_owned(),
            cluster: 7,
            generation: 1,
            revision: 9,
            at_ms: 1,
        }
    }

    fn written(pages: &[v1::BackupPage]) -> Vec<u8> {
        let mut writer = Writer::default();
        let mut bytes = writer.header(header());
        for page in pages {
            bytes.extend(writer.page(page.clone()));
        }
        bytes.extend(writer.end());
        bytes
    }

    fn read(bytes: &[u8], at_a_time: usize) -> Result<(Vec<v1::BackupPage>, Whole), Problem> {
        let (mut reader, mut pages) = (Reader::default(), Vec::new());
        for piece in bytes.chunks(at_a_time) {
            pages.extend(reader.push(piece)?);
        }
        Ok((pages, reader.finish()?))
    }

    #[test]
    fn a_backup_reads_back_as_it_was_written_in_whatever_pieces_it_comes() {
        let pages = [page(&["a", "b"]), page(&["c"])];
        let bytes = written(&pages);
        for at_a_time in [1, 7, bytes.len()] {
            let (found, whole) = read(&bytes, at_a_time).unwrap();
            assert_eq!(found, pages);
            assert_eq!((whole.entries, whole.bytes), (3, 12));
            assert_eq!(whole.header, header());
        }
    }

    #[test]
    fn no_changed_byte_and_no_cut_of_a_backup_is_taken_for_a_whole_one() {
        let bytes = written(&[page(&["a", "b"])]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read(&changed, 16).is_err(), "byte {at}");
            assert!(read(&bytes[..at], 16).is_err(), "cut at {at}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(read(&longer, 16).is_err());
    }

    #[test]
    fn records_out_of_order_and_frames_beyond_the_bound_are_refused() {
        assert!(read(&written(&[page(&["b", "a"])]), 64).is_err());
        assert!(read(&written(&[page(&["a"]), page(&["a"])]), 64).is_err());
        let huge = [FIRST_LINE, &u32::MAX.to_be_bytes()].concat();
        assert_eq!(read(&huge, 64).unwrap_err().code, Code::BackupDamaged);
    }
}
