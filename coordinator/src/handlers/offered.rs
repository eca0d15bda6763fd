//! Whether the parts that a commit names are in storage, looked up before the core hears of them: a part counts for ever, and
//! a manifest that names an object which is not there cannot be mended. Called by the agents' service. Never reads a part:
//! its maker has, and its name holds its digest.
//!
//! Commits that come in together are looked up together: on a folder a group costs one piece of blocking work.

use std::sync::Arc;
use std::time::Duration;

use scheduler::limits::PARTS_PER_COMMIT_MAX;
use scheduler::{Caller, Commit, PartClaim};
use storage::{ObjectPath, PartLength, Storage};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use types::{Code, Generation, JobId, Problem, TenantId};

use crate::app::{App, storage_problem};
use crate::turns::Turns;

/// Commits that are looked up together at most.
const GROUP_MAX: usize = 64;

/// Groups under way at once. Each may hold threads for as long as storage hangs, whoever asked and has gone away since;
/// the runtime has 512 such threads, and the store's writes need theirs.
const GROUPS_MAX: usize = 8;

/// Offers whose parts seem to be missing that are looked at once more at a time, each by itself.
const AGAIN_MAX: usize = 16;

/// How long storage may take to say what it holds: an agent waits 5 s for the answer to its commit.
const LOOKUP_WITHIN: Duration = Duration::from_secs(3);

/// The task that looks up what commits offer; ends when the last of these is dropped.
pub(crate) struct Lookups(mpsc::Sender<Asked>);

/// An offer, and whoever waits for what becomes of it.
struct Asked {
    offer: Offer,
    answer: oneshot::Sender<Result<(), Problem>>,
}

impl Lookups {
    /// Starts the task.
    pub(crate) fn new(storage: Arc<Storage>) -> Self {
        let (asks, asked) = mpsc::channel(GROUP_MAX);
        tokio::spawn(look_up_groups(storage, asked));
        Self(asks)
    }

    /// Looks an offer's parts up.
    async fn check(&self, offer: Offer) -> Result<(), Problem> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            // A task that has ended drops the answer too.
            let _ = self.0.send(Asked { offer, answer }).await;
            answered.await
        };
        let late = |_| {
            let said = format!("look up parts: storage did not answer within {LOOKUP_WITHIN:?}");
            Problem::new(Code::StorageUnavailable, said)
        };
        let lost = |_| Problem::new(Code::Internal, "look up parts: the look-up was lost");
        let answered = timeout(LOOKUP_WITHIN, asked).await.map_err(late)?;
        answered.map_err(lost)?
    }
}

/// Gives back a commit that may be told to the core, and refuses one that could count and names a part which storage does not
/// hold as it is described. What cannot count is left to the core, which knows what to answer: the objects of a dead attempt
/// may be collected already.
///
/// # Errors
/// `COMMIT_INVALID`, or what kept storage from answering in time.
pub(crate) async fn check(app: &App, caller: &Caller, commit: Commit) -> Result<Commit, Problem> {
    let asker = caller.clone();
    let held = app.driver.look(move |core, _| {
        let tenant = core.committing(&asker, &commit).cloned();
        (tenant, commit)
    });
    let (tenant, commit) = held.await?;
    // More parts than a commit may have are refused by the core's own rule.
    let Some(tenant) = tenant.filter(|_| commit.parts.len() <= PARTS_PER_COMMIT_MAX) else {
        return Ok(commit);
    };
    let offer = Offer::of(tenant, app.shelf.generation(), &commit);
    app.lookups.check(offer).await?;
    Ok(commit)
}

/// Takes what has been asked meanwhile as the next group, whenever fewer than the most are under way.
async fn look_up_groups(storage: Arc<Storage>, mut asked: mpsc::Receiver<Asked>) {
    let turns = Arc::new(Semaphore::new(GROUPS_MAX));
    let again = Turns::new(AGAIN_MAX, LOOKUP_WITHIN);
    let mut group = Vec::with_capacity(GROUP_MAX);
    while let Ok(turn) = turns.clone().acquire_owned().await {
        if asked.recv_many(&mut group, GROUP_MAX).await == 0 {
            return;
        }
        // Whoever has given up need not be looked up for.
        let waited_for = group.drain(..).filter(|asked| !asked.answer.is_closed());
        let (group, storage, again) = (waited_for.collect(), storage.clone(), again.clone());
        tokio::spawn(async move {
            look_up(&storage, group, &again).await;
            drop(turn);
        });
    }
}

/// Looks a group up. Those whose parts seem to be missing are looked at again, and keep nobody else of the group waiting.
async fn look_up(storage: &Arc<Storage>, group: Vec<Asked>, again: &Turns) {
    let paths = group.iter().flat_map(|asked| asked.offer.paths());
    let mut found = storage.part_lengths(paths.collect()).await.into_iter();
    for Asked { offer, answer } in group {
        let lengths: Vec<PartLength> = found.by_ref().take(offer.parts.len()).collect();
        if lengths.iter().any(|length| matches!(length, Ok(None))) {
            let (storage, again) = (storage.clone(), again.clone());
            tokio::spawn(async move {
                let looking = async move { offer.look_again(&storage).await };
                let judged = again.take("look up parts", looking).await;
                let _ = answer.send(judged.and_then(|judged| judged));
            });
            continue;
        }
        // Whoever asked may have gone away.
        let _ = answer.send(offer.judge(lengths));
    }
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
    fn of(tenant: TenantId, generation: Generation, commit: &Commit) -> Self {
        let place = |part: &PartClaim| (place(&tenant, commit, part), part.bytes);
        Self {
            parts: commit.parts.iter().map(place).collect(),
            job: commit.job.clone(),
            generation,
            tenant,
        }
    }

    fn paths(&self) -> impl Iterator<Item = ObjectPath> {
        self.parts.iter().map(|(path, _)| path.clone())
    }

    /// Looks once more for parts that seem to be missing, where storage is there.
    async fn look_again(&self, storage: &Storage) -> Result<(), Problem> {
        self.check_storage(storage).await?;
        self.judge(storage.part_lengths(self.paths().collect()).await)
    }

    /// Holds what was found against what is claimed.
    fn judge(&self, found: Vec<PartLength>) -> Result<(), Problem> {
        let mut parts = self.parts.iter().zip(found);
        parts.try_for_each(|((path, bytes), found)| check_length(path, *bytes, found))
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

fn check_length(path: &ObjectPath, bytes: u64, found: PartLength) -> Result<(), Problem> {
    match found.map_err(|error| Problem::of(error.code(), &error))? {
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
