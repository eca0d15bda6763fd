//! MP4 and its kin: the parser gets the file as it is, up to where another file begins. Boxes of tags above the limit are
//! renamed to filler, boxes that end behind the file are shortened, long tables of durations likewise ([`durations`]).
//! Edit lists are read here ([`edit`]), since the parser reads them and does nothing. Called for files with such a magic;
//! never touches a sample.

mod aac;
mod durations;
mod edit;

use std::io;

use types::{Code, Warning};

use super::{Container, Exam, Plan, Refusal, WALK_MAX, begins_file, refuse};
use crate::source::ReadAt;
use crate::splice::Piece;

pub(crate) use aac::is_plain_aac_lc;
pub(crate) use edit::{Cut, Edited};

/// Largest index: a four-hour film with ten streams stays below a quarter of it.
const MOOV_BYTES_MAX: u64 = 64 << 20;
/// The boxes that are entered, by depth: the way to a stream's tables.
const PARENTS: [&[u8; 4]; 5] = [b"moov", b"trak", b"mdia", b"minf", b"stbl"];
/// What may stand at the top beside `ftyp` and `moov`. Other kinds are believed only while they end within the file.
const TOP: [&[u8; 4]; 14] = [
    b"mdat", b"moof", b"mfra", b"sidx", b"styp", b"emsg", b"prft", b"free", b"skip", b"wide",
    b"uuid", b"meta", b"udta", b"pnot",
];

pub(super) fn plan<R: ReadAt>(exam: &mut Exam<'_, R>) -> Result<Plan, Refusal> {
    let mut search = Search::default();
    search.walk(exam, exam.start, exam.end, 0)?;
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
    let end = search.tail.unwrap_or(exam.end);
    plan.pieces.push(Piece::Range(at, end - at));
    plan.warnings = search.warnings;
    if exam.holds_more_from(end)? {
        plan.warn(Warning::TrailingData);
    }
    plan.edited = edit::resolve(&search.tracks, search.movie_timescale);
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

impl Box {
    /// The first byte behind its header.
    fn content(&self) -> u64 {
        self.at + self.header
    }

    /// The number behind two times, which take four bytes each in version 0 and eight in version 1: a clock's rate in the
    /// headers of movie and media, the stream's name in a stream's.
    fn number_behind_times<R: ReadAt>(&self, exam: &mut Exam<'_, R>) -> io::Result<Option<u32>> {
        let is_long = exam.blocks.array::<1>(self.content())? == Some([1]);
        let at = self.content() + if is_long { 20 } else { 12 };
        if at + 4 > self.end {
            return Ok(None);
        }
        Ok(exam.blocks.array(at)?.map(u32::from_be_bytes))
    }
}

#[derive(Default)]
struct Search {
    /// Bytes to be replaced, by ascending offset.
    edits: Vec<(u64, Vec<u8>)>,
    warnings: Vec<Warning>,
    walked: usize,
    found_moov: bool,
    /// The index says that fragments follow, each with an index of its own.
    is_fragmented: bool,
    /// Ticks per second of the movie's clock.
    movie_timescale: u32,
    tracks: Vec<edit::Track>,
    /// Where what belongs to the file ends, if that is before its last byte.
    tail: Option<u64>,
}

impl Search {
    /// Walks the boxes between two offsets; as deep as [`PARENTS`] goes at most.
    fn walk<R: ReadAt>(
        &mut self,
        exam: &mut Exam<'_, R>,
        start: u64,
        end: u64,
        depth: usize,
    ) -> Result<(), Refusal> {
        let mut at = start;
        while at + 8 <= end && self.walked < WALK_MAX {
            self.walked += 1;
            let Some(found) = box_at(exam, at, end)? else {
                self.tail = self.tail.or(self.is_done(depth).then_some(at));
                break;
            };
            if self.is_done(depth) && self.is_foreign(&found) {
                self.tail = Some(at);
                break;
            }
            at = found.end;
            self.look_at(exam, &found, depth)?;
        }
        Ok(())
    }

    /// Whether the file may end here: its index was seen, and no box is open.
    fn is_done(&self, depth: usize) -> bool {
        depth == 0 && self.found_moov
    }

    /// Whether a box behind the index is not of this file.
    fn is_foreign(&self, found: &Box) -> bool {
        match &found.kind {
            // Fragments are often saved with the header of each stretch, and players play on.
            b"ftyp" | b"moov" => !self.is_fragmented,
            kind if TOP.contains(&kind) => false,
            kind => found.overruns || begins_file(kind),
        }
    }

    fn look_at<R: ReadAt>(
        &mut self,
        exam: &mut Exam<'_, R>,
        found: &Box,
        depth: usize,
    ) -> Result<(), Refusal> {
        let size = found.end - found.at;
        if depth == 0 && found.kind == *b"moov" {
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
        } else if PARENTS.get(depth) == Some(&&found.kind) {
            if depth == 1 {
                self.tracks.push(edit::Track::default());
            }
            self.walk(exam, found.content(), found.end, depth + 1)?;
        } else if depth > 0 {
            self.note(exam, found, depth)?;
        } else if found.overruns {
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

    /// Keeps what a box of the index says.
    fn note<R: ReadAt>(
        &mut self,
        exam: &mut Exam<'_, R>,
        found: &Box,
        depth: usize,
    ) -> io::Result<()> {
        let track = self.tracks.last_mut();
        match (depth, &found.kind, track) {
            (1, b"mvhd", _) => {
                self.movie_timescale = found.number_behind_times(exam)?.unwrap_or(0);
            }
            (1, b"mvex", _) => self.is_fragmented = true,
            (2, b"tkhd", Some(track)) => {
                track.id = found.number_behind_times(exam)?.unwrap_or(0);
            }
            (2, b"edts", Some(track)) => track.list = edit::read(exam, found)?,
            (3, b"mdhd", Some(track)) => {
                track.timescale = found.number_behind_times(exam)?.unwrap_or(0);
            }
            (5, b"stts", _) => self.edits.extend(durations::shortened(exam, found)?),
            _ => {}
        }
        Ok(())
    }
}

/// The box at an offset of a parent that ends at `end`; none when its header makes no sense.
fn box_at<R: ReadAt>(exam: &mut Exam<'_, R>, at: u64, end: u64) -> io::Result<Option<Box>> {
    let Some([s0, s1, s2, s3, kind @ ..]) = exam.blocks.array::<8>(at)? else {
        return Ok(None);
    };
    let (header, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
        0 => (8, end - at),
        1 => {
            let long = exam.blocks.array::<8>(at + 8)?;
            (16, long.map_or(0, u64::from_be_bytes))
        }
        size => (8, u64::from(size)),
    };
    let stated = at.saturating_add(size);
    Ok((size >= header).then_some(Box {
        kind,
        at,
        header,
        end: stated.min(end),
        overruns: stated > end,
    }))
}
