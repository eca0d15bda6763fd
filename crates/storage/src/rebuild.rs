//! What a rebuild reads of one job in the generation that it replaces, and what it takes over into its own: parts and manifests, byte for
//! byte, and the totals that stand beside a manifest.
//!
//! Called by the coordinator's restore. What is taken is the scheduler's to say. Memory is bounded: names come in windows of root
//! shards, parts one by one. Nothing is changed or removed in the generation that is read.

use std::collections::BTreeMap;
use std::io;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};
use types::{
    Attempt, DeviceUse, Digest, Generation, JobId, Ledger, Ordinal, ShardId, TenantId, Verdict,
};

use crate::job::to_json;
use crate::objects::run_blocking;
use crate::parts::{check_place, decode};
use crate::{Manifest, ObjectPath, PartFooter, Put, Storage, StorageError, paths};

/// Names of part objects that are held at once, some 64 bytes each: those of 98,000 shards with four parts, so that even the largest
/// job is listed once.
const NAMES_MAX: usize = 500_000;

/// What the path of a part object says beyond its job and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartNames {
    /// The shard.
    pub shard: ShardId,
    /// The attempt.
    pub attempt: Attempt,
    /// Its lowest ordinal.
    pub first: Ordinal,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// Its size as it was listed.
    pub bytes: u64,
}

/// The part objects of some root shards of a job, with those of their escalation shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartWindow {
    /// By the number of the root shard.
    pub roots: BTreeMap<u32, Vec<PartNames>>,
    /// The root shard to go on from; none where these are the last.
    pub next: Option<u32>,
}

/// A part that was read whole: its bytes are those of its name, and its footer leads to its path.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenedPart {
    /// What it says of itself.
    pub footer: PartFooter,
    /// Its rows.
    pub rows: u32,
    /// Its rows by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Its size.
    pub bytes: u64,
}

/// The manifest that makes a job a published one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundManifest {
    /// What it says.
    pub manifest: Manifest,
    /// The digest of its bytes.
    pub sha256: Digest,
}

/// What a published job comes to. The manifest does not say it, and reading every row to know it takes hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTotals {
    /// Tracks of its list.
    pub tracks: u64,
    /// Its root shards.
    pub shards: u32,
    /// Parts that counted.
    pub parts: u32,
    /// Terminal rows by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// What it cost.
    pub ledger: Ledger,
    /// The same by node, device and stage, of parts too that go once the job is published. None where it was published before these
    /// were kept, or where they were too many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<DeviceUse>,
}

impl PartWindow {
    fn add(&mut self, names: PartNames, held: &mut usize) -> Result<(), StorageError> {
        let root = names.shard.root();
        if self.next.is_some_and(|next| root >= next) {
            return Ok(());
        }
        self.roots.entry(root).or_default().push(names);
        *held += 1;
        while *held > NAMES_MAX {
            let Some((last, left)) = self.roots.pop_last() else {
                break;
            };
            if self.roots.is_empty() {
                let said = format!("shard {last} has more than {NAMES_MAX} part objects");
                return Err(StorageError::Invalid(said));
            }
            *held -= left.len();
            self.next = Some(last);
        }
        Ok(())
    }
}

impl Storage {
    /// The part objects of a job's root shards from `from` on, as many as are held at once.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn part_window(
        &self,
        (tenant, job): (&TenantId, &JobId),
        generation: Generation,
        from: u32,
    ) -> Result<PartWindow, StorageError> {
        let mut objects = self.part_objects(tenant, generation, job);
        let (mut window, mut held) = (PartWindow::default(), 0);
        while let Some(object) = objects.try_next().await? {
            let names = PartNames {
                shard: object.shard,
                attempt: object.attempt,
                first: object.first,
                sha256: object.sha256,
                bytes: object.bytes,
            };
            if names.shard.root() >= from {
                window.add(names, &mut held)?;
            }
        }
        Ok(window)
    }

    /// Reads and checks one part.
    ///
    /// # Errors
    /// See [`StorageError`]; `Corrupt` for one that is not whole or not what its path says.
    pub async fn open_part(
        &self,
        (tenant, job): (&TenantId, &JobId),
        generation: Generation,
        names: &PartNames,
    ) -> Result<OpenedPart, StorageError> {
        let path = names.path((tenant, job), generation);
        let bytes = self.get_checked(&path, names.sha256).await?;
        let (size, of_part) = (bytes.len() as u64, bytes);
        // Thousands come one after another: what decodes one keeps none of the others waiting.
        let decoded = run_blocking(move || decode(&of_part).map_err(io::Error::other)).await;
        let part = decoded.map_err(|error| StorageError::corrupt(&path, error))?;
        check_place(&part.footer, &path, names.sha256)?;
        let mut verdicts = BTreeMap::new();
        for row in &part.rows {
            *verdicts.entry(row.verdict).or_default() += 1;
        }
        Ok(OpenedPart {
            footer: part.footer,
            rows: u32::try_from(part.rows.len()).unwrap_or(u32::MAX),
            verdicts,
            bytes: size,
        })
    }

    /// Copies a part to the path of a later generation. Repeating it is a success. Where storage is no folder, storage copies it itself.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn copy_part(
        &self,
        of: (&TenantId, &JobId),
        names: &PartNames,
        (from, to): (Generation, Generation),
    ) -> Result<(), StorageError> {
        let (from, to) = (names.path(of, from), names.path(of, to));
        if self.is_folder() {
            // A link to one file would let one fault of the disk take both.
            let bytes = self.get_checked(&from, names.sha256).await?;
            return self.put(&to, bytes).await.map(drop);
        }
        let (source, target) = (from.to_store(), to.to_store());
        let copied = self.object_store().copy(&source, &target).await;
        copied.map_err(|error| StorageError::from_store("copy", from.as_str(), error))?;
        match self.len(&to).await? {
            bytes if bytes == names.bytes => Ok(()),
            bytes => Err(StorageError::corrupt(
                &to,
                format!("{bytes} of {} bytes were copied", names.bytes),
            )),
        }
    }

    /// The manifest of a job in one generation, the latest where it has several.
    ///
    /// # Errors
    /// See [`StorageError`]; `Corrupt` where it is damaged.
    pub async fn find_manifest(
        &self,
        tenant: &TenantId,
        generation: Generation,
        job: &JobId,
    ) -> Result<Option<FoundManifest>, StorageError> {
        let names = self.manifests(tenant, generation, job).await?;
        let names = names.iter().filter_map(|name| paths::manifest_named(name));
        let Some((version, sha256)) = names.max() else {
            return Ok(None);
        };
        let path = paths::manifest(tenant, generation, job, version, sha256);
        let manifest = self.get_manifest(&path).await?;
        Ok(Some(FoundManifest { manifest, sha256 }))
    }

    /// Copies a manifest, byte for byte, and its totals to the paths of a later generation. Repeating it is a success.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn copy_manifest(
        &self,
        found: &FoundManifest,
        totals: &JobTotals,
        (from, to): (Generation, Generation),
    ) -> Result<(), StorageError> {
        let Manifest {
            tenant,
            job,
            version,
            ..
        } = &found.manifest;
        let path = |generation| paths::manifest(tenant, generation, job, *version, found.sha256);
        let bytes = self.get_checked(&path(from), found.sha256).await?;
        self.put_totals(found, to, totals).await?;
        self.put(&path(to), bytes).await.map(drop)
    }

    /// Puts what a job comes to, beside the manifest that it is of.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn put_totals(
        &self,
        found: &FoundManifest,
        generation: Generation,
        totals: &JobTotals,
    ) -> Result<Put, StorageError> {
        self.put(&found.totals(generation), to_json(totals).into())
            .await
    }

    /// What a published job comes to: as it was put, or counted row by row where nothing was.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn totals_of(
        &self,
        found: &FoundManifest,
        generation: Generation,
    ) -> Result<JobTotals, StorageError> {
        match self.kept_totals(found, generation).await? {
            Some(totals) => Ok(totals),
            None => self.count_totals(&found.manifest).await,
        }
    }

    /// What a published job comes to as it was put; nothing where nothing was.
    ///
    /// # Errors
    /// See [`StorageError`]; `Corrupt` where it is damaged.
    pub async fn kept_totals(
        &self,
        found: &FoundManifest,
        generation: Generation,
    ) -> Result<Option<JobTotals>, StorageError> {
        match self.get_json(&found.totals(generation)).await {
            Ok(totals) => Ok(Some(totals)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Of a job that scanned tracks of another result again, its own rows alone.
    async fn count_totals(&self, manifest: &Manifest) -> Result<JobTotals, StorageError> {
        let mut totals = JobTotals {
            ledger: manifest.ledger,
            ..JobTotals::default()
        };
        let mut shards = std::collections::BTreeSet::new();
        for listed in &manifest.parts {
            let origin = listed.origin.as_ref();
            if origin.is_some_and(|origin| origin.job != manifest.job) {
                continue;
            }
            let part = self.get_part(&listed.key, listed.sha256).await?;
            let counts = |ordinal| origin.is_none_or(|origin| origin.tracks.contains(ordinal));
            for row in part.rows.iter().filter(|row| counts(row.ordinal)) {
                *totals.verdicts.entry(row.verdict).or_default() += 1;
                totals.tracks += 1;
            }
            totals.parts += 1;
            shards.insert(listed.shard.root());
        }
        totals.shards = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        Ok(totals)
    }
}

impl PartNames {
    fn path(&self, (tenant, job): (&TenantId, &JobId), generation: Generation) -> ObjectPath {
        let Self {
            shard,
            attempt,
            first,
            sha256,
            ..
        } = *self;
        paths::part(tenant, generation, job, shard, attempt, first, sha256)
    }
}

impl FoundManifest {
    fn totals(&self, generation: Generation) -> ObjectPath {
        let Manifest {
            tenant,
            job,
            version,
            ..
        } = &self.manifest;
        paths::totals(tenant, generation, job, *version, self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::parts::samples;

    const OLD: Generation = Generation(1);
    const NEW: Generation = Generation(2);

    fn names(shard: ShardId, attempt: u32) -> PartNames {
        PartNames {
            shard,
            attempt: Attempt(attempt),
            first: 0,
            sha256: Digest::of(&attempt.to_le_bytes()),
            bytes: 1,
        }
    }

    #[tokio::test]
    async fn a_part_that_was_copied_is_read_in_the_later_generation_and_never_in_an_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let footer = samples::footer(0, 2, (0..3).collect(), Digest::of(b"list"));
        let rows: Vec<_> = (0..3).map(samples::sample_row).collect();
        let part = crate::parts::encode(&footer, &rows).unwrap();
        storage.put_part(&part).await.unwrap();
        let of = (&footer.tenant, &footer.job);
        let window = storage.part_window(of, footer.generation, 0).await.unwrap();
        let names = window.roots.values().flatten().next().unwrap();
        let later = Generation(footer.generation.0 + 1);
        let opened = storage.open_part(of, footer.generation, names).await;
        assert_eq!(u64::from(opened.unwrap().rows), footer.tracks.len());
        for _ in 0..2 {
            let generations = (footer.generation, later);
            storage.copy_part(of, names, generations).await.unwrap();
        }
        let path = names.path(of, later);
        let read = storage.get_part(&path, names.sha256).await.unwrap();
        assert_eq!(read.footer, footer);
        let earlier = names.path(of, Generation(footer.generation.0 - 1));
        storage.put(&earlier, part.bytes.clone()).await.unwrap();
        let refused = storage.get_part(&earlier, names.sha256).await.unwrap_err();
        assert!(matches!(refused, StorageError::Corrupt { .. }), "{refused}");
    }

    #[tokio::test]
    async fn a_manifest_is_copied_byte_for_byte_and_its_totals_are_counted_where_none_were_put() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let parts = [(0, vec![0, 1, 2]), (1, vec![3])];
        let (_, manifest) = samples::put_result(&storage, 4, &parts).await;
        let (tenant, job) = (manifest.tenant.clone(), manifest.job.clone());
        let found = storage.find_manifest(&tenant, OLD, &job).await.unwrap();
        let found = found.unwrap();
        assert_eq!(found.manifest, manifest);
        let totals = storage.totals_of(&found, OLD).await.unwrap();
        assert_eq!((totals.tracks, totals.shards, totals.parts), (4, 2, 2));
        assert_eq!(totals.verdicts[&Verdict::NoEvidence], 2);
        for _ in 0..2 {
            let copied = storage.copy_manifest(&found, &totals, (OLD, NEW)).await;
            copied.unwrap();
        }
        let again = storage.find_manifest(&tenant, NEW, &job).await.unwrap();
        assert_eq!(again.as_ref(), Some(&found));
        assert_eq!(storage.totals_of(&found, NEW).await.unwrap(), totals);
    }

    #[tokio::test]
    async fn uses_that_were_kept_go_along_with_a_copy_and_totals_without_them_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let (_, manifest) = samples::put_result(&storage, 3, &[(0, vec![0, 1, 2])]).await;
        let (tenant, job) = (manifest.tenant.clone(), manifest.job.clone());
        let found = storage.find_manifest(&tenant, OLD, &job).await.unwrap();
        let found = found.unwrap();
        assert_eq!(storage.kept_totals(&found, OLD).await.unwrap(), None);
        let without = storage.totals_of(&found, OLD).await.unwrap();
        let text = String::from_utf8(to_json(&without)).unwrap();
        assert!(!text.contains("uses"), "{text}");
        let line = DeviceUse {
            node: "n1".to_owned(),
            device: "cpu:0".to_owned(),
            stage: types::Stage::Screen,
            used: manifest.ledger.screen,
        };
        let with = JobTotals {
            uses: vec![line],
            ..without.clone()
        };
        let copied = storage.copy_manifest(&found, &with, (OLD, NEW)).await;
        copied.unwrap();
        let kept = |generation| storage.kept_totals(&found, generation);
        assert_eq!(kept(NEW).await.unwrap(), Some(with));
        storage.put_totals(&found, OLD, &without).await.unwrap();
        assert_eq!(kept(OLD).await.unwrap(), Some(without));
    }

    #[test]
    fn names_beyond_what_is_held_are_for_the_next_window_by_whole_roots() {
        let (mut window, mut held) = (PartWindow::default(), NAMES_MAX - 2);
        for root in [3, 1, 2, 1, 3] {
            window
                .add(names(ShardId::Root(root), 1), &mut held)
                .unwrap();
        }
        assert_eq!(window.roots.keys().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(window.next, Some(2));
        let (mut window, mut held) = (PartWindow::default(), NAMES_MAX);
        let refused = window.add(names(ShardId::Root(3), 1), &mut held);
        assert!(matches!(refused, Err(StorageError::Invalid(_))));
    }

    #[tokio::test]
    async fn a_torn_part_is_said_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let (tenant, job) = (TenantId::default(), JobId::new("j").unwrap());
        let of = (&tenant, &job);
        let names = names(ShardId::Root(0), 1);
        let torn = Bytes::from_static(b"half");
        storage.put(&names.path(of, OLD), torn).await.unwrap();
        let refused = storage.open_part(of, OLD, &names).await.unwrap_err();
        assert!(matches!(refused, StorageError::Corrupt { .. }), "{refused}");
        assert_eq!(
            storage.find_manifest(&tenant, NEW, &job).await.unwrap(),
            None
        );
    }
}
