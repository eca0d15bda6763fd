//! The brief form of a shard's record: the same record in about three fifths of the bytes of the long form, for a store that holds everything
//! in memory. Names stand once, numbers that lie near each other as differences, what is empty or follows from the rest not at all.
//!
//! Written and read by `form` alone. It holds the fields of its version and no others: a field that is added needs a version of
//! its own. Bytes that are no record are refused in words, and no number in them makes room for more than they hold.

mod bits;
mod part;
mod reader;
#[cfg(test)]
mod tests;
mod tracks;
mod writer;

use self::reader::{Read, Reader};
use self::writer::Writer;
use super::shard::{AloneDeath, Failure, Grant, ShardRecord, Suspect};
use alloc::vec::Vec;
use types::{Attempt, Digest, NodeId, PullNo, Range, Session, TenantId};

/// What a record has, by the bits of its second byte.
const ESCALATION: u8 = 1;
const GRANTS: u8 = 2;
const PARTS: u8 = 4;
const SUSPECTS: u8 = 8;
const FAILURES: u8 = 16;
/// All of these.
const KNOWN: u8 = ESCALATION | GRANTS | PARTS | SUSPECTS | FAILURES;

/// The bytes of a record.
pub(super) fn write(record: &ShardRecord) -> Vec<u8> {
    let ShardRecord {
        standing,
        last_attempt,
        grants,
        parts,
        suspects,
        failures,
        escalation,
    } = record;
    let bit = |bit: u8, is: bool| if is { bit } else { 0 };
    let mut out = Writer::default();
    out.one_of(standing);
    out.byte(
        bit(ESCALATION, escalation.is_some())
            | bit(GRANTS, !grants.is_empty())
            | bit(PARTS, !parts.is_empty())
            | bit(SUSPECTS, !suspects.is_empty())
            | bit(FAILURES, !failures.is_empty()),
    );
    out.number(last_attempt.0.into());
    if let Some(digest) = escalation {
        out.bytes.extend_from_slice(&digest.0);
    }
    out.list(grants, Writer::grant);
    out.parts(parts);
    out.list(suspects, Writer::suspect);
    out.list(failures, Writer::failure);
    out.bytes
}

/// Reads a record, which is to be all of the bytes.
pub(super) fn read(bytes: &[u8]) -> Read<ShardRecord> {
    let mut from = Reader::new(bytes);
    let standing = from.one_of()?;
    let has = from.byte()?;
    if has & !KNOWN != 0 {
        return Err("it has what is not known");
    }
    let last_attempt = Attempt(from.fits()?);
    let escalation = (has & ESCALATION != 0).then(|| from.digest()).transpose()?;
    let record = ShardRecord {
        standing,
        last_attempt,
        escalation,
        grants: from.list_if(has & GRANTS != 0, Reader::grant)?,
        parts: from.parts(has & PARTS != 0)?,
        suspects: from.list_if(has & SUSPECTS != 0, Reader::suspect)?,
        failures: from.list_if(has & FAILURES != 0, Reader::failure)?,
    };
    match from.rest() {
        [] => Ok(record),
        _ => Err("bytes follow it"),
    }
}

impl<'r> Writer<'r> {
    /// Some things behind their number; nothing where there are none.
    fn list<T>(&mut self, list: &'r [T], one: impl Fn(&mut Self, &'r T)) {
        if !list.is_empty() {
            self.number(list.len() as u64);
            list.iter().for_each(|item| one(self, item));
        }
    }

    fn grant(&mut self, grant: &'r Grant) {
        let Grant {
            attempt,
            tenant,
            node,
            session,
            pull,
            range,
            care,
            apart,
        } = grant;
        self.number(attempt.0.into());
        self.name(tenant.as_str());
        self.name(node.as_str());
        self.number(session.0);
        self.number(pull.0);
        self.range(*range);
        self.one_of(care);
        self.byte(apart.is_some().into());
        if let Some(apart) = apart {
            self.tracks(apart, None);
        }
    }

    /// A range as it is, be it the wrong way round.
    fn range(&mut self, range: Range) {
        self.near_ordinal(range.first);
        self.near_ordinal(range.end);
    }

    fn suspect(&mut self, suspect: &'r Suspect) {
        let Suspect {
            tracks,
            deaths,
            together,
            alone,
        } = suspect;
        self.range(*tracks);
        self.number((*deaths).into());
        self.number((*together).into());
        self.number(alone.len() as u64);
        for AloneDeath { node, death } in alone {
            self.name(node.as_str());
            self.one_of(death);
        }
    }

    fn failure(&mut self, failure: &'r Failure) {
        let Failure { cause, count } = failure;
        self.one_of(cause);
        self.number((*count).into());
    }
}

impl Reader<'_> {
    fn list_if<T>(&mut self, is: bool, one: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        if is { self.list(one) } else { Ok(Vec::new()) }
    }

    fn digest(&mut self) -> Read<Digest> {
        let bytes = self.take(size_of::<Digest>())?;
        let bytes = bytes.try_into().map_err(|_| "a digest has 32 bytes")?;
        Ok(Digest(bytes))
    }

    fn node(&mut self) -> Read<NodeId> {
        NodeId::new(self.name()?).map_err(|_| "a node has no name of a node")
    }

    fn grant(&mut self) -> Read<Grant> {
        Ok(Grant {
            attempt: Attempt(self.fits()?),
            tenant: TenantId::new(self.name()?).map_err(|_| "a tenant has no name of a tenant")?,
            node: self.node()?,
            session: Session(self.number()?),
            pull: PullNo(self.number()?),
            range: self.range()?,
            care: self.one_of()?,
            apart: match self.byte()? {
                0 => None,
                1 => Some(self.tracks(None)?),
                _ => return Err("a grant says what is not known"),
            },
        })
    }

    fn range(&mut self) -> Read<Range> {
        let (first, end) = (self.near_ordinal()?, self.near_ordinal()?);
        Ok(Range { first, end })
    }

    fn suspect(&mut self) -> Read<Suspect> {
        Ok(Suspect {
            tracks: self.range()?,
            deaths: self.fits()?,
            together: self.fits()?,
            alone: self.list(|from| {
                Ok(AloneDeath {
                    node: from.node()?,
                    death: from.one_of()?,
                })
            })?,
        })
    }

    fn failure(&mut self) -> Read<Failure> {
        Ok(Failure {
            cause: self.one_of()?,
            count: self.fits()?,
        })
    }
}
