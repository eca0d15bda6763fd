//! What stands in storage of a job besides its parts and manifests: its specification, the mark that it was
//! cancelled, and what of it was revoked.
//!
//! Written by the coordinator before the record that depends on them, read by agents and by a rebuild. JSON; each is put
//! once and never changed.

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::path::Path;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use types::{
    ActorId, Digest, Generation, JobId, JobSpec, NodeId, RevocationId, TenantId, UnixMillis,
};

use crate::{ObjectPath, Put, Storage, StorageError, paths};

/// The mark that a job was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancelled {
    /// Whose job it was.
    pub tenant: TenantId,
    /// The generation it was submitted in.
    pub generation: Generation,
    /// The job.
    pub job: JobId,
    /// Who cancelled it.
    pub actor: ActorId,
    /// When, for display.
    pub at: UnixMillis,
}

/// What a device made that is not to count, said before any record says so: a rebuild skips it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// Whose node it is.
    pub tenant: TenantId,
    /// The generation of the parts.
    pub generation: Generation,
    /// The revocation.
    pub revocation: RevocationId,
    /// The node.
    pub node: NodeId,
    /// The device on it; none for all.
    pub device: Option<String>,
    /// Begin of the span by the coordinator's clock, as nodes know it.
    pub from: UnixMillis,
    /// End of the span, itself included.
    pub to: UnixMillis,
    /// The jobs, as tenant and name.
    pub jobs: Vec<(TenantId, JobId)>,
    /// Who revoked it.
    pub actor: ActorId,
    /// When, for display.
    pub at: UnixMillis,
    /// Why.
    pub reason: String,
}

/// What storage has of a job's end, each written before the job's record says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClosedBy {
    /// A manifest.
    pub manifest: bool,
    /// The mark that it was cancelled.
    pub cancelled: bool,
}

/// The digest of a specification's object: what a repeated submit is recognised by.
pub fn spec_sha256(spec: &JobSpec) -> Digest {
    Digest::of(&to_json(spec))
}

impl Storage {
    /// Puts a job's specification.
    ///
    /// # Errors
    /// See [`StorageError`]; `Corrupt` when another specification stands under the job's name.
    pub async fn put_spec(&self, spec: &JobSpec) -> Result<Put, StorageError> {
        let path = paths::spec(&spec.tenant, spec.generation, &spec.job);
        self.put(&path, to_json(spec).into()).await
    }

    /// Whether a job's specification is there, as it is from before its first record until it is collected.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn has_spec(
        &self,
        tenant: &TenantId,
        generation: Generation,
        job: &JobId,
    ) -> Result<bool, StorageError> {
        self.exists(&paths::spec(tenant, generation, job)).await
    }

    /// Gets a job's specification.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn get_spec(
        &self,
        tenant: &TenantId,
        generation: Generation,
        job: &JobId,
    ) -> Result<JobSpec, StorageError> {
        let path = paths::spec(tenant, generation, job);
        let spec: JobSpec = self.get_json(&path).await?;
        match (&spec.tenant, spec.generation, &spec.job) == (tenant, generation, job) {
            true => Ok(spec),
            false => Err(StorageError::corrupt(
                &path,
                "it is the specification of another job",
            )),
        }
    }

    /// Marks a job as cancelled. A second mark, by whomever, changes nothing and is no error: the first stands.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn put_cancelled(&self, mark: &Cancelled) -> Result<Put, StorageError> {
        let path = paths::cancelled(&mark.tenant, mark.generation, &mark.job);
        match self.put(&path, to_json(mark).into()).await {
            Err(StorageError::Corrupt { .. }) if self.exists(&path).await? => self
                .get_json::<Cancelled>(&path)
                .await
                .map(|_| Put::AlreadyThere),
            settled => settled,
        }
    }

    /// The mark that a job was cancelled, where it was.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn get_cancelled(
        &self,
        tenant: &TenantId,
        generation: Generation,
        job: &JobId,
    ) -> Result<Option<Cancelled>, StorageError> {
        match self
            .get_json(&paths::cancelled(tenant, generation, job))
            .await
        {
            Ok(mark) => Ok(Some(mark)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Whether a job has closed, by what is written before its record says so and stays when that is gone: the mark that it was
    /// cancelled, or a manifest.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn has_closed(
        &self,
        tenant: &TenantId,
        generation: Generation,
        job: &JobId,
    ) -> Result<bool, StorageError> {
        let by = self.closed_by(tenant, generation, job).await?;
        Ok(by.manifest || by.cancelled)
    }

    /// What is there of a job's end.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn closed_by(
        &self,
        tenant: &TenantId,
        generation: Generation,
        job: &JobId,
    ) -> Result<ClosedBy, StorageError> {
        let manifests = self.manifests(tenant, generation, job).await?;
        let mark = paths::cancelled(tenant, generation, job);
        Ok(ClosedBy {
            manifest: !manifests.is_empty(),
            cancelled: self.exists(&mark).await?,
        })
    }

    /// The names of a job's manifests. Parts stand beside them under as many hashes as there are shards: a folder says them in one
    /// reading, any other store would page through all of them and is asked for what sorts behind.
    pub(crate) async fn manifests(
        &self,
        tenant: &TenantId,
        generation: Generation,
        job: &JobId,
    ) -> Result<Vec<String>, StorageError> {
        let folder = paths::job_folder(tenant, generation, job);
        let failed = |error: object_store::Error| StorageError::from_store("list", &folder, error);
        let under = Path::from(folder.as_str());
        let store = self.object_store();
        let listed: BoxStream<'_, object_store::Result<ObjectMeta>> = if self.is_folder() {
            let all = store.list_with_delimiter(Some(&under)).await;
            stream::iter(all.map_err(failed)?.objects.into_iter().map(Ok)).boxed()
        } else {
            let behind = Path::from(format!("{folder}/{}", paths::BEHIND_PARTS));
            store.list_with_offset(Some(&under), &behind)
        };
        let name = |object: ObjectMeta| {
            let name = object.location.filename().map(str::to_owned);
            std::future::ready(Ok(name.filter(|name| paths::is_manifest(name))))
        };
        listed
            .try_filter_map(name)
            .try_collect()
            .await
            .map_err(failed)
    }

    /// Says what is revoked, at a path of its own for these bytes.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn put_revoked(&self, revoked: &Revoked) -> Result<Put, StorageError> {
        let bytes = to_json(revoked);
        let path = paths::revoked(
            &revoked.tenant,
            revoked.generation,
            &revoked.revocation,
            Digest::of(&bytes),
        );
        self.put(&path, bytes.into()).await
    }

    pub(crate) async fn get_json<T: DeserializeOwned>(
        &self,
        path: &ObjectPath,
    ) -> Result<T, StorageError> {
        let bytes = self.get(path).await?;
        serde_json::from_slice(&bytes).map_err(|error| StorageError::corrupt(path, error))
    }
}

/// The one JSON form of a value made of names and whole numbers: fields in the order of their declaration, a line break at
/// the end.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("names and numbers always have a JSON form");
    bytes.push(b'\n');
    bytes
}
