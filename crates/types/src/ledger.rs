//! What was measured per device and stage. Numbers are integers in the smallest useful unit, so that sums
//! are exact and do not depend on their order. Whoever does the work fills it; nobody estimates.

use crate::Stage;
use serde::{Deserialize, Serialize};

/// What one stage used on one device.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
pub struct StageUse {
    /// Wall time the device worked, in microseconds. For decoding: a decoder with a track in hand, the reading of its source
    /// included; processor time is what tells the two apart.
    #[n(0)]
    pub device_us: u64,
    /// Energy in millijoules where a counter was read; 0 where the device has none.
    #[n(1)]
    pub energy_mj: u64,
    /// Tracks that passed the stage. The screen is passed by those that it gives a score: they are the tracks screened.
    #[n(2)]
    pub tracks: u64,
    /// Audio that passed the stage, in milliseconds.
    #[n(3)]
    pub audio_ms: u64,
    /// Bytes read for it.
    #[n(4)]
    pub bytes: u64,
    /// Processor time used, in microseconds.
    #[n(5)]
    pub cpu_us: u64,
    /// Time for which another stage held this one up, in microseconds: decoding waited for room, another stage had a track in
    /// hand and waited for its input. Idleness without a track in hand is none.
    #[n(6)]
    pub wait_us: u64,
}

impl StageUse {
    /// The share of its time for which another stage held this one up, 0 to 1.
    #[must_use]
    pub fn wait_share(&self) -> f64 {
        let whole = self.wait_us.saturating_add(self.device_us);
        if whole == 0 {
            return 0.0;
        }
        self.wait_us as f64 / whole as f64
    }

    /// What is left of a sum of uses without one of them.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            device_us: self.device_us.saturating_sub(other.device_us),
            energy_mj: self.energy_mj.saturating_sub(other.energy_mj),
            tracks: self.tracks.saturating_sub(other.tracks),
            audio_ms: self.audio_ms.saturating_sub(other.audio_ms),
            bytes: self.bytes.saturating_sub(other.bytes),
            cpu_us: self.cpu_us.saturating_sub(other.cpu_us),
            wait_us: self.wait_us.saturating_sub(other.wait_us),
        }
    }

    /// Both uses together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            device_us: self.device_us.saturating_add(other.device_us),
            energy_mj: self.energy_mj.saturating_add(other.energy_mj),
            tracks: self.tracks.saturating_add(other.tracks),
            audio_ms: self.audio_ms.saturating_add(other.audio_ms),
            bytes: self.bytes.saturating_add(other.bytes),
            cpu_us: self.cpu_us.saturating_add(other.cpu_us),
            wait_us: self.wait_us.saturating_add(other.wait_us),
        }
    }
}

/// The ledger of a part, a job or a node.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
pub struct Ledger {
    /// Reading and decoding.
    #[n(0)]
    pub decode: StageUse,
    /// The screen.
    #[n(1)]
    pub screen: StageUse,
    /// The residual.
    #[n(2)]
    pub residual: StageUse,
}

impl Ledger {
    /// Both ledgers together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            decode: self.decode.plus(other.decode),
            screen: self.screen.plus(other.screen),
            residual: self.residual.plus(other.residual),
        }
    }

    /// What is left of a sum of ledgers without one of them.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            decode: self.decode.minus(other.decode),
            screen: self.screen.minus(other.screen),
            residual: self.residual.minus(other.residual),
        }
    }

    /// The stage that holds the others up, and the one that is held up most: the first has the smallest share of waits, and of
    /// equals worked longest. `None` before two stages have run.
    #[must_use]
    pub fn binding(&self) -> Option<(Stage, Stage)> {
        let mut ran: Vec<(Stage, &StageUse)> = Stage::ALL
            .iter()
            .map(|stage| (*stage, self.stage(*stage)))
            .filter(|(_, used)| **used != StageUse::default())
            .collect();
        ran.sort_by(|(_, one), (_, other)| {
            let shares = one.wait_share().total_cmp(&other.wait_share());
            shares.then(other.device_us.cmp(&one.device_us))
        });
        match ran.as_slice() {
            [(binds, _), .., (waits, _)] => Some((*binds, *waits)),
            _ => None,
        }
    }

    /// The use of one stage.
    #[must_use]
    pub const fn stage(&self, stage: Stage) -> &StageUse {
        match stage {
            Stage::Decode => &self.decode,
            Stage::Screen => &self.screen,
            Stage::Residual => &self.residual,
        }
    }

    /// The use of one stage, to add to.
    pub const fn stage_mut(&mut self, stage: Stage) -> &mut StageUse {
        match stage {
            Stage::Decode => &mut self.decode,
            Stage::Screen => &mut self.screen,
            Stage::Residual => &mut self.residual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_with_the_smallest_share_of_waits_binds_and_of_equals_the_one_that_worked_longest()
    {
        let used = |(device_us, wait_us)| StageUse {
            device_us,
            wait_us,
            ..StageUse::default()
        };
        let check = |decode, screen, expected| {
            let ledger = Ledger {
                decode: used(decode),
                screen: used(screen),
                residual: StageUse::default(),
            };
            assert_eq!(ledger.binding(), expected, "{decode:?} {screen:?}");
        };
        let (decode, screen) = (Stage::Decode, Stage::Screen);
        check((1_000, 9_000), (9_900, 100), Some((screen, decode)));
        check((9_900, 100), (1_000, 9_000), Some((decode, screen)));
        check((1_000, 0), (9_000, 0), Some((screen, decode)));
        check((9_000, 0), (1_000, 0), Some((decode, screen)));
        // A share counts, not a span: decoding runs on many cores at once.
        check((90_000, 10_000), (1_000, 9_000), Some((decode, screen)));
        check((9_000, 0), (0, 0), None);
        check((0, 0), (0, 0), None);
    }
}
