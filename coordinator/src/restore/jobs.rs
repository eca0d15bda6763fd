//! Jobs: every one that storage knows in the generation that is read. What closed them is carried over as it is, and they stay closed;
//! the others go on, with the parts that `parts` takes.
//!
//! A job's own record is written after those of its shards: where it stands, an earlier run had come to its end with the job. Memory holds
//! the names of one tenant's jobs, and of the closed ones as many as have a record.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::rebuild::{FoundJob, job_record};
use scheduler::record::{
    Closing, JobRecord, JobState, ManifestName, RevocationRecord, Totals, VerdictCounts, encode,
};
use scheduler::{JobKey, RecordKey};
use storage::{Cancelled, FoundManifest, JobTotals, StorageError};
use types::{
    CatalogName, Code, Digest, Generation, JobSpec, Problem, TenantId, UnixMillis, Verdict,
};

use super::parts;
use super::steps::Work;
use crate::app::storage_problem;
use crate::clock;
use crate::shelf::read_problem;

/// Lists that jobs scanned, by catalog: their tracks, and when the first of these jobs was submitted.
pub(super) type Lists = BTreeMap<(TenantId, CatalogName), BTreeMap<Digest, (u32, UnixMillis)>>;

/// A job as storage has it.
struct Found {
    key: JobKey,
    /// As it was submitted, in the generation that is read.
    spec: JobSpec,
    cancelled: Option<Cancelled>,
    manifest: Option<FoundManifest>,
}

/// Closed jobs that get a record, the oldest first.
type Newest = BTreeSet<(UnixMillis, JobKey)>;

/// Carries every job over.
///
/// # Errors
/// What keeps store or storage from being read or written.
pub(super) async fn rebuild(
    work: &mut Work<'_>,
    revocations: &[RevocationRecord],
) -> Result<Lists, Problem> {
    let (mut lists, mut newest) = (Lists::new(), Newest::new());
    let storage = work.place.storage.clone();
    let tenants = storage.tenants().await;
    for tenant in tenants.map_err(|error| storage_problem("list tenants", &error))? {
        let jobs = storage.jobs(&tenant, work.old).await;
        for job in jobs.map_err(|error| storage_problem("list jobs", &error))? {
            let tenant = tenant.clone();
            let key = JobKey { tenant, job };
            let Some(found) = find(work, &key).await? else {
                work.report.warn(format!(
                    "job {key}: objects stand there without its specification"
                ));
                continue;
            };
            note_list(&mut lists, &found.spec);
            if found.is_closed() {
                close(work, &found, &mut newest).await?;
            } else {
                open(work, &found, revocations).await?;
            }
        }
    }
    record_closed(work, newest).await?;
    let unknown = std::mem::take(&mut work.kept.open);
    for (key, _) in unknown {
        work.report.warn(format!(
            "job {key}: storage does not know it; submit it again"
        ));
    }
    Ok(lists)
}

/// A selection of another list is no snapshot of a catalog.
fn note_list(lists: &mut Lists, spec: &JobSpec) {
    if spec.retry.is_some() {
        return;
    }
    let catalog = lists.entry((spec.tenant.clone(), spec.catalog.clone()));
    let list = catalog.or_default().entry(spec.list);
    let first = list.or_insert((spec.plan.rows, spec.submitted_at));
    first.1 = first.1.min(spec.submitted_at);
}

async fn find(work: &Work<'_>, key: &JobKey) -> Result<Option<Found>, Problem> {
    let (storage, JobKey { tenant, job }) = (&work.place.storage, key);
    let failed = |error| storage_problem(&format!("read what storage has of job `{key}`"), &error);
    let spec = match storage.get_spec(tenant, work.old, job).await {
        Ok(spec) => spec,
        Err(StorageError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let cancelled = storage.get_cancelled(tenant, work.old, job).await;
    let manifest = storage.find_manifest(tenant, work.old, job).await;
    Ok(Some(Found {
        key: key.clone(),
        spec,
        cancelled: cancelled.map_err(failed)?,
        manifest: manifest.map_err(failed)?,
    }))
}

impl Found {
    const fn is_closed(&self) -> bool {
        self.manifest.is_some() || self.cancelled.is_some()
    }

    /// The specification as the new generation has it.
    fn spec_in(&self, new: Generation) -> JobSpec {
        JobSpec {
            generation: new,
            ..self.spec.clone()
        }
    }

    /// What the scheduler's rules are asked of.
    fn in_core_words(&self, new: Generation, totals: Option<&JobTotals>) -> FoundJob {
        let manifest = self.manifest.as_ref().map(|found| {
            let name = ManifestName {
                version: found.manifest.version,
                generation: found.manifest.generation,
                sha256: found.sha256,
            };
            (name, totals.map(core_totals).unwrap_or_default())
        });
        let cancelled = self.cancelled.as_ref().map(|mark| Closing {
            by: mark.actor.clone(),
            at: mark.at,
            reason: String::new(),
        });
        FoundJob {
            spec: self.spec.clone(),
            spec_sha256: storage::spec_sha256(&self.spec_in(new)),
            cancelled,
            manifest,
            parts: Vec::new(),
        }
    }
}

/// Carries over what closed a job. Its record follows where it is among the newest.
async fn close(work: &mut Work<'_>, found: &Found, newest: &mut Newest) -> Result<(), Problem> {
    let (storage, generations) = (work.place.storage.clone(), (work.old, work.new));
    let failed = |error: StorageError| {
        storage_problem(&format!("carry over closed job `{}`", found.key), &error)
    };
    // What closed it first: with the specification alone it would be open.
    if let Some(manifest) = &found.manifest {
        let totals = storage.totals_of(manifest, work.old).await;
        let totals = totals.map_err(failed)?;
        let copied = storage.copy_manifest(manifest, &totals, generations).await;
        copied.map_err(failed)?;
        work.report.published += 1;
    } else {
        work.report.cancelled += 1;
    }
    if let Some(mark) = &found.cancelled {
        let generation = work.new;
        let mark = Cancelled {
            generation,
            ..mark.clone()
        };
        storage.put_cancelled(&mark).await.map_err(failed)?;
    }
    let spec = found.spec_in(work.new);
    storage.put_spec(&spec).await.map_err(failed)?;
    work.kept.open.remove(&found.key);
    newest.insert((found.spec.submitted_at, found.key.clone()));
    if newest.len() > work.place.settings.policy.jobs_kept {
        newest.pop_first();
        work.report.unlisted += 1;
    }
    Ok(())
}

async fn record_closed(work: &mut Work<'_>, newest: Newest) -> Result<(), Problem> {
    for (_, key) in newest {
        let Some(found) = find(work, &key).await? else {
            continue;
        };
        let totals = match &found.manifest {
            Some(manifest) => {
                let totals = work.place.storage.totals_of(manifest, work.new).await;
                let failed = |error| storage_problem(&format!("read totals of `{key}`"), &error);
                Some(totals.map_err(failed)?)
            }
            None => None,
        };
        let asked = found.in_core_words(work.new, totals.as_ref());
        let record = job_record(work.new, &asked, changed_at(&found));
        put_record(work, &key, &record).await?;
    }
    Ok(())
}

/// When a closed job is said to have closed: by a repeated run the same.
fn changed_at(found: &Found) -> UnixMillis {
    let cancelled = found.cancelled.as_ref().map(|mark| mark.at);
    cancelled.unwrap_or(found.spec.submitted_at)
}

/// Carries an open job over: its specification, the parts that are taken, the records of its shards, and then its own.
async fn open(
    work: &mut Work<'_>,
    found: &Found,
    revocations: &[RevocationRecord],
) -> Result<(), Problem> {
    let key = &found.key;
    let kept = work.kept.open.remove(key);
    if work.again && is_done(work, key).await? {
        work.report.done_before += 1;
        return Ok(());
    }
    let put = work.place.storage.put_spec(&found.spec_in(work.new)).await;
    put.map_err(|error| storage_problem(&format!("carry over job `{key}`"), &error))?;
    if work.again {
        // What an earlier run took may not be what is taken now.
        let any = RecordKey::Shard(key.clone(), types::ShardId::Root(0)).path(work.new);
        let prefix = any.rsplit_once('/').map_or("", |(prefix, _)| prefix);
        work.desk.clear(&format!("{prefix}/")).await?;
    }
    let objects = parts::rebuild(work, key, &found.spec, revocations).await?;
    work.desk.flush().await?;
    if kept.is_none() && objects == 0 && work.kept.generation.is_some() {
        unsure(work, key);
    }
    let mut record = job_record(
        work.new,
        &found.in_core_words(work.new, None),
        clock::wall(),
    );
    if let Some(kept) = kept {
        rank(&mut record, kept);
        work.report.ranked += 1;
    }
    work.report.open += 1;
    tracing::info!(job = %key, "job carried over");
    put_record(work, key, &record).await?;
    work.desk.flush().await
}

/// A specification is put before the job is accepted, and stays where it is refused. What is kept would know of a job that was accepted before
/// it was made, and parts would show that it was accepted since.
fn unsure(work: &mut Work<'_>, key: &JobKey) {
    work.report.warn(format!(
        "job {key}: only its specification tells of it: it was submitted after what was kept, or refused; it goes on, cancel it where nobody \
         wants it"
    ));
}

/// How a job stood in line, which storage does not know.
fn rank(record: &mut JobRecord, kept: JobRecord) {
    record.lane = kept.lane;
    record.priority = kept.priority;
    record.deadline = kept.deadline;
    record.requires = kept.requires;
    if kept.state == JobState::Paused {
        record.state = JobState::Paused;
        record.changed_by = kept.changed_by;
    }
}

async fn is_done(work: &Work<'_>, key: &JobKey) -> Result<bool, Problem> {
    let path = RecordKey::Job(key.clone()).path(work.new);
    let entry = work.place.store.get(&path).await;
    let entry = entry.map_err(|error| read_problem(&path, &error))?;
    Ok(entry.is_some())
}

async fn put_record(work: &mut Work<'_>, key: &JobKey, record: &JobRecord) -> Result<(), Problem> {
    let path = RecordKey::Job(key.clone()).path(work.new);
    work.desk.put(path, encode(record)).await
}

fn core_totals(totals: &JobTotals) -> Totals {
    let rows = |verdict| totals.verdicts.get(&verdict).copied().unwrap_or_default();
    Totals {
        tracks: totals.tracks,
        done: totals.tracks,
        granted: 0,
        shards: totals.shards,
        shards_done: totals.shards,
        parts: totals.parts,
        verdicts: VerdictCounts {
            likely_ai: rows(Verdict::LikelyAi),
            no_evidence: rows(Verdict::NoEvidence),
            inconclusive: rows(Verdict::Inconclusive),
            unscannable: rows(Verdict::Unscannable),
        },
        ledger: totals.ledger,
    }
}

/// What storage holds is damaged where only a whole object will do.
pub(super) const fn is_damage(error: &StorageError) -> bool {
    matches!(error.code(), Code::StorageCorrupt | Code::NotFound)
}
