//! Ordinals of a list, half-open ranges of them, and sets of tracks as shard records keep them: sorted
//! disjoint ranges in memory; stored as ranges or as a bitmap, whichever is shorter.

use core::fmt;
use serde::{Deserialize, Serialize};

/// The position of a track in its list, from 0. A list has at most `u32::MAX` tracks.
pub type Ordinal = u32;

/// Tracks `[first, end)` of a list.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
pub struct Range {
    /// The first ordinal in the range.
    #[n(0)]
    pub first: Ordinal,
    /// The first ordinal after the range.
    #[n(1)]
    pub end: Ordinal,
}

/// Why a range or set was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The end lies before the first ordinal.
    #[error("range [{first}, {end}) ends before it begins")]
    Reversed {
        /// As given.
        first: Ordinal,
        /// As given.
        end: Ordinal,
    },
    /// Ranges of a set must be non-empty, sorted, and leave a gap between them.
    #[error("ranges of a track set are not sorted and disjoint at [{first}, {end})")]
    Unsorted {
        /// The offending range.
        first: Ordinal,
        /// The offending range.
        end: Ordinal,
    },
}

impl Range {
    /// A range that may be empty.
    ///
    /// # Errors
    /// When `end < first`.
    pub const fn new(first: Ordinal, end: Ordinal) -> Result<Self, RangeError> {
        if end < first {
            return Err(RangeError::Reversed { first, end });
        }
        Ok(Self { first, end })
    }

    /// Number of tracks.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.end.saturating_sub(self.first)
    }

    /// Whether no track lies in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end <= self.first
    }

    /// Whether the ordinal lies in it.
    #[must_use]
    pub const fn contains(&self, ordinal: Ordinal) -> bool {
        self.first <= ordinal && ordinal < self.end
    }

    /// What both ranges hold; empty where they do not meet.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let first = self.first.max(other.first);
        Self {
            first,
            end: self.end.min(other.end).max(first),
        }
    }

    /// The ordinals in order.
    pub fn iter(&self) -> impl Iterator<Item = Ordinal> + use<> {
        self.first..self.end
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{},{})", self.first, self.end)
    }
}

/// A set of tracks of one list: sorted, disjoint, non-empty ranges with gaps between them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TrackSet {
    ranges: Vec<Range>,
}

impl TrackSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Takes ranges that are already canonical.
    ///
    /// # Errors
    /// When a range is empty, out of order, or touches its neighbour.
    pub fn from_ranges(ranges: Vec<Range>) -> Result<Self, RangeError> {
        let mut free_from = None;
        for range in &ranges {
            let touches = free_from.is_some_and(|end| range.first <= end);
            if range.is_empty() || touches {
                return Err(RangeError::Unsorted {
                    first: range.first,
                    end: range.end,
                });
            }
            free_from = Some(range.end);
        }
        Ok(Self { ranges })
    }

    /// The canonical ranges, in order.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Number of tracks.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|r| u64::from(r.len())).sum()
    }

    /// Whether no track is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The least ordinal.
    #[must_use]
    pub fn first(&self) -> Option<Ordinal> {
        self.ranges.first().map(|r| r.first)
    }

    /// Whether the track is in it.
    #[must_use]
    pub fn contains(&self, ordinal: Ordinal) -> bool {
        let after = self.ranges.partition_point(|r| r.end <= ordinal);
        self.ranges.get(after).is_some_and(|r| r.contains(ordinal))
    }

    /// Whether every track of the range is in it.
    #[must_use]
    pub fn contains_range(&self, range: Range) -> bool {
        if range.is_empty() {
            return true;
        }
        let after = self.ranges.partition_point(|r| r.end <= range.first);
        self.ranges
            .get(after)
            .is_some_and(|r| r.first <= range.first && range.end <= r.end)
    }

    /// Number of its tracks that lie in the range.
    #[must_use]
    pub fn len_within(&self, range: Range) -> u64 {
        let after = self.ranges.partition_point(|r| r.end <= range.first);
        let within = self.ranges[after..].iter();
        let within = within.take_while(|r| r.first < range.end);
        within.map(|r| u64::from(r.intersect(&range).len())).sum()
    }

    /// Whether every track of it is in `other` too.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.ranges.iter().all(|range| other.contains_range(*range))
    }

    /// Whether any track is in both.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        let mut theirs = other.ranges.as_slice();
        self.ranges.iter().any(|range| {
            while theirs.first().is_some_and(|their| their.end <= range.first) {
                theirs = &theirs[1..];
            }
            theirs.first().is_some_and(|their| their.first < range.end)
        })
    }

    /// Adds a range; tracks already there stay.
    pub fn insert(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        if self.ranges.last().is_none_or(|last| last.end < range.first) {
            return self.ranges.push(range);
        }
        let from = self.ranges.partition_point(|r| r.end < range.first);
        let to = self.ranges.partition_point(|r| r.first <= range.end);
        let merged = self.ranges[from..to].iter().fold(range, |all, r| Range {
            first: all.first.min(r.first),
            end: all.end.max(r.end),
        });
        self.ranges.splice(from..to, [merged]);
    }

    /// Removes a range; tracks not there are no matter.
    pub fn remove(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        let from = self.ranges.partition_point(|r| r.end <= range.first);
        let to = self.ranges.partition_point(|r| r.first < range.end);
        if from >= to {
            return;
        }
        let before = Range {
            first: self.ranges[from].first,
            end: range.first,
        };
        let after = Range {
            first: range.end,
            end: self.ranges[to - 1].end,
        };
        let kept = [before, after].into_iter().filter(|r| !r.is_empty());
        self.ranges.splice(from..to, kept);
    }

    /// Everything in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        other.ranges.iter().for_each(|range| all.insert(*range));
        all
    }

    /// Everything here that is not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = self.clone();
        other.ranges.iter().for_each(|range| left.remove(*range));
        left
    }

    /// Everything in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::new();
        let (mut a, mut b) = (
            self.ranges.iter().peekable(),
            other.ranges.iter().peekable(),
        );
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            both.insert(x.intersect(y));
            if x.end <= y.end {
                a.next()
            } else {
                b.next()
            };
        }
        both
    }

    /// The ordinals in order.
    pub fn iter(&self) -> impl Iterator<Item = Ordinal> + '_ {
        self.ranges.iter().flat_map(Range::iter)
    }
}

impl From<Range> for TrackSet {
    fn from(range: Range) -> Self {
        let ranges = if range.is_empty() {
            Vec::new()
        } else {
            vec![range]
        };
        Self { ranges }
    }
}

impl FromIterator<Ordinal> for TrackSet {
    fn from_iter<I: IntoIterator<Item = Ordinal>>(ordinals: I) -> Self {
        let mut set = Self::new();
        ordinals.into_iter().for_each(|o| {
            set.insert(Range {
                first: o,
                end: o.saturating_add(1),
            })
        });
        set
    }
}

impl fmt::Debug for TrackSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.ranges).finish()
    }
}

/// Stored as a byte string: first the ordinal of the first track and then either gaps and lengths or a bitmap,
/// all as LEB128 numbers or bits, whichever is shorter. The leading byte names the form.
mod stored {
    use super::{Range, TrackSet};

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

    pub(super) fn encode(set: &TrackSet) -> Vec<u8> {
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

    pub(super) fn decode(bytes: &[u8]) -> Option<TrackSet> {
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
}

impl TrackSet {
    /// The stored form; see the size bound of a part's coverage in the shard record.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        stored::encode(self)
    }

    /// Reads the stored form; `None` where the bytes are no set.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        stored::decode(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range() -> impl Strategy<Value = Range> {
        (0u32..200, 0u32..40).prop_map(|(first, len)| Range {
            first,
            end: first + len,
        })
    }

    fn edits() -> impl Strategy<Value = Vec<(bool, Range)>> {
        prop::collection::vec((any::<bool>(), range()), 0..24)
    }

    fn apply(edits: &[(bool, Range)]) -> (TrackSet, BTreeSet<Ordinal>) {
        let (mut set, mut plain) = (TrackSet::new(), BTreeSet::new());
        for (add, range) in edits {
            if *add {
                set.insert(*range);
                plain.extend(range.iter());
            } else {
                set.remove(*range);
                range.iter().for_each(|o| {
                    plain.remove(&o);
                });
            }
        }
        (set, plain)
    }

    proptest! {
        #[test]
        fn a_track_set_holds_what_a_plain_set_holds(edits in edits(), probe in range()) {
            let (set, plain) = apply(&edits);
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), plain.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.len(), plain.len() as u64);
            prop_assert_eq!(set.contains_range(probe), probe.iter().all(|o| plain.contains(&o)));
            prop_assert_eq!(set.len_within(probe), probe.iter().filter(|o| plain.contains(o)).count() as u64);
            prop_assert!(TrackSet::from_ranges(set.ranges().to_vec()).is_ok());
        }

        #[test]
        fn sets_combine_as_plain_sets_do(a in edits(), b in edits()) {
            let ((a, pa), (b, pb)) = (apply(&a), apply(&b));
            prop_assert_eq!(a.union(&b), pa.union(&pb).copied().collect());
            prop_assert_eq!(a.difference(&b), pa.difference(&pb).copied().collect());
            prop_assert_eq!(a.intersection(&b), pa.intersection(&pb).copied().collect());
            prop_assert_eq!(a.is_within(&b), pa.is_subset(&pb));
            prop_assert_eq!(a.intersects(&b), pa.intersection(&pb).next().is_some());
        }

        #[test]
        fn the_stored_form_returns_the_same_set(edits in edits()) {
            let (set, _) = apply(&edits);
            prop_assert_eq!(TrackSet::from_bytes(&set.to_bytes()), Some(set));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(set) = TrackSet::from_bytes(&bytes) {
                prop_assert!(TrackSet::from_ranges(set.ranges().to_vec()).is_ok());
            }
        }
    }

    #[test]
    fn any_subset_of_a_full_shard_fits_the_coverage_bound() {
        let worst: TrackSet = (5_000..6_024).filter(|o| o % 2 == 0).collect();
        assert!(
            worst.to_bytes().len() <= 131,
            "bitmap of 1,024 tracks plus its head"
        );
    }
}
