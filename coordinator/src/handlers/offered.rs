//! Whether the parts that a commit names are in storage, looked up before the core hears of them: a part counts for ever, and
//! a manifest that names an object which is not there cannot be mended. Called by the agents' service. Never reads a part:
//! its maker has, and its name holds its digest.

use std::time::Duration;

use scheduler::{Caller, Commit, PartClaim};
use storage::{ObjectPath, Storage};
use types::{Code, Generation, JobId, Problem, TenantId};

use crate::app::{App, storage_problem};
use crate::turns::Turns;

/// Look-ups under way at once. Each may hold a thread for as long as storage hangs, whoever asked and has gone away since;
/// the runtime has 512 such threads, and the store's writes need theirs.
const LOOKUPS_MAX: usize = 64;

/// How long storage may take to say what it holds: an agent waits 5 s for the answer to its commit.
const LOOKUP_WITHIN: Duration = Duration::from_secs(3);

/// Turns for look-ups.
pub(crate) fn lookups() -> Turns {
    Turns::new(LOOKUPS_MAX, LOOKUP_WITHIN)
}

/// Gives back a commit that may be told to the core, and refuses one that could count and names a part which storage does not
/// hold as it is described. What cannot count is left to the core, which knows what to answer: the objects of a dead attempt
/// may be collected already.
///
/// # Errors
/// `COMMIT_INVALID`, what kept storage from answering, or `OVERLOADED` where too many ask at once.
pub(crate) async fn check(app: &App, caller: &Caller, commit: Commit) -> Result<Commit, Problem> {
    let asker = caller.clone();
    let held = app.driver.look(move |core, _| {
        let tenant = core.committing(&asker, &commit).cloned();
        (tenant, commit)
    });
    let (tenant, commit) = held.await?;
    let Some(tenant) = tenant else {
        return Ok(commit);
    };
    let place = |part: &PartClaim| (place(&tenant, &commit, part), part.bytes);
    let offer = Offer {
        parts: commit.parts.iter().map(place).collect(),
        job: commit.job.clone(),
        generation: app.shelf.generation(),
        tenant,
    };
    let storage = app.storage.clone();
    let looking = async move { offer.check(&storage).await };
    app.lookups.take("look up parts", looking).await??;
    Ok(commit)
}

/// What is to be looked up.
struct Offer {
    tenant: TenantId,
    generation: Generation,
    job: JobId,
    /// Where each part must be, and its length.
    parts: Vec<(ObjectPath, u64)>,
}

impl Offer {
    async fn check(&self, storage: &Storage) -> Result<(), Problem> {
        for (path, bytes) in &self.parts {
            let found = match found(storage, path).await? {
                Some(found) => Some(found),
                None => {
                    self.check_storage(storage).await?;
                    found(storage, path).await?
                }
            };
            check_length(path, *bytes, found)?;
        }
        Ok(())
    }

    /// An object that is missing where the job's specification is missing too says that storage is not there, not that the
    /// part is not: the agent keeps it and offers it again.
    async fn check_storage(&self, storage: &Storage) -> Result<(), Problem> {
        let found = storage.has_spec(&self.tenant, self.generation, &self.job);
        let failed = |error| storage_problem("look up the specification of a commit's job", &error);
        match found.await.map_err(failed)? {
            true => Ok(()),
            false => Err(Problem::new(
                Code::StorageUnavailable,
                format!(
                    "look up parts of job `{}`: storage does not even hold its specification",
                    self.job
                ),
            )),
        }
    }
}

async fn found(storage: &Storage, path: &ObjectPath) -> Result<Option<u64>, Problem> {
    let found = storage.part_bytes(path).await;
    found.map_err(|error| Problem::of(error.code(), &error))
}

fn check_length(path: &ObjectPath, bytes: u64, found: Option<u64>) -> Result<(), Problem> {
    match found {
        Some(found) if found == bytes => Ok(()),
        Some(found) => Err(invalid(path, &format!("has {found} bytes, not {bytes}"))),
        None => Err(invalid(path, "is not in storage")),
    }
}

fn invalid(path: &ObjectPath, what: &str) -> Problem {
    Problem::new(
        Code::CommitInvalid,
        format!("commit part `{path}`: it {what}"),
    )
}

/// Where the part must be. A part without tracks is nowhere; the core refuses it by its own rule.
fn place(tenant: &TenantId, commit: &Commit, part: &PartClaim) -> ObjectPath {
    storage::paths::part(
        tenant,
        commit.generation,
        &commit.job,
        commit.shard,
        commit.attempt,
        part.tracks.first().unwrap_or_default(),
        part.sha256,
    )
}
