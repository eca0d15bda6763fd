//! Where records stand in the store: `/{generation}/{tenant}/{job|node|revocation|shard}/...`. Numbers are written with a
//! fixed width, so that keys sort as their shards do. Keys are made and read here and nowhere else.

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

impl JobKey {
    /// The key of the job's record.
    pub(crate) fn path(&self, generation: Generation) -> String {
        path(generation, &self.tenant, "job", self.job.as_str())
    }

    /// The key of a shard's record.
    pub(crate) fn shard_path(&self, generation: Generation, shard: ShardId) -> String {
        let mut path = path(generation, &self.tenant, "shard", self.job.as_str());
        path.push('/');
        put_shard(&mut path, shard);
        path
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
    let mut prefix = String::from("/");
    put_number(&mut prefix, generation.0);
    prefix.push('/');
    prefix
}

impl RecordKey {
    /// The key as the store knows it.
    #[must_use]
    pub fn path(&self, generation: Generation) -> String {
        match self {
            Self::Job(key) => key.path(generation),
            Self::Node(key) => path(generation, &key.tenant, "node", key.node.as_str()),
            Self::Revocation(key) => {
                let name = key.revocation.as_str();
                path(generation, &key.tenant, "revocation", name)
            }
            Self::Shard(key, shard) => key.shard_path(generation, *shard),
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

/// Room for a key of names in common use: longer ones grow.
const KEY_BYTES: usize = 96;

fn path(generation: Generation, tenant: &TenantId, kind: &str, name: &str) -> String {
    let mut path = String::with_capacity(KEY_BYTES);
    path.push('/');
    put_number(&mut path, generation.0);
    for piece in ["/", tenant.as_str(), "/", kind, "/", name] {
        path.push_str(piece);
    }
    path
}

fn put_shard(path: &mut String, shard: ShardId) {
    put_number(path, shard.root());
    if let ShardId::Escalation { attempt, first, .. } = shard {
        path.push('.');
        put_number(path, attempt.0);
        path.push('-');
        put_number(path, first);
    }
}

/// Ten digits, which every 32-bit number has.
fn put_number(path: &mut String, number: u32) {
    for place in (0..10).rev() {
        let digit = u64::from(number) / 10u64.pow(place) % 10;
        path.extend(char::from_digit(digit as u32, 10));
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
    fn a_key_is_written_as_the_documents_say() {
        let expected = [
            "/0000000004/default/job/j.1",
            "/0000000004/default/node/n-1",
            "/0000000004/default/revocation/r-1",
            "/0000000004/default/shard/j.1/0000000017",
            "/0000000004/default/shard/j.1/0000000017.0000000003-0000000512",
        ];
        assert_eq!(keys().map(|key| key.path(Generation(4))), expected);
        let last = RecordKey::Shard(job(), ShardId::Root(u32::MAX)).path(Generation(0));
        assert_eq!(last, "/0000000000/default/shard/j.1/4294967295");
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
