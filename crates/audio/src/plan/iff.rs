//! WAV (also RF64) and AIFF: chunks are walked here; the parser gets a new header, the format chunk and the samples.

use std::io;

use types::{Code, Warning};

use super::{Container, Exam, Plan, Refusal, WALK_MAX, id3, is_name, refuse};
use crate::source::ReadAt;
use crate::splice::Piece;
use crate::tags::Claims;

/// Longest format chunk: the longest in use has 40 bytes, AIFF-C's has a name of up to 256.
const FORMAT_BYTES_MAX: u64 = 1024;
/// What streaming writers put where the length is not known.
const UNKNOWN: u64 = 0xffff_ffff;
/// Entries looked at in one list of texts.
const TEXTS_MAX: usize = 512;

/// A chunk's place in the file.
#[derive(Clone, Copy)]
struct Chunk {
    name: [u8; 4],
    /// First byte of its content.
    offset: u64,
    /// As the file states it.
    stated: u64,
    /// As the file holds it.
    there: u64,
}

impl Chunk {
    /// Whether it has a name that means nothing else, and is all there.
    fn is_sound(&self) -> bool {
        is_name(&self.name) && self.there == self.stated
    }
}

/// The file's samples and what was read on the way to and past them.
#[derive(Default)]
struct Walk {
    format: Option<Vec<u8>>,
    data: Option<Chunk>,
    /// Where the last chunk that belongs to the file ends.
    end: u64,
    warnings: Vec<Warning>,
}

pub(super) fn wav<R: ReadAt>(exam: &mut Exam<'_, R>, claims: &mut Claims) -> Result<Plan, Refusal> {
    let walk = walk(exam, claims, u32::from_le_bytes, *b"fmt ", *b"data")?;
    let (Some(format), Some(data)) = (walk.format, walk.data) else {
        return refuse(Code::Damaged, "there is no format or no data chunk");
    };
    let Some(fields) = format.first_chunk::<16>() else {
        return refuse(Code::Damaged, "the format chunk is too short");
    };
    let channels = u16::from_le_bytes([fields[2], fields[3]]);
    let rate = u32::from_le_bytes([fields[4], fields[5], fields[6], fields[7]]);
    exam.check_format(u64::from(rate), u64::from(channels))?;
    let frame = u64::from(u16::from_le_bytes([fields[12], fields[13]])).max(1);
    let there = data.there.min(UNKNOWN - 1);
    let mut head = [
        b"RIFF\xff\xff\xff\xffWAVEfmt ".as_slice(),
        &(format.len() as u32).to_le_bytes(),
        &format,
    ]
    .concat();
    if format.len() % 2 == 1 {
        head.push(0);
    }
    head.extend_from_slice(b"data");
    head.extend_from_slice(&(there as u32).to_le_bytes());
    let mut plan = Plan::of(
        Container::Wav,
        vec![Piece::Bytes(head), Piece::Range(data.offset, there)],
    );
    plan.promised = Some(data.stated)
        .filter(|stated| *stated != UNKNOWN && *stated > 0)
        .map(|stated| stated / frame);
    plan.warnings = walk.warnings;
    if exam.holds_more_from(walk.end)? {
        plan.warn(Warning::TrailingData);
    }
    Ok(plan)
}

pub(super) fn aiff<R: ReadAt>(
    exam: &mut Exam<'_, R>,
    claims: &mut Claims,
) -> Result<Plan, Refusal> {
    let compressed = exam.blocks.array::<4>(exam.start + 8)? == Some(*b"AIFC");
    let walk = walk(exam, claims, u32::from_be_bytes, *b"COMM", *b"SSND")?;
    let (Some(format), Some(data)) = (walk.format, walk.data) else {
        return refuse(Code::Damaged, "there is no common or no sound chunk");
    };
    let Some(fields) = format.first_chunk::<18>() else {
        return refuse(Code::Damaged, "the common chunk is too short");
    };
    let channels = u16::from_be_bytes([fields[0], fields[1]]);
    let frames = u32::from_be_bytes([fields[2], fields[3], fields[4], fields[5]]);
    let rate = extended([8, 9, 10, 11, 12, 13, 14, 15, 16, 17].map(|i| fields[i]));
    exam.check_format(rate, u64::from(channels))?;
    let there = data.there.min(u64::from(u32::MAX) - 4096);
    let kind: &[u8] = if compressed { b"AIFC" } else { b"AIFF" };
    let mut head = b"FORM".to_vec();
    let padded = format.len() + format.len() % 2;
    head.extend_from_slice(&(4 + 8 + padded as u32 + 8 + there as u32).to_be_bytes());
    head.extend_from_slice(kind);
    head.extend_from_slice(b"COMM");
    head.extend_from_slice(&(format.len() as u32).to_be_bytes());
    head.extend_from_slice(&format);
    head.resize(head.len() + format.len() % 2, 0);
    head.extend_from_slice(b"SSND");
    head.extend_from_slice(&(there as u32).to_be_bytes());
    let mut plan = Plan::of(
        Container::Aiff,
        vec![Piece::Bytes(head), Piece::Range(data.offset, there)],
    );
    plan.promised = Some(u64::from(frames)).filter(|frames| *frames > 0);
    plan.warnings = walk.warnings;
    if exam.holds_more_from(walk.end)? {
        plan.warn(Warning::TrailingData);
    }
    Ok(plan)
}

/// The rate that an 80-bit float states, in whole Hz; what is no number or out of any range is 0.
fn extended(bytes: [u8; 10]) -> u64 {
    let exponent = i32::from(u16::from_be_bytes([bytes[0] & 0x7f, bytes[1]])) - 16383;
    let mantissa = bytes[2..]
        .iter()
        .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    let negative = bytes[0] & 0x80 != 0;
    if negative || !(0..=62).contains(&exponent) {
        0
    } else {
        mantissa >> (63 - exponent)
    }
}

fn walk<R: ReadAt>(
    exam: &mut Exam<'_, R>,
    claims: &mut Claims,
    number: fn([u8; 4]) -> u32,
    format: [u8; 4],
    data: [u8; 4],
) -> Result<Walk, Refusal> {
    let mut found = Walk::default();
    let mut long_data = None;
    let stated_end = stated_end(exam, number)?;
    let mut at = exam.start + 12;
    for _ in 0..WALK_MAX {
        let Some(mut chunk) = chunk_at(exam, at, number)? else {
            break;
        };
        if found.data.is_some() && at >= stated_end && !chunk.is_sound() {
            break;
        }
        if chunk.name == *b"ds64" {
            long_data = exam
                .blocks
                .array::<16>(chunk.offset)?
                .map(|ds64| (u128::from_le_bytes(ds64) >> 64) as u64);
        } else if chunk.name == format && found.format.is_none() && chunk.there <= FORMAT_BYTES_MAX
        {
            found.format = Some(exam.blocks.vec(chunk.offset, chunk.there as usize)?);
        } else if chunk.name == data && found.data.is_none() {
            chunk = with_true_length(exam, chunk, long_data);
            found.data = Some(chunk);
        } else if chunk.there == chunk.stated {
            look_at_texts(exam, chunk, number, claims, &mut found.warnings)?;
        }
        at = chunk.offset + chunk.there + chunk.there % 2;
    }
    found.end = at;
    Ok(found)
}

/// Where the file says that it ends; its start when it says nothing that can be. Behind that, as some tools add tags
/// without correcting it, only sound chunks belong to the file.
fn stated_end<R: ReadAt>(exam: &mut Exam<'_, R>, number: fn([u8; 4]) -> u32) -> io::Result<u64> {
    let size = exam.blocks.array(exam.start + 4)?.map_or(0, number);
    let end = exam.start + 8 + u64::from(size);
    Ok(if end > exam.end { exam.start } else { end })
}

/// The samples' length where the chunk does not state it: a longer field says so, or they go on to the end.
fn with_true_length<R>(exam: &Exam<'_, R>, chunk: Chunk, long: Option<u64>) -> Chunk {
    let rest = exam.end - chunk.offset;
    let stated = match long {
        Some(long) if chunk.stated == UNKNOWN => long,
        _ => chunk.stated,
    };
    // A recorder that lost power leaves a length of zero in front of its samples.
    let there = if stated == 0 { rest } else { stated.min(rest) };
    Chunk {
        stated,
        there,
        ..chunk
    }
}

fn chunk_at<R: ReadAt>(
    exam: &mut Exam<'_, R>,
    at: u64,
    number: fn([u8; 4]) -> u32,
) -> io::Result<Option<Chunk>> {
    let Some([n0, n1, n2, n3, size @ ..]) = exam.blocks.array::<8>(at)? else {
        return Ok(None);
    };
    let stated = u64::from(number(size));
    let there = stated.min(exam.end - (at + 8));
    Ok(Some(Chunk {
        name: [n0, n1, n2, n3],
        offset: at + 8,
        stated,
        there,
    }))
}

/// Looks for claims in the chunks that hold text.
fn look_at_texts<R: ReadAt>(
    exam: &mut Exam<'_, R>,
    chunk: Chunk,
    number: fn([u8; 4]) -> u32,
    claims: &mut Claims,
    warnings: &mut Vec<Warning>,
) -> io::Result<()> {
    let holds_text = matches!(
        &chunk.name,
        b"LIST" | b"ID3 " | b"id3 " | b"NAME" | b"AUTH" | b"(c) " | b"ANNO" | b"bext" | b"iXML"
    );
    if !holds_text {
        return Ok(());
    }
    if chunk.there > exam.limits.tag_bytes {
        warnings.push(Warning::TagsSkipped);
        return Ok(());
    }
    let content = exam.blocks.vec(chunk.offset, chunk.there as usize)?;
    match &chunk.name {
        b"LIST" => look_at_list(&content, number, claims),
        b"ID3 " | b"id3 " => {
            if !id3::look_at_embedded(&content, claims) {
                warnings.push(Warning::TagsSkipped);
            }
        }
        b"bext" => claims.look_at("RIFF", "bext", &until_nul(&content)),
        name => claims.look_at("IFF", &String::from_utf8_lossy(name), &until_nul(&content)),
    }
    Ok(())
}

fn look_at_list(content: &[u8], number: fn([u8; 4]) -> u32, claims: &mut Claims) {
    let Some(mut rest) = content.strip_prefix(b"INFO") else {
        return;
    };
    for _ in 0..TEXTS_MAX {
        let Some(([n0, n1, n2, n3, size @ ..], after)) = rest.split_first_chunk::<8>() else {
            break;
        };
        let size = number(*size) as usize;
        let Some(text) = after.get(..size) else { break };
        claims.look_at(
            "RIFF",
            &String::from_utf8_lossy(&[*n0, *n1, *n2, *n3]),
            &until_nul(text),
        );
        rest = after.get(size + size % 2..).unwrap_or(&[]);
    }
}

fn until_nul(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_80_bit_rate_is_read_or_zero() {
        #[rustfmt::skip]
        let rows: [([u8; 10], u64); 5] = [
            ([0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0], 44_100),
            ([0x40, 0x0e, 0xbb, 0x80, 0, 0, 0, 0, 0, 0], 48_000),
            ([0x7f, 0xff, 0xc0, 0, 0, 0, 0, 0, 0, 0], 0),
            ([0xc0, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0], 0),
            ([0; 10], 0),
        ];
        for (bytes, rate) in rows {
            assert_eq!(extended(bytes), rate);
        }
    }
}
