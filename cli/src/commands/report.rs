//! `result report`: reads a published result twice, once as a stream of all rows to count them and find those with the most
//! evidence, then row by row for the cards, and writes one HTML file as it goes. Holds no more than the lines of its table.

use crate::args::{Global, Report};
use crate::client::Client;
use crate::failure::{Failure, problem};
use crate::progress::Progress;
use crate::report::{Card, Lines, Page, Rules, Summary, Tally};
use crate::sink::Sink;
use proto::v1::{self, get_row_request::Track};
use types::{Code, Policy};

pub(super) async fn run(global: &Global, client: &Client, flags: Report) -> Result<(), Failure> {
    let mut progress = Progress::new(global);
    let written = write(client, flags, &mut progress).await;
    progress.end();
    written
}

async fn write(client: &Client, flags: Report, progress: &mut Progress) -> Result<(), Failure> {
    let measured = summarize(client, flags.job).await?;
    let spec = measured.job.as_ref().and_then(|job| job.spec.clone());
    let spec =
        spec.ok_or_else(|| problem(Code::Internal, "the coordinator answered without a job"))?;
    let bundle = bundle(client, &spec.bundle).await?;
    let rules = rules(&bundle.manifest, &spec)?;
    let mut tally = read(client, &spec, &rules, progress).await?;
    let lines = tally.lines();
    let cards = usize::from(flags.cards).min(lines.len());
    let summary = Summary::of(&tally, measured, &bundle, &rules);

    let mut sink = Sink::open(Some(&flags.out)).await?;
    let mut page = Page::default();
    page.begin(&summary, lines.len(), cards);
    for (at, line) in lines.iter().enumerate() {
        page.line(at + 1, line, at < cards, &rules);
        if let Some(bytes) = page.ready() {
            sink.write(bytes).await?;
        }
    }
    page.cards(&summary, lines.len(), cards);
    for (at, line) in lines.iter().take(cards).enumerate() {
        progress.show_report("cards", at as u64, cards as u64);
        let row = row(client, &spec.job, line.ordinal).await?;
        page.card(&Card::of(at + 1, &row, &rules));
        if let Some(bytes) = page.ready() {
            sink.write(bytes).await?;
        }
    }
    page.end(&summary, cards);
    sink.write(page.rest()).await?;
    sink.finish()
}

async fn summarize(client: &Client, job: String) -> Result<v1::SummarizeResponse, Failure> {
    let request = v1::SummarizeRequest {
        caller: client.caller(),
        job,
    };
    client.call(client.results().summarize(request)).await
}

async fn bundle(client: &Client, digest: &str) -> Result<v1::GetBundleResponse, Failure> {
    let request = v1::GetBundleRequest {
        caller: client.caller(),
        bundle: digest.to_owned(),
    };
    client.call(client.bundles().get_bundle(request)).await
}

fn rules(manifest: &str, spec: &v1::JobSpec) -> Result<Rules, Failure> {
    let unread = |why: String| problem(Code::Internal, format!("read job `{}`: {why}", spec.job));
    let digest = spec
        .bundle
        .parse()
        .map_err(|why: types::DigestParseError| unread(why.to_string()))?;
    let policy = Policy::try_from(spec.policy.unwrap_or_default());
    let policy = policy.map_err(|why| unread(why.to_string()))?;
    Ok(Rules::read(manifest, digest, policy)?)
}

/// Counts all rows of the result, which must be published.
async fn read(
    client: &Client,
    spec: &v1::JobSpec,
    rules: &Rules,
    progress: &mut Progress,
) -> Result<Tally, Failure> {
    let request = v1::ExportRequest {
        caller: client.caller(),
        job: spec.job.clone(),
        format: v1::ExportFormat::Csv.into(),
    };
    let mut chunks = client.call(client.results().export(request)).await?;
    let (mut lines, mut tally) = (Lines::new(rules), Tally::default());
    while let Some(chunk) = chunks.message().await? {
        lines.take(&chunk.data, |line| tally.add(line, rules))?;
        if chunk.last {
            return Ok(tally);
        }
        progress.show_report("rows", tally.tracks, u64::from(spec.rows));
    }
    let said = format!("the rows of `{}` ended before the last one", spec.job);
    Err(problem(Code::CoordinatorUnreachable, said))
}

/// A whole row.
async fn row(client: &Client, job: &str, ordinal: u32) -> Result<v1::Row, Failure> {
    let request = v1::GetRowRequest {
        caller: client.caller(),
        job: job.to_owned(),
        track: Some(Track::Ordinal(ordinal)),
    };
    let answer = client.call(client.results().get_row(request)).await?;
    answer
        .row
        .ok_or_else(|| problem(Code::Internal, "the coordinator answered without a row"))
}
