//! Shard names and the arithmetic that turns row counts into shards. A shard is the unit of record; its size
//! is fixed when a job is submitted.

use crate::{Attempt, Ordinal, Range};
use core::fmt;
use serde::{Deserialize, Serialize};

/// Fewest tracks of a root shard unless configured: below it records outweigh work.
pub const SHARD_TRACKS_MIN: u32 = 16;
/// Most tracks of a root shard: one coverage bitmap of it is 128 bytes.
pub const SHARD_TRACKS_MAX: u32 = 1_024;

/// The name of a shard: `17`, or `17.3-512` for the tracks of one escalation part.
#[derive(
    Debug,
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
#[serde(try_from = "String", into = "String")]
pub enum ShardId {
    /// A contiguous range of the list.
    #[n(0)]
    Root(#[n(0)] u32),
    /// The tracks of the escalation part that `attempt` of shard `root` wrote, beginning at ordinal `first`.
    #[n(1)]
    Escalation {
        /// The root shard.
        #[n(0)]
        root: u32,
        /// The attempt that wrote the escalation part.
        #[n(1)]
        attempt: Attempt,
        /// The first ordinal in the part.
        #[n(2)]
        first: Ordinal,
    },
}

/// The text names no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a shard: expected a number such as `17`, or `17.3-512`")]
pub struct ShardIdError(String);

impl ShardId {
    /// The number of the root shard whose tracks these are.
    #[must_use]
    pub const fn root(&self) -> u32 {
        match self {
            Self::Root(root) | Self::Escalation { root, .. } => *root,
        }
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(root) => write!(f, "{root}"),
            Self::Escalation {
                root,
                attempt,
                first,
            } => write!(f, "{root}.{attempt}-{first}"),
        }
    }
}

fn canonical_number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl core::str::FromStr for ShardId {
    type Err = ShardIdError;
    fn from_str(text: &str) -> Result<Self, ShardIdError> {
        let parse = || match text.split_once('.') {
            None => canonical_number(text).map(Self::Root),
            Some((root, rest)) => {
                let (attempt, first) = rest.split_once('-')?;
                Some(Self::Escalation {
                    root: canonical_number(root)?,
                    attempt: Attempt(canonical_number(attempt)?),
                    first: canonical_number(first)?,
                })
            }
        };
        parse().ok_or_else(|| ShardIdError(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for ShardId {
    type Error = ShardIdError;
    fn try_from(text: String) -> Result<Self, ShardIdError> {
        text.parse()
    }
}

impl From<ShardId> for String {
    fn from(shard: ShardId) -> String {
        shard.to_string()
    }
}

/// How a list of `rows` tracks is cut into root shards.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct ShardPlan {
    /// Tracks in the list.
    #[n(0)]
    pub rows: u32,
    /// Tracks per root shard; the last one may have fewer. Never 0.
    #[n(1)]
    pub shard_tracks: u32,
}

impl ShardPlan {
    /// The plan for a list: `clamp(rows / 256, 16, 1,024)` tracks a shard unless configured.
    #[must_use]
    pub fn new(rows: u32, configured: Option<u32>) -> Self {
        let chosen = configured.unwrap_or(rows / 256).clamp(1, SHARD_TRACKS_MAX);
        let shard_tracks = if configured.is_some() {
            chosen
        } else {
            chosen.max(SHARD_TRACKS_MIN)
        };
        Self { rows, shard_tracks }
    }

    /// Number of root shards.
    #[must_use]
    pub const fn shards(&self) -> u32 {
        self.rows.div_ceil(self.shard_tracks)
    }

    /// The tracks of a root shard; `None` where the list has no such shard.
    #[must_use]
    pub fn range(&self, root: u32) -> Option<Range> {
        let first = root
            .checked_mul(self.shard_tracks)
            .filter(|first| *first < self.rows)?;
        let end = first.saturating_add(self.shard_tracks).min(self.rows);
        Some(Range { first, end })
    }

    /// The root shard in which a track lies.
    #[must_use]
    pub const fn shard_of(&self, ordinal: Ordinal) -> u32 {
        ordinal / self.shard_tracks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_name_reads_back_as_itself_and_nothing_else_does() {
        let escalation = ShardId::Escalation {
            root: 17,
            attempt: Attempt(3),
            first: 512,
        };
        assert_eq!(escalation.to_string(), "17.3-512");
        for shard in [ShardId::Root(0), ShardId::Root(17), escalation] {
            assert_eq!(shard.to_string().parse(), Ok(shard));
        }
        for bad in [
            "",
            "-1",
            "017",
            "17.",
            "17.3",
            "17.3-",
            "17.03-5",
            "a",
            "17-3.5",
            "4294967296",
        ] {
            assert!(bad.parse::<ShardId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn shards_cover_each_track_of_the_list_once() {
        for (rows, configured, tracks) in [
            (0, None, 16),
            (1, None, 16),
            (500, None, 16),
            (100_000, None, 390),
            (10_000_000, None, 1_024),
            (500, Some(64), 64),
        ] {
            let plan = ShardPlan::new(rows, configured);
            assert_eq!(plan.shard_tracks, tracks, "{rows}");
            let covered: u64 = (0..plan.shards())
                .map(|s| u64::from(plan.range(s).unwrap().len()))
                .sum();
            assert_eq!(covered, u64::from(rows));
            assert_eq!(plan.range(plan.shards()), None);
        }
    }
}
