//! How many tracks the gate of a bundle sends on to the residual, which is what a scan by it costs beyond its screen. Shown by `evaluate` and
//! `calibrate` beside the flags; it counts nothing itself.

use super::figures::{among, share};
use crate::bound::own_gate;
use evaluation::Report;
use evaluation::bound::grouped;
use schemars::JsonSchema;
use serde::Serialize;

/// How many tracks of the job a bundle's own gate sends on to the residual.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Escalation {
    /// What it takes: `unsure`, `positives` or `both`; none of a gate that sends no track on.
    pub(crate) gate: Option<String>,
    /// Tracks that it sends on.
    pub(crate) escalated: u64,
    /// Tracks that the screen gave a score.
    pub(crate) screened: u64,
    /// Share of these that it sends on; none without any.
    pub(crate) share: Option<f64>,
}

impl Escalation {
    /// So many of the tracks screened, by the gate of a bundle.
    pub(crate) fn of(manifest: &bundle::Manifest, escalated: u64, screened: u64) -> Self {
        Self {
            gate: own_gate(manifest).map(|takes| takes.as_str().to_owned()),
            escalated,
            screened,
            share: among(escalated, screened),
        }
    }

    /// As a line.
    pub(super) fn text(&self) -> String {
        let Some(gate) = &self.gate else {
            return "the gate sends no track on".to_owned();
        };
        format!(
            "the gate {gate} sends {} of {} screened tracks on ({})",
            grouped(self.escalated),
            grouped(self.screened),
            share(self.share)
        )
    }
}

/// What the gate sends on of each class of the labelled tracks, as a line.
pub(super) fn classes(report: &Report) -> String {
    let (sent, humans, positives) = (report.escalated, report.humans, report.positives);
    format!(
        "labelled tracks that are judged: the gate sends {} of {} human ones on ({}) and {} of {} ai ones ({})",
        grouped(sent.humans),
        grouped(humans),
        share(among(sent.humans, humans)),
        grouped(sent.positives),
        grouped(positives),
        share(among(sent.positives, positives))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_named_with_what_it_sends_on_and_one_without_edges_sends_nothing() {
        let mut manifest = bundle::sample::manifest();
        let text = |manifest: &bundle::Manifest, escalated| {
            Escalation::of(manifest, escalated, 1_240).text()
        };
        assert_eq!(
            text(&manifest, 31),
            "the gate unsure sends 31 of 1,240 screened tracks on (2.5 %)"
        );
        manifest.gate.positives_from = Some(2.0);
        assert!(text(&manifest, 40).starts_with("the gate both sends 40 of "));
        manifest.gate.unsure = None;
        assert!(text(&manifest, 9).starts_with("the gate positives sends 9 of "));
        manifest.gate.positives_from = None;
        assert_eq!(text(&manifest, 0), "the gate sends no track on");
    }
}
