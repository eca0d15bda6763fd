//! Bytes of the brief form as they are read: whatever they are, they end in a value or in words, and what is read of them is never
//! much longer than they are. The other half of `writer`; knows no record.

use super::writer::{Near, is_kept};
use alloc::vec::Vec;

/// What is read, or what is wrong with it.
pub(super) type Read<T> = Result<T, &'static str>;

/// A record being read.
pub(super) struct Reader<'b> {
    rest: &'b [u8],
    near: Near,
    names: Vec<&'b str>,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self {
            rest: bytes,
            near: Near::default(),
            names: Vec::new(),
        }
    }

    /// What is not read yet.
    pub(super) const fn rest(&self) -> &'b [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, count: usize) -> Read<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Read<u8> {
        let (byte, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(super) fn number(&mut self) -> Read<u64> {
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(LARGE);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(LARGE)
    }

    /// A number of the size that is asked for.
    pub(super) fn fits<T: TryFrom<u64>>(&mut self) -> Read<T> {
        T::try_from(self.number()?).map_err(|_| LARGE)
    }

    /// Bytes behind their number.
    pub(super) fn sized(&mut self) -> Read<&'b [u8]> {
        let count = self.fits()?;
        self.take(count)
    }

    pub(super) fn near_ordinal(&mut self) -> Read<u32> {
        self.near.ordinal = self.difference(self.near.ordinal)?;
        u32::try_from(self.near.ordinal).map_err(|_| LARGE)
    }

    pub(super) fn near_time(&mut self) -> Read<i64> {
        self.near.time = self.difference(self.near.time)?;
        Ok(self.near.time.cast_signed())
    }

    pub(super) fn near_epoch(&mut self) -> Read<u64> {
        self.near.epoch = self.difference(self.near.epoch)?;
        Ok(self.near.epoch)
    }

    /// The number that lies as far from another one as is written.
    pub(super) fn difference(&mut self, from: u64) -> Read<u64> {
        let far = self.number()?;
        Ok(from.wrapping_add((far >> 1) ^ (far & 1).wrapping_neg()))
    }

    pub(super) fn name(&mut self) -> Read<&'b str> {
        let place: usize = self.fits()?;
        if let Some(place) = place.checked_sub(1) {
            let known = self.names.get(place).copied();
            return known.ok_or("it names a name that was not named before");
        }
        let name = core::str::from_utf8(self.sized()?).map_err(|_| "a name is no text")?;
        if is_kept(name, self.names.len()) {
            self.names.push(name);
        }
        Ok(name)
    }

    /// One of a few, by the number that the long form has for it.
    pub(super) fn one_of<T: minicbor::Decode<'b, ()>>(&mut self) -> Read<T> {
        if self.rest.is_empty() {
            return Err(SHORT);
        }
        let mut decoder = minicbor::Decoder::new(self.rest);
        let one = decoder.decode().map_err(|_| "it says what is not known")?;
        self.take(decoder.position())?;
        Ok(one)
    }

    /// So many of something, as far as the bytes reach: the number itself makes no room.
    pub(super) fn list<T>(&mut self, one: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let mut list = Vec::new();
        for _ in 0..self.number()? {
            list.push(one(self)?);
        }
        Ok(list)
    }
}

const SHORT: &str = "it ends too early";
const LARGE: &str = "a number is too large";
