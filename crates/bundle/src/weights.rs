//! Weights that are too large to be held while a bundle is checked: one pass over the file that hashes it and looks at each
//! value, in memory that does not grow with it. Called for the residual's weights by whoever opens a bundle; whoever runs
//! them reads them whole.
//!
//! Refuses what [`Tensors::parse`](crate::Tensors::parse) refuses, and keeps no value.

use crate::separator::Shapes;
use crate::tensors::{TENSORS_HEADER_BYTES_MAX, TensorsError};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use types::Digest;

/// Bytes that are looked at together: few enough for a cache, a multiple of a value's.
const PIECE_BYTES: usize = 1 << 16;

/// What a file is, whether or not it is sound.
pub(crate) struct Looked {
    /// Its length.
    pub(crate) bytes: u64,
    /// Its digest.
    pub(crate) sha256: Digest,
    /// The weights that it holds, by name and shape.
    pub(crate) weights: Result<Shapes, TensorsError>,
}

/// Reads a file to its end.
///
/// # Errors
/// The system's. What is wrong with the weights is part of the answer, since a file with another digest is refused for that.
pub(crate) fn look(file: impl Read) -> io::Result<Looked> {
    let mut reader = Hashing {
        inner: file,
        hash: Sha256::new(),
        bytes: 0,
    };
    let weights = match walk(&mut reader) {
        Ok(shapes) => Ok(shapes),
        Err(Fault::Weights(error)) => Err(error),
        Err(Fault::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(cut_off()),
        Err(Fault::Io(error)) => return Err(error),
    };
    let behind = io::copy(&mut reader, &mut io::sink())?;
    let weights = weights.and_then(|shapes| match behind {
        0 => Ok(shapes),
        _ => Err(cut_off()),
    });
    Ok(Looked {
        bytes: reader.bytes,
        sha256: Digest(reader.hash.finalize().into()),
        weights,
    })
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

enum Fault {
    Io(io::Error),
    Weights(TensorsError),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TensorsError> for Fault {
    fn from(error: TensorsError) -> Self {
        Self::Weights(error)
    }
}

/// Shorter or longer than its header says.
fn cut_off() -> TensorsError {
    TensorsError::Offsets {
        tensor: "the last tensor".to_owned(),
    }
}

fn walk(reader: &mut impl Read) -> Result<Shapes, Fault> {
    let header = header(reader)?;
    let (mut next, mut shapes) = (0, Shapes::new());
    for name in header.offset_keys() {
        let info = header
            .info(&name)
            .expect("the header names its own tensors");
        check_place(&name, info, &mut next)?;
        check_values(&name, info, reader)?;
        shapes.insert(name, info.shape.clone());
    }
    Ok(shapes)
}

fn header(reader: &mut impl Read) -> Result<Metadata, Fault> {
    let mut length = [0; 8];
    reader.read_exact(&mut length)?;
    let claimed = u64::from_le_bytes(length);
    if claimed > TENSORS_HEADER_BYTES_MAX {
        return Err(TensorsError::HeaderTooLarge { claimed }.into());
    }
    let mut text = Vec::new();
    reader.take(claimed).read_to_end(&mut text)?;
    let header = serde_json::from_slice(&text).map_err(|error| TensorsError::Form {
        detail: error.to_string(),
    })?;
    Ok(header)
}

/// Tensors lie one behind the other, and their sizes follow from their shapes.
fn check_place(name: &str, info: &TensorInfo, next: &mut usize) -> Result<(), TensorsError> {
    if info.dtype != Dtype::F32 {
        return Err(TensorsError::Dtype {
            tensor: name.to_owned(),
            dtype: format!("{:?}", info.dtype),
        });
    }
    let (begin, end) = info.data_offsets;
    let values = info.shape.iter().copied().try_fold(1, usize::checked_mul);
    let bytes = values.and_then(|values| values.checked_mul(size_of::<f32>()));
    if begin != *next || bytes.is_none_or(|bytes| begin.checked_add(bytes) != Some(end)) {
        return Err(TensorsError::Offsets {
            tensor: name.to_owned(),
        });
    }
    *next = end;
    Ok(())
}

fn check_values(name: &str, info: &TensorInfo, reader: &mut impl Read) -> Result<(), Fault> {
    let (begin, end) = info.data_offsets;
    let mut left = end - begin;
    let mut buffer = [0; PIECE_BYTES];
    while left > 0 {
        let piece = &mut buffer[..left.min(PIECE_BYTES)];
        reader.read_exact(piece)?;
        let (values, _) = piece.as_chunks::<4>();
        if !values
            .iter()
            .all(|value| f32::from_le_bytes(*value).is_finite())
        {
            return Err(TensorsError::NotFinite {
                tensor: name.to_owned(),
            }
            .into());
        }
        left -= piece.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TensorData, Tensors};

    /// Two tensors, the second larger than a piece.
    fn sound() -> Vec<u8> {
        let tensor = |name: &str, values: usize| TensorData {
            name: name.to_owned(),
            shape: vec![values],
            values: vec![0.5; values],
        };
        Tensors(vec![tensor("a", 3), tensor("b", PIECE_BYTES / 4 + 1)]).to_bytes()
    }

    #[test]
    fn a_pass_finds_what_reading_the_whole_file_finds() {
        type Found = Result<Shapes, TensorsError>;
        let check = |case: &str, bytes: &[u8], expected: fn(&Found) -> bool| {
            let looked = look(bytes).unwrap();
            assert_eq!(looked.sha256, Digest::of(bytes), "{case}");
            assert_eq!(looked.bytes, bytes.len() as u64, "{case}");
            assert!(expected(&looked.weights), "{case}: {:?}", looked.weights);
            let whole = Tensors::parse(bytes).is_ok();
            assert_eq!(looked.weights.is_ok(), whole, "{case}");
        };
        let good = sound();
        check("sound", &good, |found| {
            let shapes = [("a", 3), ("b", PIECE_BYTES / 4 + 1)];
            let shapes = shapes.map(|(name, values)| (name.to_owned(), vec![values]));
            *found == Ok(Shapes::from(shapes))
        });
        let end = good.len();
        check("cut off", &good[..end - 4], |found| {
            matches!(found, Err(TensorsError::Offsets { .. }))
        });
        check("no header", &good[..5], |found| {
            matches!(found, Err(TensorsError::Offsets { .. }))
        });
        let longer = [&good[..], &[0; 4]].concat();
        check("longer", &longer, |found| {
            matches!(found, Err(TensorsError::Offsets { .. }))
        });
        let mut endless = good.clone();
        endless[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
        check(
            "infinite",
            &endless,
            |found| matches!(found, Err(TensorsError::NotFinite { tensor }) if tensor == "b"),
        );
        let mut huge = good.clone();
        huge[..8].copy_from_slice(&100_000_000u64.to_le_bytes());
        check("a header of 100 MB", &huge, |found| {
            matches!(
                found,
                Err(TensorsError::HeaderTooLarge {
                    claimed: 100_000_000
                })
            )
        });
        let of = |header: &str, data: usize| {
            let length = (header.len() as u64).to_le_bytes();
            [&length[..], header.as_bytes(), &vec![0; data]].concat()
        };
        let two = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
        check("overlap", &of(two, 12), |found| {
            matches!(
                found,
                Err(TensorsError::Offsets { .. } | TensorsError::Form { .. })
            )
        });
        let half = r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
        check("half", &of(half, 4), |found| {
            matches!(found, Err(TensorsError::Dtype { .. }))
        });
        let wide =
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}}"#;
        check("beyond all memory", &of(wide, 8), |found| {
            matches!(
                found,
                Err(TensorsError::Offsets { .. } | TensorsError::Form { .. })
            )
        });
        check("broken JSON", &of("{", 0), |found| {
            matches!(found, Err(TensorsError::Form { .. }))
        });
    }
}
