//! Parts of an open job: read and checked root shard by root shard, judged by the scheduler's rule, copied where they are taken, and then
//! named by the records of their shards. Memory holds the names of many parts and the footers of a few.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use scheduler::rebuild::{FoundPart, LeftPart, RebuiltShards, root_shards};
use scheduler::record::{
    Made, Part, PartKind, RevocationRecord, ShardRecord, VerdictCounts, encode_shard,
};
use scheduler::{JobKey, RecordKey};
use storage::{OpenedPart, PartNames, Storage, StorageError};
use types::{JobSpec, Problem, ShardId, Verdict};

use super::jobs::is_damage;
use super::steps::Work;
use crate::app::storage_problem;

/// Root shards worked on at once, and parts of each that are read or copied at once: 64 requests under way keep a store of 30 ms
/// busy at 2,000 a second, and hold some 64 parts of a few hundred KiB.
const ROOTS_AT_ONCE: usize = 16;
const PARTS_AT_ONCE: usize = 4;

/// Tries at one root shard, over about a minute: storage that is away for longer needs its operator, who runs the restore again.
const TRIES_MAX: u32 = 8;
const WAIT_FIRST: Duration = Duration::from_millis(500);

/// What is read of one root shard.
struct Root {
    rebuilt: RebuiltShards,
    /// Parts that are not whole, by what is wrong.
    damaged: Vec<String>,
}

/// What every look at the parts of one job needs.
struct Job<'a> {
    key: &'a JobKey,
    spec: &'a JobSpec,
    revocations: &'a [RevocationRecord],
    storage: &'a Storage,
    generations: (types::Generation, types::Generation),
}

/// Takes the parts of an open job over, and puts the records of its shards. How many part objects there were, taken or not.
///
/// # Errors
/// What keeps store or storage from being read or written.
pub(super) async fn rebuild(
    work: &mut Work<'_>,
    key: &JobKey,
    spec: &JobSpec,
    revocations: &[RevocationRecord],
) -> Result<usize, Problem> {
    let storage = work.place.storage.clone();
    let job = Job {
        key,
        spec,
        revocations,
        storage: storage.as_ref(),
        generations: (work.old, work.new),
    };
    let failed = |error| storage_problem(&format!("read the parts of job `{key}`"), &error);
    let (mut from, mut done, mut objects) = (0, 0, 0);
    loop {
        let of = (&key.tenant, &key.job);
        let window = storage.part_window(of, work.old, from).await;
        let window = window.map_err(failed)?;
        objects += window.roots.values().map(Vec::len).sum::<usize>();
        let roots = stream::iter(window.roots.into_values()).map(|names| job.root_in_time(names));
        let mut roots = roots.buffered(ROOTS_AT_ONCE);
        while let Some(root) = roots.try_next().await.map_err(failed)? {
            done += put(work, key, root).await?;
        }
        match window.next {
            Some(next) => from = next,
            None => break,
        }
    }
    work.report.tracks_taken += done;
    work.report.tracks_queued += u64::from(spec.plan.rows).saturating_sub(done);
    Ok(objects)
}

impl Job<'_> {
    /// The same as [`Job::root`], tried again for a while.
    async fn root_in_time(&self, names: Vec<PartNames>) -> Result<Root, StorageError> {
        in_time(self.key, || self.root(names.clone())).await
    }

    /// Reads the parts of one root shard, and copies those that are taken.
    async fn root(&self, names: Vec<PartNames>) -> Result<Root, StorageError> {
        let reading = stream::iter(names.clone()).map(|names| async move {
            let of = (&self.key.tenant, &self.key.job);
            let opened = self.storage.open_part(of, self.generations.0, &names).await;
            (names, opened)
        });
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        for (names, opened) in reading.buffered(PARTS_AT_ONCE).collect::<Vec<_>>().await {
            match opened {
                Ok(opened) => found.extend(self.in_core_words(&names, opened, &mut damaged)),
                Err(error) if is_damage(&error) => damaged.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        let rebuilt = root_shards(self.spec, &found, self.revocations);
        let taken = names.into_iter().filter(|names| is_taken(&rebuilt, names));
        let copying = stream::iter(taken).map(|names| async move {
            let of = (&self.key.tenant, &self.key.job);
            self.storage.copy_part(of, &names, self.generations).await
        });
        let copied = copying.buffered(PARTS_AT_ONCE);
        copied.try_collect::<Vec<()>>().await?;
        Ok(Root { rebuilt, damaged })
    }

    /// A part as the scheduler knows it, where it is of this job's list.
    fn in_core_words(
        &self,
        names: &PartNames,
        opened: OpenedPart,
        damaged: &mut Vec<String>,
    ) -> Option<FoundPart> {
        let footer = opened.footer;
        let Some(node) = footer.spans.first().map(|span| span.node.clone()) else {
            damaged.push(format!("part {} names no node", names.sha256));
            return None;
        };
        if footer.list != self.spec.list {
            damaged.push(format!("part {} is of another list", names.sha256));
            return None;
        }
        let (kind, verdicts) = match footer.kind {
            storage::PartKind::Terminal => (PartKind::Terminal, counts(&opened.verdicts)),
            // Its tracks have their verdicts in the parts of its shard.
            storage::PartKind::Escalation => (PartKind::Escalation, VerdictCounts::default()),
        };
        let made = footer.spans.into_iter().map(|span| Made {
            stage: span.stage,
            device: span.device,
            from: span.from,
            to: span.to,
        });
        Some(FoundPart {
            shard: footer.shard,
            escalation: footer.escalation,
            part: Part {
                attempt: footer.attempt,
                kind,
                tracks: footer.tracks,
                sha256: names.sha256,
                rows: opened.rows,
                bytes: opened.bytes,
                verdicts,
                ledger: footer.ledger,
                node,
                epoch: footer.epoch,
                made: made.collect(),
            },
        })
    }
}

/// Tries again for a while where storage does not answer, and where a part is gone that stood there when it was read: a collector of a
/// coordinator that led before may still remove what nothing names.
async fn in_time<T, F: Future<Output = Result<T, StorageError>>>(
    job: &JobKey,
    read: impl Fn() -> F,
) -> Result<T, StorageError> {
    let (mut tries, mut wait) = (1, WAIT_FIRST);
    loop {
        match read().await {
            Err(error) if passes(&error) && tries < TRIES_MAX => {
                tracing::warn!(%job, %error, tries, "parts are read again");
            }
            settled => return settled,
        }
        tokio::time::sleep(wait).await;
        (tries, wait) = (tries + 1, wait * 2);
    }
}

const fn passes(error: &StorageError) -> bool {
    error.is_transient() || matches!(error, StorageError::NotFound { .. })
}

fn counts(verdicts: &BTreeMap<Verdict, u64>) -> VerdictCounts {
    let rows = |verdict| verdicts.get(&verdict).copied().unwrap_or_default();
    VerdictCounts {
        likely_ai: rows(Verdict::LikelyAi),
        no_evidence: rows(Verdict::NoEvidence),
        inconclusive: rows(Verdict::Inconclusive),
        unscannable: rows(Verdict::Unscannable),
    }
}

fn is_taken(rebuilt: &RebuiltShards, names: &PartNames) -> bool {
    let record = rebuilt.shards.get(&names.shard);
    let mut parts = record.into_iter().flat_map(|record| &record.parts);
    parts.any(|part| (part.attempt, part.sha256) == (names.attempt, names.sha256))
}

/// Puts the records of one root shard and its escalation shards; how many tracks have their row.
async fn put(work: &mut Work<'_>, key: &JobKey, root: Root) -> Result<u64, Problem> {
    let form = work.place.settings.policy.shard_form;
    let mut done = 0;
    for (shard, record) in &root.rebuilt.shards {
        done += rows(record);
        work.report.parts_taken += record.parts.len() as u64;
        let path = RecordKey::Shard(key.clone(), *shard).path(work.new);
        work.desk.put(path, encode_shard(record, form)).await?;
    }
    for left in &root.rebuilt.skipped {
        skipped(work, key, left);
    }
    for cause in root.damaged {
        *work
            .report
            .parts_skipped
            .entry("damaged".to_owned())
            .or_default() += 1;
        work.report.warn(format!("job {key}: {cause}"));
    }
    Ok(done)
}

fn rows(record: &ShardRecord) -> u64 {
    let terminal = record
        .parts
        .iter()
        .filter(|part| part.kind == PartKind::Terminal);
    terminal.map(|part| part.tracks.len()).sum()
}

fn skipped(work: &mut Work<'_>, key: &JobKey, left: &LeftPart) {
    let why = left.why.as_str();
    *work.report.parts_skipped.entry(why.to_owned()).or_default() += 1;
    let shard: ShardId = left.shard;
    tracing::info!(job = %key, %shard, attempt = %left.attempt, sha256 = %left.sha256, why, "part left");
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn tried(failures: u32, error: fn() -> StorageError) -> (bool, u32) {
        let (key, tries) = (
            JobKey {
                tenant: types::TenantId::default(),
                job: "j".parse().unwrap(),
            },
            Cell::new(0),
        );
        let read = || async {
            tries.set(tries.get() + 1);
            match tries.get() > failures {
                true => Ok(()),
                false => Err(error()),
            }
        };
        (in_time(&key, read).await.is_ok(), tries.get())
    }

    fn gone() -> StorageError {
        StorageError::NotFound {
            path: "a part".to_owned(),
        }
    }

    fn damaged() -> StorageError {
        StorageError::Corrupt {
            path: "a part".to_owned(),
            cause: "it is half".to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_goes_before_it_is_copied_has_its_shard_read_again_and_not_for_ever() {
        assert_eq!(tried(1, gone).await, (true, 2));
        assert_eq!(tried(u32::MAX, gone).await, (false, TRIES_MAX));
        assert_eq!(tried(1, damaged).await, (false, 1));
    }
}
