//! `scan submit|ls|get|watch|wait|cancel|explain`. Waiting follows the job's watch stream and takes it up again after
//! the coordinator was away; how the job ended becomes the exit code.

use crate::args::{Global, Stages, Submit};
use crate::client::{Client, PAGE_ROWS};
use crate::failure::{Exit, Failure, problem};
use crate::output::print;
use crate::progress::Progress;
use crate::view::{Explained, JobList, JobView, Submitted};
use proto::v1;
use std::time::Duration;
use types::Code;

/// Wait before asking a coordinator again that went away; doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Longest wait between two tries: a restarted coordinator is found again within this time.
const RETRY_MAX: Duration = Duration::from_secs(5);

pub(super) async fn submit(global: &Global, client: &Client, flags: Submit) -> Result<(), Failure> {
    let request = v1::SubmitJobRequest {
        caller: client.caller(),
        request_id: flags
            .request_id
            .unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        catalog: flags.catalog,
        snapshot: flags.snapshot.unwrap_or_default(),
        bundle: flags.bundle.unwrap_or_default(),
        policy: Some(v1::Policy {
            stages: wire_stages(flags.stages).into(),
            accept_demonstration: flags.accept_demonstration,
            thumbnails: !flags.no_thumbnails,
            embeddings: flags.embeddings,
        }),
        shard_tracks: flags.shard_tracks.unwrap_or(0),
    };
    let answer = client.call(client.jobs().submit_job(request)).await?;
    let job = answer
        .job
        .ok_or_else(|| problem(Code::Internal, "the coordinator answered without a job"))?;
    let mut status = JobView::from(job);
    if flags.wait {
        status = follow(
            global,
            client,
            &status.job,
            &mut Show::Progress(Progress::new(global)),
        )
        .await?;
    }
    print(
        global,
        &Submitted {
            job: status.job.clone(),
            existing: answer.existing,
            status: status.clone(),
        },
    )?;
    if flags.wait { outcome(&status) } else { Ok(()) }
}

const fn wire_stages(stages: Stages) -> v1::Stages {
    match stages {
        Stages::Screen => v1::Stages::Screen,
        Stages::Both => v1::Stages::Both,
    }
}

pub(super) async fn ls(global: &Global, client: &Client) -> Result<(), Failure> {
    let (mut jobs, mut page) = (Vec::new(), String::new());
    loop {
        let request = v1::ListJobsRequest {
            caller: client.caller(),
            page_size: PAGE_ROWS,
            page,
        };
        let answer = client.call(client.jobs().list_jobs(request)).await?;
        jobs.extend(answer.jobs.into_iter().map(JobView::from));
        page = answer.next_page;
        if page.is_empty() {
            return print(global, &JobList { jobs });
        }
    }
}

pub(super) async fn get(global: &Global, client: &Client, job: String) -> Result<(), Failure> {
    print(global, &fetch(client, job).await?)
}

async fn fetch(client: &Client, job: String) -> Result<JobView, Failure> {
    let request = v1::GetJobRequest {
        caller: client.caller(),
        job,
    };
    let answer = client.call(client.jobs().get_job(request)).await?;
    answer
        .job
        .map(JobView::from)
        .ok_or_else(|| problem(Code::Internal, "the coordinator answered without a job"))
}

pub(super) async fn watch(global: &Global, client: &Client, job: String) -> Result<(), Failure> {
    let name = fetch(client, job).await?.job;
    let last = follow(global, client, &name, &mut Show::Each).await?;
    outcome(&last)
}

pub(super) async fn wait(global: &Global, client: &Client, job: String) -> Result<(), Failure> {
    let name = fetch(client, job).await?.job;
    let last = follow(
        global,
        client,
        &name,
        &mut Show::Progress(Progress::new(global)),
    )
    .await?;
    print(global, &last)?;
    outcome(&last)
}

/// What to show of each change.
enum Show {
    /// A bar or plain lines on stderr.
    Progress(Progress),
    /// The job as the operator asked, on stdout.
    Each,
}

impl Show {
    fn one(&mut self, global: &Global, job: &JobView) -> Result<(), Failure> {
        match self {
            Self::Progress(progress) => {
                progress.show(job);
                Ok(())
            }
            Self::Each => print(global, job),
        }
    }

    fn end(&self) {
        if let Self::Progress(progress) = self {
            progress.end();
        }
    }
}

/// Follows a job to its end, within `--timeout` where that was given.
async fn follow(
    global: &Global,
    client: &Client,
    job: &str,
    show: &mut Show,
) -> Result<JobView, Failure> {
    let following = resume(global, client, job, show);
    let ended = match global.timeout {
        None => following.await,
        Some(limit) => match tokio::time::timeout(limit, following).await {
            Ok(ended) => ended,
            Err(_) => {
                eprintln!("job {job} has not ended within {limit:?}; it goes on");
                Err(Failure::Ended(Exit::WaitTimedOut))
            }
        },
    };
    show.end();
    ended
}

async fn resume(
    global: &Global,
    client: &Client,
    job: &str,
    show: &mut Show,
) -> Result<JobView, Failure> {
    let (mut revision, mut pause) = (0, RETRY_FIRST);
    loop {
        match stream(global, client, job, &mut revision, show).await {
            Ok(Some(last)) => return Ok(last),
            Ok(None) => pause = RETRY_FIRST,
            Err(Failure::Problem {
                exit: Exit::Unavailable,
                ..
            }) => pause = (pause * 2).min(RETRY_MAX),
            Err(other) => return Err(other),
        }
        tokio::time::sleep(pause).await;
    }
}

/// One stream: the ended job, or nothing where the stream broke before.
async fn stream(
    global: &Global,
    client: &Client,
    job: &str,
    revision: &mut u64,
    show: &mut Show,
) -> Result<Option<JobView>, Failure> {
    let request = v1::WatchJobRequest {
        caller: client.caller(),
        job: job.to_owned(),
        after_revision: *revision,
    };
    let mut changes = client.call(client.jobs().watch_job(request)).await?;
    while let Some(change) = changes.message().await? {
        let job = JobView::from(change.job.unwrap_or_default());
        *revision = job.revision;
        show.one(global, &job)?;
        if job.ended() {
            return Ok(Some(job));
        }
    }
    Ok(None)
}

/// How a job ended, as an exit code.
fn outcome(job: &JobView) -> Result<(), Failure> {
    match job.state.as_str() {
        "cancelled" => Err(Failure::Ended(Exit::Cancelled)),
        _ if job.verdicts.unscannable > 0 => Err(Failure::Ended(Exit::FailedTracks)),
        _ => Ok(()),
    }
}

pub(super) async fn cancel(
    global: &Global,
    client: &Client,
    job: String,
    reason: String,
) -> Result<(), Failure> {
    let request = v1::CancelJobRequest {
        caller: client.caller(),
        job,
        reason,
    };
    let answer = client.call(client.jobs().cancel_job(request)).await?;
    let view = JobView::from(answer.job.unwrap_or_default());
    print(global, &view)
}

pub(super) async fn explain(
    global: &Global,
    client: &Client,
    job: String,
    shard: Option<String>,
) -> Result<(), Failure> {
    let request = v1::ExplainJobRequest {
        caller: client.caller(),
        job,
        shard: shard.unwrap_or_default(),
    };
    let answer = client.call(client.jobs().explain_job(request)).await?;
    print(global, &Explained::from(answer))
}
