//! What one run of `bench` measures: which stages, in which batches. What the flags leave open suits the device.

use super::Bench;
use types::DeviceKind;

/// A stage that can be asked for by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Stage {
    /// Decoding, as either engine asks for it.
    Decode,
    /// The mel transform.
    Mel,
    /// The screen, its mel included.
    Screen,
    /// The residual.
    Residual,
    /// One track from its bytes to its scores.
    Path,
}

/// Stages and batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Empty: all.
    stages: Vec<Stage>,
    /// Windows per batch.
    pub(super) windows: Vec<usize>,
    /// Segments per batch.
    pub(super) segments: Vec<usize>,
}

impl Plan {
    pub(super) fn of(flags: &Bench) -> Self {
        let (windows, segments): (&[u32], &[u32]) = match flags.device {
            DeviceKind::Cpu => (&[1, 4, 16], &[1, 2]),
            DeviceKind::Cuda => (&[16, 64, 256, 1_024], &[1, 4, 8, 16, 32]),
        };
        Self {
            stages: flags.stages.clone(),
            windows: asked_or(&flags.batches, windows),
            segments: asked_or(&flags.segment_batches, segments),
        }
    }

    /// Whether a stage is measured.
    pub(super) fn asks(&self, stage: Stage) -> bool {
        self.stages.is_empty() || self.stages.contains(&stage)
    }
}

fn asked_or(asked: &[u32], usual: &[u32]) -> Vec<usize> {
    let sizes = if asked.is_empty() { usual } else { asked };
    sizes.iter().map(|size| *size as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    fn plan(words: &[&str]) -> Plan {
        let line = ["bench", "folder"].iter().chain(words);
        Plan::of(&Line::try_parse_from(line).unwrap().bench)
    }

    #[test]
    fn every_stage_is_measured_unless_some_are_named() {
        let stages = [
            Stage::Decode,
            Stage::Mel,
            Stage::Screen,
            Stage::Residual,
            Stage::Path,
        ];
        let all = plan(&[]);
        assert!(stages.iter().all(|stage| all.asks(*stage)));
        let some = plan(&["--stages", "screen,residual"]);
        let asked: Vec<_> = stages.iter().filter(|stage| some.asks(**stage)).collect();
        assert_eq!(asked, [&Stage::Screen, &Stage::Residual]);
        assert!(Line::try_parse_from(["bench", "folder", "--stages", "all"]).is_err());
    }

    #[test]
    fn batches_are_those_of_the_flags_or_suit_the_device() {
        let asked = plan(&["--batches", "3", "--segment-batches", "5,2"]);
        assert_eq!((asked.windows, asked.segments), (vec![3], vec![5, 2]));
        let (small, large) = (plan(&[]), plan(&["--device", "cuda"]));
        assert!(small.windows.iter().max() < large.windows.iter().max());
        assert!(small.segments.iter().max() < large.segments.iter().max());
    }
}
