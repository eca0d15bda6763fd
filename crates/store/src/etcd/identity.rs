//! Which store stands under the prefix: a record written once, and the number of the etcd cluster that holds it.
//!
//! Called when the store is opened. The record is a random number, put by the first opening into an empty prefix by one guarded
//! transaction. Together with the cluster's own number it names the store for life: another etcd behind the same address has another
//! number, and another prefix has another record. An etcd whose members come and go keeps it; so does one that was restored from a snapshot
//! for members of the same addresses and token, as its own tools do by default: only its revision tells, see [`super::leading`].

use std::time::Duration;

use etcd_client::{Compare, CompareOp, Txn, TxnOp};

use super::failure::{Class, Failure};
use super::keys::Keys;
use super::members::Members;
use super::settings::WRITE_DEADLINE;
use super::{EtcdError, keys};
use crate::random;

/// What the record begins with: what it is, and the layout of the keys beside it.
const FORMAT: &str = "trackscan-store/1 ";

/// Times that making the record is tried: its first writer may have won, or not been answered, and is found by the next reading.
const MAKES_MAX: usize = 3;

/// How long lies between them.
const MAKE_AGAIN: Duration = Duration::from_millis(500);

/// What names a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The number of the etcd cluster.
    pub etcd: u64,
    /// The number in the record under the prefix.
    pub record: u64,
}

impl Identity {
    /// The number of [`crate::Status::cluster`]. The record is random, so that two stores share a number only where they share both.
    #[must_use]
    pub const fn cluster(&self) -> u64 {
        self.etcd ^ self.record
    }

    /// Whether a record is the one that was read when the store was opened.
    pub(super) fn is_said_by(&self, value: &[u8]) -> bool {
        value == said(self.record).as_bytes()
    }
}

/// What the record says.
fn said(record: u64) -> String {
    format!("{FORMAT}{record:016x}")
}

/// Reads the record, or writes it where nothing stands under the prefix.
pub(super) async fn read_or_make(members: &Members, keys: &Keys) -> Result<Identity, EtcdError> {
    for _ in 0..MAKES_MAX {
        if let Some(record) = read(members, keys).await? {
            return Ok(Identity {
                etcd: members.cluster().unwrap_or_default(),
                record,
            });
        }
        let number = random::number().map_err(|source| EtcdError::File {
            path: "/dev/urandom".into(),
            source,
        })?;
        match make(members, keys, number).await {
            Ok(true) => {}
            Ok(false) => return taken(members, keys).await,
            Err(failure) if failure.class == Class::Unknown => {
                tokio::time::sleep(MAKE_AGAIN).await;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Err(EtcdError::Unreachable {
        cause: "the store's identity could not be written".to_owned(),
    })
}

async fn read(members: &Members, keys: &Keys) -> Result<Option<u64>, EtcdError> {
    let key = keys.identity();
    let answer = members
        .read(|mut client| {
            let key = key.clone();
            async move { client.get(key, None).await }
        })
        .await?;
    let found = answer.kvs().first();
    found.map(|kv| parse(&key, kv.value())).transpose()
}

/// Whether the record was written: only where nothing at all stands under the prefix.
async fn make(members: &Members, keys: &Keys, number: u64) -> Result<bool, Failure> {
    let all = keys.all();
    let end = keys::end_of(&all);
    let empty = Compare::create_revision(all, CompareOp::Equal, 0).with_range(end);
    let put = TxnOp::put(keys.identity(), said(number), None);
    let txn = Txn::new().when([empty]).and_then([put]);
    let answer = members
        .call(
            WRITE_DEADLINE,
            |mut client| async move { client.txn(txn).await },
        )
        .await?;
    Ok(answer.succeeded())
}

/// Something stands under the prefix: the record of whoever was quicker, or keys without a record.
async fn taken(members: &Members, keys: &Keys) -> Result<Identity, EtcdError> {
    match read(members, keys).await? {
        Some(record) => Ok(Identity {
            etcd: members.cluster().unwrap_or_default(),
            record,
        }),
        None => Err(EtcdError::IdentityGone {
            key: keys.identity(),
        }),
    }
}

fn parse(key: &str, value: &[u8]) -> Result<u64, EtcdError> {
    let text = str::from_utf8(value).ok();
    let number = text.and_then(|text| text.strip_prefix(FORMAT));
    // A sign would pass for a digit.
    let number = number.filter(|n| n.len() == 16 && n.bytes().all(|b| b.is_ascii_hexdigit()));
    number
        .and_then(|number| u64::from_str_radix(number, 16).ok())
        .ok_or_else(|| EtcdError::IdentityDamaged {
            key: key.to_owned(),
            value: String::from_utf8_lossy(value).chars().take(64).collect(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_nothing_else_is() {
        let number = parse("k", b"trackscan-store/1 00000000deadbeef").unwrap();
        assert_eq!(number, 0xdead_beef);
        for other in [
            &b""[..],
            b"trackscan-store/2 00000000deadbeef",
            b"trackscan-store/1 deadbeef",
            b"trackscan-store/1 00000000deadbeefff",
            b"trackscan-store/1 +0000000deadbeef",
            b"\xff",
        ] {
            let refused = parse("k", other);
            assert!(
                matches!(refused, Err(EtcdError::IdentityDamaged { .. })),
                "{other:?}"
            );
        }
    }

    #[test]
    fn another_cluster_and_another_record_are_another_store() {
        let identity = |etcd, record| Identity { etcd, record }.cluster();
        assert_ne!(identity(1, 5), identity(2, 5));
        assert_ne!(identity(1, 5), identity(1, 6));
    }
}
