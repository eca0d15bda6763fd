//! What the core asks for, done: reads and writes on the store, markers and manifests in storage. Each effect is one
//! task whose result goes back to the core as an event. Nothing is repeated here and nothing decided; an outcome that
//! is not known is said to be unknown. Storage that hangs holds up what waits for it for a bounded time.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scheduler::record::{ManifestName, RevocationRecord};
use scheduler::{Event, JobKey, ManifestPlan, Reading, RevocationKey, StorageOutcome, WriteId};
use storage::{
    Cancelled, FoundManifest, JobTotals, Manifest, ManifestOf, ManifestPart, Revoked, Storage,
    StorageError, paths,
};
use store::Store;
use types::{ActorId, Code, Epoch, Generation, UnixMillis, Verdict, chain};

use crate::turns::Turns;
use crate::{bridge, clock};

/// Marks on their way at once, and how long one may take: one small object each.
const MARKS_MAX: usize = 16;
const MARK_WITHIN: Duration = Duration::from_secs(10);
/// Manifests on their way at once, and how long one may take: that of a hundred million tracks is some ten megabytes.
const MANIFESTS_MAX: usize = 8;
const MANIFEST_WITHIN: Duration = Duration::from_secs(120);

/// What a task gives back to the driver.
pub(crate) enum Effect {
    /// To be handed to the core.
    Event(Box<Event>),
    /// A renewal of the leadership came back.
    Kept(Kept),
}

/// How a renewal of the leadership ended.
pub(crate) enum Kept {
    /// The leadership was held at this moment, and lives from there.
    Since(tokio::time::Instant),
    /// It may still hold.
    Unknown,
    /// It is over for good.
    Lost,
}

/// The hands of the driver.
#[derive(Clone)]
pub(crate) struct Effects {
    store: Arc<dyn Store>,
    storage: Arc<Storage>,
    generation: Generation,
    marks: Turns,
    manifests: Turns,
}

impl Effects {
    /// Hands on this store and storage, in the generation that the store is in.
    #[must_use]
    pub(crate) fn new(
        store: Arc<dyn Store>,
        storage: Arc<Storage>,
        generation: Generation,
    ) -> Self {
        Self {
            store,
            storage,
            generation,
            marks: Turns::new(MARKS_MAX, MARK_WITHIN),
            manifests: Turns::new(MANIFESTS_MAX, MANIFEST_WITHIN),
        }
    }

    pub(crate) fn read(
        &self,
        id: scheduler::ReadId,
        reading: Reading,
    ) -> impl Future<Output = Effect> + use<> {
        let store = self.store.clone();
        async move {
            let outcome = match reading {
                Reading::Prefix {
                    prefix,
                    after,
                    at,
                    limit,
                } => {
                    let range = store::KeyRange {
                        prefix,
                        after,
                        limit,
                        at: at.map(bridge::revision_out),
                    };
                    bridge::page(store.range(&range).await)
                }
                Reading::Keys(keys) => bridge::entries(read_keys(store.as_ref(), &keys).await),
            };
            event(Event::Read { id, outcome })
        }
    }

    pub(crate) fn write(
        &self,
        id: WriteId,
        txn: scheduler::Txn,
    ) -> impl Future<Output = Effect> + use<> {
        let store = self.store.clone();
        async move {
            let begun = Instant::now();
            let outcome = store.write(bridge::txn(txn)).await;
            metrics::histogram!("scan_store_write_seconds").record(begun.elapsed());
            let outcome = bridge::outcome(outcome);
            metrics::counter!("scan_store_writes_total", "outcome" => bridge::outcome_name(&outcome)).increment(1);
            event(Event::Written { id, outcome })
        }
    }

    pub(crate) fn mark_cancelled(
        &self,
        job: JobKey,
        actor: ActorId,
        at: UnixMillis,
        reason: String,
    ) -> impl Future<Output = Effect> + use<> {
        let (storage, generation) = (self.storage.clone(), self.generation);
        let turns = self.marks.clone();
        async move {
            let JobKey { tenant, job: name } = job.clone();
            tracing::info!(%job, %actor, reason, "marking as cancelled");
            let mark = Cancelled {
                tenant,
                generation,
                job: name,
                actor,
                at,
            };
            let put = async move { storage.put_cancelled(&mark).await.map(drop) };
            let outcome = in_turn(&turns, "put a cancel marker", put).await;
            event(Event::CancelMarked { job, outcome })
        }
    }

    pub(crate) fn mark_revoked(
        &self,
        revocation: RevocationKey,
        record: RevocationRecord,
    ) -> impl Future<Output = Effect> + use<> {
        let (storage, generation) = (self.storage.clone(), self.generation);
        let turns = self.marks.clone();
        async move {
            tracing::info!(%revocation, node = %record.node, actor = %record.by, record.reason, "marking as revoked");
            let jobs = record.jobs.into_iter().map(|job| (job.tenant, job.job));
            let revoked = Revoked {
                tenant: revocation.tenant.clone(),
                generation,
                revocation: revocation.revocation.clone(),
                node: record.node.node,
                device: record.device,
                from: record.from,
                to: record.to,
                jobs: jobs.collect(),
                actor: record.by,
                at: record.at,
                reason: record.reason,
            };
            let put = async move { storage.put_revoked(&revoked).await.map(drop) };
            let outcome = in_turn(&turns, "put what is revoked", put).await;
            event(Event::RevocationMarked {
                revocation,
                outcome,
            })
        }
    }

    pub(crate) fn write_manifest(
        &self,
        plan: Box<ManifestPlan>,
    ) -> impl Future<Output = Effect> + use<> {
        let (storage, turns) = (self.storage.clone(), self.manifests.clone());
        async move {
            let (begun, job) = (Instant::now(), plan.job.clone());
            let write = async move { put_manifest(&storage, &plan).await };
            let outcome = in_turn(&turns, "write a manifest", write).await;
            metrics::histogram!("scan_publish_seconds").record(begun.elapsed());
            event(Event::ManifestWritten {
                job,
                outcome,
                at: clock::wall(),
            })
        }
    }

    pub(crate) fn keep(&self, epoch: Epoch) -> impl Future<Output = Effect> + use<> {
        let store = self.store.clone();
        async move {
            let begun = tokio::time::Instant::now();
            Effect::Kept(match store.keep(epoch).await {
                Ok(()) => Kept::Since(begun),
                Err(store::LeadError::Unavailable { cause } | store::LeadError::Full { cause }) => {
                    tracing::warn!(%epoch, cause, "leadership could not be renewed");
                    Kept::Unknown
                }
                Err(store::LeadError::Lost | store::LeadError::Held { .. }) => Kept::Lost,
            })
        }
    }

    pub(crate) async fn resign(&self, epoch: Epoch) {
        if let Err(error) = self.store.resign(epoch).await {
            tracing::warn!(%epoch, %error, "leadership was not given up and will run out by itself");
        }
    }
}

fn event(event: Event) -> Effect {
    Effect::Event(Box::new(event))
}

/// The entries of those keys that exist, keys ascending, with the store's revision read before any of them.
async fn read_keys(
    store: &dyn Store,
    keys: &[String],
) -> Result<(store::Revision, Vec<store::Entry>), store::ReadError> {
    let revision = store.status().await?.revision;
    let mut entries = Vec::with_capacity(keys.len());
    for key in keys {
        entries.extend(store.get(key).await?);
    }
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    Ok((revision, entries))
}

/// Puts the manifest that a plan makes and reads it back, so that what the job's record will name is known to be whole.
async fn put_manifest(
    storage: &Storage,
    plan: &ManifestPlan,
) -> Result<ManifestName, StorageError> {
    let manifest = manifest(storage, plan).await?;
    let (_, sha256) = manifest.path();
    put_totals(storage, &manifest, plan).await?;
    let (path, _) = storage.put_manifest(&manifest).await?;
    let read = storage.get_manifest(&path).await?;
    if read != manifest {
        return Err(StorageError::Corrupt {
            path: path.to_string(),
            cause: "read back as another".to_owned(),
        });
    }
    Ok(ManifestName {
        version: manifest.version,
        generation: plan.generation,
        sha256,
    })
}

/// Puts what the job comes to beside its manifest: a rebuild would else count every row. What stands there already says the same.
async fn put_totals(
    storage: &Storage,
    manifest: &Manifest,
    plan: &ManifestPlan,
) -> Result<(), StorageError> {
    let (_, sha256) = manifest.path();
    let found = FoundManifest {
        manifest: manifest.clone(),
        sha256,
    };
    let totals = totals(plan);
    match storage.put_totals(&found, plan.generation, &totals).await {
        Err(StorageError::Corrupt { path, cause }) => {
            tracing::warn!(path, cause, "totals stand there already");
            Ok(())
        }
        settled => settled.map(drop),
    }
}

/// What a job comes to, in storage's words.
fn totals(plan: &ManifestPlan) -> JobTotals {
    let totals = &plan.totals;
    let counts = &totals.verdicts;
    let verdicts = [
        (Verdict::LikelyAi, counts.likely_ai),
        (Verdict::NoEvidence, counts.no_evidence),
        (Verdict::Inconclusive, counts.inconclusive),
        (Verdict::Unscannable, counts.unscannable),
    ];
    JobTotals {
        tracks: totals.tracks,
        shards: totals.shards,
        parts: totals.parts,
        verdicts: verdicts.into_iter().filter(|(_, rows)| *rows > 0).collect(),
        ledger: totals.ledger,
        uses: plan.uses.clone(),
    }
}

/// The manifest that a plan makes: a job's own parts, or for a retry the result whose tracks it scanned again with the new
/// rows in it.
async fn manifest(storage: &Storage, plan: &ManifestPlan) -> Result<Manifest, StorageError> {
    let Some(retry) = &plan.spec.retry else {
        let (of, parts) = own(plan);
        return Ok(Manifest::new(of, parts, plan.totals.ledger));
    };
    let tenant = &plan.spec.tenant;
    let path = paths::manifest(
        tenant,
        retry.generation,
        &retry.job,
        retry.version,
        retry.manifest,
    );
    let base = storage.get_manifest(&path).await?;
    let selection = storage
        .get_selection(tenant, retry.list, plan.spec.list)
        .await?;
    let (of, parts) = own(plan);
    Manifest::retried(&base, &selection, of, parts, plan.totals.ledger).map_err(|error| {
        StorageError::Corrupt {
            path: path.to_string(),
            cause: error.to_string(),
        }
    })
}

/// What a plan says of the job, and its own parts.
fn own(plan: &ManifestPlan) -> (ManifestOf, Vec<ManifestPart>) {
    let spec = &plan.spec;
    let part = |part: &scheduler::ManifestPart| ManifestPart {
        key: paths::part(
            &spec.tenant,
            plan.generation,
            &spec.job,
            part.shard,
            part.attempt,
            part.tracks.first().unwrap_or_default(),
            part.sha256,
        ),
        shard: part.shard,
        attempt: part.attempt,
        tracks: part.tracks.clone(),
        rows: part.rows,
        sha256: part.sha256,
        origin: None,
    };
    let of = ManifestOf {
        tenant: spec.tenant.clone(),
        generation: plan.generation,
        job: spec.job.clone(),
        version: plan.version,
        catalog: spec.catalog.clone(),
        list: spec.list,
        rows: spec.plan.rows,
        bundle: spec.bundle,
        policy: spec.policy.clone(),
    };
    (of, plan.parts.iter().map(part).collect())
}

/// Does an effect on storage in a turn of its own. One that is late may still land: for the core that is no other case than one
/// whose answer was lost.
async fn in_turn<T: Send + 'static>(
    turns: &Turns,
    what: &str,
    work: impl Future<Output = Result<T, StorageError>> + Send + 'static,
) -> StorageOutcome<T> {
    match turns.take(what, work).await {
        Ok(outcome) => storage_outcome(what, outcome),
        Err(late) => {
            tracing::warn!(code = %late.code, cause = late.message, "could not {what}");
            StorageOutcome::Failed {
                code: Code::StorageUnavailable,
                cause: late.message,
            }
        }
    }
}

/// How an effect on storage ended, for the core: anything but done may be tried again.
fn storage_outcome<T>(what: &str, outcome: Result<T, StorageError>) -> StorageOutcome<T> {
    match outcome {
        Ok(done) => StorageOutcome::Done(done),
        Err(error) => {
            let code = match error {
                StorageError::Full { .. } => Code::StorageFull,
                StorageError::Corrupt { .. } | StorageError::Invalid(_) => Code::StorageCorrupt,
                StorageError::Denied { .. } => Code::StorageDenied,
                StorageError::Missing { .. } => Code::StorageMissing,
                StorageError::Unavailable { .. } | StorageError::NotFound { .. } => {
                    Code::StorageUnavailable
                }
            };
            tracing::warn!(%code, cause = chain(&error), "could not {what}");
            StorageOutcome::Failed {
                code,
                cause: chain(&error),
            }
        }
    }
}
