//! A file as a parser shall see it: pieces of the real one with a few bytes of ours between them.
//!
//! Headers are rebuilt or patched, tags left out, trailers cut: whatever a parser does not need for decoding it never
//! sees. Used by the decoder only.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use crate::source::{Blocks, ReadAt};

/// One piece of a spliced file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of ours.
    Bytes(Vec<u8>),
    /// Bytes of the file: offset and length.
    Range(u64, u64),
}

impl Piece {
    fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Range(_, length) => *length,
        }
    }
}

/// A spliced file at a reading position.
pub(crate) struct Spliced<'a, R> {
    blocks: &'a mut Blocks<R>,
    pieces: Vec<Piece>,
    seekable: bool,
    position: u64,
    length: u64,
    /// The piece that holds the position, and where it starts; looked up anew after a seek.
    at: (usize, u64),
}

impl<'a, R: ReadAt> Spliced<'a, R> {
    pub(crate) fn new(blocks: &'a mut Blocks<R>, pieces: Vec<Piece>, seekable: bool) -> Self {
        let length = pieces.iter().map(Piece::bytes).sum();
        Self {
            blocks,
            pieces,
            seekable,
            position: 0,
            length,
            at: (0, 0),
        }
    }

    /// Moves `at` to the piece that holds the position.
    fn locate(&mut self) -> Option<usize> {
        if self.position < self.at.1 {
            self.at = (0, 0);
        }
        while let Some(piece) = self.pieces.get(self.at.0) {
            let end = self.at.1 + piece.bytes();
            if self.position < end {
                return Some(self.at.0);
            }
            self.at = (self.at.0 + 1, end);
        }
        None
    }
}

impl<R: ReadAt> Read for Spliced<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(index) = self.locate() else {
            return Ok(0);
        };
        let skip = self.position - self.at.1;
        let length = (self.pieces[index].bytes() - skip).min(out.len() as u64) as usize;
        let out = &mut out[..length];
        let read = match &self.pieces[index] {
            Piece::Bytes(bytes) => {
                out.copy_from_slice(&bytes[skip as usize..][..length]);
                length
            }
            Piece::Range(offset, _) => self.blocks.read(offset + skip, out)?,
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl<R: ReadAt> Seek for Spliced<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.length.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl<R: ReadAt> MediaSource for Spliced<'_, R> {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spliced_file_reads_as_its_pieces_in_order_from_any_position() {
        let file = (0..=255).collect::<Vec<u8>>();
        let mut blocks = Blocks::new(file.as_slice());
        let pieces = vec![
            Piece::Bytes(b"head".to_vec()),
            Piece::Range(10, 3),
            Piece::Bytes(vec![]),
            Piece::Range(200, 2),
        ];
        let whole = [b"head".as_slice(), &[10, 11, 12, 200, 201]].concat();
        let mut spliced = Spliced::new(&mut blocks, pieces, true);
        for start in (0..=whole.len()).rev() {
            spliced.seek(SeekFrom::Start(start as u64)).unwrap();
            let mut read = Vec::new();
            spliced.read_to_end(&mut read).unwrap();
            assert_eq!(read, whole[start..]);
        }
        assert_eq!(spliced.seek(SeekFrom::End(-1)).unwrap(), 8);
        assert!(spliced.seek(SeekFrom::Current(-9)).is_err());
    }
}
