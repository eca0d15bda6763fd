//! `result ls|get|export|verify|summary`.

use super::evaluate::{Scanned, bound, manifest};
use crate::args::{ExportFormat, Global};
use crate::client::{Client, PAGE_ROWS};
use crate::failure::{Exit, Failure, after, problem};
use crate::output::{print, say};
use crate::sink;
use crate::view::{self, Bound, JobList, JobView, RowDetail, RowList, RowView, Summary, Verified};
use proto::v1::{self, get_row_request::Track, verify_event::Event};
use std::collections::BTreeMap;
use std::path::PathBuf;
use types::{Code, Verdict};

/// Findings kept for printing: beyond these the result is plainly broken.
const FINDINGS_KEPT: usize = 1_000;

pub(super) async fn ls(global: &Global, client: &Client) -> Result<(), Failure> {
    let (mut jobs, mut page) = (Vec::new(), String::new());
    loop {
        let request = v1::ListResultsRequest {
            caller: client.caller(),
            page_size: PAGE_ROWS,
            page,
        };
        let answer = client.call(client.results().list_results(request)).await?;
        jobs.extend(answer.jobs.into_iter().map(JobView::from));
        page = answer.next_page;
        if page.is_empty() {
            return print(global, &JobList { jobs });
        }
    }
}

pub(super) async fn get(
    global: &Global,
    client: &Client,
    job: String,
    verdicts: &[Verdict],
    limit: usize,
    truth: Option<BTreeMap<String, String>>,
) -> Result<(), Failure> {
    let verdicts: Vec<i32> = verdicts
        .iter()
        .map(|verdict| v1::Verdict::from(*verdict).into())
        .collect();
    let (mut rows, mut page) = (Vec::<RowView>::new(), String::new());
    let (truncated, purpose) = loop {
        let request = v1::ListRowsRequest {
            caller: client.caller(),
            job: job.clone(),
            page_size: PAGE_ROWS,
            page,
            verdicts: verdicts.clone(),
            timeline: true,
            credits: false,
        };
        let answer = client.call(client.results().list_rows(request)).await?;
        rows.extend(answer.rows.into_iter().map(RowView::from));
        page = answer.next_page;
        if page.is_empty() || rows.len() >= limit {
            let more = !page.is_empty() || rows.len() > limit;
            break (more, view::purpose(answer.purpose));
        }
    };
    rows.truncate(limit);
    if let Some(truth) = truth {
        let known = rows.iter_mut().map(|row| row.set_truth(&truth));
        let named = known.filter(|known| *known).count();
        if named == 0 && !rows.is_empty() {
            say(
                "none of these keys stands in the file of --truth: were the tracks imported from another folder?",
            );
        }
    }
    print(
        global,
        &RowList {
            job,
            purpose,
            truncated,
            rows,
        },
    )
}

pub(super) async fn track(
    global: &Global,
    client: &Client,
    job: String,
    track: String,
) -> Result<(), Failure> {
    let by_id = lookup(client, &job, Track::TrackId(track.clone())).await;
    let found = match by_id {
        Err(Failure::Problem {
            exit: Exit::NotFound,
            ..
        }) => lookup(client, &job, Track::Key(track)).await?,
        other => other?,
    };
    let row = found
        .row
        .ok_or_else(|| problem(Code::Internal, "the coordinator answered without a row"))?;
    print(
        global,
        &RowDetail {
            purpose: view::purpose(found.purpose),
            row: row.into(),
        },
    )
}

async fn lookup(client: &Client, job: &str, track: Track) -> Result<v1::GetRowResponse, Failure> {
    let request = v1::GetRowRequest {
        caller: client.caller(),
        job: job.to_owned(),
        track: Some(track),
    };
    client.call(client.results().get_row(request)).await
}

pub(super) async fn export(
    client: &Client,
    job: String,
    format: ExportFormat,
    to: Option<PathBuf>,
) -> Result<(), Failure> {
    let what = format!("`{job}`");
    let request = v1::ExportRequest {
        caller: client.caller(),
        job,
        format: wire_format(format).into(),
    };
    let chunks = client.call(client.results().export(request)).await?;
    sink::receive(to.as_deref(), &what, chunks, |chunk| {
        (chunk.data, chunk.last)
    })
    .await
}

const fn wire_format(format: ExportFormat) -> v1::ExportFormat {
    match format {
        ExportFormat::Csv => v1::ExportFormat::Csv,
        ExportFormat::Jsonl => v1::ExportFormat::JsonLines,
        ExportFormat::Parquet => v1::ExportFormat::Parquet,
    }
}

pub(super) async fn verify(global: &Global, client: &Client, job: String) -> Result<(), Failure> {
    let bound = stated(client, &job).await;
    let request = v1::VerifyRequest {
        caller: client.caller(),
        job: job.clone(),
    };
    let mut events = client.call(client.results().verify(request)).await?;
    let mut view = Verified {
        job,
        ..Verified::default()
    };
    let mut ended = false;
    while let Some(event) = events.message().await? {
        match event.event {
            Some(Event::Finding(finding)) if view.findings.len() < FINDINGS_KEPT => {
                view.findings.push(format!(
                    "{} {}: {}",
                    finding.code, finding.subject, finding.cause
                ));
            }
            Some(Event::Finding(_) | Event::Progress(_)) | None => {}
            Some(Event::Verified(done)) => {
                ended = true;
                take(&mut view, done, bound.as_ref());
            }
        }
    }
    if !ended {
        return Err(problem(
            Code::Internal,
            format!("the verification of `{}` ended without an answer", view.job),
        ));
    }
    let outcome = if view.ok {
        Ok(())
    } else {
        Err(Failure::Ended(Exit::ScanFailed))
    };
    after(print(global, &view), outcome)
}

/// The bound of a job's bundle, where both can be looked up: what was verified is said all the same.
async fn stated(client: &Client, job: &str) -> Option<Bound> {
    let job = Scanned::fetch(client, job).await.ok()?;
    bound(client, &job.bundle, Some(job.rules)).await
}

fn take(view: &mut Verified, done: v1::VerifyDone, bound: Option<&Bound>) {
    view.rows_expected = done.rows_expected;
    view.rows_found = done.rows_found;
    view.parts = done.parts;
    view.bytes_hashed = done.bytes_hashed;
    view.verdicts = done.verdicts.into();
    view.rows_screened = done.rows_screened;
    let over = |bound: &Bound| bound.over(view.verdicts.likely_ai, view.rows_screened);
    view.flags = bound.map(over);
    view.purpose = view::purpose(done.purpose);
    view.verdicts_sha256 = done.verdicts_sha256;
    view.findings_total = done.findings;
    view.ok = done.findings == 0 && done.rows_expected == done.rows_found;
}

pub(super) async fn summary(global: &Global, client: &Client, job: String) -> Result<(), Failure> {
    let request = v1::SummarizeRequest {
        caller: client.caller(),
        job,
    };
    let answer = client.call(client.results().summarize(request)).await?;
    let spec = answer.job.as_ref().and_then(|job| job.spec.as_ref());
    let bundle = spec.map_or_else(String::new, |spec| spec.bundle.clone());
    let rules = spec.and_then(view::rules);
    let mut summary = Summary::from(answer);
    match manifest(client, &bundle).await {
        Ok(manifest) => {
            if let Some(rules) = rules {
                summary.bounded(&Bound::of(&manifest, rules));
            }
        }
        // A bundle that was taken off the shelf no longer says what its flags are worth.
        Err(Failure::Problem {
            exit: Exit::NotFound,
            ..
        }) => {}
        Err(other) => return Err(other),
    }
    print(global, &summary)
}
