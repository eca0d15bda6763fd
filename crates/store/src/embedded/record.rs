//! How keys, values and the head stand in the file: each with a checksum of its own, so that damage is found by
//! this crate whatever the file format below did or did not notice.
//!
//! A value is stored as `crc32 | revision | value`, the checksum covering the key too, so that a value that turns
//! up under another key is damage. The head counts the keys and sums their checksums, so that a lost or stale key is
//! damage as well. Pure: bytes in, bytes out.

use minicbor::{Decode, Encode};

use crate::Revision;

const CRC_BYTES: usize = 4;
const HEADER_BYTES: usize = CRC_BYTES + 8;

/// A stored value, split into its parts after its checksum held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) crc: u32,
    pub(super) revision: Revision,
    pub(super) value: &'a [u8],
}

fn checksum(key: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

/// The stored form of a value, with its checksum.
pub(super) fn encode(key: &str, revision: Revision, value: &[u8]) -> (Vec<u8>, u32) {
    let mut stored = Vec::with_capacity(HEADER_BYTES + value.len());
    stored.extend_from_slice(&[0; CRC_BYTES]);
    stored.extend_from_slice(&revision.0.to_le_bytes());
    stored.extend_from_slice(value);
    let crc = checksum(key.as_bytes(), &stored[CRC_BYTES..]);
    stored[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    (stored, crc)
}

/// Splits a stored value; says what does not fit when it is damaged.
pub(super) fn decode<'a>(key: &[u8], stored: &'a [u8]) -> Result<Record<'a>, String> {
    let (crc, rest) = stored
        .split_first_chunk::<CRC_BYTES>()
        .ok_or_else(|| format!("record of {} bytes", stored.len()))?;
    let (revision, value) = rest
        .split_first_chunk::<8>()
        .ok_or_else(|| format!("record of {} bytes", stored.len()))?;
    let (crc, found) = (u32::from_le_bytes(*crc), checksum(key, rest));
    if crc != found {
        return Err(format!("checksum {crc:08x} stored, {found:08x} found"));
    }
    let revision = Revision(u64::from_le_bytes(*revision));
    Ok(Record {
        crc,
        revision,
        value,
    })
}

/// Who leads, and since which revision.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Leader {
    #[n(0)]
    pub(super) epoch: u64,
    #[n(1)]
    pub(super) candidate: String,
}

/// The one record beside the keys: how far the store has come and what it must hold.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Head {
    /// The layout of this file; another number is refused.
    #[n(0)]
    pub(super) layout: u32,
    #[n(1)]
    pub(super) cluster: u64,
    #[n(2)]
    pub(super) revision: u64,
    /// How many keys there are.
    #[n(3)]
    pub(super) keys: u64,
    /// The wrapping sum of the checksums of all records.
    #[n(4)]
    pub(super) sum: u64,
    #[n(5)]
    pub(super) leader: Option<Leader>,
}

/// The layout that this version writes and reads.
pub(super) const LAYOUT: u32 = 1;

/// The key under which the head's own checksum is computed; no caller's key, those being UTF-8.
const HEAD_KEY: &[u8] = b"\xff head";

impl Head {
    pub(super) fn new(cluster: u64) -> Self {
        Self {
            layout: LAYOUT,
            cluster,
            revision: 0,
            keys: 0,
            sum: 0,
            leader: None,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut stored = vec![0; CRC_BYTES];
        minicbor::encode(self, &mut stored).expect("encoding into memory cannot fail");
        let crc = checksum(HEAD_KEY, &stored[CRC_BYTES..]);
        stored[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
        stored
    }

    pub(super) fn from_bytes(stored: &[u8]) -> Result<Self, String> {
        let (crc, rest) = stored
            .split_first_chunk::<CRC_BYTES>()
            .ok_or("head record cut short")?;
        if u32::from_le_bytes(*crc) != checksum(HEAD_KEY, rest) {
            return Err("checksum of the head record does not hold".to_owned());
        }
        let head: Self = minicbor::decode(rest).map_err(|error| error.to_string())?;
        match head.layout {
            LAYOUT => Ok(head),
            other => Err(format!(
                "layout {other} is not {LAYOUT}; a newer version wrote this store"
            )),
        }
    }

    pub(super) fn count_in(&mut self, crc: u32) {
        self.keys += 1;
        self.sum = self.sum.wrapping_add(u64::from(crc));
    }

    pub(super) fn count_out(&mut self, crc: u32) {
        self.keys = self.keys.saturating_sub(1);
        self.sum = self.sum.wrapping_sub(u64::from(crc));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_bit_of_a_record_or_its_key_is_found() {
        let (stored, crc) = encode("tenant/job", Revision(7), b"value");
        let whole = Record {
            crc,
            revision: Revision(7),
            value: b"value",
        };
        assert_eq!(decode(b"tenant/job", &stored), Ok(whole));
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(b"tenant/job", &bad).is_err(), "bit {bit}");
        }
        assert!(decode(b"tenant/job2", &stored).is_err());
        for cut in 0..stored.len() {
            assert!(
                decode(b"tenant/job", &stored[..cut]).is_err(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn any_changed_bit_of_the_head_is_found() {
        let mut head = Head::new(99);
        head.count_in(5);
        head.leader = Some(Leader {
            epoch: 3,
            candidate: "here".into(),
        });
        let stored = head.to_bytes();
        assert_eq!(Head::from_bytes(&stored), Ok(head));
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::from_bytes(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_head_of_a_newer_layout_is_refused_by_number() {
        let newer = Head {
            layout: 2,
            ..Head::new(1)
        };
        assert!(
            Head::from_bytes(&newer.to_bytes())
                .unwrap_err()
                .contains("layout 2")
        );
    }
}
