//! The two forms in which a shard's record is stored, and the one way in which both are read. Which of them is written follows
//! from the core's configuration; reading never asks for it.
//!
//! Called through [`encode_shard`] by whoever puts a shard's record, and through [`super::decode`] by everybody else. What the
//! brief form looks like is `brief`'s business.

use super::shard::{Failure, Grant, Part, ShardRecord, Standing, Suspect};
use super::{VERSION_BRIEF, brief, encode};
use alloc::vec::Vec;
use minicbor::data::Type;
use serde::{Deserialize, Serialize};
use types::{Attempt, Digest};

/// How a shard's record is written. Both forms are read everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Index-keyed CBOR, as every version reads it.
    #[default]
    Long,
    /// About three fifths as long, for a store that holds everything in memory; versions before 0.2 refuse it.
    Brief,
}

/// The stored form of a shard's record.
#[must_use]
pub fn encode_shard(record: &ShardRecord, form: Form) -> Vec<u8> {
    match form {
        Form::Long => encode(record),
        Form::Brief => encode_brief(record),
    }
}

/// The version, and one byte string.
fn encode_brief(record: &ShardRecord) -> Vec<u8> {
    let body = brief::write(record);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.push(VERSION_BRIEF);
    let mut encoder = minicbor::Encoder::new(&mut bytes);
    encoder.bytes(&body).expect("a vector takes every byte");
    bytes
}

/// The version and the longest head of a byte string.
const HEAD_BYTES: usize = 10;

/// The long form: the fields of the record under the numbers that they are written with.
#[derive(minicbor::Decode)]
struct Long {
    #[n(0)]
    standing: Standing,
    #[n(1)]
    last_attempt: Attempt,
    #[n(2)]
    grants: Vec<Grant>,
    #[n(3)]
    parts: Vec<Part>,
    #[n(4)]
    suspects: Vec<Suspect>,
    #[n(5)]
    failures: Vec<Failure>,
    #[n(6)]
    escalation: Option<Digest>,
}

impl From<Long> for ShardRecord {
    fn from(long: Long) -> Self {
        Self {
            standing: long.standing,
            last_attempt: long.last_attempt,
            grants: long.grants,
            parts: long.parts,
            suspects: long.suspects,
            failures: long.failures,
            escalation: long.escalation,
        }
    }
}

impl<'b, C> minicbor::Decode<'b, C> for ShardRecord {
    fn decode(
        d: &mut minicbor::Decoder<'b>,
        context: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        if d.datatype()? == Type::Bytes {
            return brief::read(d.bytes()?).map_err(minicbor::decode::Error::message);
        }
        Long::decode(d, context).map(Self::from)
    }
}
