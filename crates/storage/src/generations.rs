//! What stands in storage of a generation: tenants, their jobs, what was revoked; and which generations a restore made whole.
//!
//! Called by restores and rebuilds, which know nothing but what storage holds, and by a coordinator that starts on a new store.
//! Which part counts is not decided here, and nothing is removed.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use types::{Generation, JobId, TenantId, UnixMillis};

use crate::job::to_json;
use crate::{ObjectPath, Put, Revoked, Storage, StorageError, paths};

/// That a restore made a generation whole, and of which one. Put before any coordinator leads in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationMark {
    /// The generation that was made.
    pub generation: Generation,
    /// The generation whose objects it was made from.
    pub replaced: Generation,
    /// The store that it was made in.
    pub cluster: u64,
    /// When, for display.
    pub at: UnixMillis,
}

impl Storage {
    /// Every tenant that has anything here.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn tenants(&self) -> Result<Vec<TenantId>, StorageError> {
        let folders = self.folders("").await?;
        let tenants = folders.into_iter().filter_map(|name| name.parse().ok());
        Ok(tenants.collect())
    }

    /// Every generation of which a job or a revocation stands here, or that a restore made.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn generations(&self) -> Result<BTreeSet<Generation>, StorageError> {
        let mut found = self.restored().await?;
        for tenant in self.tenants().await? {
            let folders = self.folders(tenant.as_str()).await?;
            let numbers = folders.iter().filter_map(|name| name.parse().ok());
            found.extend(numbers.map(Generation));
        }
        Ok(found)
    }

    /// The generations that a restore made whole. The first one has no mark.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn restored(&self) -> Result<BTreeSet<Generation>, StorageError> {
        let names = self.objects(paths::GENERATIONS).await?;
        let number = |name: &String| {
            let number: u32 = name.strip_suffix(".json")?.parse().ok()?;
            Some(Generation(number))
        };
        Ok(names.iter().filter_map(number).collect())
    }

    /// What a restore said of a generation that it made whole; none where none did.
    ///
    /// # Errors
    /// See [`StorageError`]; `Corrupt` for a mark that says nothing.
    pub async fn restored_as(
        &self,
        generation: Generation,
    ) -> Result<Option<GenerationMark>, StorageError> {
        match self.get_json(&paths::generation(generation)).await {
            Ok(mark) => Ok(Some(mark)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Marks a generation as made whole. The first mark of a generation stands, whoever repeats it.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn put_restored(&self, mark: &GenerationMark) -> Result<Put, StorageError> {
        let path = paths::generation(mark.generation);
        match self.put(&path, to_json(mark).into()).await {
            Err(StorageError::Corrupt { .. }) if self.exists(&path).await? => Ok(Put::AlreadyThere),
            settled => settled,
        }
    }

    /// The jobs of a tenant in one generation.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn jobs(
        &self,
        tenant: &TenantId,
        generation: Generation,
    ) -> Result<Vec<JobId>, StorageError> {
        let folders = self.folders(&format!("{tenant}/{generation}")).await?;
        // No job's name begins with `_`.
        Ok(folders
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect())
    }

    /// What was revoked in one generation.
    ///
    /// # Errors
    /// See [`StorageError`]; `Corrupt` for an object that says nothing: what it revoked would count again.
    pub async fn revoked(
        &self,
        tenant: &TenantId,
        generation: Generation,
    ) -> Result<Vec<Revoked>, StorageError> {
        let folder = format!("{tenant}/{generation}/{}", paths::REVOCATIONS);
        let mut revoked = Vec::new();
        for name in self.objects(&folder).await? {
            let path: Result<ObjectPath, _> = format!("{folder}/{name}").parse();
            let path = path.map_err(|error| StorageError::Invalid(error.to_string()))?;
            revoked.push(self.get_json(&path).await?);
        }
        Ok(revoked)
    }

    /// The names of the folders in a folder; of the root where it is empty.
    pub(crate) async fn folders(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let under = object_store::path::Path::from(folder);
        let listed = self.object_store().list_with_delimiter(Some(&under)).await;
        let listed = listed.map_err(|error| StorageError::from_store("list", folder, error))?;
        let names = listed.common_prefixes.iter();
        Ok(names
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect())
    }

    /// The names of the objects below a folder, without those of it.
    pub(crate) async fn objects(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let under = object_store::path::Path::from(folder);
        let listed: Vec<_> = self
            .object_store()
            .list(Some(&under))
            .try_collect()
            .await
            .map_err(|error| StorageError::from_store("list", folder, error))?;
        let names = listed.iter().filter_map(|object| {
            let rest = object.location.as_ref().strip_prefix(folder)?;
            Some(rest.trim_start_matches('/').to_owned())
        });
        Ok(names.collect())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_generation_is_known_by_its_jobs_and_one_that_was_restored_by_its_mark_too() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        assert!(storage.generations().await.unwrap().is_empty());
        for path in [
            "a/1/j1/spec.json",
            "a/1/_revocations/r-x.json",
            "b/2/j2/x",
            "b/snapshots/s",
        ] {
            let path: ObjectPath = path.parse().unwrap();
            storage.put(&path, Bytes::from_static(b"{}")).await.unwrap();
        }
        let mark = GenerationMark {
            generation: Generation(3),
            replaced: Generation(2),
            cluster: 7,
            at: UnixMillis(1),
        };
        storage.put_restored(&mark).await.unwrap();
        let again = GenerationMark {
            at: UnixMillis(2),
            ..mark
        };
        assert_eq!(
            storage.put_restored(&again).await.unwrap(),
            Put::AlreadyThere
        );
        let all = storage.generations().await.unwrap();
        assert_eq!(all, [1, 2, 3].map(Generation).into());
        assert_eq!(storage.restored().await.unwrap(), [Generation(3)].into());
        let first = storage.restored_as(Generation(3)).await.unwrap();
        assert_eq!(first.map(|mark| mark.at), Some(UnixMillis(1)));
        assert_eq!(storage.restored_as(Generation(2)).await.unwrap(), None);
        let tenants = storage.tenants().await.unwrap();
        assert_eq!(tenants, ["a", "b"].map(|name| TenantId::new(name).unwrap()));
        let jobs = storage.jobs(&tenants[0], Generation(1)).await.unwrap();
        assert_eq!(jobs, [JobId::new("j1").unwrap()]);
    }

    #[tokio::test]
    async fn what_was_revoked_and_says_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let path: ObjectPath = "a/1/_revocations/r-x.json".parse().unwrap();
        storage.put(&path, Bytes::from_static(b"{}")).await.unwrap();
        let tenant = TenantId::new("a").unwrap();
        let refused = storage.revoked(&tenant, Generation(1)).await.unwrap_err();
        assert!(matches!(refused, StorageError::Corrupt { .. }), "{refused}");
        assert!(
            storage
                .revoked(&tenant, Generation(2))
                .await
                .unwrap()
                .is_empty()
        );
    }
}
