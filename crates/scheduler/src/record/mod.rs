//! What the store holds: one record per job, per shard that has left the queue, and per node. A record is stored
//! as one version byte and index-keyed CBOR, so that fields can be added without a word to older ones.
//!
//! Written and read by the core alone; shells see records through the core's views. Nothing here decides.

mod job;
mod node;
mod shard;

pub use job::{Closing, JobRecord, JobState, Lane, ManifestName, Totals};
pub use node::{Duty, NodeRecord};
pub(crate) use shard::disjoint;
pub use shard::{
    Care, Failure, FailureCause, Grant, Made, Part, PartKind, ShardRecord, Standing, Suspect,
    VerdictCounts,
};

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The version that this program writes. A reader refuses later ones, whose meaning it cannot know.
pub const VERSION: u8 = 1;

/// A value in the store that is no record of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not even a version byte.
    #[error("record is empty")]
    Empty,
    /// Written by a later program.
    #[error("record has version {found}, this program reads up to {VERSION}")]
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

/// The stored form of a record.
#[must_use]
pub fn encode<T: minicbor::Encode<()>>(record: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.push(VERSION);
    minicbor::encode(record, &mut bytes).expect("a vector takes every byte");
    bytes
}

/// Reads the stored form.
///
/// # Errors
/// When the version is unknown, or the bytes are not exactly one record.
pub fn decode<'b, T: minicbor::Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, RecordError> {
    let (version, body) = bytes.split_first().ok_or(RecordError::Empty)?;
    if *version != VERSION {
        return Err(RecordError::Version { found: *version });
    }
    let mut decoder = minicbor::Decoder::new(body);
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
