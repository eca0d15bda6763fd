//! Native FLAC: the stream's own description is kept, its comments are read here, all other metadata is left out.

use types::{Code, Warning};

use super::{Container, Exam, Plan, Refusal, WALK_MAX, refuse};
use crate::source::ReadAt;
use crate::splice::Piece;
use crate::tags::Claims;

const STREAM_INFO: u8 = 0;
const COMMENTS: u8 = 4;
/// Length of a stream description, bytes.
const STREAM_INFO_BYTES: usize = 34;
/// Comments looked at in one block.
const COMMENTS_MAX: usize = 4096;

pub(super) fn plan<R: ReadAt>(
    exam: &mut Exam<'_, R>,
    claims: &mut Claims,
) -> Result<Plan, Refusal> {
    let mut warnings = Vec::new();
    let mut info = None;
    let mut at = exam.start + 4;
    let mut last = false;
    for _ in 0..WALK_MAX {
        if last {
            break;
        }
        let Some([kind, size @ ..]) = exam.blocks.array::<4>(at)? else {
            return refuse(Code::Damaged, "the file ends within its metadata");
        };
        let length = u64::from(u32::from_be_bytes([0, size[0], size[1], size[2]]));
        match kind & 0x7f {
            STREAM_INFO if length == STREAM_INFO_BYTES as u64 => {
                info = exam.blocks.array::<STREAM_INFO_BYTES>(at + 4)?
            }
            COMMENTS if length <= exam.limits.tag_bytes => {
                look_at_comments(&exam.blocks.vec(at + 4, length as usize)?, claims)
            }
            COMMENTS => warnings.push(Warning::TagsSkipped),
            _ => {}
        }
        last = kind & 0x80 != 0;
        at += 4 + length;
    }
    if at >= exam.end {
        return refuse(Code::Damaged, "the file ends within its metadata");
    }
    let Some(info) = info else {
        return refuse(Code::Damaged, "there is no stream description");
    };
    let (rate, channels, samples) = described(&info);
    exam.check_format(rate, channels)?;
    let end = exam.end_without_trailers()?.max(at);
    let head = [b"fLaC\x80\x00\x00\x22".as_slice(), &info].concat();
    let mut plan = Plan::of(
        Container::Flac,
        vec![Piece::Bytes(head), Piece::Range(at, end - at)],
    );
    plan.promised = Some(samples).filter(|samples| *samples > 0);
    plan.warnings = warnings;
    Ok(plan)
}

/// Rate, channels and samples of a stream description.
fn described(info: &[u8; STREAM_INFO_BYTES]) -> (u64, u64, u64) {
    let packed = info[10..18]
        .iter()
        .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    (packed >> 44, (packed >> 41 & 7) + 1, packed & 0xf_ffff_ffff)
}

/// Reads a block of Vorbis comments: vendor, count, then that many `NAME=text`, each behind its length.
pub(super) fn look_at_comments(block: &[u8], claims: &mut Claims) {
    let Some((vendor, rest)) = counted(block) else {
        return;
    };
    claims.look_at("Vorbis", "vendor", &String::from_utf8_lossy(vendor));
    let Some((_count, mut rest)) = rest.split_first_chunk::<4>() else {
        return;
    };
    for _ in 0..COMMENTS_MAX {
        let Some((comment, after)) = counted(rest) else {
            break;
        };
        if let Some((name, text)) = String::from_utf8_lossy(comment).split_once('=') {
            claims.look_at("Vorbis", name, text);
        }
        rest = after;
    }
}

/// The bytes behind a length, and what follows them.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}
