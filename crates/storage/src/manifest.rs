//! Manifests: what a published job consists of. Readers start here and never list. How a later manifest takes over
//! another's rows is in `retried`.
//!
//! Written by the coordinator when every track is covered. The bytes are a function of the records alone, so that two
//! coordinators, or one twice, write the same object under the same name; the name carries their digest.

mod retried;

use serde::{Deserialize, Serialize};
use types::{
    Attempt, CatalogName, Digest, Generation, JobId, Ledger, Policy, ShardId, TenantId, TrackSet,
};

use crate::job::to_json;
use crate::parts::tracks_text;
use crate::{ObjectPath, Put, Storage, StorageError, paths};

pub use retried::RetriedError;

/// The version of the manifest's form.
const FORMAT: u32 = 1;

/// The version of the form of a manifest that takes rows from parts of other jobs, which older versions do not read.
const FORMAT_BY_REFERENCE: u32 = 2;

/// What a published job consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this form; 1, or 2 where a part has an origin.
    pub format: u32,
    /// Whose it is.
    pub tenant: TenantId,
    /// The generation in which it was published.
    pub generation: Generation,
    /// The job.
    pub job: JobId,
    /// 1 for the first manifest of a job; later ones replace rows by reference.
    pub version: u32,
    /// The catalog, for people.
    pub catalog: CatalogName,
    /// The list that was scanned.
    pub list: Digest,
    /// Its tracks, each of which has exactly one row in the parts.
    pub rows: u32,
    /// The bundle that scored.
    pub bundle: Digest,
    /// How it was scanned.
    pub policy: Policy,
    /// The terminal parts, in the order of their first tracks.
    pub parts: Vec<ManifestPart>,
    /// What the job's own parts cost together, those of the screen that escalated among them.
    pub ledger: Ledger,
}

/// One terminal part of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPart {
    /// The part's object.
    #[serde(with = "path_text")]
    pub key: ObjectPath,
    /// Its shard.
    pub shard: ShardId,
    /// The attempt under which it was made.
    pub attempt: Attempt,
    /// Its tracks.
    #[serde(with = "tracks_text")]
    pub tracks: TrackSet,
    /// Its rows.
    pub rows: u32,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// Where its rows are of another job or list than the manifest's: what its footer says, and which of its rows count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// A part of another job, or over another list, that a manifest takes rows from by reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The job that made it.
    pub job: JobId,
    /// The list over which it made it.
    pub list: Digest,
    /// The rows that count, by that list's ordinals: the first of them is the row of the first of the part's `tracks`, and
    /// so on.
    #[serde(with = "tracks_text")]
    pub tracks: TrackSet,
}

mod path_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::ObjectPath;

    pub(super) fn serialize<S: Serializer>(path: &ObjectPath, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(path.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectPath, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// What a manifest is made from, beside its parts and their ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each field is the one of the same name in `Manifest`"
)]
pub struct ManifestOf {
    pub tenant: TenantId,
    pub generation: Generation,
    pub job: JobId,
    pub version: u32,
    pub catalog: CatalogName,
    pub list: Digest,
    pub rows: u32,
    pub bundle: Digest,
    pub policy: Policy,
}

impl Manifest {
    /// A manifest of these parts, put into their one order.
    pub fn new(of: ManifestOf, mut parts: Vec<ManifestPart>, ledger: Ledger) -> Self {
        parts.sort_by(|a, b| (a.tracks.first(), a).cmp(&(b.tracks.first(), b)));
        let ManifestOf {
            tenant,
            generation,
            job,
            version,
            catalog,
            list,
            rows,
            bundle,
            policy,
        } = of;
        let by_reference = parts.iter().any(|part| part.origin.is_some());
        Self {
            format: if by_reference {
                FORMAT_BY_REFERENCE
            } else {
                FORMAT
            },
            tenant,
            generation,
            job,
            version,
            catalog,
            list,
            rows,
            bundle,
            policy,
            parts,
            ledger,
        }
    }

    /// The bytes of the object.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_json(self)
    }

    /// The name of the object, and the digest in it.
    pub fn path(&self) -> (ObjectPath, Digest) {
        let sha256 = Digest::of(&self.to_bytes());
        (
            paths::manifest(
                &self.tenant,
                self.generation,
                &self.job,
                self.version,
                sha256,
            ),
            sha256,
        )
    }
}

impl Storage {
    /// Puts a manifest and gives its name. Repeating it is a success.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn put_manifest(
        &self,
        manifest: &Manifest,
    ) -> Result<(ObjectPath, Put), StorageError> {
        let bytes = manifest.to_bytes();
        let Manifest {
            tenant,
            generation,
            job,
            version,
            ..
        } = manifest;
        let path = paths::manifest(tenant, *generation, job, *version, Digest::of(&bytes));
        let put = self.put(&path, bytes.into()).await?;
        Ok((path, put))
    }

    /// Gets a manifest, checked against the digest in its name and against its own path.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn get_manifest(&self, path: &ObjectPath) -> Result<Manifest, StorageError> {
        let bytes = self.get(path).await?;
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| StorageError::corrupt(path, error))?;
        let Manifest {
            tenant,
            job,
            version,
            ..
        } = &manifest;
        // A later generation has it byte for byte as the one that wrote it.
        let generation = paths::generation_of(path)
            .filter(|generation| *generation >= manifest.generation)
            .unwrap_or(manifest.generation);
        let expected = paths::manifest(tenant, generation, job, *version, Digest::of(&bytes));
        match (manifest.format, expected == *path) {
            (FORMAT | FORMAT_BY_REFERENCE, true) => Ok(manifest),
            (FORMAT | FORMAT_BY_REFERENCE, false) => Err(StorageError::corrupt(
                path,
                format!("what it says leads to {expected}"),
            )),
            (other, _) => Err(StorageError::corrupt(
                path,
                format!("format {other} is not {FORMAT} or {FORMAT_BY_REFERENCE}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
