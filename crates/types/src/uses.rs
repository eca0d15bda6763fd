//! A ledger told apart: what each stage used on which device of which node. The scheduler adds it up from the parts that
//! count, storage keeps it of a published job, and the coordinator shows it. Sums only: nothing is estimated or rounded.

use crate::{Ledger, Stage, StageUse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a stage used on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceUse {
    /// The node.
    pub node: String,
    /// The device on its node, such as `cuda:0`; several that ran the stage for one part stand together, as `cuda:0+cuda:1`.
    pub device: String,
    /// The stage.
    pub stage: Stage,
    /// What it used.
    pub used: StageUse,
}

/// Node, device, stage. Ordered so that sums are told in one order.
type Place = (String, String, Stage);

/// What stages used, summed by node, device and stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceUses(BTreeMap<Place, StageUse>);

impl DeviceUses {
    /// Adds what a part cost, whose stages ran on these devices of a node. A part's ledger sums its devices; where several
    /// ran one stage they are named together.
    pub fn add(&mut self, node: &str, made: &[(Stage, &str)], ledger: &Ledger) {
        for stage in Stage::ALL {
            let used = *ledger.stage(*stage);
            if used != StageUse::default() {
                self.add_use((node.to_owned(), devices(made, *stage), *stage), used);
            }
        }
    }

    fn add_use(&mut self, place: Place, used: StageUse) {
        let entry = self.0.entry(place).or_default();
        *entry = entry.plus(used);
    }

    /// What all of them come to.
    #[must_use]
    pub fn sum(&self) -> Ledger {
        let mut sum = Ledger::default();
        for ((_, _, stage), used) in &self.0 {
            let entry = sum.stage_mut(*stage);
            *entry = entry.plus(*used);
        }
        sum
    }

    /// One line per node, device and stage, in that order.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = DeviceUse> {
        let line = |((node, device, stage), used): (&Place, &StageUse)| DeviceUse {
            node: node.clone(),
            device: device.clone(),
            stage: *stage,
            used: *used,
        };
        self.0.iter().map(line)
    }
}

impl FromIterator<DeviceUse> for DeviceUses {
    fn from_iter<I: IntoIterator<Item = DeviceUse>>(lines: I) -> Self {
        let mut uses = Self::default();
        for line in lines {
            uses.add_use((line.node, line.device, line.stage), line.used);
        }
        uses
    }
}

/// The devices that ran a stage, each once, by name.
fn devices(made: &[(Stage, &str)], stage: Stage) -> String {
    let ran = made.iter().filter(|(ran, _)| *ran == stage);
    let mut devices: Vec<&str> = ran.map(|(_, device)| *device).collect();
    devices.sort_unstable();
    devices.dedup();
    devices.join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(device_us: u64) -> StageUse {
        StageUse {
            device_us,
            tracks: 10,
            ..StageUse::default()
        }
    }

    fn uses() -> DeviceUses {
        let ledger = Ledger {
            decode: used(2_000),
            screen: used(1_000),
            ..Ledger::default()
        };
        let made = [
            (Stage::Decode, "cpu:0"),
            (Stage::Screen, "cuda:1"),
            (Stage::Screen, "cuda:0"),
            (Stage::Screen, "cuda:1"),
        ];
        let mut uses = DeviceUses::default();
        for node in ["n2", "n1", "n1"] {
            uses.add(node, &made, &ledger);
        }
        uses
    }

    #[test]
    fn parts_of_one_place_are_summed_and_devices_of_one_stage_are_named_together() {
        let uses = uses();
        let lines = uses.lines().map(|line| {
            let place = format!("{} {} {}", line.node, line.device, line.stage);
            (place, line.used.device_us)
        });
        let expected = [
            ("n1 cpu:0 decode", 4_000),
            ("n1 cuda:0+cuda:1 screen", 2_000),
            ("n2 cpu:0 decode", 2_000),
            ("n2 cuda:0+cuda:1 screen", 1_000),
        ];
        let expected = expected.map(|(place, us)| (place.to_owned(), us));
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lines_come_back_to_the_uses_that_they_are_of_and_sum_to_all_that_was_added() {
        let uses = uses();
        assert_eq!(uses.lines().collect::<DeviceUses>(), uses);
        let sum = uses.sum();
        assert_eq!((sum.decode.device_us, sum.screen.device_us), (6_000, 3_000));
        assert_eq!((sum.decode.tracks, sum.residual.tracks), (30, 0));
    }
}
