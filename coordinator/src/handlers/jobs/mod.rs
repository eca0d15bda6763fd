//! The jobs' service: submitting (in `submit` and `retry`), steering (in `steer`), and looking at, watching and explaining jobs.

mod retry;
mod steer;
mod submit;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use proto::v1;
use proto::v1::jobs_server::Jobs;
use scheduler::record::JobState;
use scheduler::{Core, JobKey, ShardView};
use tonic::{Request as Call, Response, Status};
use types::{Code, JobId, Problem, ShardId, TenantId, UnixMillis};

use super::pages;
use crate::app::App;
use crate::rpc::{self, Answers, Sender};
use crate::wire::jobs::{self as wire, JobSeen};

/// Least time between two answers to one watcher: four a second look alive, and a thousand watchers cost little.
const WATCH_PAUSE: Duration = Duration::from_millis(250);

/// Shards shown in an explanation of a whole job: what fits a few screens.
const SHARDS_SHOWN_MAX: usize = 64;

/// Shortest beginning of a job's name that may stand for it.
const JOB_PREFIX_MIN: usize = 4;

/// The word that means the job submitted last.
const LAST: &str = "last";

/// The service.
#[derive(Clone)]
pub(crate) struct JobsService(pub(crate) Arc<App>);

#[tonic::async_trait]
impl Jobs for JobsService {
    type WatchJobStream = Answers<v1::WatchJobResponse>;

    async fn submit_job(
        &self,
        call: Call<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        let app = self.0.clone();
        let work = async move { submit::submit(&app, call.into_inner()).await };
        rpc::changing("SubmitJob", work).await
    }

    async fn retry_job(
        &self,
        call: Call<v1::RetryJobRequest>,
    ) -> Result<Response<v1::RetryJobResponse>, Status> {
        let app = self.0.clone();
        let work = async move { retry::retry(&app, call.into_inner()).await };
        rpc::changing("RetryJob", work).await
    }

    async fn get_job(
        &self,
        call: Call<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        rpc::unary("GetJob", self.get(call.into_inner())).await
    }

    async fn list_jobs(
        &self,
        call: Call<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        rpc::unary("ListJobs", self.list(call.into_inner())).await
    }

    async fn watch_job(
        &self,
        call: Call<v1::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let (app, wire) = (self.0.clone(), call.into_inner());
        rpc::streamed("WatchJob", move |answers| watch(app, wire, answers))
    }

    async fn cancel_job(
        &self,
        call: Call<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let app = self.0.clone();
        let work = async move { steer::cancel(&app, call.into_inner()).await };
        rpc::changing("CancelJob", work).await
    }

    async fn pause_job(
        &self,
        call: Call<v1::PauseJobRequest>,
    ) -> Result<Response<v1::PauseJobResponse>, Status> {
        let app = self.0.clone();
        let work = async move { steer::pause(&app, call.into_inner()).await };
        rpc::changing("PauseJob", work).await
    }

    async fn resume_job(
        &self,
        call: Call<v1::ResumeJobRequest>,
    ) -> Result<Response<v1::ResumeJobResponse>, Status> {
        let app = self.0.clone();
        let work = async move { steer::resume(&app, call.into_inner()).await };
        rpc::changing("ResumeJob", work).await
    }

    async fn rank_job(
        &self,
        call: Call<v1::RankJobRequest>,
    ) -> Result<Response<v1::RankJobResponse>, Status> {
        let app = self.0.clone();
        let work = async move { steer::set_rank(&app, call.into_inner()).await };
        rpc::changing("RankJob", work).await
    }

    async fn explain_job(
        &self,
        call: Call<v1::ExplainJobRequest>,
    ) -> Result<Response<v1::ExplainJobResponse>, Status> {
        rpc::unary("ExplainJob", self.explain(call.into_inner())).await
    }
}

impl JobsService {
    async fn get(&self, wire: v1::GetJobRequest) -> Result<v1::GetJobResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let seen = self.0.find_job(tenant, wire.job).await?;
        Ok(v1::GetJobResponse {
            job: Some(self.0.job_out(&seen)),
        })
    }

    async fn list(&self, wire: v1::ListJobsRequest) -> Result<v1::ListJobsResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let (jobs, next_page) = self
            .0
            .list_jobs(tenant, wire.page_size, &wire.page, |_| true)
            .await?;
        Ok(v1::ListJobsResponse { jobs, next_page })
    }

    async fn explain(
        &self,
        wire: v1::ExplainJobRequest,
    ) -> Result<v1::ExplainJobResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let shard: Option<ShardId> = proto::field::parsed_if_any("shard", &wire.shard)?;
        let seen = self.0.find_job(tenant, wire.job).await?;
        let key = key_of(&seen);
        let what = shard.map_or_else(
            || format!("job `{}`", key.job),
            |shard| format!("shard `{shard}` of job `{}`", key.job),
        );
        let look = self.0.driver.look(move |core, now| {
            let reasons = core.explain(now, &key, shard)?;
            let shards = match shard {
                Some(shard) => core.shard(&key, shard).iter().map(wire::shard).collect(),
                None => core
                    .shards(&key)
                    .filter(is_unfinished)
                    .take(SHARDS_SHOWN_MAX)
                    .map(|s| wire::shard(&s))
                    .collect(),
            };
            Some((reasons.iter().map(wire::reason).collect(), shards))
        });
        let found = look
            .await?
            .ok_or_else(|| Problem::new(Code::NotFound, format!("explain {what}")))?;
        Ok(v1::ExplainJobResponse {
            job: Some(self.0.job_out(&seen)),
            reasons: found.0,
            shards: found.1,
        })
    }
}

/// Tells of a job until it has ended, the reader has gone, or the coordinator drains.
async fn watch(
    app: Arc<App>,
    wire: v1::WatchJobRequest,
    answers: Sender<v1::WatchJobResponse>,
) -> Result<(), Problem> {
    let tenant = proto::caller(wire.caller)?.tenant;
    let mut changes = app.driver.changes();
    let mut told = wire.after_revision;
    let job = key_of(&app.find_job(tenant.clone(), wire.job).await?).job;
    loop {
        changes.mark_unchanged();
        let seen = app.find_job(tenant.clone(), job.to_string()).await?;
        if seen.revision.0 > told {
            told = seen.revision.0;
            let answer = v1::WatchJobResponse {
                job: Some(app.job_out(&seen)),
            };
            if answers.send(answer).await.is_err() {
                return Ok(());
            }
        }
        if seen.record.state.is_closed() {
            return Ok(());
        }
        tokio::select! {
            changed = async { tokio::time::sleep(WATCH_PAUSE).await; changes.changed().await } => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            () = answers.gone() => return Ok(()),
            () = app.shutdown.asked() => return Err(Problem::new(Code::NotLeader, format!("watch job `{job}`: the coordinator ends"))),
        }
    }
}

impl App {
    /// The job that a text names: its name, a unique beginning of it, or `last`.
    pub(crate) async fn find_job(
        &self,
        tenant: TenantId,
        named: String,
    ) -> Result<JobSeen, Problem> {
        self.driver
            .look(move |core, _| find(core, &tenant, &named))
            .await?
    }

    /// A page of jobs, newest first.
    pub(crate) async fn list_jobs(
        &self,
        tenant: TenantId,
        page_size: u32,
        page: &str,
        wanted: impl Fn(&JobState) -> bool + Send + 'static,
    ) -> Result<(Vec<v1::Job>, String), Problem> {
        let (size, after) = (pages::size(page_size), cursor(page)?);
        let look = self.driver.look(move |core, _| {
            let mut jobs: Vec<_> = core
                .jobs(&tenant)
                .filter(|view| wanted(&view.record.state))
                .map(JobSeen::from)
                .collect();
            jobs.sort_by_key(place);
            if let Some(after) = after {
                jobs.retain(|job| place(job) > after);
            }
            let more = jobs.len() > size;
            jobs.truncate(size);
            (jobs, more)
        });
        let (jobs, more) = look.await?;
        let last = jobs.last().filter(|_| more).map(place);
        let next = last
            .map(|(Reverse(at), job)| format!("{}-{job}", at.0))
            .unwrap_or_default();
        Ok((jobs.iter().map(|job| self.job_out(job)).collect(), next))
    }

    /// A job with what its bundle is called.
    pub(crate) fn job_out(&self, seen: &JobSeen) -> v1::Job {
        wire::job(seen, self.bundles.get(seen.record.spec.bundle).as_ref())
    }
}

/// Where a job stands in a listing: newest first, then by name.
type JobPlace = (Reverse<UnixMillis>, JobId);

fn place(job: &JobSeen) -> JobPlace {
    (
        Reverse(job.record.spec.submitted_at),
        job.record.spec.job.clone(),
    )
}

/// The place after which a page begins.
fn cursor(page: &str) -> Result<Option<JobPlace>, Problem> {
    if page.is_empty() {
        return Ok(None);
    }
    let parsed = page
        .split_once('-')
        .and_then(|(at, job)| Some((Reverse(UnixMillis(at.parse().ok()?)), JobId::new(job).ok()?)));
    parsed.map(Some).ok_or_else(|| pages::bad(page))
}

fn find(core: &Core, tenant: &TenantId, named: &str) -> Result<JobSeen, Problem> {
    let not_found = || {
        let shown: String = named.chars().take(80).collect();
        Problem::new(Code::NotFound, format!("look up job `{shown}`"))
    };
    if named == LAST {
        let last = core
            .jobs(tenant)
            .min_by_key(|view| (Reverse(view.record.spec.submitted_at), view.key.job.clone()));
        return last.map(JobSeen::from).ok_or_else(not_found);
    }
    if let Ok(job) = JobId::new(named)
        && let Some(view) = core.job(&JobKey {
            tenant: tenant.clone(),
            job,
        })
    {
        return Ok(view.into());
    }
    if named.len() < JOB_PREFIX_MIN {
        return Err(not_found());
    }
    let mut matching = core
        .jobs(tenant)
        .filter(|view| view.key.job.as_str().starts_with(named));
    match (matching.next(), matching.next()) {
        (Some(one), None) => Ok(one.into()),
        (Some(_), Some(_)) => Err(Problem::new(
            Code::InvalidRequest,
            format!("look up job `{named}`: several begin so"),
        )),
        (None, _) => Err(not_found()),
    }
}

fn key_of(seen: &JobSeen) -> JobKey {
    let spec = &seen.record.spec;
    JobKey {
        tenant: spec.tenant.clone(),
        job: spec.job.clone(),
    }
}

fn is_unfinished(view: &ShardView<'_>) -> bool {
    view.covered < view.extent.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_jobs_goes_on_where_the_last_one_ended() {
        let place = (Reverse(UnixMillis(17)), JobId::new("j-1-a").unwrap());
        assert_eq!(cursor("17-j-1-a"), Ok(Some(place)));
        assert_eq!(cursor(""), Ok(None));
        for bad in ["17", "x-j", "17-", "17-a/b"] {
            assert_eq!(cursor(bad).unwrap_err().code, Code::InvalidRequest, "{bad}");
        }
    }
}
