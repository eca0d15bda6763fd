//! `scan pause|resume|rank|cancel`: one call each, and the job as it stands then.

use crate::args::{Global, Lane, Rank};
use crate::client::Client;
use crate::failure::{Failure, problem};
use crate::output::print;
use crate::view::JobView;
use proto::v1;
use types::Code;

pub(super) async fn pause(global: &Global, client: &Client, job: String) -> Result<(), Failure> {
    let request = v1::PauseJobRequest {
        caller: client.caller(),
        job,
    };
    let answer = client.call(client.jobs().pause_job(request)).await?;
    show(global, answer.job)
}

pub(super) async fn resume(global: &Global, client: &Client, job: String) -> Result<(), Failure> {
    let request = v1::ResumeJobRequest {
        caller: client.caller(),
        job,
    };
    let answer = client.call(client.jobs().resume_job(request)).await?;
    show(global, answer.job)
}

pub(super) async fn rank(
    global: &Global,
    client: &Client,
    job: String,
    rank: &Rank,
) -> Result<(), Failure> {
    let request = v1::RankJobRequest {
        caller: client.caller(),
        job,
        rank: Some(wire_rank(rank)),
    };
    let answer = client.call(client.jobs().rank_job(request)).await?;
    show(global, answer.job)
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
    show(global, answer.job)
}

fn show(global: &Global, job: Option<v1::Job>) -> Result<(), Failure> {
    let job =
        job.ok_or_else(|| problem(Code::Internal, "the coordinator answered without a job"))?;
    print(global, &JobView::from(job))
}

/// A rank for the wire: what is not given stays open.
pub(super) fn wire_rank(rank: &Rank) -> v1::Rank {
    let lane = match rank.lane {
        None => v1::Lane::Unspecified,
        Some(Lane::Interactive) => v1::Lane::Interactive,
        Some(Lane::Ingest) => v1::Lane::Ingest,
        Some(Lane::Batch) => v1::Lane::Batch,
    };
    v1::Rank {
        lane: lane.into(),
        priority: rank.priority,
        deadline_ms: rank.deadline,
    }
}
