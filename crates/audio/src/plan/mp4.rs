//! MP4 and its kin: the parser gets the file as it is, but boxes of tags above the limit are renamed to filler, and
//! boxes that end behind the file are shortened; and the test by which AAC streams with a second, hidden half are told from plain ones.

use types::{Code, Warning};

use super::{Container, Exam, Plan, Refusal, WALK_MAX, refuse};
use crate::source::ReadAt;
use crate::splice::Piece;

/// Largest index: a four-hour film with ten streams stays below a quarter of it.
const MOOV_BYTES_MAX: u64 = 64 << 20;
/// Boxes that hold boxes, on the way to where tags may stand.
const PARENTS: [&[u8; 4]; 2] = [b"moov", b"trak"];

pub(super) fn plan<R: ReadAt>(exam: &mut Exam<'_, R>) -> Result<Plan, Refusal> {
    let mut search = Search {
        edits: Vec::new(),
        warnings: Vec::new(),
        walked: 0,
        found_moov: false,
    };
    search.walk(exam, exam.start, exam.end, true)?;
    if !search.found_moov {
        return refuse(
            Code::Damaged,
            "the file has no index (moov): its end is missing, or it is a lone fragment",
        );
    }
    let mut plan = Plan::of(Container::Mp4, Vec::new());
    let mut at = exam.start;
    for (offset, bytes) in search.edits {
        plan.pieces.push(Piece::Range(at, offset - at));
        at = offset + bytes.len() as u64;
        plan.pieces.push(Piece::Bytes(bytes));
    }
    plan.pieces.push(Piece::Range(at, exam.end - at));
    plan.warnings = search.warnings;
    plan.seekable = true;
    Ok(plan)
}

/// A box on the walk.
struct Box {
    kind: [u8; 4],
    at: u64,
    /// Bytes of its header.
    header: u64,
    /// Its end, at most its parent's.
    end: u64,
    /// It claims to end behind its parent.
    overruns: bool,
}

struct Search {
    /// Bytes to be replaced, by ascending offset.
    edits: Vec<(u64, Vec<u8>)>,
    warnings: Vec<Warning>,
    walked: usize,
    found_moov: bool,
}

impl Search {
    /// Walks the boxes between two offsets. Two levels deep at most, since only [`PARENTS`] are entered.
    fn walk<R: ReadAt>(
        &mut self,
        exam: &mut Exam<'_, R>,
        start: u64,
        end: u64,
        top: bool,
    ) -> Result<(), Refusal> {
        let mut at = start;
        while at + 8 <= end && self.walked < WALK_MAX {
            self.walked += 1;
            let Some([s0, s1, s2, s3, kind @ ..]) = exam.blocks.array::<8>(at)? else {
                break;
            };
            let (header, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
                0 => (8, end - at),
                1 => (
                    16,
                    exam.blocks
                        .array::<8>(at + 8)?
                        .map_or(0, u64::from_be_bytes),
                ),
                size => (8, u64::from(size)),
            };
            if size < header {
                break;
            }
            let stated = at.saturating_add(size);
            let found = Box {
                kind,
                at,
                header,
                end: stated.min(end),
                overruns: stated > end,
            };
            at = found.end;
            self.look_at(exam, &found, top)?;
        }
        Ok(())
    }

    fn look_at<R: ReadAt>(
        &mut self,
        exam: &mut Exam<'_, R>,
        found: &Box,
        top: bool,
    ) -> Result<(), Refusal> {
        let size = found.end - found.at;
        if found.kind == *b"moov" {
            self.found_moov = true;
            if size > MOOV_BYTES_MAX || found.overruns {
                return refuse(
                    Code::Damaged,
                    format!("the index of {size} bytes is cut off or too large"),
                );
            }
        }
        if matches!(&found.kind, b"udta" | b"meta") && size > exam.limits.tag_bytes {
            self.edits.push((found.at + 4, b"free".to_vec()));
            self.warnings.push(Warning::TagsSkipped);
        } else if PARENTS.contains(&&found.kind) {
            self.walk(exam, found.at + found.header, found.end, false)?;
        } else if top && found.overruns {
            // The parser passes over a box that ends behind the file, and these are the samples.
            self.edits.push(match found.header {
                16 => (found.at + 8, size.to_be_bytes().to_vec()),
                _ => (
                    found.at,
                    u32::try_from(size).unwrap_or(0).to_be_bytes().to_vec(),
                ),
            });
            self.warnings.push(Warning::Truncated);
        }
        Ok(())
    }
}

/// Highest core rate of a stream that may carry spectral band replication without saying so, Hz.
const HIDDEN_SBR_RATE_MAX: u32 = 24_000;
/// Sample rates by index.
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Whether AAC of this configuration and core rate is plain low complexity: no other object type, no signalled band
/// replication, and no core rate so low that it is usually present without being signalled.
pub(crate) fn is_plain_aac_lc(config: Option<&[u8]>, rate_hz: u32) -> bool {
    let Some(config) = config else {
        return rate_hz > HIDDEN_SBR_RATE_MAX;
    };
    let mut bits = Bits {
        bytes: config,
        at: 0,
    };
    let object = bits.object_type();
    let rate = bits.rate();
    object == Some(2) && rate.is_some_and(|rate| rate > HIDDEN_SBR_RATE_MAX) && !signals_sbr(config)
}

/// Whether the backward-compatible extension (0x2b7, then object type 5 and a set flag) stands behind the first two bytes.
fn signals_sbr(config: &[u8]) -> bool {
    (16..config.len() * 8).any(|at| {
        let mut bits = Bits { bytes: config, at };
        bits.take(11) == Some(0x2b7) && bits.take(5) == Some(5) && bits.take(1) == Some(1)
    })
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            object => Some(object),
        }
    }

    fn rate(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => RATES.get(index as usize).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_low_complexity_aac_passes() {
        #[rustfmt::skip]
        let rows: [(Option<&[u8]>, u32, bool); 8] = [
            (Some(&[0x12, 0x10]), 44_100, true),                         // LC, 44.1 kHz, stereo
            (Some(&[0x11, 0x90]), 48_000, true),                         // LC, 48 kHz
            (Some(&[0x2b, 0x92, 0x08, 0x00]), 22_050, false),            // object type 5: HE-AAC, signalled first
            (Some(&[0x13, 0x90, 0x56, 0xe5, 0xa0]), 22_050, false),      // LC core, then the extension
            (Some(&[0x12, 0x10, 0x56, 0xe5, 0x98]), 44_100, false),      // the same above 24 kHz
            (Some(&[0x13, 0x90]), 22_050, false),                        // LC at 22.05 kHz says nothing, but may hide it
            (None, 44_100, true),
            (None, 24_000, false),
        ];
        for (config, rate, expected) in rows {
            assert_eq!(
                is_plain_aac_lc(config, rate),
                expected,
                "{config:x?} {rate}"
            );
        }
    }
}
