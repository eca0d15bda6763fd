//! Whether the store is older than the storage: a copy of the store was put back, and storage has gone on since. Asked once by a
//! coordinator that starts, before anything is collected: such a store knows nothing of parts that a manifest names.
//!
//! What tells is a manifest of a job that is running or paused by its record: the record says `publishing` before a manifest is
//! written, and never goes back. Other marks of an older store are not looked for.

use futures::{StreamExt, TryStreamExt};
use scheduler::JobKey;
use storage::StorageError;
use types::{Code, Problem};

use crate::app::{App, storage_problem};

/// Jobs looked up at once: storage answers slowly, and one coordinator may have thousands.
const LOOKS_AT_ONCE: usize = 32;

/// Refuses a store that is older than the storage.
///
/// # Errors
/// `STORE_OLDER` with the first job that shows it; the problem of a storage that does not answer, since it might show one.
pub(crate) async fn check_not_older(app: &App) -> Result<(), Problem> {
    let jobs = open_jobs(app).await?;
    let looks = futures::stream::iter(jobs).map(|job| is_published(app, job));
    let found: Vec<Option<JobKey>> = looks.buffered(LOOKS_AT_ONCE).try_collect().await?;
    // The core works already: what was open then may have been published meanwhile. What still is open has been all the time.
    let still = open_jobs(app).await?;
    let mut published = found.into_iter().flatten();
    let shows = published.find(|job| still.contains(job));
    shows.map_or(Ok(()), |job| Err(older(&job)))
}

/// Jobs that are running or paused.
async fn open_jobs(app: &App) -> Result<Vec<JobKey>, Problem> {
    let look = app.driver.look(|core, _| {
        let open = core.all_jobs().filter(|view| view.record.state.is_open());
        open.map(|view| view.key.clone()).collect()
    });
    look.await
}

/// The job, where its manifest is in storage.
async fn is_published(app: &App, job: JobKey) -> Result<Option<JobKey>, Problem> {
    let JobKey { tenant, job: name } = &job;
    let generation = app.shelf.generation();
    let found = app.storage.has_manifest(tenant, generation, name).await;
    let failed = |error: StorageError| {
        storage_problem(&format!("look for a manifest of job `{job}`"), &error)
    };
    let found = found.map_err(failed)?;
    Ok(found.then_some(job))
}

fn older(job: &JobKey) -> Problem {
    let said = format!(
        "start on the store: job `{job}` is open by its record, and its manifest is in storage; the store is older than the \
         storage"
    );
    Problem::new(Code::StoreOlder, said)
}
