//! Views of what a job's stages used, and of the stage that binds.

use super::{Bound, Flags, Verdicts, span};
use crate::output::{Paint, Records, View, table};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;

/// What stands in a node's place where tracks went on to the residual; no node is called so, since names of nodes have no spaces.
pub(crate) const WENT_ON: &str = "tracks that went on";

/// A stage on a device.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StageView {
    /// The node; empty of sums over all of them.
    node: String,
    /// The device.
    device: String,
    /// `decode`, `screen` or `residual`.
    stage: String,
    /// Tracks that passed.
    tracks: u64,
    /// Audio that passed, in seconds.
    audio_seconds: f64,
    /// Device time in seconds.
    device_seconds: f64,
    /// Processor time in seconds.
    cpu_seconds: f64,
    /// Time for which another stage held this one up, in seconds.
    wait_seconds: f64,
    /// Energy in joules; 0 where the device has no counter.
    joules: f64,
    /// Bytes read.
    bytes: u64,
    /// Tracks per device-second.
    tracks_per_second: f64,
    /// Audio seconds per device-second.
    realtime_factor: f64,
    /// Whether it is of tracks that went on to the residual, whose nodes and devices nothing tells apart: of a job that was published before these were kept.
    went_on: bool,
}

impl From<v1::StageSummary> for StageView {
    fn from(wire: v1::StageSummary) -> Self {
        let used = wire.r#use.unwrap_or_default();
        Self {
            node: wire.node,
            stage: stage(used.stage).to_owned(),
            device: used.device,
            tracks: used.tracks,
            audio_seconds: used.audio_ms as f64 / 1e3,
            device_seconds: used.device_us as f64 / 1e6,
            cpu_seconds: used.cpu_us as f64 / 1e6,
            wait_seconds: used.wait_us as f64 / 1e6,
            joules: used.energy_mj as f64 / 1e3,
            bytes: used.bytes,
            tracks_per_second: wire.tracks_per_second,
            realtime_factor: wire.realtime_factor,
            went_on: wire.went_on,
        }
    }
}

impl StageView {
    /// Where it ran, as people read it.
    fn place(&self) -> String {
        match self.went_on {
            true => WENT_ON.to_owned(),
            false => self.node.clone(),
        }
    }
}

fn stage(number: i32) -> &'static str {
    match v1::Stage::try_from(number) {
        Ok(v1::Stage::Decode) => "decode",
        Ok(v1::Stage::Screen) => "screen",
        Ok(v1::Stage::Residual) => "residual",
        Ok(v1::Stage::Unspecified) | Err(_) => "",
    }
}

/// `result summary`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Summary {
    /// The job.
    job: String,
    /// Tracks with a committed row.
    tracks: u64,
    /// Audio scanned, in seconds.
    audio_seconds: f64,
    /// From submit until now or publish, in seconds.
    wall_seconds: f64,
    /// Its tracks by verdict.
    verdicts: Verdicts,
    /// Tracks that the screen gave a score.
    tracks_screened: u64,
    /// Flags, and how many wrong ones the bundle's bound allows; absent where the bundle is no longer known.
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Flags>,
    /// By node, device and stage.
    stages: Vec<StageView>,
    /// The stage that binds; empty before anything is measured.
    binding: String,
    /// Why it binds.
    binding_reason: String,
}

impl From<v1::SummarizeResponse> for Summary {
    fn from(wire: v1::SummarizeResponse) -> Self {
        let job = wire.job.unwrap_or_default();
        Self {
            job: job.spec.unwrap_or_default().job,
            tracks: job.tracks_done,
            audio_seconds: job.audio_ms as f64 / 1e3,
            wall_seconds: wire.wall_seconds,
            verdicts: job.verdicts.into(),
            tracks_screened: job.tracks_screened,
            flags: None,
            stages: wire.stages.into_iter().map(Into::into).collect(),
            binding: stage(wire.binding).to_owned(),
            binding_reason: wire.binding_reason,
        }
    }
}

impl Summary {
    /// Puts the bundle's bound beside the flags.
    pub(crate) fn bounded(&mut self, bound: &Bound) {
        self.flags = Some(bound.over(self.verdicts.likely_ai, self.tracks_screened));
    }
}

impl View for Summary {
    fn names(&self) -> Vec<String> {
        vec![self.job.clone()]
    }

    fn records(&self) -> Records {
        let row = |s: &StageView| {
            vec![
                s.place(),
                s.device.clone(),
                s.stage.clone(),
                s.tracks.to_string(),
                format!("{:.1}", s.audio_seconds),
                format!("{:.2}", s.device_seconds),
                format!("{:.2}", s.cpu_seconds),
                format!("{:.2}", s.wait_seconds),
                format!("{:.2}", s.tracks_per_second),
                format!("{:.1}", s.realtime_factor),
            ]
        };
        let header = vec![
            "NODE",
            "DEVICE",
            "STAGE",
            "TRACKS",
            "AUDIO_S",
            "DEVICE_S",
            "CPU_S",
            "WAIT_S",
            "TRACKS_PER_S",
            "X_REALTIME",
        ];
        Records {
            header,
            rows: self.stages.iter().map(row).collect(),
        }
    }

    fn table(&self, _: Paint) -> String {
        let wall = self.wall_seconds.max(1e-3);
        let head = format!(
            "job {}: {} tracks, {} of audio in {:.1} s; {:.2} tracks/s, {:.1} x real time",
            self.job,
            self.tracks,
            span(self.audio_seconds as u64),
            self.wall_seconds,
            self.tracks as f64 / wall,
            self.audio_seconds / wall
        );
        let binds = if self.binding.is_empty() {
            String::new()
        } else {
            format!("\nbinds: {} ({})", self.binding, self.binding_reason)
        };
        let flags = self
            .flags
            .as_ref()
            .map_or_else(String::new, |flags| format!("{}\n", flags.text()));
        let mut records = self.records();
        let places = records
            .rows
            .iter_mut()
            .flat_map(|row| row.iter_mut().take(2));
        places
            .filter(|place| place.is_empty())
            .for_each(|place| place.push('-'));
        format!("{head}\n{flags}{}{binds}", table(records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_tracks_that_went_on_are_named_and_no_node_is() {
        let line = |node: &str, went_on| v1::StageSummary {
            node: node.to_owned(),
            went_on,
            ..v1::StageSummary::default()
        };
        let summary = Summary::from(v1::SummarizeResponse {
            stages: vec![line("n1", false), line("", true), line("", false)],
            ..v1::SummarizeResponse::default()
        });
        let rows = summary.records().rows;
        let nodes: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(nodes, ["n1", WENT_ON, ""]);
    }
}
