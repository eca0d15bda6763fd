//! Where records stand in the store: `/{generation}/{tenant}/{job|node|revocation|shard}/...`. Numbers are written with a
//! fixed width, so that keys sort as their shards do. Keys are made and read here and nowhere else.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use types::{Attempt, Generation, JobId, NodeId, RevocationId, ShardId, TenantId};

/// A job among all tenants' jobs.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    minicbor::Encode,
    minicbor::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct JobKey {
    /// Whose job it is.
    #[n(0)]
    pub tenant: TenantId,
    /// Its name.
    #[n(1)]
    pub job: JobId,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.job)
    }
}

/// A node among all tenants' nodes.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    minicbor::Encode,
    minicbor::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct NodeKey {
    /// Whose node it is.
    #[n(0)]
    pub tenant: TenantId,
    /// Its name.
    #[n(1)]
    pub node: NodeId,
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.node)
    }
}

/// A revocation among all tenants' revocations.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct RevocationKey {
    /// Whose node it is about.
    pub tenant: TenantId,
    /// Its name.
    pub revocation: RevocationId,
}

impl fmt::Display for RevocationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.revocation)
    }
}

/// What a key in the store names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey {
    /// A job's record.
    Job(JobKey),
    /// A node's record.
    Node(NodeKey),
    /// A revocation's record.
    Revocation(RevocationKey),
    /// A shard's record.
    Shard(JobKey, ShardId),
}

/// A key under the generation's prefix that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key `{0}` is no key of a record")]
pub struct KeyError(pub String);

/// The prefix of every key of a generation.
#[must_use]
pub(crate) fn prefix(generation: Generation) -> String {
    format!("/{:010}/", generation.0)
}

impl RecordKey {
    /// The key as the store knows it.
    #[must_use]
    pub fn path(&self, generation: Generation) -> String {
        let prefix = prefix(generation);
        match self {
            Self::Job(key) => format!("{prefix}{}/job/{}", key.tenant, key.job),
            Self::Node(key) => format!("{prefix}{}/node/{}", key.tenant, key.node),
            Self::Revocation(key) => {
                format!("{prefix}{}/revocation/{}", key.tenant, key.revocation)
            }
            Self::Shard(key, shard) => {
                format!(
                    "{prefix}{}/shard/{}/{}",
                    key.tenant,
                    key.job,
                    shard_text(*shard)
                )
            }
        }
    }

    /// Reads a key of this generation.
    ///
    /// # Errors
    /// When it is not exactly what [`RecordKey::path`] would write.
    pub fn parse(generation: Generation, path: &str) -> Result<Self, KeyError> {
        let key = path.strip_prefix(&prefix(generation)).and_then(parse_rest);
        key.filter(|key| key.path(generation) == path)
            .ok_or_else(|| KeyError(path.to_string()))
    }
}

fn parse_rest(rest: &str) -> Option<RecordKey> {
    let (tenant, rest) = rest.split_once('/')?;
    let (kind, rest) = rest.split_once('/')?;
    let tenant = TenantId::new(tenant).ok()?;
    match kind {
        "job" => {
            let job = JobId::new(rest).ok()?;
            Some(RecordKey::Job(JobKey { tenant, job }))
        }
        "node" => {
            let node = NodeId::new(rest).ok()?;
            Some(RecordKey::Node(NodeKey { tenant, node }))
        }
        "revocation" => {
            let revocation = RevocationId::new(rest).ok()?;
            Some(RecordKey::Revocation(RevocationKey { tenant, revocation }))
        }
        "shard" => {
            let (job, shard) = rest.split_once('/')?;
            let job = JobId::new(job).ok()?;
            Some(RecordKey::Shard(
                JobKey { tenant, job },
                parse_shard(shard)?,
            ))
        }
        _ => None,
    }
}

fn shard_text(shard: ShardId) -> String {
    match shard {
        ShardId::Root(root) => format!("{root:010}"),
        ShardId::Escalation {
            root,
            attempt,
            first,
        } => format!("{root:010}.{:010}-{first:010}", attempt.0),
    }
}

fn parse_shard(text: &str) -> Option<ShardId> {
    let Some((root, rest)) = text.split_once('.') else {
        return text.parse().ok().map(ShardId::Root);
    };
    let (attempt, first) = rest.split_once('-')?;
    Some(ShardId::Escalation {
        root: root.parse().ok()?,
        attempt: Attempt(attempt.parse().ok()?),
        first: first.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobKey {
        JobKey {
            tenant: TenantId::default(),
            job: JobId::new("j.1").unwrap(),
        }
    }

    fn keys() -> [RecordKey; 5] {
        let node = NodeKey {
            tenant: TenantId::default(),
            node: NodeId::new("n-1").unwrap(),
        };
        let escalation = ShardId::Escalation {
            root: 17,
            attempt: Attempt(3),
            first: 512,
        };
        [
            RecordKey::Job(job()),
            RecordKey::Node(node),
            RecordKey::Revocation(RevocationKey {
                tenant: TenantId::default(),
                revocation: RevocationId::new("r-1").unwrap(),
            }),
            RecordKey::Shard(job(), ShardId::Root(17)),
            RecordKey::Shard(job(), escalation),
        ]
    }

    #[test]
    fn a_key_reads_back_as_itself_in_its_own_generation_only() {
        for key in keys() {
            let path = key.path(Generation(4));
            assert_eq!(RecordKey::parse(Generation(4), &path), Ok(key));
            assert!(RecordKey::parse(Generation(5), &path).is_err());
        }
    }

    #[test]
    fn nothing_but_the_canonical_text_is_a_key() {
        for bad in [
            "",
            "/4/default/job/a",
            "/0000000004/default/job/",
            "/0000000004/default/shard/a/17",
            "/0000000004/default/shard/a/0000000017.1-2",
            "/0000000004/default/thing/a",
        ] {
            assert!(RecordKey::parse(Generation(4), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_sort_as_their_shards_do_with_an_escalation_after_its_root() {
        let path = |shard| RecordKey::Shard(job(), shard).path(Generation(1));
        let escalation = ShardId::Escalation {
            root: 2,
            attempt: Attempt(11),
            first: 40,
        };
        let sorted = [
            path(ShardId::Root(2)),
            path(escalation),
            path(ShardId::Root(10)),
            path(ShardId::Root(4_000_000_000)),
        ];
        assert!(sorted.is_sorted());
    }
}
