//! `evaluate`: reads a finished job's rows by the labels, and says what its bundle is worth on them. Reads no audio.

use crate::args::{Evaluate, Global, Known};
use crate::bound::Stated;
use crate::client::{Client, PAGE_ROWS};
use crate::commands::{interruptible, labelled_folder};
use crate::failure::{Failure, problem};
use crate::labelled::{
    self, Joined, Joiner, Judge, Page, by_slice, enough, say_of_slices, scored, split, tables,
};
use crate::output::print;
use crate::sink::Sink;
use crate::view::{self, Bound, Escalation, Evaluated, Flags, Named, Tracks, is_screened};
use bundle::{Manifest, Rules};
use evaluation::split::Side;
use proto::v1;
use serde::Serialize;
use std::time::Duration;
use types::{Code, Verdict};

/// Seed of the bootstrap where none is given: any number does, and the same one gives the same intervals.
pub(super) const SEED: u64 = 1;
/// How long what is shown of a job waits for its bundle's bound: reading a manifest takes milliseconds, and a second where the
/// coordinator has to fetch a large bundle.
const BOUND_WAIT: Duration = Duration::from_secs(5);

/// Runs the command.
pub(super) async fn run(global: &Global, flags: Evaluate) -> Result<(), Failure> {
    let labels = labelled::read(&flags.known.labels)?;
    let client = Client::connect(global).await?;
    let sides = [Side::Test];
    let (named, labels) =
        labelled_folder::job(global, &client, &flags.known, labels, &sides, "").await?;
    interruptible(async {
        let job = Scanned::fetch(&client, &named).await?;
        let manifest = manifest(&client, &job.bundle).await?;
        let judge = Judge::new(&manifest, flags.known.prior);
        let mut joiner = Joiner::new(labels, job.bundle.clone());
        let mut counts = Counts::default();
        job.rows(&client, |row| {
            counts.take(row, &judge);
            joiner.take(row)
        })
        .await?;
        let view = view(&job, &judge, joiner.finish()?, &counts, &flags.known)?;
        write(&flags.known, &view, view.page()).await?;
        print(global, &view)
    })
    .await
}

fn view(
    job: &Scanned,
    judge: &Judge<'_>,
    joined: Joined,
    counts: &Counts,
    known: &Known,
) -> Result<Evaluated, Failure> {
    let manifest = judge.manifest;
    let stated = Stated::of(manifest, job.by_own_gate());
    let tracks = Tracks::of(&joined, counts.rows, counts.screened);
    let mut notes = Vec::new();
    let seed = known.split_seed.unwrap_or(SEED);
    let sides = split(&joined, seed)?;
    let slice_thresholds = by_slice(&joined, &sides, &scored(judge, &joined));
    let (judged, place) = held(joined, &sides, known.split_seed, &mut notes);
    enough(&judged, place)?;
    say_of_residual(judge, &judged, &mut notes);
    say_of_slices(&slice_thresholds, &mut notes);
    let (report, verdicts) = tables(judge, &judged, seed)
        .ok_or_else(|| problem(Code::Internal, "no table of tracks of both classes"))?;
    Ok(Evaluated {
        job: job.job.clone(),
        bundle: Named::of(manifest, job.bundle.clone()),
        prior: judge.prior,
        tracks,
        flags: Flags::new(
            counts.flagged,
            counts.screened,
            stated.fpr_95(),
            stated.counted(),
        ),
        escalation: Escalation::of(manifest, counts.escalated, counts.screened),
        verdicts,
        report,
        slice_thresholds,
        notes,
    })
}

/// The tracks that a calibration sets nothing on, where the labels or a seed say which these are; else all. With the place's name.
fn held(
    joined: Joined,
    sides: &[Side],
    seed: Option<u64>,
    notes: &mut Vec<String>,
) -> (Joined, &'static str) {
    let told = joined.tracks.iter().any(|track| track.side.is_some());
    if !told && seed.is_none() {
        notes.push(
            "all labelled tracks were judged: of a bundle that was calibrated on them, give the seed of that calibration as --split-seed"
                .to_owned(),
        );
        return (joined, "the labels");
    }
    notes.push("only tracks of the side `test` were judged".to_owned());
    let place = "the side `test`, which alone is judged";
    (joined.only(sides, Side::Test), place)
}

fn say_of_residual(judge: &Judge<'_>, judged: &Joined, notes: &mut Vec<String>) {
    let (separated, all) = (judged.separated(), judged.tracks.len());
    if judge.fuses() && separated < all {
        notes.push(format!(
            "residual and both engines are not judged: {separated} of {all} tracks were separated; scan with --stages both --gate all"
        ));
    } else if !judge.fuses() && separated > 0 {
        notes.push(format!(
            "{separated} tracks were separated, and the bundle calibrates no residual: `scanctl calibrate` fits one"
        ));
    }
}

/// A job whose rows are read.
pub(super) struct Scanned {
    pub(super) job: String,
    /// Digest of its bundle.
    pub(super) bundle: String,
    /// What its verdicts go by.
    pub(super) rules: Rules,
}

impl Scanned {
    /// Looks a job up.
    pub(super) async fn fetch(client: &Client, job: &str) -> Result<Self, Failure> {
        let request = v1::GetJobRequest {
            caller: client.caller(),
            job: job.to_owned(),
        };
        let answer = client.call(client.jobs().get_job(request)).await?;
        let spec = answer.job.and_then(|job| job.spec);
        let spec =
            spec.ok_or_else(|| problem(Code::Internal, "the coordinator answered without a job"))?;
        let rules = view::rules(&spec).ok_or_else(|| {
            let said = format!(
                "read job `{}`: this scanctl cannot read its policy; use that of the coordinator's version",
                spec.job
            );
            problem(Code::Internal, said)
        })?;
        Ok(Self {
            job: spec.job,
            bundle: spec.bundle,
            rules,
        })
    }

    /// What verdicts go by where a bundle is judged: the job's stages, and the bundle's own gate; those of a demonstration too.
    pub(super) fn by_own_gate(&self) -> Rules {
        Rules {
            accept_demonstration: true,
            gate: None,
            ..self.rules
        }
    }

    /// Hands each row of the published result on with its credits, a page at a time.
    pub(super) async fn rows(
        &self,
        client: &Client,
        mut take: impl FnMut(&v1::Row) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut page = String::new();
        loop {
            let request = v1::ListRowsRequest {
                caller: client.caller(),
                job: self.job.clone(),
                page_size: PAGE_ROWS,
                page,
                verdicts: Vec::new(),
                timeline: false,
                credits: true,
            };
            let answer = client.call(client.results().list_rows(request)).await?;
            answer.rows.iter().try_for_each(&mut take)?;
            page = answer.next_page;
            if page.is_empty() {
                return Ok(());
            }
        }
    }
}

/// The manifest of a registered bundle.
pub(super) async fn manifest(client: &Client, digest: &str) -> Result<Manifest, Failure> {
    bundle_of(client, digest)
        .await
        .map(|(_, manifest)| manifest)
}

/// Digest and manifest of a registered bundle, by name or digest; of the default one where the name is empty.
pub(super) async fn bundle_of(
    client: &Client,
    bundle: &str,
) -> Result<(String, Manifest), Failure> {
    let request = v1::GetBundleRequest {
        caller: client.caller(),
        bundle: bundle.to_owned(),
    };
    let answer = client.call(client.bundles().get_bundle(request)).await?;
    let manifest = Manifest::parse(answer.manifest.as_bytes());
    let manifest = manifest.map_err(|refused| refused.problem())?;
    Ok((answer.bundle.unwrap_or_default().digest, manifest))
}

/// The bound that a job's bundle states for its flags; none where that or the job's rules cannot be read, since what is known of a job is
/// shown all the same.
pub(super) async fn bound(client: &Client, bundle: &str, rules: Option<Rules>) -> Option<Bound> {
    let rules = rules?;
    // No digest at all would mean the default bundle.
    if bundle.is_empty() {
        return None;
    }
    let read = tokio::time::timeout(BOUND_WAIT, manifest(client, bundle)).await;
    read.ok()?.ok().map(|manifest| Bound::of(&manifest, rules))
}

/// Counts over all rows of a job, by a bundle's rules.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) screened: u64,
    pub(super) flagged: u64,
    /// What the bundle's own gate sends on, of the rows that one can rest on.
    pub(super) escalated: u64,
}

impl Counts {
    /// Counts a row; gives its verdict by the bundle's rules, of a row that one can rest on.
    pub(super) fn take(&mut self, row: &v1::Row, judge: &Judge<'_>) -> Option<Verdict> {
        let score = labelled::score(row).ok();
        let verdict = score.map(|score| judge.ended(score, &row.residual_features).verdict);
        self.rows += 1;
        self.screened += u64::from(is_screened(row));
        self.flagged += u64::from(verdict == Some(Verdict::LikelyAi));
        self.escalated += u64::from(score.is_some_and(|score| judge.escalates(score)));
        verdict
    }
}

/// Writes the files that were asked for.
pub(super) async fn write(known: &Known, view: &impl Serialize, page: Page) -> Result<(), Failure> {
    if let Some(path) = &known.json {
        let text = serde_json::to_string_pretty(view)
            .map_err(|why| problem(Code::Internal, format!("could not write JSON: {why}")))?;
        let mut sink = Sink::open(Some(path)).await?;
        sink.write(format!("{text}\n").into_bytes()).await?;
        sink.finish()?;
    }
    if let Some(path) = &known.html {
        let mut sink = Sink::open(Some(path)).await?;
        sink.write(labelled::page(&page).into_bytes()).await?;
        sink.finish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::sample;

    fn row(logit: f32, reason: &str) -> v1::Row {
        v1::Row {
            verdict: v1::Verdict::Inconclusive.into(),
            reason: reason.to_owned(),
            screen: Some(v1::Score {
                logit,
                ..v1::Score::default()
            }),
            ..v1::Row::default()
        }
    }

    #[test]
    fn what_the_gate_takes_is_counted_and_a_track_that_no_verdict_can_rest_on_is_none_of_it() {
        let manifest = sample::manifest();
        let judge = Judge::new(&manifest, None);
        let mut counts = Counts::default();
        // The sample sends on from -1 to 1.
        let scores = [-1.5, -1.0, 0.0, 0.5, 1.0, 2.5];
        for row in scores.map(|logit| row(logit, "DEMONSTRATION_BUNDLE")) {
            counts.take(&row, &judge);
        }
        for reason in ["TOO_SHORT", "SILENT"] {
            counts.take(&row(0.0, reason), &judge);
        }
        counts.take(&v1::Row::default(), &judge);
        let found = [counts.rows, counts.screened, counts.escalated];
        assert_eq!(found, [9, 8, 3]);
    }
}
