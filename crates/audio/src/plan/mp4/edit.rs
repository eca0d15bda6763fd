//! Edit lists: which part of a stream is the recording. Encoders of AAC leave a delay before it and padding behind it,
//! and a list of one entry says where it lies.
//!
//! Only such a list is applied: one entry at natural speed, behind an empty one or not. It cuts what was decoded and
//! nothing else: no seek and no allocation comes from it. Of any other list the whole stream is scanned.

use std::io;
use std::ops::Range;

use super::{Box, Exam, box_at};
use crate::source::ReadAt;

/// Entries that are looked at: a delay of the start and the recording.
const ENTRIES_MAX: u32 = 2;
/// Natural speed, as a fixed-point number.
const SPEED_ONE: u32 = 0x1_0000;

/// What the index says of one stream.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) id: u32,
    /// Ticks per second of its clock.
    pub(super) timescale: u32,
    pub(super) list: Option<List>,
}

/// An edit list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// From a tick of the stream's clock on, for so many ticks of the movie's; 0 means to the end.
    Plain { start: u64, length: u64 },
    /// One that is not applied.
    Odd,
}

/// A stream with an edit list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edited {
    /// The stream.
    pub(crate) track: u32,
    /// What to keep of it; none where the list is not applied.
    pub(crate) cut: Option<Cut>,
}

/// The part of a stream that is the recording, in ticks of the stream's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) start: u64,
    /// The tick behind the last; the largest number where the list states none.
    pub(crate) end: u64,
    timescale: u32,
}

impl Cut {
    /// Which frames to keep of a packet that begins at tick `at`.
    pub(crate) fn kept(self, at: u64, frames: usize, rate_hz: u32) -> Range<usize> {
        let frame = |tick: u64| {
            let ticks = u128::from(tick.saturating_sub(at));
            let frame = ticks * u128::from(rate_hz) / u128::from(self.timescale.max(1));
            usize::try_from(frame).map_or(frames, |frame| frame.min(frames))
        };
        let start = frame(self.start);
        start..frame(self.end).max(start)
    }
}

/// Reads the list in a box of edits; none when it is empty.
pub(super) fn read<R: ReadAt>(exam: &mut Exam<'_, R>, edits: &Box) -> io::Result<Option<List>> {
    let list = box_at(exam, edits.content(), edits.end)?;
    let Some(list) = list.filter(|list| list.kind == *b"elst") else {
        return Ok(None);
    };
    let Some([version, _, _, _, count @ ..]) = exam.blocks.array::<8>(list.content())? else {
        return Ok(Some(List::Odd));
    };
    let count = u32::from_be_bytes(count);
    if count == 0 {
        return Ok(None);
    }
    if count > ENTRIES_MAX || version > 1 {
        return Ok(Some(List::Odd));
    }
    let entry_bytes = if version == 1 { 20 } else { 12 };
    let there = (list.end - list.content()).saturating_sub(8);
    let wanted = count as usize * entry_bytes;
    let entries = exam.blocks.vec(list.content() + 8, wanted)?;
    if there < wanted as u64 || entries.len() < wanted {
        return Ok(Some(List::Odd));
    }
    let entries: Vec<Entry> = entries.chunks_exact(entry_bytes).map(Entry::of).collect();
    Ok(Some(plain(&entries).unwrap_or(List::Odd)))
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    length: u64,
    /// Tick of the stream's clock; -1 for silence.
    start: i64,
    speed: u32,
}

impl Entry {
    /// An entry of version 0, which has 12 bytes, or of version 1.
    fn of(bytes: &[u8]) -> Self {
        let number = |range: Range<usize>| {
            let bytes = bytes.get(range).unwrap_or(&[]);
            bytes
                .iter()
                .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte))
        };
        let (length, start) = if bytes.len() == 12 {
            let start = (number(4..8) as u32).cast_signed();
            (number(0..4), i64::from(start))
        } else {
            (number(0..8), number(8..16).cast_signed())
        };
        Self {
            length,
            start,
            speed: number(bytes.len() - 4..bytes.len()) as u32,
        }
    }
}

/// The one entry that is no silence before the start, if it is the only one and plays forward at natural speed.
fn plain(entries: &[Entry]) -> Option<List> {
    let entry = match entries {
        [entry] => entry,
        [silence, entry] if silence.start == -1 => entry,
        _ => return None,
    };
    let start = u64::try_from(entry.start).ok()?;
    (entry.speed == SPEED_ONE).then_some(List::Plain {
        start,
        length: entry.length,
    })
}

/// What the lists mean on the clocks of their streams.
pub(super) fn resolve(tracks: &[Track], movie_timescale: u32) -> Vec<Edited> {
    let edited = tracks.iter().filter_map(|track| Some((track, track.list?)));
    edited
        .map(|(track, list)| Edited {
            track: track.id,
            cut: match list {
                List::Odd => None,
                List::Plain { start, length } => {
                    cut(start, length, track.timescale, movie_timescale)
                }
            },
        })
        .collect()
}

fn cut(start: u64, length: u64, timescale: u32, movie_timescale: u32) -> Option<Cut> {
    let end = if length == 0 {
        u64::MAX
    } else {
        // A movie's clock is often coarse; a recording may end anywhere within its last tick.
        let ticks = (u128::from(length) * u128::from(timescale))
            .checked_div(u128::from(movie_timescale))?;
        let exact =
            ticks * u128::from(movie_timescale) == u128::from(length) * u128::from(timescale);
        start.checked_add(u64::try_from(ticks).ok()?.checked_add(u64::from(!exact))?)?
    };
    (timescale > 0).then_some(Cut {
        start,
        end,
        timescale,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(length: u64, start: i64) -> Entry {
        Entry {
            length,
            start,
            speed: SPEED_ONE,
        }
    }

    #[test]
    fn only_one_entry_at_natural_speed_is_applied() {
        let silence = entry(50, -1);
        let sound = entry(3000, 1024);
        let applied = Some(List::Plain {
            start: 1024,
            length: 3000,
        });
        let slow = Entry {
            speed: SPEED_ONE / 2,
            ..sound
        };
        #[rustfmt::skip]
        let rows: [(&[Entry], Option<List>); 8] = [
            (&[sound], applied),
            (&[silence, sound], applied),
            (&[sound, sound], None),
            (&[sound, silence], None),
            (&[silence], None),
            (&[slow], None),
            (&[entry(1, i64::MIN)], None),
            (&[entry(0, 0)], Some(List::Plain { start: 0, length: 0 })),
        ];
        for (entries, expected) in rows {
            assert_eq!(plain(entries), expected, "{entries:?}");
        }
    }

    #[test]
    fn a_cut_ends_with_the_last_tick_of_the_movies_clock_or_is_refused() {
        #[rustfmt::skip]
        let rows = [
            ((1024, 3000, 44_100, 1000), Some((1024, 133_324))),
            ((1024, 1, 44_100, 1000), Some((1024, 1069))),
            ((2112, 0, 44_100, 1000), Some((2112, u64::MAX))),
            ((0, u64::MAX, 44_100, 1), None),
            ((u64::MAX, 1000, 44_100, 1000), None),
            ((0, 1000, 44_100, 0), None),
            ((0, 1000, 0, 1000), None),
        ];
        for ((start, length, timescale, movie), expected) in rows {
            let found = cut(start, length, timescale, movie).map(|cut| (cut.start, cut.end));
            assert_eq!(found, expected, "{start} {length} {timescale} {movie}");
        }
    }

    #[test]
    fn frames_outside_the_cut_are_not_kept() {
        let cut = |start, end, timescale| Cut {
            start,
            end,
            timescale,
        };
        #[rustfmt::skip]
        let rows = [
            (cut(1024, 5000, 44_100), 0, 1024..1024),
            (cut(1024, 5000, 44_100), 1024, 0..1024),
            (cut(1500, 5000, 44_100), 1024, 476..1024),
            (cut(1024, 5000, 44_100), 4096, 0..904),
            (cut(1024, 5000, 44_100), 9216, 0..0),
            (cut(1024, 1000, 44_100), 0, 1024..1024),
            (cut(10, 20, 1000), 0, 441..882),
            (cut(u64::MAX, u64::MAX, 1), 0, 1024..1024),
        ];
        for (cut, at, expected) in rows {
            assert_eq!(cut.kept(at, 1024, 44_100), expected, "{cut:?} {at}");
        }
    }
}
