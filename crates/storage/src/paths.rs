//! What objects are called. Every name begins with the tenant; what belongs to a job, with its generation too, so that a
//! late write of an older generation can never land on a newer one's object.
//!
//! ```text
//! {tenant}/snapshots/{list}.parquet                                  a list, named by its digest
//! {tenant}/snapshots/{list}.rejected-{sha}.csv                       what an import of it rejected
//! {tenant}/snapshots/{list}.selection-{list}.json                    which tracks of another list it has
//! {tenant}/bundles/{digest}/index.json, …/{sha}                      a bundle's files by digest
//! {tenant}/{generation}/{job}/spec.json, …/cancelled.json
//! {tenant}/{generation}/_revocations/{revocation}-{sha}.json         no job's name begins with `_`
//! {tenant}/{generation}/{job}/manifest-{version}-{sha}.json
//! {tenant}/{generation}/{job}/totals-{version}-{sha}.json            what that manifest's job comes to
//! {tenant}/{generation}/{job}/{hash}/{shard}/{attempt}-{first}-{sha}.parquet
//! {tenant}/catalogs/{catalog}/{time}-{list}.json                     an import
//! _folders/{name}.json                                               a folder that imports registered
//! _generations/{generation}.json                                     that a restore made this generation whole
//! ```
//!
//! No tenant's name begins with `_`.
//!
//! `{hash}` spreads a job's parts over prefixes, which object stores limit one by one. Pure: text in, text out.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use types::{
    Attempt, CatalogName, Digest, Generation, JobId, Ordinal, RevocationId, ShardId, SourceName,
    TenantId, UnixMillis,
};

/// The name of an object in the storage root: segments of `A-Z a-z 0-9 . _ -`, none empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath(String);

/// Most bytes of an object's name: what object stores accept.
pub const PATH_BYTES_MAX: usize = 1_024;

/// The text is no object's name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no object of the storage root")]
pub struct ObjectPathError(String);

impl ObjectPath {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    pub(crate) fn to_store(&self) -> object_store::path::Path {
        object_store::path::Path::from(self.0.as_str())
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ObjectPath {
    type Err = ObjectPathError;

    fn from_str(text: &str) -> Result<Self, ObjectPathError> {
        let is_segment = |segment: &str| {
            let spelt = segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            spelt && !segment.is_empty() && !matches!(segment, "." | "..")
        };
        match text.len() <= PATH_BYTES_MAX && text.split('/').all(is_segment) {
            true => Ok(Self(text.to_owned())),
            false => Err(ObjectPathError(text.chars().take(80).collect())),
        }
    }
}

fn path(text: String) -> ObjectPath {
    text.parse()
        .expect("made of names, numbers and digests, each checked before")
}

/// A snapshot.
pub fn snapshot(tenant: &TenantId, list: Digest) -> ObjectPath {
    path(format!("{tenant}/snapshots/{list}.parquet"))
}

/// Which tracks of the list `of` the list `list` is a selection of.
pub fn selection(tenant: &TenantId, list: Digest, of: Digest) -> ObjectPath {
    path(format!(
        "{tenant}/snapshots/{list}.selection-{}.json",
        of.short()
    ))
}

/// The rejected rows of one import whose accepted rows came to `list`.
pub fn rejected(tenant: &TenantId, list: Digest, sha256: Digest) -> ObjectPath {
    path(format!(
        "{tenant}/snapshots/{list}.rejected-{}.csv",
        sha256.short()
    ))
}

/// The index of a bundle's files.
pub fn bundle_index(tenant: &TenantId, bundle: Digest) -> ObjectPath {
    path(format!("{tenant}/bundles/{bundle}/index.json"))
}

/// One file of a bundle.
pub fn bundle_file(tenant: &TenantId, bundle: Digest, sha256: Digest) -> ObjectPath {
    path(format!("{tenant}/bundles/{bundle}/{sha256}"))
}

/// The folder of what a job has in one generation.
pub(crate) fn job_folder(tenant: &TenantId, generation: Generation, job: &JobId) -> String {
    format!("{tenant}/{generation}/{job}")
}

/// A job's specification.
pub fn spec(tenant: &TenantId, generation: Generation, job: &JobId) -> ObjectPath {
    path(format!("{tenant}/{generation}/{job}/spec.json"))
}

/// The mark that a job was cancelled.
pub fn cancelled(tenant: &TenantId, generation: Generation, job: &JobId) -> ObjectPath {
    path(format!("{tenant}/{generation}/{job}/cancelled.json"))
}

/// The folder of what a tenant's generation had revoked.
pub(crate) const REVOCATIONS: &str = "_revocations";

/// What is revoked, named by what it says, so that a late put of another writer never replaces it.
pub fn revoked(
    tenant: &TenantId,
    generation: Generation,
    revocation: &RevocationId,
    sha256: Digest,
) -> ObjectPath {
    path(format!(
        "{tenant}/{generation}/{REVOCATIONS}/{revocation}-{sha256}.json"
    ))
}

/// A manifest, named by what it says.
pub fn manifest(
    tenant: &TenantId,
    generation: Generation,
    job: &JobId,
    version: u32,
    sha256: Digest,
) -> ObjectPath {
    path(format!(
        "{tenant}/{generation}/{job}/manifest-{version}-{sha256}.json"
    ))
}

/// Whether an object's name is that of a manifest.
pub(crate) fn is_manifest(name: &str) -> bool {
    name.starts_with("manifest-") && name.ends_with(".json")
}

/// Version and digest of a manifest, by its object's name.
pub(crate) fn manifest_named(name: &str) -> Option<(u32, Digest)> {
    let words = name.strip_prefix("manifest-")?.strip_suffix(".json")?;
    let (version, sha256) = words.split_once('-')?;
    Some((version.parse().ok()?, sha256.parse().ok()?))
}

/// What a published job comes to, beside the manifest of that digest.
pub fn totals(
    tenant: &TenantId,
    generation: Generation,
    job: &JobId,
    version: u32,
    sha256: Digest,
) -> ObjectPath {
    path(format!(
        "{tenant}/{generation}/{job}/totals-{version}-{sha256}.json"
    ))
}

/// The folder of a tenant's imports.
pub(crate) fn catalogs(tenant: &TenantId) -> String {
    format!("{tenant}/catalogs")
}

/// One import. Names sort by time.
pub fn import(
    tenant: &TenantId,
    catalog: &CatalogName,
    at: UnixMillis,
    list: Digest,
) -> ObjectPath {
    let at = at.0.max(0);
    path(format!("{tenant}/catalogs/{catalog}/{at:015}-{list}.json"))
}

/// The folder of registered folders.
pub(crate) const FOLDERS: &str = "_folders";

/// A folder that imports registered as a source.
pub fn folder(name: &SourceName) -> ObjectPath {
    path(format!("{FOLDERS}/{name}.json"))
}

/// The folder of generations that a restore made.
pub(crate) const GENERATIONS: &str = "_generations";

/// The mark that a restore made a generation whole.
pub fn generation(generation: Generation) -> ObjectPath {
    path(format!("{GENERATIONS}/{:010}.json", generation.0))
}

/// The generation that a path lies in, where it is of a job.
pub(crate) fn generation_of(path: &ObjectPath) -> Option<Generation> {
    let mut segments = path.as_str().split('/');
    segments.nth(1)?.parse().ok().map(Generation)
}

/// A part, named by its place and content.
pub fn part(
    tenant: &TenantId,
    generation: Generation,
    job: &JobId,
    shard: ShardId,
    attempt: Attempt,
    first: Ordinal,
    sha256: Digest,
) -> ObjectPath {
    let spread = Digest::of(format!("{job}/{shard}").as_bytes()).short();
    let spread = &spread[..SPREAD_DIGITS];
    path(format!(
        "{tenant}/{generation}/{job}/{spread}/{shard}/{attempt}-{first}-{sha256}.parquet"
    ))
}

/// Sorts behind every `{hash}` of a job's folder, which are hexadecimal, and before its manifests.
pub(crate) const BEHIND_PARTS: &str = "g";

/// Hexadecimal digits of `{hash}`: 65,536 prefixes, more than the writes a second of any fleet need.
const SPREAD_DIGITS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_named_by_tenant_generation_job_shard_attempt_first_and_content() {
        let sha = Digest::of(b"part");
        let shard = ShardId::Escalation {
            root: 17,
            attempt: Attempt(3),
            first: 512,
        };
        let job = JobId::new("job-1").unwrap();
        let name = part(
            &TenantId::default(),
            Generation(2),
            &job,
            shard,
            Attempt(4),
            600,
            sha,
        );
        let spread = &Digest::of(b"job-1/17.3-512").to_string()[..4];
        assert_eq!(
            name.as_str(),
            format!("default/2/job-1/{spread}/17.3-512/4-600-{sha}.parquet")
        );
        assert_eq!(name.as_str().parse(), Ok(name));
    }

    #[test]
    fn the_longest_names_still_make_an_object_s_name() {
        let tenant = TenantId::new("t".repeat(64)).unwrap();
        let job = JobId::new("j".repeat(64)).unwrap();
        let most = u32::MAX;
        let shard = ShardId::Escalation {
            root: most,
            attempt: Attempt(most),
            first: most,
        };
        let name = part(
            &tenant,
            Generation(most),
            &job,
            shard,
            Attempt(most),
            most,
            Digest::of(b""),
        );
        assert!(
            name.as_str().len() < PATH_BYTES_MAX / 2,
            "{}",
            name.as_str().len()
        );
    }

    #[test]
    fn a_name_that_leaves_the_root_or_is_spelt_oddly_is_none() {
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/../b",
            "a/./b",
            "a b",
            "a\0",
            "ü",
            &"a".repeat(1_025),
        ] {
            assert!(bad.parse::<ObjectPath>().is_err(), "{bad:?}");
        }
    }
}
