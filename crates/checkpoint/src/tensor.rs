//! One tensor as it lies in a file: numbers of some kind, from some place on, in steps. Checked against the bytes that are
//! there when it is made, so that giving out its values cannot fail.

use crate::refusal::{Refusal, shown};
use half::{bf16, f16};
use std::io::{self, Write};

/// Most dimensions; a separator has four.
const DIMENSIONS_MAX: usize = 8;
/// Values that are given out together.
const PIECE_VALUES: usize = 1 << 14;

/// The kinds of numbers that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    F32,
    F16,
    Bf16,
}

impl Number {
    /// Bytes of one.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The value at the beginning of `bytes`, in single precision, which loses nothing.
    fn value(self, bytes: &[u8]) -> f32 {
        match self {
            Self::F32 => f32::from_le_bytes(first(bytes)),
            Self::F16 => f16::from_le_bytes(first(bytes)).to_f32(),
            Self::Bf16 => bf16::from_le_bytes(first(bytes)).to_f32(),
        }
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes
        .first_chunk()
        .expect("a tensor lies in its storage, which was checked when it was made")
}

/// A tensor in a file's bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TensorIn<'a> {
    number: Number,
    storage: &'a [u8],
    /// Values before the first.
    offset: usize,
    shape: Vec<usize>,
    /// Values from one index to the next, by dimension.
    strides: Vec<usize>,
    values: usize,
}

impl<'a> TensorIn<'a> {
    /// A tensor whose every value lies in `storage`.
    ///
    /// # Errors
    /// [`Refusal::Tensor`], with `name` in it.
    pub(crate) fn new(
        name: &str,
        number: Number,
        storage: &'a [u8],
        offset: usize,
        (shape, strides): (Vec<usize>, Vec<usize>),
    ) -> Result<Self, Refusal> {
        let refuse = |what: &str| Err(Refusal::Tensor(shown(name), what.to_owned()));
        if shape.len() != strides.len() || shape.len() > DIMENSIONS_MAX {
            return refuse("it has too many dimensions, or steps for another number of them");
        }
        let Some(values) = shape.iter().copied().try_fold(1, usize::checked_mul) else {
            return refuse("it has more values than there is memory");
        };
        let mut steps = shape.iter().zip(&strides);
        let last = steps.try_fold(offset, |sum: usize, (size, step)| {
            sum.checked_add(size.saturating_sub(1).checked_mul(*step)?)
        });
        let held = storage.len() / number.bytes();
        if values > 0 && last.is_none_or(|last| last >= held) {
            return refuse("it reaches beyond its end");
        }
        Ok(Self {
            number,
            storage,
            offset,
            shape,
            strides,
            values,
        })
    }

    /// A tensor that is all of its storage, row by row.
    ///
    /// # Errors
    /// As [`TensorIn::new`].
    pub(crate) fn whole(
        name: &str,
        number: Number,
        storage: &'a [u8],
        shape: &[usize],
    ) -> Result<Self, Refusal> {
        Self::new(name, number, storage, 0, (shape.to_vec(), rows(shape)))
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn values(&self) -> usize {
        self.values
    }

    /// Gives out the values row by row, in single precision, little endian.
    ///
    /// # Errors
    /// Those of `out`.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut places = Places::of(self);
        let mut piece = Vec::with_capacity(PIECE_VALUES.min(self.values) * size_of::<f32>());
        let mut left = self.values;
        while left > 0 {
            piece.clear();
            for _ in 0..left.min(PIECE_VALUES) {
                let at = places.step() * self.number.bytes();
                piece.extend_from_slice(&self.number.value(&self.storage[at..]).to_le_bytes());
            }
            out.write_all(&piece)?;
            left -= left.min(PIECE_VALUES);
        }
        Ok(())
    }
}

/// Steps of a tensor whose rows lie one behind the other; the largest where they do not fit any memory, which is then
/// refused for its values.
fn rows(shape: &[usize]) -> Vec<usize> {
    let mut step = 1usize;
    let mut strides: Vec<usize> = shape
        .iter()
        .rev()
        .map(|size| {
            let own = step;
            step = step.saturating_mul((*size).max(1));
            own
        })
        .collect();
    strides.reverse();
    strides
}

/// The places of a tensor's values in its storage, row by row.
struct Places<'a> {
    shape: &'a [usize],
    strides: &'a [usize],
    index: Vec<usize>,
    at: usize,
}

impl<'a> Places<'a> {
    fn of(tensor: &'a TensorIn<'_>) -> Self {
        Self {
            shape: &tensor.shape,
            strides: &tensor.strides,
            index: vec![0; tensor.shape.len()],
            at: tensor.offset,
        }
    }

    /// This value's place; moves on to the next one.
    fn step(&mut self) -> usize {
        let at = self.at;
        for dimension in (0..self.shape.len()).rev() {
            self.index[dimension] += 1;
            self.at += self.strides[dimension];
            if self.index[dimension] < self.shape[dimension] {
                break;
            }
            self.at -= self.strides[dimension] * self.shape[dimension];
            self.index[dimension] = 0;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn given(tensor: &TensorIn<'_>) -> Vec<f32> {
        let mut out = Vec::new();
        tensor.write(&mut out).unwrap();
        let (values, rest) = out.as_chunks::<4>();
        assert!(rest.is_empty());
        values
            .iter()
            .map(|value| f32::from_le_bytes(*value))
            .collect()
    }

    #[test]
    fn values_come_row_by_row_however_they_lie() {
        let storage = bytes(&[0., 1., 2., 3., 4., 5., 6.]);
        let check = |offset, shape: &[usize], strides: &[usize], expected: &[f32]| {
            let place = (shape.to_vec(), strides.to_vec());
            let tensor = TensorIn::new("t", Number::F32, &storage, offset, place).unwrap();
            assert_eq!(given(&tensor), expected, "{shape:?} by {strides:?}");
        };
        check(0, &[7], &[1], &[0., 1., 2., 3., 4., 5., 6.]);
        check(1, &[2, 3], &[3, 1], &[1., 2., 3., 4., 5., 6.]);
        check(1, &[3, 2], &[1, 3], &[1., 4., 2., 5., 3., 6.]);
        check(0, &[2, 1, 2], &[1, 99, 2], &[0., 2., 1., 3.]);
        check(3, &[2, 2], &[0, 1], &[3., 4., 3., 4.]);
        check(6, &[], &[], &[6.]);
        check(99, &[0, 5], &[5, 1], &[]);
    }

    #[test]
    fn halves_are_widened_without_loss() {
        let check = |number, storage: &[u8], expected: &[f32]| {
            let tensor = TensorIn::whole("t", number, storage, &[2]).unwrap();
            assert_eq!(given(&tensor), expected, "{number:?}");
        };
        check(Number::F16, &[0x00, 0x3c, 0x00, 0xc1], &[1.0, -2.5]);
        check(Number::Bf16, &[0x80, 0x3f, 0x20, 0xc0], &[1.0, -2.5]);
    }

    #[test]
    fn a_tensor_that_leaves_its_storage_is_refused() {
        let storage = bytes(&[0.; 6]);
        let check = |offset, shape: &[usize], strides: &[usize]| {
            let place = (shape.to_vec(), strides.to_vec());
            let made = TensorIn::new("t", Number::F32, &storage, offset, place);
            assert!(
                matches!(made, Err(Refusal::Tensor(..))),
                "{shape:?} {strides:?}"
            );
        };
        check(0, &[7], &[1]);
        check(1, &[6], &[1]);
        check(0, &[2, 2], &[5, 1]);
        check(usize::MAX, &[2], &[1]);
        check(0, &[2], &[usize::MAX]);
        check(0, &[usize::MAX, 2], &[0, 1]);
        check(0, &[2], &[1, 1]);
        check(0, &[1; 9], &[1; 9]);
    }
}
