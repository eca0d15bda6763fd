//! Tables of durations (`stts`): the parser goes through a stream's whole table for each packet, so that a table of
//! millions of entries would cost hours. A long table is handed on shortened; how long the stream is stays as it was.

use std::io;

use super::{Box, Exam};
use crate::source::ReadAt;

/// Longest table that is handed on as it is: encoders with a constant rate write one or two entries. A million packets
/// against this many entries cost half a second.
const ENTRIES_MAX: usize = 256;
/// Bytes of an entry: how many packets, how long each.
const ENTRY_BYTES: usize = 8;
/// Bytes read at once.
const PART_BYTES: usize = 64 * 1024;

/// Packets of one duration that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    packets: u32,
    ticks: u32,
}

/// A shorter table in place of a long one, with filler behind it: neighbours of one duration become one entry, and what
/// is still too much at the end is told by its mean.
pub(super) fn shortened<R: ReadAt>(
    exam: &mut Exam<'_, R>,
    table: &Box,
) -> io::Result<Option<(u64, Vec<u8>)>> {
    let Some(count) = exam.blocks.array::<4>(table.content() + 4)? else {
        return Ok(None);
    };
    let count = u64::from(u32::from_be_bytes(count));
    let first = table.content() + 8;
    let end = first + count * ENTRY_BYTES as u64;
    // One that is cut off is left to the parser, which refuses it.
    if count <= ENTRIES_MAX as u64 || end > table.end || table.header != 8 {
        return Ok(None);
    }
    let mut runs = Runs::default();
    let mut at = first;
    while at < end {
        let wanted = (end - at).min(PART_BYTES as u64);
        let part = exam.blocks.vec(at, wanted as usize)?;
        for [p0, p1, p2, p3, t0, t1, t2, t3] in part.as_chunks::<ENTRY_BYTES>().0 {
            runs.push(Run {
                packets: u32::from_be_bytes([*p0, *p1, *p2, *p3]),
                ticks: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            });
        }
        at += wanted;
    }
    Ok(runs.close().map(|runs| (table.at, written(&runs, table))))
}

/// Runs as they are read: the first ones in full, the rest in sum.
#[derive(Debug, Default)]
struct Runs {
    kept: Vec<Run>,
    packets: u64,
    ticks: u128,
}

impl Runs {
    fn push(&mut self, run: Run) {
        if self.packets == 0
            && let Some(last) = self.kept.last_mut()
            && last.ticks == run.ticks
            && let Some(packets) = last.packets.checked_add(run.packets)
        {
            last.packets = packets;
        } else if self.packets == 0 && self.kept.len() < ENTRIES_MAX - 2 {
            self.kept.push(run);
        } else {
            self.packets += u64::from(run.packets);
            self.ticks += u128::from(run.packets) * u128::from(run.ticks);
        }
    }

    /// All runs; none when there are more packets than a table can tell of.
    fn close(self) -> Option<Vec<Run>> {
        let mut runs = self.kept;
        let Some(mean) = self.ticks.checked_div(u128::from(self.packets)) else {
            return Some(runs);
        };
        let longer = u32::try_from(self.ticks % u128::from(self.packets)).ok()?;
        let packets = u32::try_from(self.packets).ok()?;
        let ticks = u32::try_from(mean).ok()?;
        runs.push(Run {
            packets: packets - longer,
            ticks,
        });
        // The mean of whole numbers is the largest of them where nothing remains.
        runs.push(Run {
            packets: longer,
            ticks: ticks.saturating_add(1),
        });
        Some(runs)
    }
}

/// The box with these runs, then an empty one as long as what is left of it.
fn written(runs: &[Run], table: &Box) -> Vec<u8> {
    let whole = table.end - table.at;
    let size = 16 + (runs.len() * ENTRY_BYTES) as u64;
    let mut bytes = (size as u32).to_be_bytes().to_vec();
    bytes.extend(b"stts\0\0\0\0");
    bytes.extend((runs.len() as u32).to_be_bytes());
    for run in runs {
        bytes.extend(run.packets.to_be_bytes());
        bytes.extend(run.ticks.to_be_bytes());
    }
    bytes.extend(((whole - size) as u32).to_be_bytes());
    bytes.extend(b"free");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn closed(runs: impl IntoIterator<Item = Run>) -> Option<Vec<Run>> {
        let mut shortened = Runs::default();
        runs.into_iter().for_each(|run| shortened.push(run));
        shortened.close()
    }

    #[test]
    fn a_million_equal_entries_become_one() {
        let run = Run {
            packets: 1,
            ticks: 1024,
        };
        let whole = Run {
            packets: 1_000_000,
            ticks: 1024,
        };
        assert_eq!(
            closed(std::iter::repeat_n(run, 1_000_000)),
            Some(vec![whole])
        );
    }

    #[test]
    fn more_packets_than_a_table_can_tell_of_leave_it_as_it_was() {
        let run = |ticks| Run {
            packets: u32::MAX,
            ticks,
        };
        assert_eq!(closed((0..2000).map(|i| run(i % 2))), None);
    }

    proptest! {
        #[test]
        fn a_shortened_table_is_as_long_in_packets_and_in_ticks(entries in prop::collection::vec((0u32..5, 0u32..3000), 0..5000)) {
            let runs = entries.iter().map(|(packets, ticks)| Run { packets: *packets, ticks: *ticks });
            let short = closed(runs.clone()).unwrap();
            prop_assert!(short.len() <= ENTRIES_MAX);
            let sum = |runs: &mut dyn Iterator<Item = Run>| runs.fold((0, 0), |(packets, ticks), run| {
                (packets + u64::from(run.packets), ticks + u64::from(run.packets) * u64::from(run.ticks))
            });
            prop_assert_eq!(sum(&mut short.into_iter()), sum(&mut runs.into_iter()));
        }
    }
}
