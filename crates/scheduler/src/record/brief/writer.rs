//! Bytes of the brief form as they are written: numbers seven bits to a byte, numbers near the one before them as the difference,
//! names once. The other half of `reader`; knows no record.

use alloc::vec::Vec;

/// Names longer than this are written in full each time, so that a short record never stands for a long one.
pub(super) const NAME_KEPT_BYTES_MAX: usize = 64;
/// Names that are remembered of one record: a few nodes, their tenant and their devices.
pub(super) const NAMES_KEPT_MAX: usize = 64;

/// The numbers last written of those that lie near each other.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Near {
    pub(super) ordinal: u64,
    pub(super) time: u64,
    pub(super) epoch: u64,
}

/// A record being written.
#[derive(Default)]
pub(super) struct Writer<'r> {
    pub(super) bytes: Vec<u8>,
    pub(super) near: Near,
    names: Vec<&'r str>,
}

impl<'r> Writer<'r> {
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// A number, the lower seven bits of it first.
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte((number as u8 & 0x7f) | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// Bytes behind their number.
    pub(super) fn sized(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn near_ordinal(&mut self, ordinal: u32) {
        let ordinal = u64::from(ordinal);
        self.difference(self.near.ordinal, ordinal);
        self.near.ordinal = ordinal;
    }

    pub(super) fn near_time(&mut self, time: i64) {
        let time = time.cast_unsigned();
        self.difference(self.near.time, time);
        self.near.time = time;
    }

    pub(super) fn near_epoch(&mut self, epoch: u64) {
        self.difference(self.near.epoch, epoch);
        self.near.epoch = epoch;
    }

    /// How far a number lies from another one, on whichever side.
    pub(super) fn difference(&mut self, from: u64, to: u64) {
        let far = to.wrapping_sub(from).cast_signed();
        self.number(((far << 1) ^ (far >> 63)).cast_unsigned());
    }

    /// A name: by its place among those that were written, from 1, or in full behind a 0.
    pub(super) fn name(&mut self, name: &'r str) {
        if let Some(place) = self.names.iter().position(|known| *known == name) {
            return self.number(place as u64 + 1);
        }
        self.number(0);
        self.sized(name.as_bytes());
        if is_kept(name, self.names.len()) {
            self.names.push(name);
        }
    }

    /// One of a few, by the number that the long form has for it.
    pub(super) fn one_of<T: minicbor::Encode<()>>(&mut self, one: &T) {
        minicbor::encode(one, &mut self.bytes).expect("a vector takes every byte");
    }
}

/// Whether a name gets a place where so many have one.
pub(super) const fn is_kept(name: &str, kept: usize) -> bool {
    name.len() <= NAME_KEPT_BYTES_MAX && kept < NAMES_KEPT_MAX
}
