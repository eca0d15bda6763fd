//! Ogg: handed to the parser as it is, since its pages check themselves. Comments come back through the parser; looked at here
//! is only whether there can be as many as are promised.

use super::{Container, Exam, Plan};
use crate::source::ReadAt;
use crate::splice::Piece;
use types::Warning;

/// Bytes of a page before its table of segments.
const PAGE_HEAD: usize = 27;
/// What Vorbis' header of comments begins with.
const COMMENTS: &[u8] = b"\x03vorbis";
/// Fewest bytes of a comment: its length.
const COMMENT_BYTES: u64 = 4;

pub(super) fn plan<R: ReadAt>(exam: &mut Exam<'_, R>) -> std::io::Result<Plan> {
    let mut plan = Plan::of(
        Container::Ogg,
        vec![Piece::Range(exam.start, exam.end - exam.start)],
    );
    if promised_comments(exam)?.is_some_and(|count| count * COMMENT_BYTES > exam.end - exam.start) {
        plan.warnings.push(Warning::TagsSkipped);
    }
    Ok(plan)
}

/// How many comments a Vorbis stream's second page promises; none where it does not begin with them.
fn promised_comments<R: ReadAt>(exam: &mut Exam<'_, R>) -> std::io::Result<Option<u64>> {
    let Some((_, second)) = page(exam, exam.start)? else {
        return Ok(None);
    };
    let Some((at, _)) = page(exam, second)? else {
        return Ok(None);
    };
    let head = exam.blocks.vec(at, COMMENTS.len() + 4)?;
    let Some(vendor) = head.strip_prefix(COMMENTS).and_then(number) else {
        return Ok(None);
    };
    let count = exam.blocks.vec(at + head.len() as u64 + vendor, 4)?;
    Ok(number(&count))
}

/// Where the packets of the page at `at` begin, and where the next page does.
fn page<R: ReadAt>(exam: &mut Exam<'_, R>, at: u64) -> std::io::Result<Option<(u64, u64)>> {
    let head = exam.blocks.vec(at, PAGE_HEAD)?;
    let (true, Some(&segments)) = (head.starts_with(b"OggS"), head.get(PAGE_HEAD - 1)) else {
        return Ok(None);
    };
    let table = exam.blocks.vec(at + PAGE_HEAD as u64, segments.into())?;
    let packets = at + PAGE_HEAD as u64 + table.len() as u64;
    let bytes: u64 = table.iter().map(|&segment| u64::from(segment)).sum();
    Ok(Some((packets, packets + bytes)))
}

/// A number of four bytes, the lowest first.
fn number(bytes: &[u8]) -> Option<u64> {
    let (bytes, _) = bytes.split_first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes).into())
}
