//! Native FLAC: the stream's own description is kept, its comments are read here, all other metadata is left out.
//!
//! A FLAC file does not state where its last frame ends. What stands behind it is looked at once all is decoded.

use std::io;

use types::{Code, Warning};

use super::{Container, Exam, Plan, Refusal, TRAILING_BYTES_MAX, WALK_MAX, refuse};
use crate::limits::Limits;
use crate::source::{Blocks, ReadAt};
use crate::splice::Piece;
use crate::tags::Claims;

const STREAM_INFO: u8 = 0;
const COMMENTS: u8 = 4;
/// Length of a stream description, bytes.
const STREAM_INFO_BYTES: usize = 34;
/// Bytes of a frame that hold no sample: its header, its checksum and a few bytes a channel.
const FRAME_BYTES_BESIDE: u64 = 64;
/// How far behind the last whole frame the head of another file is searched for: one frame may be lost before it.
const SEARCH_BYTES: usize = 1 << 20;
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
                let block = exam.blocks.vec(at + 4, length as usize)?;
                if !look_at_comments(&block, claims) {
                    warnings.push(Warning::TagsSkipped);
                }
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
    plan.flac = Some(FlacFrames { at, end, info });
    plan.warnings = warnings;
    Ok(plan)
}

/// Where a stream's frames lie in the file, and what it says of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlacFrames {
    at: u64,
    end: u64,
    info: [u8; STREAM_INFO_BYTES],
}

/// What was decoded of a stream without a gap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlacRead {
    /// Bytes of all frames.
    pub(crate) bytes: u64,
    /// Every sample that the description promises came.
    pub(crate) is_whole: bool,
}

impl FlacFrames {
    /// The most bytes that so many samples of each channel can take: none is written longer than one bit more than it has.
    pub(crate) fn frame_bytes_max(&self, samples: u64) -> u64 {
        let packed = self.info[12..14]
            .iter()
            .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        let (_, channels, _) = described(&self.info);
        let bits = (packed >> 4 & 31) + 1;
        samples * channels * (bits + 1) / 8 + FRAME_BYTES_BESIDE
    }

    /// What to say of the bytes behind the last frame, if they are more than padding.
    ///
    /// # Errors
    /// When the bytes cannot be had.
    pub(crate) fn behind<R: ReadAt>(
        &self,
        blocks: &mut Blocks<R>,
        limits: &Limits,
        read: FlacRead,
    ) -> io::Result<Option<Warning>> {
        let at = self.at + read.bytes;
        // The parser loses the last frame to data behind it. One that is lost without such is no trailing data.
        let block = u64::from(u16::from_be_bytes([self.info[2], self.info[3]]));
        let lost = if read.is_whole {
            0
        } else {
            self.frame_bytes_max(block)
        };
        if self.end.saturating_sub(at) <= lost + TRAILING_BYTES_MAX {
            return Ok(None);
        }
        let mut exam = Exam {
            blocks,
            limits,
            start: self.at,
            end: self.end,
        };
        // Rate, channels and width of a sample stand in 29 bits behind the sizes of blocks and frames.
        let format =
            |info: &[u8; STREAM_INFO_BYTES]| [info[10], info[11], info[12], info[13] & 0xf0];
        let next = exam.next_description(at)?;
        if next.is_some_and(|info| format(&info) != format(&self.info)) {
            return Ok(Some(Warning::FormatChanged));
        }
        let more = exam.holds_more_from(at)?;
        Ok(more.then_some(Warning::TrailingData))
    }
}

impl<R: ReadAt> Exam<'_, R> {
    /// The description of the next FLAC file behind an offset, if one begins near.
    fn next_description(&mut self, at: u64) -> io::Result<Option<[u8; STREAM_INFO_BYTES]>> {
        let window = self.blocks.vec(at, SEARCH_BYTES)?;
        let head = window.windows(8).position(|eight| {
            eight.starts_with(b"fLaC")
                && eight[4] & 0x7f == STREAM_INFO
                && eight[5..] == [0, 0, 0x22]
        });
        match head {
            Some(head) => self.blocks.array(at + head as u64 + 8),
            None => Ok(None),
        }
    }
}

/// Rate, channels and samples of a stream description.
fn described(info: &[u8; STREAM_INFO_BYTES]) -> (u64, u64, u64) {
    let packed = info[10..18]
        .iter()
        .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    (packed >> 44, (packed >> 41 & 7) + 1, packed & 0xf_ffff_ffff)
}

/// Reads a block of Vorbis comments: vendor, count, then that many `NAME=text`, each behind its length. False where some of
/// those that it promises are not there, or are too many to be read.
pub(super) fn look_at_comments(block: &[u8], claims: &mut Claims) -> bool {
    let Some((vendor, rest)) = counted(block) else {
        return false;
    };
    claims.look_at("Vorbis", "vendor", &String::from_utf8_lossy(vendor));
    let Some((count, mut rest)) = rest.split_first_chunk::<4>() else {
        return false;
    };
    let count = u32::from_le_bytes(*count) as usize;
    for _ in 0..count.min(COMMENTS_MAX) {
        let Some((comment, after)) = counted(rest) else {
            return false;
        };
        if let Some((name, text)) = String::from_utf8_lossy(comment).split_once('=') {
            claims.look_at("Vorbis", name, text);
        }
        rest = after;
    }
    count <= COMMENTS_MAX
}

/// The bytes behind a length, and what follows them.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}
