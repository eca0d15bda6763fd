//! How a set of tracks is stored: as a byte string that holds first the ordinal of the first track and then either gaps and lengths
//! or a bitmap, all as LEB128 numbers or bits, whichever is shorter. The leading byte names the form. Used by shard records,
//! parts and messages through [`TrackSet`]; bytes that are no set are refused, never guessed at.

use super::{Range, TrackSet};

impl TrackSet {
    /// The stored form; see the size bound of a part's coverage in the shard record.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads the stored form; `None` where the bytes are no set.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        decode(bytes)
    }
}

impl<C> minicbor::Encode<C> for TrackSet {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for TrackSet {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::from_bytes(d.bytes()?)
            .ok_or_else(|| minicbor::decode::Error::message("not a track set"))
    }
}

const FORM_RANGES: u8 = 0;
const FORM_BITMAP: u8 = 1;

fn put(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0u64;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok();
        }
    }
    None
}

fn as_ranges(set: &TrackSet) -> Vec<u8> {
    let mut out = vec![FORM_RANGES];
    let mut at = 0;
    for range in set.ranges() {
        put(&mut out, range.first - at);
        put(&mut out, range.len());
        at = range.end;
    }
    out
}

/// The bitmap, where it is shorter than `len` bytes.
fn as_bitmap(set: &TrackSet, len: usize) -> Option<Vec<u8>> {
    let first = set.first()?;
    let span = set.ranges().last()?.end - first;
    let mut out = vec![FORM_BITMAP];
    put(&mut out, first);
    let start = out.len();
    let end = start + span.div_ceil(8) as usize;
    if end >= len {
        return None;
    }
    out.resize(end, 0);
    for ordinal in set.iter() {
        let bit = ordinal - first;
        out[start + (bit / 8) as usize] |= 1 << (bit % 8);
    }
    Some(out)
}

/// A bitmap longer than this is never made: the ranges are shorter or the set is not a shard's.
const BITMAP_SPAN_MAX: u32 = 1 << 20;

fn encode(set: &TrackSet) -> Vec<u8> {
    let ranges = as_ranges(set);
    let span = set
        .first()
        .zip(set.ranges().last())
        .map_or(0, |(first, last)| last.end - first);
    if span > BITMAP_SPAN_MAX {
        return ranges;
    }
    as_bitmap(set, ranges.len()).unwrap_or(ranges)
}

fn decode(bytes: &[u8]) -> Option<TrackSet> {
    let (form, mut rest) = bytes.split_first()?;
    match *form {
        FORM_RANGES => decode_ranges(&mut rest),
        FORM_BITMAP => decode_bitmap(&mut rest),
        _ => None,
    }
}

fn decode_ranges(rest: &mut &[u8]) -> Option<TrackSet> {
    let mut ranges = Vec::new();
    let mut at = 0u32;
    while !rest.is_empty() {
        let first = at.checked_add(take(rest)?)?;
        let end = first.checked_add(take(rest)?)?;
        ranges.push(Range { first, end });
        at = end;
    }
    TrackSet::from_ranges(ranges).ok()
}

fn decode_bitmap(rest: &mut &[u8]) -> Option<TrackSet> {
    let first = take(rest)?;
    let bits = u32::try_from(rest.len()).ok()?.checked_mul(8)?;
    first.checked_add(bits)?;
    let set = |bit: &u32| rest[(bit / 8) as usize] & (1 << (bit % 8)) != 0;
    Some((0..bits).filter(set).map(|bit| first + bit).collect())
}
