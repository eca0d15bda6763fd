//! What happened to one core, line by line, so that it can be repeated: whoever drives a core writes each event with its time
//! and a digest of what the core did, and [`Replay`] feeds the same events to a core of its own and stops at the first
//! difference. Opt-in: a coordinator without a journal pays nothing.
//!
//! A journal is text, one JSON object a line: `{"sum":…,"len":…,"body":…}`. `len` is the length of the body in bytes; `sum` hashes
//! the body and the `sum` before it, so that a lost, doubled or changed line is found. The body is one of
//!
//! - `begin`: a core begins, with this version of the format and this policy. Everything before it is another core's.
//! - `event`: what happened, when by the core's clock, and twelve digits of a digest over the core's actions.
//! - `state`: how many records the core knows, and a digest over them.
//!
//! A last line that was cut short is a writer that was killed; any other damage is refused with its line. Called by the
//! coordinator, the simulator and tests. It writes no file and reads none.

mod replay;
mod write;

pub use replay::{Replay, Replayed};
pub use write::{Noted, Writer};

use crate::{Config, Core, Event};
use alloc::format;
use alloc::string::{String, ToString};
use serde::{Deserialize, Serialize};
use types::{Digest, Millis};

/// The version of the format that this program writes, and the only one that it reads.
pub const VERSION: u32 = 1;
/// Longest line that is read, in bytes: a page of recovery is a thousand records of up to 32 KiB, in hexadecimal.
pub const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// A core begins.
    Begin {
        /// The version of the format.
        version: u32,
        /// Its policy.
        config: Config,
    },
    /// Something happened.
    Event {
        /// When, by the core's clock.
        at: Millis,
        /// What.
        event: Event,
        /// Twelve digits of a digest over what the core did.
        does: String,
    },
    /// What the core knows.
    State {
        /// Records.
        records: usize,
        /// A digest over their keys and values.
        digest: Digest,
    },
}

/// Why a journal cannot be repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The line is damaged, or one before it is missing.
    #[error("journal line {line} is damaged: {what}")]
    Damaged {
        /// Which one, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It was written by another version.
    #[error("journal line {line} has version {found}, this program reads {VERSION}")]
    Version {
        /// Which one, from 1.
        line: usize,
        /// The version found.
        found: u32,
    },
    /// The core does something else than it did.
    #[error("at journal line {line} the core does {now}, and did {then}")]
    Differs {
        /// Which one, from 1.
        line: usize,
        /// What it does, by its actions.
        now: String,
        /// The digest of what it did.
        then: String,
    },
    /// The core knows something else than it did.
    #[error("at journal line {line} the core knows {now} records, and knew {then}, or others")]
    Knows {
        /// Which one, from 1.
        line: usize,
        /// How many it knows.
        now: usize,
        /// How many it knew.
        then: usize,
    },
}

/// The sum before the first line.
const FIRST_SUM: &str = "000000000000";

/// Twelve digits over a line's body and the sum before it.
fn sum(before: &str, body: &str) -> String {
    let mut bytes = before.to_string();
    bytes.push_str(body);
    Digest::of(bytes.as_bytes()).short()
}

/// Twelve digits over what a core did.
fn done(actions: &[crate::Action]) -> String {
    Digest::of(format!("{actions:?}").as_bytes()).short()
}

/// The digest over all that a core knows, and how many records that is.
fn state(core: &Core) -> (usize, Digest) {
    let records = core.records();
    let mut bytes = alloc::vec::Vec::new();
    for (key, value) in &records {
        bytes.extend_from_slice(&(key.len() as u64).to_le_bytes());
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(value);
    }
    (records.len(), Digest::of(&bytes))
}

/// Bytes as hexadecimal text: four times shorter than a list of numbers.
pub(crate) mod bytes {
    use alloc::string::String;
    use alloc::vec::Vec;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        hex::decode(text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
