//! Views of what a bundle is worth on known tracks, and of what was calibrated on them. No probability without its prior; beside the
//! flags how many wrong ones the bound allows.

use super::escalation::classes;
use super::figures::{plots, sections, share, systems};
use super::moves::{Move, matrix};
use super::thresholds::by_slice;
use super::{Escalation, Flags, short};
use crate::labelled::{Joined, Page};
use crate::output::{Paint, Records, View, plain, table};
use evaluation::bound::{Counted, grouped, percent};
use evaluation::thresholds::SliceThresholds;
use evaluation::{Flagged, Report};
use schemars::JsonSchema;
use serde::Serialize;

/// A bundle by its names.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Named {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: u64,
    /// SHA-256 that names it.
    pub(crate) digest: String,
    /// `demonstration` or `production`.
    pub(crate) purpose: String,
}

impl Named {
    /// The names of a manifest whose digest is known.
    pub(crate) fn of(manifest: &bundle::Manifest, digest: String) -> Self {
        Self {
            name: manifest.name.clone(),
            version: manifest.version,
            digest,
            purpose: manifest.purpose.as_str().to_owned(),
        }
    }

    fn text(&self) -> String {
        let (name, version) = (&self.name, self.version);
        format!(
            "{name}@{version} ({}, {})",
            short(&self.digest),
            self.purpose
        )
    }
}

/// Tracks and what became of them.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct Tracks {
    /// Tracks of the job.
    pub(crate) job: u64,
    /// Tracks that the screen gave a score.
    pub(crate) screened: u64,
    /// Tracks that the labels name.
    pub(crate) labelled: u64,
    /// Labelled tracks that cannot be judged, by reason.
    pub(crate) left_out: Vec<LeftOut>,
    /// Labelled tracks of a content that another one has: each content counts once.
    pub(crate) copies: u64,
    /// Labelled tracks that were separated.
    pub(crate) separated: u64,
}

/// Tracks that cannot be judged.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct LeftOut {
    /// Why: the reason or code of their rows.
    pub(crate) reason: String,
    /// How many.
    pub(crate) tracks: u64,
}

impl Tracks {
    /// The counts of what was joined.
    pub(crate) fn of(joined: &Joined, job: u64, screened: u64) -> Self {
        let left_out = joined.left_out.iter().map(|(reason, tracks)| LeftOut {
            reason: reason.clone(),
            tracks: *tracks,
        });
        Self {
            job,
            screened,
            labelled: joined.labelled,
            left_out: left_out.collect(),
            copies: joined.copies,
            separated: joined.separated() as u64,
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} tracks of the job, {} screened; {} labelled",
            grouped(self.job),
            grouped(self.screened),
            grouped(self.labelled)
        );
        for left in &self.left_out {
            text.push_str(&format!(
                ", {} left out: {}",
                grouped(left.tracks),
                left.reason
            ));
        }
        if self.copies > 0 {
            text.push_str(&format!(
                ", {} left out: copies of others",
                grouped(self.copies)
            ));
        }
        text
    }
}

/// `evaluate`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Evaluated {
    /// The job.
    pub(crate) job: String,
    /// The bundle that scored, and whose rules are judged.
    pub(crate) bundle: Named,
    /// Share of machine-made tracks that every probability here supposes.
    pub(crate) prior: f64,
    /// Which tracks were judged.
    pub(crate) tracks: Tracks,
    /// Flags over the whole job.
    pub(crate) flags: Flags,
    /// What the bundle's own gate sends on, over the whole job.
    pub(crate) escalation: Escalation,
    /// What the verdicts come to on the labelled tracks, by the bundle's own gate.
    pub(crate) verdicts: Flagged,
    /// The tables over the labelled tracks.
    pub(crate) report: Report,
    /// The thresholds that codecs, labels and genres would set by their own known-human tracks: no verdict rests on them.
    pub(crate) slice_thresholds: SliceThresholds,
    /// What must be known beside them.
    pub(crate) notes: Vec<String>,
}

impl Evaluated {
    fn lead(&self) -> Vec<String> {
        vec![
            format!("job {}, bundle {}", self.job, self.bundle.text()),
            self.tracks.text(),
            self.flags.text(),
            self.escalation.text(),
            classes(&self.report),
            verdicts(&self.verdicts),
            prior(self.prior),
        ]
    }

    fn sections(&self) -> Vec<(String, Records)> {
        let slices = by_slice(&self.slice_thresholds);
        sections(&self.report).into_iter().chain(slices).collect()
    }

    /// The page of it.
    pub(crate) fn page(&self) -> Page {
        Page {
            title: format!("Evaluation of {}@{}", self.bundle.name, self.bundle.version),
            lead: self.lead(),
            tables: self.sections(),
            plots: plots(&self.report),
            notes: self.notes.clone(),
        }
    }
}

impl View for Evaluated {
    fn names(&self) -> Vec<String> {
        self.report.systems.iter().map(|s| s.name.clone()).collect()
    }

    fn records(&self) -> Records {
        systems(&self.report)
    }

    fn table(&self, _: Paint) -> String {
        text(&self.lead(), &self.sections(), &self.notes)
    }
}

/// A tier as it was fitted.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct TierView {
    /// `screen`, or `both` for tracks that were separated.
    pub(crate) stage: String,
    /// Its name.
    pub(crate) name: String,
    /// Tracks at or above this score reach it.
    pub(crate) score: f64,
    /// Whether a track that reaches it is `likely_ai`.
    pub(crate) likely_ai: bool,
    /// Known-human tracks that reach it, of those that set nothing.
    pub(crate) counted: Counted,
}

/// One side of the split.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct SideView {
    /// Known-human tracks.
    pub(crate) humans: u64,
    /// Positives.
    pub(crate) positives: u64,
    /// Clusters of tracks that share artist, label, content or ISRC.
    pub(crate) clusters: u64,
}

/// `calibrate`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Calibrated {
    /// The job.
    pub(crate) job: String,
    /// The bundle that scored.
    pub(crate) base: Named,
    /// The bundle that was made.
    pub(crate) made: Named,
    /// Its folder.
    pub(crate) folder: String,
    /// The public key that it is signed with.
    pub(crate) signed_by: String,
    /// Share of machine-made tracks that every probability here and of the new bundle supposes.
    pub(crate) prior: f64,
    /// Which tracks were used.
    pub(crate) tracks: Tracks,
    /// Seed of the split; none where the labels say who stands where.
    pub(crate) split_seed: Option<u64>,
    /// The tracks that were fitted on.
    pub(crate) calibrate: SideView,
    /// The tracks that rates were counted on.
    pub(crate) test: SideView,
    /// The thresholds.
    pub(crate) tiers: Vec<TierView>,
    /// Flags over the whole job by the base's rules.
    pub(crate) flags_before: Flags,
    /// Flags over the whole job by the new rules.
    pub(crate) flags: Flags,
    /// What the base's own gate sends on, over the whole job.
    pub(crate) escalation_before: Escalation,
    /// What the new bundle's own gate sends on, over the whole job.
    pub(crate) escalation: Escalation,
    /// Tracks that are flagged by one of the two and not by the other.
    pub(crate) changed: u64,
    /// Tracks that have another verdict by one of the two than by the other, those that are flagged by one among them.
    pub(crate) moved: u64,
    /// The verdicts of the job's tracks by the base's rules and by the new ones, as many as there are.
    pub(crate) moves: Vec<Move>,
    /// What the new verdicts come to on the tracks that set nothing, by the bundle's own gate.
    pub(crate) verdicts: Flagged,
    /// The tables over the tracks that set nothing.
    pub(crate) report: Report,
    /// The thresholds that codecs, labels and genres would set by their own known-human tracks: no verdict rests on them.
    pub(crate) slice_thresholds: SliceThresholds,
    /// What must be known beside them.
    pub(crate) notes: Vec<String>,
}

impl Calibrated {
    fn lead(&self) -> Vec<String> {
        let split = match self.split_seed {
            Some(seed) => format!("split by artist, else label, else content, with seed {seed}"),
            None => "split as the labels say".to_owned(),
        };
        let side = |side: &SideView| {
            format!(
                "{} human and {} ai tracks in {} clusters",
                grouped(side.humans),
                grouped(side.positives),
                grouped(side.clusters)
            )
        };
        vec![
            format!("job {}, bundle {}", self.job, self.base.text()),
            self.tracks.text(),
            format!(
                "fitted on {}, counted on {}; {split}",
                side(&self.calibrate),
                side(&self.test)
            ),
            format!("before: {}", self.flags_before.text()),
            format!("before: {}", self.escalation_before.text()),
            format!("now: {}", self.flags.text()),
            format!("now: {}", self.escalation.text()),
            classes(&self.report),
            format!(
                "{} tracks have another verdict than before, {} of them another flag",
                grouped(self.moved),
                grouped(self.changed)
            ),
            verdicts(&self.verdicts),
            prior(self.prior),
        ]
    }

    fn sections(&self) -> Vec<(String, Records)> {
        let own = (
            "Thresholds, counted on tracks that set nothing".to_owned(),
            tiers(&self.tiers),
        );
        let moves = (
            "Verdicts of the job's tracks, before and now".to_owned(),
            matrix(&self.moves),
        );
        let all = [own, moves].into_iter().chain(sections(&self.report));
        all.chain(by_slice(&self.slice_thresholds)).collect()
    }

    /// The summary that the model card holds: all but where the bundle lies.
    pub(crate) fn summary(&self) -> String {
        text(&self.lead(), &self.sections(), &self.notes)
    }

    /// The page of it.
    pub(crate) fn page(&self) -> Page {
        Page {
            title: format!("Calibration of {}@{}", self.made.name, self.made.version),
            lead: self.lead(),
            tables: self.sections(),
            plots: plots(&self.report),
            notes: self.notes.clone(),
        }
    }
}

impl View for Calibrated {
    fn names(&self) -> Vec<String> {
        vec![self.made.digest.clone()]
    }

    fn records(&self) -> Records {
        tiers(&self.tiers)
    }

    fn table(&self, _: Paint) -> String {
        format!(
            "{}\n\nbundle {} stands in {}\nuse it: scanctl up --default-bundle {} --trusted-key {}",
            self.summary(),
            self.made.text(),
            plain(&self.folder),
            plain(&self.folder),
            self.signed_by
        )
    }
}

fn prior(prior: f64) -> String {
    format!("every probability supposes that {prior} of all tracks are ai, its prior")
}

fn verdicts(flagged: &Flagged) -> String {
    let humans = flagged.humans;
    format!(
        "verdicts on labelled tracks, by the bundle's gate: likely_ai are {} of {} human ones (FPR < {} at 95 %) and {} of the ai ones",
        grouped(humans.hits),
        grouped(humans.trials),
        percent(humans.bound_95),
        share(flagged.share)
    )
}

/// Text as a terminal shows it: lines, tables under their captions, notes.
fn text(lead: &[String], sections: &[(String, Records)], notes: &[String]) -> String {
    let mut out: Vec<String> = lead.iter().map(|line| plain(line)).collect();
    for (caption, records) in sections {
        let records = Records {
            header: records.header.clone(),
            rows: records.rows.clone(),
        };
        out.push(format!("\n{caption}\n{}", table(records)));
    }
    if !notes.is_empty() {
        out.push(String::new());
    }
    out.extend(notes.iter().map(|note| format!("note: {}", plain(note))));
    out.join("\n")
}

fn tiers(tiers: &[TierView]) -> Records {
    let row = |tier: &TierView| {
        vec![
            tier.stage.clone(),
            tier.name.clone(),
            format!("{:.3}", tier.score),
            tier.counted.text(),
            if tier.likely_ai { "likely_ai" } else { "" }.to_owned(),
        ]
    };
    Records {
        header: vec!["STAGE", "TIER", "SCORE", "COUNTED", "VERDICT"],
        rows: tiers.iter().map(row).collect(),
    }
}
