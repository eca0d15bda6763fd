//! What the store holds: one record per job, per shard that has left the queue, per node and per revocation. A record is stored
//! as one version byte and index-keyed CBOR, so that fields can be added without a word to older ones. A shard's record has a
//! brief form besides, under a version of its own.
//!
//! Written and read by the core alone; shells see records through the core's views. Nothing here decides.

mod brief;
mod form;
mod job;
mod node;
mod revocation;
mod shard;

pub use form::{Form, encode_shard};
pub use job::{Closing, JobRecord, JobState, Lane, ManifestName, Totals};
pub use node::{Duty, NodeRecord};
pub use revocation::{Progress, RevocationRecord};
pub use shard::{
    AloneDeath, Care, Death, Failure, FailureCause, Grant, Made, Part, PartKind, ShardRecord,
    Standing, Suspect, VerdictCounts,
};
pub(crate) use shard::{grants_apart, parts_apart};

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use minicbor::data::Type;

/// The version of records in index-keyed CBOR.
pub const VERSION: u8 = 1;
/// The version of shard records in the brief form. A reader refuses later ones, whose meaning it cannot know.
pub const VERSION_BRIEF: u8 = 2;

/// A value in the store that is no record of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not even a version byte.
    #[error("record is empty")]
    Empty,
    /// Written by a later program.
    #[error("record has version {found}, this program reads up to {VERSION_BRIEF}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// The bytes are no such record.
    #[error("record does not decode: {0}")]
    Malformed(String),
    /// It decodes, but breaks a rule that every record keeps.
    #[error("record breaks the rule that {0}")]
    Rule(&'static str),
}

/// The stored form of a record; the long one of a shard's.
#[must_use]
pub fn encode<T: minicbor::Encode<()>>(record: &T) -> Vec<u8> {
    let mut bytes = Bytes(Vec::with_capacity(RECORD_BYTES));
    bytes.0.push(VERSION);
    minicbor::encode(record, &mut bytes).expect("a vector takes every byte");
    bytes.0
}

/// Room for a shard's record with two parts and a grant: few are larger, and those grow once.
const RECORD_BYTES: usize = 512;

/// Bytes as they are encoded: records consist of small numbers, so that a byte or two at a time is the rule.
struct Bytes(Vec<u8>);

impl minicbor::encode::Write for &mut Bytes {
    type Error = core::convert::Infallible;

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        match bytes {
            [one] => self.0.push(*one),
            more => self.0.extend_from_slice(more),
        }
        Ok(())
    }
}

/// Reads the stored form.
///
/// # Errors
/// When the version is unknown, or the bytes are not exactly one record.
pub fn decode<'b, T: minicbor::Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, RecordError> {
    let (version, body) = bytes.split_first().ok_or(RecordError::Empty)?;
    if !matches!(*version, VERSION | VERSION_BRIEF) {
        return Err(RecordError::Version { found: *version });
    }
    let mut decoder = minicbor::Decoder::new(body);
    let is_brief = matches!(decoder.datatype(), Ok(Type::Bytes));
    if is_brief != (*version == VERSION_BRIEF) {
        let said = "its form is not that of its version";
        return Err(RecordError::Malformed(said.to_string()));
    }
    let record = decoder
        .decode()
        .map_err(|e| RecordError::Malformed(e.to_string()))?;
    if decoder.position() != body.len() {
        return Err(RecordError::Malformed(
            "bytes follow the record".to_string(),
        ));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{
        Attempt, Digest, Epoch, Ledger, NodeId, PullNo, Range, Session, Stage, TenantId, TrackSet,
        UnixMillis,
    };

    fn grant(attempt: u32) -> Grant {
        Grant {
            attempt: Attempt(attempt),
            tenant: TenantId::default(),
            node: NodeId::new("node-1").unwrap(),
            session: Session(3),
            pull: PullNo(9),
            range: Range {
                first: attempt * 10,
                end: attempt * 10 + 10,
            },
            care: Care::Apart,
            apart: None,
        }
    }

    fn part(attempt: u32, tracks: TrackSet) -> Part {
        Part {
            attempt: Attempt(attempt),
            kind: PartKind::Terminal,
            rows: u32::try_from(tracks.len()).unwrap(),
            tracks,
            sha256: Digest::of(&attempt.to_le_bytes()),
            bytes: 123_456,
            verdicts: VerdictCounts::default(),
            ledger: Ledger::default(),
            node: NodeId::new("node-1").unwrap(),
            epoch: Epoch(77),
            made: vec![Made {
                stage: Stage::Screen,
                device: "cuda:0".to_string(),
                from: UnixMillis(1_700_000_000_000),
                to: UnixMillis(1_700_000_060_000),
            }],
        }
    }

    fn shard(grants: u32, parts: u32) -> ShardRecord {
        ShardRecord {
            last_attempt: Attempt(grants.max(parts)),
            grants: (1..=grants).map(grant).collect(),
            parts: (1..=parts)
                .map(|n| part(n, (5_000..6_024).filter(|o| o % parts == n - 1).collect()))
                .collect(),
            suspects: vec![Suspect {
                tracks: Range { first: 4, end: 8 },
                deaths: 1,
                together: 2,
                alone: vec![AloneDeath {
                    node: NodeId::new("node-1").unwrap(),
                    death: Death::Silent,
                }],
            }],
            failures: vec![Failure {
                cause: FailureCause::NodeLost,
                count: 1,
            }],
            ..ShardRecord::default()
        }
    }

    #[test]
    fn a_record_reads_back_as_itself() {
        let record = shard(3, 4);
        assert_eq!(decode::<ShardRecord>(&encode(&record)), Ok(record));
    }

    #[test]
    fn a_record_of_a_later_version_is_refused_and_so_is_what_follows_a_record() {
        let mut bytes = encode(&shard(1, 1));
        bytes.push(0);
        assert!(matches!(
            decode::<ShardRecord>(&bytes),
            Err(RecordError::Malformed(_))
        ));
        bytes.pop();
        bytes[0] = VERSION_BRIEF + 1;
        assert_eq!(
            decode::<ShardRecord>(&bytes),
            Err(RecordError::Version { found: 3 })
        );
        assert_eq!(decode::<ShardRecord>(&[]), Err(RecordError::Empty));
    }

    #[test]
    fn no_cut_of_a_record_is_read_as_one() {
        for form in [Form::Long, Form::Brief] {
            let bytes = encode_shard(&shard(2, 2), form);
            for end in 0..bytes.len() {
                assert!(decode::<ShardRecord>(&bytes[..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn a_record_whose_form_is_not_that_of_its_version_is_refused() {
        for (form, version) in [(Form::Long, VERSION_BRIEF), (Form::Brief, VERSION)] {
            let mut bytes = encode_shard(&shard(1, 1), form);
            bytes[0] = version;
            let refused = decode::<ShardRecord>(&bytes).unwrap_err();
            assert!(
                matches!(refused, RecordError::Malformed(_)),
                "{form:?}: {refused}"
            );
        }
        let brief = encode_shard(&shard(1, 1), Form::Brief);
        assert!(decode::<NodeRecord>(&brief).is_err());
    }

    #[test]
    fn the_long_form_is_what_it_was_before_there_was_another() {
        let record = shard(1, 1);
        assert_eq!(encode_shard(&record, Form::Long), encode(&record));
        assert_eq!(encode(&record)[0], 1);
        assert_eq!(encode_shard(&record, Form::Brief)[0], 2);
        assert_eq!(Form::default(), Form::Long);
    }

    #[test]
    fn a_record_that_breaks_a_rule_is_refused_by_name() {
        let check = |edit: fn(&mut ShardRecord), rule: &str| {
            let mut record = shard(2, 2);
            edit(&mut record);
            assert_eq!(
                record.check().unwrap_err().to_string(),
                format!("record breaks the rule that {rule}")
            );
        };
        assert_eq!(shard(2, 2).check(), Ok(()));
        check(
            |r| r.last_attempt = Attempt(1),
            "no grant has an attempt above the last",
        );
        check(
            |r| r.parts[0].attempt = Attempt(9),
            "no part has an attempt above the last",
        );
        check(
            |r| r.grants[1].range = r.grants[0].range,
            "live grants are disjoint",
        );
        check(
            |r| r.parts[1].tracks = r.parts[0].tracks.clone(),
            "parts are disjoint",
        );
        check(
            |r| r.grants = vec![r.grants[0].clone(); 17],
            "a shard has at most 16 live grants",
        );
    }

    #[test]
    fn records_stay_as_small_as_the_limits_assume() {
        // One grant, nothing done: what 98,000 shards of a running job cost.
        let mut granted = shard(1, 0);
        granted.suspects.clear();
        granted.failures.clear();
        assert!(encode(&granted).len() <= 64, "{}", encode(&granted).len());
        // One part done.
        let mut done = shard(0, 1);
        done.suspects.clear();
        done.failures.clear();
        assert!(encode(&done).len() <= 256, "{}", encode(&done).len());
        // As many live grants and parts as are aimed at, each part's tracks scattered over the whole shard.
        let parts = u32::try_from(crate::limits::PARTS_AIMED).unwrap();
        let full = encode(&shard(16, parts)).len();
        assert!(full <= 32 * 1024, "{full}");
        assert!(size_of::<Grant>() <= 104 && size_of::<Part>() <= 400);
    }
}
