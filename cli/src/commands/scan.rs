//! `scan submit|retry|ls|get|watch|wait|explain`; steering a job is in `steer`. Those that wait leave the waiting to `follow`; how the job ended becomes
//! the exit code.

use super::evaluate::bound;
use super::follow::{Show, follow, reach};
use super::interruptible;
use super::steer::wire_rank;
use crate::args::{DeviceKind, Gate, Global, Retry, Stages, Submit};
use crate::client::{Client, PAGE_ROWS};
use crate::failure::{Exit, Failure, after, problem};
use crate::output::{print, say};
use crate::progress::Progress;
use crate::view::{Explained, JobList, JobView, Submitted};
use proto::v1;
use types::{Code, Share};

pub(super) async fn submit(global: &Global, client: &Client, flags: Submit) -> Result<(), Failure> {
    means_something(flags.stages, flags.gate, flags.max_escalation)?;
    let request = v1::SubmitJobRequest {
        caller: client.caller(),
        request_id: request_id(flags.request_id),
        catalog: flags.catalog,
        snapshot: flags.snapshot.unwrap_or_default(),
        bundle: flags.bundle.unwrap_or_default(),
        policy: Some(v1::Policy {
            stages: wire_stages(flags.stages).into(),
            accept_demonstration: flags.accept_demonstration,
            thumbnails: !flags.no_thumbnails,
            embeddings: flags.embeddings,
            max_escalation_ppm: flags.max_escalation.map(Share::ppm),
            gate: flags.gate.map(|gate| wire_gate(gate).into()),
        }),
        shard_tracks: flags.shard_tracks.unwrap_or(0),
        rank: Some(wire_rank(&flags.rank)),
        requires: Some(v1::Requirements {
            device: wire_device(flags.require_device).into(),
            memory_bytes: flags.require_memory.unwrap_or(0),
            bundle_loaded: flags.require_loaded,
        }),
    };
    let answer = interruptible(client.call(client.jobs().submit_job(request))).await?;
    submitted(global, client, answer.job, answer.existing, flags.wait).await
}

/// What steers the gate is refused here where no gate runs: the coordinator would name fields that nobody typed.
fn means_something(
    stages: Stages,
    gate: Option<Gate>,
    budget: Option<Share>,
) -> Result<(), Failure> {
    let flag = match (stages, gate, budget) {
        (Stages::Screen, Some(_), _) => "--gate",
        (Stages::Screen, None, Some(_)) => "--max-escalation",
        (Stages::Screen, None, None) | (Stages::Both, _, _) => return Ok(()),
    };
    let said = format!("{flag} without --stages both would mean nothing: give both or neither");
    Err(problem(Code::InvalidRequest, said))
}

pub(super) async fn retry(global: &Global, client: &Client, flags: Retry) -> Result<(), Failure> {
    let request = v1::RetryJobRequest {
        caller: client.caller(),
        request_id: request_id(flags.request_id),
        job: flags.job,
        rank: Some(wire_rank(&flags.rank)),
    };
    let answer = interruptible(client.call(client.jobs().retry_job(request))).await?;
    submitted(global, client, answer.job, answer.existing, flags.wait).await
}

fn request_id(given: Option<String>) -> String {
    given.unwrap_or_else(|| uuid::Uuid::now_v7().to_string())
}

/// Shows a job that was submitted; where it is waited for, as it ended.
async fn submitted(
    global: &Global,
    client: &Client,
    job: Option<v1::Job>,
    existing: bool,
    wait: bool,
) -> Result<(), Failure> {
    let job =
        job.ok_or_else(|| problem(Code::Internal, "the coordinator answered without a job"))?;
    let mut status = JobView::from(job);
    if wait || status.ended() {
        status = beside_its_bound(client, status).await;
    }
    let outcome = if wait {
        if !global.quiet {
            say(format_args!(
                "job {} submitted; waiting for its end",
                status.job
            ));
        }
        let mut show = Show::Progress(Progress::new(global));
        let ended = follow(global, client, &mut status, &mut show).await;
        ended.and_then(|()| outcome(&status))
    } else {
        Ok(())
    };
    let view = Submitted {
        job: status.job.clone(),
        existing,
        status,
    };
    after(print(global, &view), outcome)
}

const fn wire_device(device: Option<DeviceKind>) -> v1::DeviceKind {
    match device {
        None => v1::DeviceKind::Unspecified,
        Some(DeviceKind::Cpu) => v1::DeviceKind::Cpu,
        Some(DeviceKind::Cuda) => v1::DeviceKind::Cuda,
    }
}

const fn wire_gate(gate: Gate) -> v1::Gate {
    match gate {
        Gate::Unsure => v1::Gate::Unsure,
        Gate::Positives => v1::Gate::Positives,
        Gate::Both => v1::Gate::Both,
        Gate::All => v1::Gate::All,
    }
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
    let job = fetch(client, job).await?;
    print(global, &beside_its_bound(client, job).await)
}

/// The job with how many of its flags may be wrong, now and whenever it is seen again.
async fn beside_its_bound(client: &Client, job: JobView) -> JobView {
    let bound = bound(client, &job.bundle_digest, job.rules).await;
    job.bounded(bound)
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

pub(super) async fn watch(global: &Global, job: String) -> Result<(), Failure> {
    let (client, mut last) = interruptible(find(global, job)).await?;
    follow(global, &client, &mut last, &mut Show::Each).await?;
    outcome(&last)
}

pub(super) async fn wait(global: &Global, job: String) -> Result<(), Failure> {
    let (client, mut last) = interruptible(find(global, job)).await?;
    let mut show = Show::Progress(Progress::new(global));
    let ended = follow(global, &client, &mut last, &mut show).await;
    let outcome = ended.and_then(|()| outcome(&last));
    after(print(global, &last), outcome)
}

/// The job that is to be followed. A coordinator that is just being started again is waited for.
async fn find(global: &Global, job: String) -> Result<(Client, JobView), Failure> {
    reach(global, async || {
        let client = Client::connect_to_wait(global).await?;
        let job = fetch(&client, job.clone()).await?;
        let job = beside_its_bound(&client, job).await;
        Ok((client, job))
    })
    .await
}

/// How a job ended, as an exit code.
fn outcome(job: &JobView) -> Result<(), Failure> {
    match job.state.as_str() {
        "cancelled" => Err(Failure::Ended(Exit::Cancelled)),
        _ if job.verdicts.unscannable > 0 => Err(Failure::Ended(Exit::FailedTracks)),
        _ => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_steers_a_gate_that_does_not_run_is_refused_by_its_name() {
        let budget: Share = "0.1".parse().unwrap();
        let said = |stages, gate, budget| match means_something(stages, gate, budget) {
            Ok(()) => String::new(),
            Err(Failure::Problem { code, cause, .. }) => format!("{code} {cause}"),
            Err(other) => panic!("{other:?}"),
        };
        let refused = said(Stages::Screen, None, Some(budget));
        assert!(refused.starts_with("INVALID_REQUEST"), "{refused}");
        assert!(refused.contains("--max-escalation"), "{refused}");
        assert!(said(Stages::Screen, Some(Gate::All), None).contains("--gate"));
        assert_eq!(said(Stages::Both, Some(Gate::All), Some(budget)), "");
        assert_eq!(said(Stages::Screen, None, None), "");
    }
}
