//! Numbers as bits: small ones take few, and none takes more than about twice its own length, whatever was expected. A number is
//! its high bits in a prefix code and its `k` low bits as they are. Used for the runs of a set of tracks; knows nothing of sets.

use alloc::vec::Vec;

/// Most low bits that are written as they are: runs of a shard's 1,024 tracks with more than 128 on average are few.
pub(super) const LOW_BITS_MAX: u8 = 7;

/// Appends bits to bytes, from the highest of each byte on.
pub(super) struct BitWriter<'o> {
    bytes: &'o mut Vec<u8>,
    /// Bits of the last byte that are written.
    used: u8,
}

impl<'o> BitWriter<'o> {
    /// Begins with a byte of its own.
    pub(super) const fn new(bytes: &'o mut Vec<u8>) -> Self {
        Self { bytes, used: 8 }
    }

    /// A number, with `low` bits as they are.
    pub(super) fn number(&mut self, number: u32, low: u8) {
        let high = (u64::from(number) >> low) + 1;
        let length = high.ilog2();
        self.bits(0, length);
        self.bits(high, length + 1);
        self.bits(u64::from(number), u32::from(low));
    }

    /// The lowest `count` bits of a number, the highest of them first.
    fn bits(&mut self, number: u64, count: u32) {
        for place in (0..count).rev() {
            self.bit((number >> place) & 1 == 1);
        }
    }

    fn bit(&mut self, bit: bool) {
        if self.used == 8 {
            self.bytes.push(0);
            self.used = 0;
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.used);
        }
        self.used += 1;
    }
}

/// Bits that a number takes with `low` bits as they are.
pub(super) fn cost(number: u32, low: u8) -> u64 {
    let high = (u64::from(number) >> low) + 1;
    u64::from(2 * high.ilog2() + 1) + u64::from(low)
}

/// How many low bits make some numbers shortest.
pub(super) fn best(numbers: impl Iterator<Item = u32> + Clone) -> u8 {
    let whole = |low: &u8| -> u64 { numbers.clone().map(|number| cost(number, *low)).sum() };
    (0..=LOW_BITS_MAX).min_by_key(whole).unwrap_or_default()
}

/// Reads what [`BitWriter`] wrote with at most [`LOW_BITS_MAX`] low bits; `None` where it is not that.
pub(super) struct BitReader<'b> {
    bytes: &'b [u8],
    /// Bits that are read.
    at: usize,
}

impl<'b> BitReader<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn number(&mut self, low: u8) -> Option<u32> {
        let mut length = 0;
        while !self.bit()? {
            length += 1;
            // A number of 32 bits and one more has no more high bits than this.
            if length > 32 {
                return None;
            }
        }
        let high = (1 << length) | self.bits(length)?;
        let low_bits = self.bits(u32::from(low))?;
        u32::try_from(((high - 1) << low) | low_bits).ok()
    }

    /// The bytes that are read, where the rest of the last one is empty.
    pub(super) fn end(mut self) -> Option<usize> {
        let bytes = self.at.div_ceil(8);
        while self.at < bytes * 8 {
            if self.bit()? {
                return None;
            }
        }
        Some(bytes)
    }

    fn bits(&mut self, count: u32) -> Option<u64> {
        let mut number = 0;
        for _ in 0..count {
            number = (number << 1) | u64::from(self.bit()?);
        }
        Some(number)
    }

    fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = (byte >> (7 - self.at % 8)) & 1;
        self.at += 1;
        Some(bit == 1)
    }
}
