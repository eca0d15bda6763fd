//! Listing and removing part objects, for the coordinator's collector alone: what counts is read through manifests, never
//! through listings. Nothing but part objects is ever removed, and which ones is not decided here.

use futures::stream::{BoxStream, StreamExt};
use types::{Attempt, Digest, Generation, JobId, Ordinal, ShardId, TenantId};

use crate::{ObjectPath, Storage, StorageError, paths};

/// A part object as its path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartObject {
    /// Its path.
    pub path: ObjectPath,
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

impl Storage {
    /// The part objects of a job in one generation, in no order. Objects of other names are passed over.
    #[must_use]
    pub fn part_objects(
        &self,
        tenant: &TenantId,
        generation: Generation,
        job: &JobId,
    ) -> BoxStream<'static, Result<PartObject, StorageError>> {
        self.part_objects_after((tenant, job), generation, None)
    }

    /// The same, from behind an object on: on a store behind a network, which lists by name. A folder lists in no order, and lists all of them.
    #[must_use]
    pub fn part_objects_after(
        &self,
        (tenant, job): (&TenantId, &JobId),
        generation: Generation,
        after: Option<&ObjectPath>,
    ) -> BoxStream<'static, Result<PartObject, StorageError>> {
        let prefix = paths::job_folder(tenant, generation, job);
        let under = object_store::path::Path::from(prefix.as_str());
        let (tenant, job) = (tenant.clone(), job.clone());
        let named = move |listed: Result<object_store::ObjectMeta, object_store::Error>| {
            let named = listed
                .map_err(|error| StorageError::from_store("list", &prefix, error))
                .map(|object| read(&tenant, generation, &job, &object));
            std::future::ready(named.transpose())
        };
        let store = self.object_store();
        let listed = match after.filter(|_| !self.is_folder()) {
            Some(after) => store.list_with_offset(Some(&under), &after.to_store()),
            None => store.list(Some(&under)),
        };
        listed.filter_map(named).boxed()
    }

    /// Removes a part object. One that is not there is removed.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn remove_part(&self, part: &PartObject) -> Result<(), StorageError> {
        match self.remove(&part.path).await {
            Err(StorageError::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What a path names, where it is exactly the path of a part.
fn read(
    tenant: &TenantId,
    generation: Generation,
    job: &JobId,
    object: &object_store::ObjectMeta,
) -> Option<PartObject> {
    let location = object.location.as_ref();
    let path: ObjectPath = location.parse().ok()?;
    let mut segments = location.rsplit('/');
    let (name, shard) = (segments.next()?, segments.next()?);
    let mut words = name.strip_suffix(".parquet")?.split('-');
    let (attempt, first, sha256) = (words.next()?, words.next()?, words.next()?);
    let (shard, attempt): (ShardId, u32) = (shard.parse().ok()?, attempt.parse().ok()?);
    let (first, sha256): (Ordinal, Digest) = (first.parse().ok()?, sha256.parse().ok()?);
    let attempt = Attempt(attempt);
    let expected = paths::part(tenant, generation, job, shard, attempt, first, sha256);
    (expected == path).then_some(PartObject {
        path,
        shard,
        attempt,
        first,
        sha256,
        bytes: object.size,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::TryStreamExt;

    use super::*;
    use crate::conformance::{Kind, Store};

    async fn listed(storage: &Storage, job: &JobId) -> Vec<PartObject> {
        let found = storage.part_objects(&TenantId::default(), Generation(1), job);
        found.try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn a_listing_goes_on_behind_an_object_where_names_have_an_order() {
        for (kind, rest) in [(Kind::S3sFs, 2), (Kind::Moto, 2), (Kind::Local, 3)] {
            let store = Store::start(kind);
            let storage = store.open();
            let (tenant, job) = (TenantId::default(), JobId::new("mine").unwrap());
            for first in 1..=3 {
                let (shard, sha256) = (ShardId::Root(first), Digest::of(b"x"));
                let path = paths::part(
                    &tenant,
                    Generation(1),
                    &job,
                    shard,
                    Attempt(1),
                    first,
                    sha256,
                );
                storage.put(&path, Bytes::from_static(b"x")).await.unwrap();
            }
            let mut all = listed(&storage, &job).await;
            all.sort_by_key(|part| part.path.to_string());
            let after = Some(&all[0].path);
            let behind = storage.part_objects_after((&tenant, &job), Generation(1), after);
            let behind: Vec<PartObject> = behind.try_collect().await.unwrap();
            assert_eq!(behind.len(), rest, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn a_listing_names_the_parts_of_one_job_and_nothing_else_and_what_is_removed_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let tenant = TenantId::default();
        let (mine, other) = (JobId::new("mine").unwrap(), JobId::new("mine2").unwrap());
        let escalation = ShardId::Escalation {
            root: 3,
            attempt: Attempt(2),
            first: 9,
        };
        let part = |job: &JobId, shard, bytes: &[u8]| {
            let sha256 = Digest::of(bytes);
            paths::part(&tenant, Generation(1), job, shard, Attempt(4), 7, sha256)
        };
        let objects = [
            part(&mine, ShardId::Root(3), b"a"),
            part(&mine, escalation, b"b"),
            part(&other, ShardId::Root(3), b"a"),
            paths::spec(&tenant, Generation(1), &mine),
            "default/1/mine/beef/3/4-7-abc.parquet".parse().unwrap(),
        ];
        for path in &objects {
            storage.put(path, Bytes::from_static(b"x")).await.unwrap();
        }
        let mut found = listed(&storage, &mine).await;
        found.sort_by_key(|part| part.shard);
        let paths: Vec<&ObjectPath> = found.iter().map(|part| &part.path).collect();
        assert_eq!(paths, [&objects[0], &objects[1]]);
        assert_eq!(found[1].shard, escalation);
        storage.remove_part(&found[0]).await.unwrap();
        storage.remove_part(&found[0]).await.unwrap();
        assert_eq!(listed(&storage, &mine).await.len(), 1);
        assert_eq!(listed(&storage, &other).await.len(), 1);
    }
}
