//! A set of tracks in the brief form: as the lengths of its runs and of the gaps between them, in bits; or as what the part before
//! leaves of a range, since a flush that sends tracks on has two parts and each is what the other is not; or as the long form has
//! it, where that is shorter. The leading byte names the form.

use super::bits::{BitReader, BitWriter, LOW_BITS_MAX, best};
use super::reader::{Read, Reader};
use super::writer::Writer;
use alloc::vec::Vec;
use types::{Range, TrackSet};

const AS_LONG: u8 = 0;
const RUNS: u8 = 1;
const REST: u8 = 2;

/// Four bits hold the low bits of runs, four those of gaps.
const GAPS_SHIFT: u8 = 4;

impl Writer<'_> {
    /// A set of tracks, by the set that was written before it where that says more.
    pub(super) fn tracks(&mut self, set: &TrackSet, before: Option<&TrackSet>) {
        if let Some((ahead, behind)) = before.and_then(|before| around(before, set)) {
            self.byte(REST);
            self.number(ahead.into());
            return self.number(behind.into());
        }
        let long = set.to_bytes();
        let start = (self.bytes.len(), self.near);
        if self.runs(set).is_none() || self.bytes.len() - start.0 > long.len() + 2 {
            self.bytes.truncate(start.0);
            self.near = start.1;
            self.byte(AS_LONG);
            self.sized(&long);
        }
    }

    /// The runs of a set that is not empty.
    fn runs(&mut self, set: &TrackSet) -> Option<()> {
        let runs = set.ranges();
        let lengths = runs.iter().map(|run| run.len() - 1);
        let gaps = runs.windows(2).map(|two| two[1].first - two[0].end - 1);
        self.byte(RUNS);
        self.near_ordinal(set.first()?);
        self.number(runs.len() as u64);
        let (run_bits, gap_bits) = (best(lengths.clone()), best(gaps.clone()));
        self.byte(run_bits | (gap_bits << GAPS_SHIFT));
        let mut bits = BitWriter::new(&mut self.bytes);
        let mut gaps = gaps;
        for length in lengths {
            bits.number(length, run_bits);
            if let Some(gap) = gaps.next() {
                bits.number(gap, gap_bits);
            }
        }
        Some(())
    }
}

impl Reader<'_> {
    /// A set of tracks as [`Writer::tracks`] wrote it.
    pub(super) fn tracks(&mut self, before: Option<&TrackSet>) -> Read<TrackSet> {
        match self.byte()? {
            AS_LONG => {
                let bytes = self.sized()?;
                TrackSet::from_bytes(bytes).ok_or("its tracks are no set")
            }
            RUNS => self.runs(),
            REST => {
                let (ahead, behind) = (self.fits()?, self.fits()?);
                let before = before.ok_or("no part stands before the one that is its rest")?;
                rest(before, ahead, behind).ok_or("its tracks are the rest of no range")
            }
            _ => Err("its tracks have a form that is not known"),
        }
    }

    fn runs(&mut self) -> Read<TrackSet> {
        let first = self.near_ordinal()?;
        let count = self.number()?;
        let low_bits = self.byte()?;
        let (run_bits, gap_bits) = (low_bits & 0xf, low_bits >> GAPS_SHIFT);
        if run_bits.max(gap_bits) > LOW_BITS_MAX {
            return Err("the runs of its tracks have a form that is not known");
        }
        let mut bits = BitReader::new(self.rest());
        let read = read_runs(&mut bits, first, count, (run_bits, gap_bits));
        let set = read.ok_or("the runs of its tracks do not end")?;
        let bytes = bits.end().ok_or("bits follow the runs of its tracks")?;
        self.take(bytes)?;
        Ok(set)
    }
}

/// Each run takes a bit at the least, so that a count that is too large ends with the bytes.
fn read_runs(
    bits: &mut BitReader<'_>,
    first: u32,
    count: u64,
    (run_bits, gap_bits): (u8, u8),
) -> Option<TrackSet> {
    let mut runs = Vec::new();
    let mut first = first;
    for at in 0..count {
        if at > 0 {
            first = first.checked_add(bits.number(gap_bits)?)?.checked_add(1)?;
        }
        let length = bits.number(run_bits)?.checked_add(1)?;
        let end = first.checked_add(length)?;
        runs.push(Range { first, end });
        first = end;
    }
    TrackSet::from_ranges(runs).ok()
}

/// The hull of a set.
fn hull(set: &TrackSet) -> Option<Range> {
    let (first, end) = (set.ranges().first()?.first, set.ranges().last()?.end);
    Some(Range { first, end })
}

/// How far `set` reaches before and after the set before it, where it is all of the range around both that the other is not.
fn around(before: &TrackSet, set: &TrackSet) -> Option<(u32, u32)> {
    let (inner, own) = (hull(before)?, hull(set)?);
    let ahead = inner.first.saturating_sub(own.first);
    let behind = own.end.saturating_sub(inner.end);
    let alike = before.ranges().len().abs_diff(set.ranges().len()) <= 1;
    let whole = alike && rest(before, ahead, behind)? == *set;
    whole.then_some((ahead, behind))
}

/// What a set leaves of the range that begins so many tracks before it and ends so many after it.
fn rest(set: &TrackSet, ahead: u32, behind: u32) -> Option<TrackSet> {
    let hull = hull(set)?;
    let mut free = hull.first.checked_sub(ahead)?;
    let end = hull.end.checked_add(behind)?;
    let mut holes = Vec::new();
    for range in set.ranges() {
        holes.push(Range {
            first: free,
            end: range.first,
        });
        free = range.end;
    }
    holes.push(Range { first: free, end });
    Some(TrackSet::from(holes))
}
