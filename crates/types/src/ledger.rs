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
    /// Wall time the device (or, for decoding, the CPU) worked, in microseconds.
    #[n(0)]
    pub device_us: u64,
    /// Energy in millijoules where a counter was read; 0 where the device has none.
    #[n(1)]
    pub energy_mj: u64,
    /// Tracks that passed the stage.
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
    /// Time the stage waited for input, in microseconds.
    #[n(6)]
    pub wait_us: u64,
}

impl StageUse {
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
