//! Ordinals of a list, half-open ranges of them, and sets of tracks as shard records keep them: sorted
//! disjoint ranges in memory; stored as ranges or as a bitmap, whichever is shorter.

mod stored;

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
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Range>", into = "Vec<Range>")]
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

impl From<Vec<Range>> for TrackSet {
    /// Ranges in any order, which may overlap or be empty.
    fn from(ranges: Vec<Range>) -> Self {
        let mut set = Self::new();
        let some = ranges.into_iter().filter(|range| range.first < range.end);
        some.for_each(|range| set.insert(range));
        set
    }
}

impl From<TrackSet> for Vec<Range> {
    fn from(set: TrackSet) -> Self {
        set.ranges
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

#[cfg(test)]
mod tests;
