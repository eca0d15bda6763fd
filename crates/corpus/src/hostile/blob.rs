//! The content of a file that may be far larger than it is interesting: runs of zeros and repetitions are described, not held.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many zeros; a hole where the file system has such.
    Zeros(u64),
    /// These bytes, so many times.
    Repeat(Vec<u8>, u64),
}

/// A file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob {
    pieces: Vec<Piece>,
}

impl Blob {
    /// The content made of these pieces, in order.
    pub fn of(pieces: Vec<Piece>) -> Self {
        Self { pieces }
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        let length = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Zeros(count) => *count,
            Piece::Repeat(bytes, count) => bytes.len() as u64 * count,
        };
        self.pieces.iter().map(length).sum()
    }

    /// Writes it to a new file.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) => file.write_all(bytes)?,
                Piece::Zeros(count) => skip(&mut file, *count)?,
                Piece::Repeat(bytes, count) => {
                    for _ in 0..*count {
                        file.write_all(bytes)?;
                    }
                }
            }
        }
        // A hole at the end exists only once the length says so.
        file.into_inner()?.set_len(self.bytes())
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self::of(vec![Piece::Bytes(bytes)])
    }
}

fn skip(file: &mut BufWriter<File>, count: u64) -> io::Result<()> {
    let by = i64::try_from(count).map_err(io::Error::other)?;
    file.seek(SeekFrom::Current(by)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_has_every_piece_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let pieces = vec![
            Piece::Bytes(b"ab".to_vec()),
            Piece::Zeros(3),
            Piece::Repeat(b"xy".to_vec(), 2),
            Piece::Zeros(1),
        ];
        let blob = Blob::of(pieces);
        blob.write(&path).unwrap();
        let written = std::fs::read(&path).unwrap();
        assert_eq!(written, b"ab\0\0\0xyxy\0");
        assert_eq!(blob.bytes(), written.len() as u64);
    }
}
