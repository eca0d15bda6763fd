//! A share of something as a whole number of parts per million, so that everybody who reckons with it gets the same
//! whole numbers. Here it bounds how many tracks of a shard go on to the residual; it decides nothing about which.

use crate::Range;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A share from 0 to 1, in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Share(u32);

/// The number or text is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// More than the whole.
    #[error("{0} parts per million are more than the whole")]
    BeyondOne(u32),
    /// Not a decimal number from 0 to 1.
    #[error("`{0}` is no share: expected a number from 0 to 1 with at most six decimals")]
    NotOne(String),
}

impl Share {
    /// Parts per million of the whole.
    pub const WHOLE: u32 = 1_000_000;
    /// Decimals that a share may have.
    const DECIMALS: usize = 6;

    /// Checks and wraps a number of parts per million.
    ///
    /// # Errors
    /// When it is more than the whole.
    pub const fn new(ppm: u32) -> Result<Self, ShareError> {
        if ppm > Self::WHOLE {
            return Err(ShareError::BeyondOne(ppm));
        }
        Ok(Self(ppm))
    }

    /// Parts per million.
    #[must_use]
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// How many tracks of a range `[a, b)` of a list the share is: ⌊share·b⌋ − ⌊share·a⌋, so that ranges that make up a
    /// list have together what the whole list has, however it is cut.
    #[must_use]
    pub const fn of(self, range: Range) -> u32 {
        self.before(range.end)
            .saturating_sub(self.before(range.first))
    }

    /// ⌊share·ordinal⌋, which is never more than the ordinal.
    const fn before(self, ordinal: u32) -> u32 {
        (self.0 as u64 * ordinal as u64 / Self::WHOLE as u64) as u32
    }
}

impl TryFrom<u32> for Share {
    type Error = ShareError;
    fn try_from(ppm: u32) -> Result<Self, ShareError> {
        Self::new(ppm)
    }
}

impl From<Share> for u32 {
    fn from(share: Share) -> u32 {
        share.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.0 % Self::WHOLE);
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{}", self.0 / Self::WHOLE),
            decimals => write!(f, "{}.{decimals}", self.0 / Self::WHOLE),
        }
    }
}

impl core::str::FromStr for Share {
    type Err = ShareError;
    fn from_str(text: &str) -> Result<Self, ShareError> {
        ppm(text)
            .and_then(|ppm| Self::new(ppm).ok())
            .ok_or_else(|| ShareError::NotOne(text.chars().take(64).collect()))
    }
}

/// Digit by digit, since no binary fraction is exactly a tenth.
fn ppm(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > Share::DECIMALS {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let decimals: u32 = format!("{decimals:0<6}").parse().ok()?;
    whole.checked_mul(Share::WHOLE)?.checked_add(decimals)
}

impl<C> minicbor::Encode<C> for Share {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u32(self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Share {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.u32()?).map_err(minicbor::decode::Error::message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShardPlan;
    use proptest::prelude::*;

    #[test]
    fn a_share_is_read_exactly_and_nothing_beyond_the_whole_is_one() {
        for (text, ppm) in [
            ("0", 0),
            ("1", 1_000_000),
            ("1.0", 1_000_000),
            ("0.05", 50_000),
            ("0.000001", 1),
            ("0.3", 300_000),
        ] {
            assert_eq!(text.parse::<Share>().map(Share::ppm), Ok(ppm), "{text}");
        }
        for bad in [
            "",
            ".5",
            "1.",
            "1.000001",
            "2",
            "-0.1",
            "0.0000001",
            "5%",
            "1e-3",
            "+1",
        ] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
        assert_eq!(Share::new(1_000_001), Err(ShareError::BeyondOne(1_000_001)));
    }

    proptest! {
        #[test]
        fn a_share_is_written_as_it_is_read(ppm in 0..=Share::WHOLE) {
            let share = Share::new(ppm).unwrap();
            prop_assert_eq!(share.to_string().parse::<Share>(), Ok(share));
        }

        #[test]
        fn shards_have_together_what_the_list_has(
            ppm in 0..=Share::WHOLE, rows in 1u32..5_000, shard_tracks in 1u32..200,
        ) {
            let share = Share::new(ppm).unwrap();
            let plan = ShardPlan { rows, shard_tracks };
            let ranges = (0..plan.shards()).filter_map(|shard| plan.range(shard));
            let sum: u32 = ranges.map(|range| share.of(range)).sum();
            prop_assert_eq!(sum, share.of(Range { first: 0, end: rows }));
            prop_assert!(sum <= rows);
        }

        #[test]
        fn no_range_has_more_than_its_tracks(ppm in 0..=Share::WHOLE, a: u32, b: u32) {
            let range = Range { first: a.min(b), end: a.max(b) };
            prop_assert!(Share::new(ppm).unwrap().of(range) <= range.len());
        }
    }
}
