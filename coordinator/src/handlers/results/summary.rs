//! Throughput per node, device and stage, and which stage binds. Of an open job from the records of its parts, of a
//! published one from what was kept of these, and where nothing was from the footers of its parts and its total.

use proto::v1;
use scheduler::record::Part;
use scheduler::{Core, JobKey};
use storage::PartFooter;
use types::{DeviceUse, DeviceUses, Ledger, Stage, StageUse};

/// What was measured where.
#[derive(Debug, Default)]
pub(super) struct Measured {
    uses: DeviceUses,
    /// Of tracks that went on to the residual, whose nodes and devices nothing tells any more.
    went_on: Ledger,
}

impl Measured {
    /// What the counted parts of an open job cost.
    pub(super) fn of_job(core: &Core, key: &JobKey) -> Self {
        let mut measured = Self::default();
        let records = core.shards(key).filter_map(|view| view.record);
        records
            .flat_map(|record| &record.parts)
            .for_each(|part: &Part| part.add_to(&mut measured.uses));
        measured
    }

    /// What was kept of a published job, where it adds up to the total.
    pub(super) fn of_kept(kept: Vec<DeviceUse>, total: &Ledger) -> Option<Self> {
        let uses: DeviceUses = kept.into_iter().collect();
        (uses.sum() == *total).then(|| Self {
            uses,
            ..Self::default()
        })
    }

    /// Adds what a published part cost.
    pub(super) fn add_footer(&mut self, footer: &PartFooter) {
        let node = footer.spans.first().map_or("", |span| span.node.as_str());
        let made = footer
            .spans
            .iter()
            .map(|span| (span.stage, span.device.as_str()));
        self.uses
            .add(node, &made.collect::<Vec<_>>(), &footer.ledger);
    }

    /// Adds a total that is not told apart by node and device.
    pub(super) fn add_total(&mut self, ledger: &Ledger) {
        self.uses.add("", &[], ledger);
    }

    /// Adds what a published job's total has beyond its parts: decoding and screen of the tracks that went on.
    pub(super) fn add_rest(&mut self, total: &Ledger) {
        let told = self.sum();
        self.went_on = self.went_on.plus(total.minus(told));
    }

    fn sum(&self) -> Ledger {
        self.uses.sum().plus(self.went_on)
    }

    /// One line per place, then those of tracks that went on. A stage that only waited for others gets none.
    pub(super) fn lines(&self) -> Vec<v1::StageSummary> {
        let places = self.uses.lines().filter(|place| ran(&place.used));
        let told = places.map(|place| v1::StageSummary {
            node: place.node,
            ..line(place.stage, &place.device, &place.used)
        });
        let stages = Stage::ALL
            .iter()
            .map(|stage| (*stage, self.went_on.stage(*stage)));
        let rest = stages.filter(|(_, used)| ran(used));
        let rest = rest.map(|(stage, used)| v1::StageSummary {
            went_on: true,
            ..line(stage, "", used)
        });
        told.chain(rest).collect()
    }

    /// The stage that holds the others up (see [`Ledger::binding`]) and why. `None` before two are measured.
    pub(super) fn binding(&self) -> Option<(Stage, String)> {
        let sum = self.sum();
        let (binds, waits) = sum.binding()?;
        let share = |stage| sum.stage(stage).wait_share() * 100.0;
        let reason = format!(
            "other stages held `{binds}` up for {:.0} % of its time, `{waits}` for {:.0} %",
            share(binds),
            share(waits)
        );
        Some((binds, reason))
    }
}

/// Whether a stage did anything. A part of escalated tracks has the screen's waits for a decoder, and nothing that it screened.
const fn ran(used: &StageUse) -> bool {
    used.tracks > 0 || used.device_us > 0
}

fn line(stage: Stage, device: &str, used: &StageUse) -> v1::StageSummary {
    v1::StageSummary {
        node: String::new(),
        r#use: Some(proto::stage_use(stage, device, used)),
        tracks_per_second: per_second(used.tracks as f64, used.device_us),
        realtime_factor: per_second(used.audio_ms as f64 / 1e3, used.device_us),
        went_on: false,
    }
}

fn per_second(amount: f64, microseconds: u64) -> f64 {
    if microseconds == 0 {
        0.0
    } else {
        amount * 1e6 / microseconds as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(device_us: u64, wait_us: u64) -> StageUse {
        StageUse {
            device_us,
            wait_us,
            tracks: 10,
            audio_ms: 20_000,
            ..StageUse::default()
        }
    }

    fn measured() -> Measured {
        let mut measured = Measured::default();
        let ledger = Ledger {
            decode: used(2_000_000, 0),
            screen: used(1_000_000, 9_000_000),
            residual: StageUse::default(),
        };
        let made = [
            (Stage::Decode, "cpu:0"),
            (Stage::Screen, "cuda:0"),
            (Stage::Screen, "cuda:1"),
        ];
        measured.uses.add("n1", &made, &ledger);
        measured.uses.add("n1", &made, &ledger);
        measured
    }

    #[test]
    fn parts_of_one_place_are_summed_and_stages_that_did_not_run_are_left_out() {
        let lines = measured().lines();
        let shown: Vec<_> = lines
            .iter()
            .map(|line| {
                (
                    line.node.as_str(),
                    line.r#use.as_ref().unwrap().device.as_str(),
                )
            })
            .collect();
        assert_eq!(shown, [("n1", "cpu:0"), ("n1", "cuda:0+cuda:1")]);
        assert_eq!(
            (lines[0].tracks_per_second, lines[0].realtime_factor),
            (5.0, 10.0)
        );
    }

    #[test]
    fn what_a_total_has_beyond_its_parts_is_a_line_of_tracks_that_went_on() {
        let mut measured = measured();
        let total = measured.sum().plus(Ledger {
            screen: used(500_000, 0),
            ..Ledger::default()
        });
        measured.add_rest(&total);
        let lines = measured.lines();
        let rest = lines[2].r#use.as_ref().unwrap();
        assert_eq!((lines.len(), lines[2].node.as_str()), (3, ""));
        assert_eq!((rest.tracks, rest.device_us), (10, 500_000));
        let went_on = lines.iter().map(|line| line.went_on);
        assert_eq!(went_on.collect::<Vec<_>>(), [false, false, true]);
        measured.add_rest(&total);
        assert_eq!(measured.lines().len(), 3, "nothing is left of it");
    }

    #[test]
    fn what_was_kept_is_shown_where_it_adds_up_to_the_total_and_else_passed_over() {
        let seen = measured();
        let kept = || seen.uses.lines().collect::<Vec<_>>();
        let shown = Measured::of_kept(kept(), &seen.sum()).unwrap();
        assert_eq!(shown.lines(), seen.lines());
        let more = seen.sum().plus(Ledger {
            screen: used(1, 0),
            ..Ledger::default()
        });
        assert!(Measured::of_kept(kept(), &more).is_none());
        assert!(Measured::of_kept(Vec::new(), &more).is_none());
    }

    #[test]
    fn a_stage_that_only_waited_has_no_line_and_counts_for_what_binds() {
        let mut measured = measured();
        let before = measured.lines();
        let waited = Ledger {
            residual: used(1_000_000, 0),
            screen: StageUse {
                wait_us: 160_000,
                ..StageUse::default()
            },
            ..Ledger::default()
        };
        let made = [(Stage::Residual, "cuda:0")];
        measured.uses.add("n2", &made, &waited);
        let lines = measured.lines();
        assert_eq!((lines.len(), &lines[..2]), (3, &before[..]));
        assert_eq!(lines[2].node, "n2");
        assert_eq!(measured.sum().screen.wait_us, 18_160_000);
    }

    #[test]
    fn a_total_alone_is_not_said_to_be_of_tracks_that_went_on() {
        let mut measured = Measured::default();
        measured.add_total(&self::measured().sum());
        let lines = measured.lines();
        assert!(
            lines.len() == 2
                && lines
                    .iter()
                    .all(|line| !line.went_on && line.node.is_empty())
        );
    }

    #[test]
    fn the_stage_that_is_held_up_least_binds() {
        let (stage, reason) = measured().binding().unwrap();
        assert_eq!(stage, Stage::Decode);
        assert_eq!(
            reason,
            "other stages held `decode` up for 0 % of its time, `screen` for 90 %"
        );
        assert_eq!(Measured::default().binding(), None);
    }
}
