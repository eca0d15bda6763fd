//! What storage says of jobs that are open by their records. Asked once by a coordinator that begins to lead, before anything is collected.
//!
//! A manifest of a job that is running or paused shows that the store is older than the storage, and such a store knows nothing of parts that
//! the manifest names: the record says `publishing` before a manifest is written, and never goes back. Other marks of an older store are not
//! looked for here. A mark that such a job was cancelled is a cancel whose leader lost the leadership before the record was written. It was
//! asked for, and a rebuild would honour it: it is finished.

use futures::{StreamExt, TryStreamExt};
use scheduler::{Caller, JobKey, Request};
use storage::{ClosedBy, StorageError};
use types::{Code, Problem};

use crate::app::{App, storage_problem};

/// Jobs looked up at once: storage answers slowly, and one coordinator may have thousands.
const LOOKS_AT_ONCE: usize = 32;

/// What a finished cancel gives as its reason: the mark has none.
const REASON: &str = "asked for under an earlier leader";

/// Refuses a store that is older than the storage, and gives the open jobs that are marked as cancelled.
///
/// # Errors
/// `STORE_OLDER` with the first job that shows it; the problem of a storage that does not answer, since it might show one.
pub(crate) async fn check_not_older(app: &App) -> Result<Vec<JobKey>, Problem> {
    let jobs = open_jobs(app).await?;
    let looks = futures::stream::iter(jobs).map(|job| look_up(app, job));
    let found: Vec<Option<(JobKey, ClosedBy)>> =
        looks.buffered(LOOKS_AT_ONCE).try_collect().await?;
    // The core works already: what was open then may have been published meanwhile. What still is open has been all the time.
    let still = open_jobs(app).await?;
    let mut cancelled = Vec::new();
    for (job, by) in found.into_iter().flatten() {
        match still.contains(&job) {
            true if by.manifest => return Err(older(&job)),
            true => cancelled.push(job),
            false => {}
        }
    }
    Ok(cancelled)
}

/// Finishes cancels that an earlier leader had marked: at most as many as jobs are open, and mostly none. One that cannot be is the next
/// leader's; the job goes on until then.
pub(crate) async fn finish_cancels(app: &App, jobs: Vec<JobKey>) {
    for job in jobs {
        match finish_cancel(app, &job).await {
            Ok(()) => tracing::info!(%job, "a cancel that was asked for earlier is finished"),
            Err(problem) => {
                tracing::warn!(%job, %problem, "a cancel that was asked for earlier could not be finished; the next leader tries again");
            }
        }
    }
}

async fn finish_cancel(app: &App, key: &JobKey) -> Result<(), Problem> {
    let JobKey { tenant, job } = key;
    let generation = app.shelf.generation();
    let mark = app.storage.get_cancelled(tenant, generation, job).await;
    let failed = |error: StorageError| {
        storage_problem(
            &format!("read the mark that job `{key}` is cancelled"),
            &error,
        )
    };
    let Some(mark) = mark.map_err(failed)? else {
        return Ok(());
    };
    let caller = Caller {
        tenant: tenant.clone(),
        actor: mark.actor,
    };
    let request = Request::Cancel {
        job: job.clone(),
        reason: REASON.to_owned(),
    };
    app.driver.call(caller, request).await.map(drop)
}

/// Jobs that are running or paused.
async fn open_jobs(app: &App) -> Result<Vec<JobKey>, Problem> {
    let look = app.driver.look(|core, _| {
        let open = core.all_jobs().filter(|view| view.record.state.is_open());
        open.map(|view| view.key.clone()).collect()
    });
    look.await
}

/// The job, where storage has anything of its end.
async fn look_up(app: &App, key: JobKey) -> Result<Option<(JobKey, ClosedBy)>, Problem> {
    let JobKey { tenant, job } = &key;
    let found = app.storage.closed_by(tenant, app.shelf.generation(), job);
    let failed = |error: StorageError| {
        storage_problem(&format!("look for what has closed job `{key}`"), &error)
    };
    let by = found.await.map_err(failed)?;
    Ok((by != ClosedBy::default()).then_some((key, by)))
}

fn older(job: &JobKey) -> Problem {
    let said = format!(
        "start on the store: job `{job}` is open by its record, and its manifest is in storage; the store is older than the \
         storage"
    );
    Problem::new(Code::StoreOlder, said)
}
