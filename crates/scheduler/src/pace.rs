//! How fast a node is at each stage, and how much of the residual it may be given. A pull states one rate, that of the screen
//! where the node runs it, and the residual is slower by orders of magnitude: so what a node's tracks of the residual took is
//! taken from what its commits say. Asked by whatever grants or takes back; kept by no record, and measured anew by each leader.

use crate::event::Commit;
use crate::limits::{RESIDUAL_LEAST, TRACKS_PER_PULL_MAX, TRACKS_UNMEASURED};
use crate::pull::stage_of;
use crate::reign::Reign;
use crate::state::{Job, Node};
use types::{Millis, Stage, StageUse};

impl Node {
    /// Takes from a commit that counts what tracks of the residual took the node's devices: half of it is the last commit's.
    pub(crate) fn note_cost(&mut self, commit: &Commit) {
        let used = commit.parts.iter().map(|part| part.ledger.residual);
        let used = used.fold(StageUse::default(), StageUse::plus);
        let Some(each) = used.device_us.checked_div(used.tracks) else {
            return;
        };
        if each > 0 {
            let before = self.residual_us.unwrap_or(each);
            self.residual_us = Some(before.midpoint(each));
        }
    }

    /// Tracks that it takes through a stage in 1,000 seconds, once that is known.
    pub(crate) fn rate_at(&self, stage: Stage) -> Option<u64> {
        let stated = self.rate.map(u64::from).filter(|rate| *rate > 0);
        match stage {
            Stage::Residual if self.runs(Stage::Screen) => {
                let devices = self.devices_serving().max(1);
                let each = self.residual_us?.max(1);
                Some((devices.saturating_mul(1_000_000_000) / each).max(1))
            }
            Stage::Decode | Stage::Screen | Stage::Residual => stated,
        }
    }

    /// Tracks of escalation shards that it may be given beside those that it holds: so much work as one answer aims at, and
    /// none before half of that is done, lest they come one by one.
    pub(crate) fn residual_room(&self, work: Millis) -> u32 {
        let least = u64::from(RESIDUAL_LEAST);
        let aim = match self.rate_at(Stage::Residual) {
            Some(rate) => rate.saturating_mul(work.0) / 1_000_000,
            None => u64::from(TRACKS_UNMEASURED),
        };
        let aim = aim.clamp(least, u64::from(TRACKS_PER_PULL_MAX));
        let own = self.holdings.iter();
        let own = own.filter(|(id, _)| stage_of(id.shard) == Stage::Residual);
        let open: u64 = own.map(|(_, holding)| holding.terms.open).sum();
        let room = if open * 2 > aim { 0 } else { aim - open };
        u32::try_from(room).unwrap_or(TRACKS_PER_PULL_MAX)
    }
}

impl Reign {
    /// Whether a node runs a stage and has room for its tracks.
    pub(crate) fn has_room_at(&self, node: &Node, job: &Job, stage: Stage) -> bool {
        let room = || node.residual_room(self.config.grant_work) > 0;
        node.runs_of(job, stage) && (stage != Stage::Residual || room())
    }
}
