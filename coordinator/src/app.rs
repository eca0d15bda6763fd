//! What every handler holds: who owns the core, the shelf, storage, sources, and what the configuration allows. One for each reign, and one
//! while this process follows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bundle::Trust;
use proto::Caller;
use runtime::shutdown::Shutdown;
use scheduler::Answer;
use scheduler::record::{JobRecord, JobState};
use storage::{ObjectPath, Storage};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::timeout;
use types::{Code, Digest, JobSpec, Problem, TenantId, chain};

use crate::bundles::Bundles;
use crate::collector::Marks;
use crate::handle::Handle;
use crate::handlers::Lookups;
use crate::led::Led;
use crate::ready::Ready;
use crate::settings::{Alike, differing};
use crate::shelf::Shelf;
use crate::sources::Sources;

/// How folders in the scratch folder are called, so that what a killed process left is known as ours.
pub(crate) const SCRATCH_PREFIX: &str = ".coordinator-";

/// The coordinator behind its services.
pub(crate) struct App {
    pub(crate) driver: Handle,
    pub(crate) shelf: Shelf,
    pub(crate) storage: Arc<Storage>,
    pub(crate) sources: Sources,
    pub(crate) bundles: Bundles,
    pub(crate) lookups: Lookups,
    /// Turns for imports.
    pub(crate) imports: Arc<Semaphore>,
    /// A folder for files that vanish with the call that made them.
    pub(crate) scratch: PathBuf,
    pub(crate) trust: Trust,
    /// Whether an import may register its folder as a source.
    pub(crate) folder_sources: bool,
    /// Which orphans were seen, and when; whoever looks holds it.
    pub(crate) marks: tokio::sync::Mutex<Marks>,
    /// Held by the probe of storage that is under way: one holds some thirty megabytes, and what it times is to be its own.
    pub(crate) probing: Mutex<()>,
    /// Streams that would go on for ever end with it.
    pub(crate) shutdown: Shutdown,
    /// Who leads.
    pub(crate) led: Led,
    /// What this process lacks.
    pub(crate) ready: Ready,
    /// How this process is configured, as far as all coordinators of a store are to be alike.
    pub(crate) alike: Alike,
    /// Of a follower: tells that what the shelf holds has changed.
    pub(crate) shelved: Option<Mutex<watch::Receiver<u64>>>,
}

/// How long a call may wait for a mirror to show what was stored before it: what an idle store takes to say how far it has come, twice.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(4);

/// How long it may take to learn how the leader is configured, for an answer that is to come at once.
const ALIKE_WITHIN: Duration = Duration::from_secs(1);

impl App {
    /// Waits until a follower shows all that was stored before this was asked. A leader always does.
    ///
    /// # Errors
    /// `NOT_LEADER` where the mirror does not come as far in time, a problem of the store where it cannot be read.
    pub(crate) async fn catch_up(&self) -> Result<(), Problem> {
        let Some(shelved) = &self.shelved else {
            return Ok(());
        };
        let late = |_| Problem::new(Code::NotLeader, "wait for the store's latest changes");
        timeout(CATCH_UP_WITHIN, self.driver.catch_up())
            .await
            .map_err(late)??;
        // Held until the records are read: whoever comes meanwhile needs them too.
        let mut shelved = shelved.lock().await;
        if shelved.has_changed().unwrap_or_default() {
            shelved.mark_unchanged();
            let read = self.shelf.bundles().await;
            self.bundles
                .replace(read.inspect_err(|_| shelved.mark_changed())?);
        }
        Ok(())
    }

    /// Settings that the leader has otherwise than this process; none while this one leads, or the store does not say so in time.
    pub(crate) async fn differs(&self) -> Vec<String> {
        let said = timeout(ALIKE_WITHIN, self.shelf.alike()).await;
        let theirs = said.ok().and_then(Result::ok).unwrap_or_default();
        differing(&self.alike, &theirs)
    }

    /// Waits until it is sure that a leader still leads, for what is answered without asking the core. A follower caught up before.
    ///
    /// # Errors
    /// `NOT_LEADER` where it does not.
    pub(crate) async fn leads_still(&self) -> Result<(), Problem> {
        match self.shelved {
            Some(_) => Ok(()),
            None => self.driver.catch_up().await,
        }
    }

    /// The object that holds a list's rows.
    pub(crate) fn list_object(&self, tenant: &TenantId, list: Digest) -> String {
        storage::paths::snapshot(tenant, list).to_string()
    }
}

/// Where the manifest of a published job stands; nothing for a job that is not published.
pub(crate) fn manifest_path(record: &JobRecord) -> Option<ObjectPath> {
    let JobState::Published(name) = record.state else {
        return None;
    };
    let JobSpec { tenant, job, .. } = &record.spec;
    let (version, sha256) = (name.version, name.sha256);
    Some(storage::paths::manifest(
        tenant,
        name.generation,
        job,
        version,
        sha256,
    ))
}

/// A caller in the core's words.
pub(crate) fn core_caller(caller: &Caller) -> scheduler::Caller {
    scheduler::Caller {
        tenant: caller.tenant.clone(),
        actor: caller.actor.clone(),
    }
}

/// The core answered another question than was asked: a bug, told as one.
pub(crate) fn unexpected(asked: &str, answer: &Answer) -> Problem {
    tracing::error!(asked, ?answer, "the core gave an answer of another kind");
    Problem::new(
        Code::Internal,
        format!("answer {asked}: the core answered something else"),
    )
}

/// Runs work that blocks away from the threads that answer calls.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| Err(Problem::new(Code::Internal, format!("{what}: {error}"))))
}

/// A problem of storage, with what was attempted.
pub(crate) fn storage_problem(what: &str, error: &storage::StorageError) -> Problem {
    Problem::new(error.code(), format!("{what}: {}", chain(error)))
}
