//! The parts' objects that agents would have put: what a commit names must be in storage. They are put before the clock runs,
//! since it is the coordinator that is measured; agents put theirs on machines of their own. Called by `wire`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use proto::v1;
use types::{Attempt, Digest, Generation, JobId, Ordinal, ShardId, TenantId};

/// Size of each object.
pub(crate) const PART_BYTES: usize = 300;

/// Names that one file has at most; file systems allow a few more.
const NAMES_MAX: u32 = 60_000;

/// What a part of an attempt is called: its object holds nothing that could be digested.
pub(crate) fn sha256(shard: &str, attempt: u32) -> Digest {
    Digest::of(format!("{shard}/{attempt}").as_bytes())
}

/// Puts the object of each shard's first attempt, of a job whose shards are of one track each, and waits until all are on the disk.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn put_first(storage: &Path, job: &v1::JobSpec, shards: u32) -> anyhow::Result<()> {
    let root = Root::of(storage, job.generation, &job.job)?;
    for first in (0..shards).step_by(NAMES_MAX as usize) {
        let file = storage.join(format!("names-from-{first}"));
        write(&file)?;
        for ordinal in first..shards.min(first.saturating_add(NAMES_MAX)) {
            let path = root.path(ShardId::Root(ordinal), 1, ordinal)?;
            std::fs::hard_link(&file, &path).with_context(|| format!("link {}", path.display()))?;
        }
        std::fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    }
    let synced = Command::new("sync").arg("-f").arg(storage).status();
    anyhow::ensure!(
        synced.context("sync the storage folder")?.success(),
        "sync failed"
    );
    Ok(())
}

/// Puts the object of an attempt that is not the first.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn put_again(storage: &Path, grant: &v1::Grant) -> anyhow::Result<()> {
    let root = Root::of(storage, grant.generation, &grant.job)?;
    let tracks = grant.tracks.first().context("a grant has tracks")?;
    write(&root.path(grant.shard.parse()?, grant.attempt, tracks.first)?)
}

/// Where the parts of a job lie.
struct Root<'a> {
    storage: &'a Path,
    generation: Generation,
    job: JobId,
}

impl<'a> Root<'a> {
    fn of(storage: &'a Path, generation: u32, job: &str) -> anyhow::Result<Self> {
        Ok(Self {
            storage,
            generation: Generation(generation),
            job: job.parse()?,
        })
    }

    /// The path of a part, in a folder that is there.
    fn path(&self, shard: ShardId, attempt: u32, first: Ordinal) -> anyhow::Result<PathBuf> {
        let name = sha256(&shard.to_string(), attempt);
        let path = storage::paths::part(
            &TenantId::default(),
            self.generation,
            &self.job,
            shard,
            Attempt(attempt),
            first,
            name,
        );
        let path = self.storage.join(path.as_str());
        let folder = path.parent().context("a part lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(path)
    }
}

fn write(path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, [0; PART_BYTES]).with_context(|| format!("write {}", path.display()))
}
