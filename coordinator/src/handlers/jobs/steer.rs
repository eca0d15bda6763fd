//! What people do to a job that runs: pausing, resuming, ranking and cancelling it. Each is one request to the core;
//! what it changes has its audit line from there, and a refusal from here, also where no such job is.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an answer of any other kind than was asked for is one and the same fault"
)]

use proto::{Caller, v1};
use scheduler::{Answer, Request};
use types::{JobId, Problem};

use super::key_of;
use crate::app::{App, core_caller, unexpected};
use crate::audit;
use crate::wire::rank::{Rank, rank};

/// Most of a job's name, as it was asked for, that an audit line shows: a little more than names have.
const NAME_SHOWN_MAX: usize = 80;

/// Pauses a job.
pub(super) async fn pause(
    app: &App,
    wire: v1::PauseJobRequest,
) -> Result<v1::PauseJobResponse, Problem> {
    let ask = |job| Request::Pause { job };
    let (job, existing) = steer(app, wire.caller, wire.job, "PauseJob", ask).await?;
    Ok(v1::PauseJobResponse {
        job: Some(job),
        existing,
    })
}

/// Lets a paused job go on.
pub(super) async fn resume(
    app: &App,
    wire: v1::ResumeJobRequest,
) -> Result<v1::ResumeJobResponse, Problem> {
    let ask = |job| Request::Resume { job };
    let (job, existing) = steer(app, wire.caller, wire.job, "ResumeJob", ask).await?;
    Ok(v1::ResumeJobResponse {
        job: Some(job),
        existing,
    })
}

/// Changes where a job stands in line.
pub(super) async fn set_rank(
    app: &App,
    wire: v1::RankJobRequest,
) -> Result<v1::RankJobResponse, Problem> {
    let Rank {
        lane,
        priority,
        deadline,
    } = rank("rank", wire.rank)?;
    let ask = |job| Request::SetRank {
        job,
        lane,
        priority,
        deadline,
    };
    let (job, existing) = steer(app, wire.caller, wire.job, "RankJob", ask).await?;
    Ok(v1::RankJobResponse {
        job: Some(job),
        existing,
    })
}

/// Cancels a job.
pub(super) async fn cancel(
    app: &App,
    wire: v1::CancelJobRequest,
) -> Result<v1::CancelJobResponse, Problem> {
    let reason = wire.reason;
    let ask = |job| Request::Cancel { job, reason };
    let (job, existing) = steer(app, wire.caller, wire.job, "CancelJob", ask).await?;
    Ok(v1::CancelJobResponse {
        job: Some(job),
        existing,
    })
}

/// Asks the core to change the job that a text names, and answers with the job as it stands then.
async fn steer(
    app: &App,
    caller: Option<v1::Caller>,
    named: String,
    method: &'static str,
    ask: impl FnOnce(JobId) -> Request,
) -> Result<(v1::Job, bool), Problem> {
    let caller = proto::caller(caller)?;
    let what: String = named.chars().take(NAME_SHOWN_MAX).collect();
    let outcome = changed(app, &caller, named, method, ask).await;
    audit::refusal(&caller, method, &what, &outcome);
    let (job, existing) = outcome?;
    let seen = app.find_job(caller.tenant, job.into()).await?;
    Ok((app.job_out(&seen), existing))
}

/// The job that was found and changed, and whether it stood there before.
async fn changed(
    app: &App,
    caller: &Caller,
    named: String,
    method: &'static str,
    ask: impl FnOnce(JobId) -> Request,
) -> Result<(JobId, bool), Problem> {
    let job = key_of(&app.find_job(caller.tenant.clone(), named).await?).job;
    let call = app.driver.call(core_caller(caller), ask(job.clone()));
    match call.await? {
        Answer::Changed { existing, .. } => Ok((job, existing)),
        other => Err(unexpected(method, &other)),
    }
}
