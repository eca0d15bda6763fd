//! Scanning the unscannable tracks of a published result again: a selection of its list becomes a job of its own, with the
//! bundle and policy of the first. Its manifest, made at publish, is the whole result with the new rows in it; the
//! published one stays as it is.

use proto::{Caller, v1};
use scheduler::record::{JobState, ManifestName};
use storage::{Manifest, StorageError};
use types::{Code, JobId, JobSpec, Problem, RetryOf, ShardPlan};

use super::submit::{Specified, check_request_id, hand_over, job_of, left_over, submitted};
use crate::app::{App, manifest_path, storage_problem};
use crate::bundles::check_trusted;
use crate::wire::jobs::JobSeen;
use crate::wire::rank::rank;
use crate::{audit, clock};

/// Submits a job over the unscannable tracks of a published one.
pub(super) async fn retry(
    app: &App,
    mut wire: v1::RetryJobRequest,
) -> Result<v1::RetryJobResponse, Problem> {
    let caller = proto::caller(wire.caller.take())?;
    check_request_id(&wire.request_id)?;
    let job = job_of(&caller, &wire.request_id);
    let outcome = retry_as(app, &caller, job.clone(), wire).await;
    audit::refusal(&caller, "RetryJob", job.as_str(), &outcome);
    let existing = outcome?;
    let seen = submitted(app, &caller, &job).await?;
    Ok(v1::RetryJobResponse {
        job: Some(app.job_out(&seen)),
        existing,
    })
}

async fn retry_as(
    app: &App,
    caller: &Caller,
    job: JobId,
    wire: v1::RetryJobRequest,
) -> Result<bool, Problem> {
    let rank = rank("rank", wire.rank)?;
    let base = app.find_job(caller.tenant.clone(), wire.job).await?;
    let of = &base.record.spec.job;
    let is_same = |spec: &JobSpec| {
        let retry = spec.retry.as_ref();
        spec.actor == caller.actor && retry.is_some_and(|retry| retry.job == *of)
    };
    let spec = match left_over(app, caller, &job, is_same).await? {
        Some(Specified::Closed) => return Ok(true),
        Some(Specified::Open(spec)) => *spec,
        None => specify(app, caller, job, &base).await?,
    };
    hand_over(app, caller, spec, rank, base.record.requires).await
}

/// Selects the tracks and puts the specification into storage.
async fn specify(
    app: &App,
    caller: &Caller,
    job: JobId,
    base: &JobSeen,
) -> Result<JobSpec, Problem> {
    let first = &base.record.spec;
    let what = format!("retry job `{}`", first.job);
    let failed = |error: StorageError| storage_problem(&what, &error);
    let bundle = app.bundles.find(&first.bundle.to_string())?;
    check_trusted(&app.trust, &bundle)?;
    let (name, manifest) = published(app, base).await?;
    let _turn = app.imports.acquire().await.map_err(|_| closing(&what))?;
    let tracks = app.storage.unscannable(&manifest).await.map_err(failed)?;
    if tracks.is_empty() {
        return Err(Problem::new(Code::NothingToRetry, what));
    }
    let rows = u32::try_from(tracks.len()).unwrap_or(u32::MAX);
    let selection = app
        .storage
        .put_selection(&caller.tenant, manifest.list, tracks, &app.scratch)
        .await
        .map_err(failed)?;
    let spec = JobSpec {
        actor: caller.actor.clone(),
        job,
        generation: app.shelf.generation(),
        list: selection.list,
        plan: ShardPlan::new(rows, None),
        submitted_at: clock::wall(),
        retry: Some(RetryOf {
            job: first.job.clone(),
            version: name.version,
            generation: name.generation,
            manifest: name.sha256,
            list: manifest.list,
        }),
        ..first.clone()
    };
    app.storage.put_spec(&spec).await.map_err(failed)?;
    Ok(spec)
}

async fn published(app: &App, base: &JobSeen) -> Result<(ManifestName, Manifest), Problem> {
    let spec = &base.record.spec;
    let what = format!("retry job `{}`", spec.job);
    let (JobState::Published(name), Some(path)) = (&base.record.state, manifest_path(&base.record))
    else {
        return Err(Problem::new(Code::ResultNotPublished, what));
    };
    let manifest = app.storage.get_manifest(&path).await;
    let manifest = manifest.map_err(|error| storage_problem(&what, &error))?;
    Ok((*name, manifest))
}

fn closing(what: &str) -> Problem {
    Problem::new(Code::NotLeader, format!("{what}: the coordinator ends"))
}
