//! Two kinds of time that must never mix: monotonic milliseconds, which decide, and wall-clock milliseconds,
//! which are only shown. Both are plain numbers handed in by whoever owns a clock.

use core::fmt;
use core::ops::{Add, Sub};
use serde::{Deserialize, Serialize};

/// Monotonic milliseconds since a start that only its owner knows; also used for spans.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
#[serde(transparent)]
#[cbor(transparent)]
pub struct Millis(#[n(0)] pub u64);

impl Millis {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000))
    }

    /// The span from `earlier` to here; zero where a clock went backwards, since no decision may rest on that.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Millis {
    type Output = Self;
    fn add(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub for Millis {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        self.since(earlier)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// Whether a grant is known to live: it was granted or renewed within a grant's life. Every time is the asker's own, and that of a
/// renewal the one at which it was asked for. The one form of I19: the agent decides by it, and whoever judges the agent does.
#[must_use]
pub fn is_renewed(now: Millis, renewed_at: Option<Millis>, grant_lives: Millis) -> bool {
    renewed_at.is_some_and(|at| now < at + grant_lives)
}

/// Wall-clock milliseconds since 1970-01-01T00:00:00Z. For display and records, never for a decision.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
#[serde(transparent)]
#[cbor(transparent)]
pub struct UnixMillis(#[n(0)] pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_known_to_live_within_its_life_from_its_last_renewal_on() {
        let lives = Millis(20);
        for (now, renewed, known) in [
            (10, Some(0), true),
            (19, Some(0), true),
            (20, Some(0), false),
            (25, Some(10), true),
            (5, Some(10), true),
            (0, None, false),
        ] {
            let renewed = renewed.map(Millis);
            let found = is_renewed(Millis(now), renewed, lives);
            assert_eq!(found, known, "at {now}, renewed at {renewed:?}");
        }
    }
}
