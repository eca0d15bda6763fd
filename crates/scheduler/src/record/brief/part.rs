//! The parts of a record in the brief form. What follows from the rest is left out: rows that are the tracks', the count of the last
//! verdict that there is, and the tracks of a stage that are the rows.

use super::reader::{Read, Reader};
use super::writer::Writer;
use crate::record::shard::{Made, Part, VerdictCounts};
use alloc::string::ToString;
use alloc::vec::Vec;
use types::{Attempt, Epoch, Ledger, StageUse, TrackSet, UnixMillis};

/// Bits of a part's first byte: which of its four verdicts there are, that they add up to its rows, so that the last of them is not
/// written, and that its rows are not its tracks, so that they are.
const VERDICTS: u8 = 0b1111;
const ADD_UP: u8 = 1 << 4;
const OTHER_ROWS: u8 = 1 << 5;
const KNOWN: u8 = VERDICTS | ADD_UP | OTHER_ROWS;

/// Bits of a stage's byte: which of its seven numbers there are, or that the tracks are the rows.
const TRACKS: u8 = 1 << 2;
const TRACKS_ARE_ROWS: u8 = 1 << 7;

impl<'r> Writer<'r> {
    /// The parts behind their number; nothing where there are none.
    pub(super) fn parts(&mut self, parts: &'r [Part]) {
        if parts.is_empty() {
            return;
        }
        self.number(parts.len() as u64);
        let mut before = None;
        for part in parts {
            self.part(part, before);
            before = Some(&part.tracks);
        }
    }

    fn part(&mut self, part: &'r Part, before: Option<&TrackSet>) {
        let Part {
            attempt,
            kind,
            tracks,
            sha256,
            rows,
            bytes,
            verdicts,
            ledger,
            node,
            epoch,
            made,
        } = part;
        let rows_of = u64::from(*rows);
        let (says, counts) = split(*verdicts, rows_of);
        let other_rows = rows_of != tracks.len();
        self.byte(says | if other_rows { OTHER_ROWS } else { 0 });
        self.number(attempt.0.into());
        self.one_of(kind);
        self.tracks(tracks, before);
        self.bytes.extend_from_slice(&sha256.0);
        if other_rows {
            self.number(rows_of);
        }
        self.number(*bytes);
        counts.into_iter().for_each(|count| self.number(count));
        self.ledger(*ledger, rows_of);
        self.name(node.as_str());
        self.near_epoch(epoch.0);
        self.number(made.len() as u64);
        made.iter().for_each(|made| self.made(made));
    }

    fn ledger(&mut self, ledger: Ledger, rows: u64) {
        let Ledger {
            decode,
            screen,
            residual,
        } = ledger;
        for used in [decode, screen, residual] {
            self.stage(numbers(used), rows);
        }
    }

    fn stage(&mut self, numbers: [u64; 7], rows: u64) {
        let mut says = there(&numbers);
        if says & TRACKS != 0 && numbers[2] == rows {
            says ^= TRACKS | TRACKS_ARE_ROWS;
        }
        self.byte(says);
        let written = numbers.into_iter().enumerate();
        let written = written.filter(|(place, _)| says & (1 << place) != 0);
        written.for_each(|(_, number)| self.number(number));
    }

    /// Its times lie near those of the one before it.
    fn made(&mut self, made: &'r Made) {
        let Made {
            stage,
            device,
            from,
            to,
        } = made;
        self.one_of(stage);
        self.name(device);
        self.near_time(from.0);
        self.difference(from.0.cast_unsigned(), to.0.cast_unsigned());
    }
}

impl Reader<'_> {
    /// The parts, where there are any.
    pub(super) fn parts(&mut self, are_any: bool) -> Read<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        let count = if are_any { self.number()? } else { 0 };
        for _ in 0..count {
            let part = self.part(parts.last().map(|part| &part.tracks))?;
            parts.push(part);
        }
        Ok(parts)
    }

    fn part(&mut self, before: Option<&TrackSet>) -> Read<Part> {
        let says = self.byte()?;
        if says & !KNOWN != 0 {
            return Err("a part says what is not known");
        }
        let (attempt, kind) = (Attempt(self.fits()?), self.one_of()?);
        let tracks = self.tracks(before)?;
        let sha256 = self.digest()?;
        let rows = match says & OTHER_ROWS {
            0 => u32::try_from(tracks.len()).map_err(|_| "a part has too many rows")?,
            _ => self.fits()?,
        };
        let bytes = self.number()?;
        let verdicts = self.verdicts(says, rows.into())?;
        let ledger = self.ledger(rows.into())?;
        Ok(Part {
            attempt,
            kind,
            tracks,
            sha256,
            rows,
            bytes,
            verdicts,
            ledger,
            node: self.node()?,
            epoch: Epoch(self.near_epoch()?),
            made: self.list(Self::made)?,
        })
    }

    fn verdicts(&mut self, says: u8, rows: u64) -> Read<VerdictCounts> {
        let last = last(says).filter(|_| says & ADD_UP != 0);
        if says & ADD_UP != 0 && last.is_none() {
            return Err("no verdict of a part adds up to its rows");
        }
        let mut counts = [0; 4];
        let mut left = rows;
        for (place, count) in counts.iter_mut().enumerate() {
            if last == Some(place) {
                *count = left;
            } else if says & (1 << place) != 0 {
                *count = self.number()?;
                let none_left = "the verdicts of a part are more than its rows";
                if last.is_some() {
                    left = left.checked_sub(*count).ok_or(none_left)?;
                }
            }
        }
        let [likely_ai, no_evidence, inconclusive, unscannable] = counts;
        Ok(VerdictCounts {
            likely_ai,
            no_evidence,
            inconclusive,
            unscannable,
        })
    }

    fn ledger(&mut self, rows: u64) -> Read<Ledger> {
        Ok(Ledger {
            decode: self.stage(rows)?,
            screen: self.stage(rows)?,
            residual: self.stage(rows)?,
        })
    }

    fn stage(&mut self, rows: u64) -> Read<StageUse> {
        let says = self.byte()?;
        let mut numbers = [0; 7];
        for (place, number) in numbers.iter_mut().enumerate() {
            if says & (1 << place) != 0 {
                *number = self.number()?;
            }
        }
        if says & TRACKS_ARE_ROWS != 0 {
            numbers[2] = rows;
        }
        let [
            device_us,
            energy_mj,
            tracks,
            audio_ms,
            bytes,
            cpu_us,
            wait_us,
        ] = numbers;
        Ok(StageUse {
            device_us,
            energy_mj,
            tracks,
            audio_ms,
            bytes,
            cpu_us,
            wait_us,
        })
    }

    fn made(&mut self) -> Read<Made> {
        let stage = self.one_of()?;
        let device = self.name()?.to_string();
        let from = self.near_time()?;
        let to = self.difference(from.cast_unsigned())?.cast_signed();
        Ok(Made {
            stage,
            device,
            from: UnixMillis(from),
            to: UnixMillis(to),
        })
    }
}

/// A stage's numbers, in the order of their bits.
const fn numbers(used: StageUse) -> [u64; 7] {
    let StageUse {
        device_us,
        energy_mj,
        tracks,
        audio_ms,
        bytes,
        cpu_us,
        wait_us,
    } = used;
    [
        device_us, energy_mj, tracks, audio_ms, bytes, cpu_us, wait_us,
    ]
}

/// A bit for each number that is not zero.
fn there(numbers: &[u64]) -> u8 {
    let bits = numbers.iter().enumerate();
    bits.fold(0, |bits, (place, number)| {
        bits | (u8::from(*number != 0) << place)
    })
}

/// The highest verdict that there is.
fn last(says: u8) -> Option<usize> {
    let place = (says & VERDICTS).checked_ilog2()?;
    Some(place as usize)
}

/// What a part says of its verdicts, and the counts that are written.
fn split(verdicts: VerdictCounts, rows: u64) -> (u8, Vec<u64>) {
    let VerdictCounts {
        likely_ai,
        no_evidence,
        inconclusive,
        unscannable,
    } = verdicts;
    let counts = [likely_ai, no_evidence, inconclusive, unscannable];
    let mut says = there(&counts);
    let mut written: Vec<u64> = counts.into_iter().filter(|count| *count != 0).collect();
    if verdicts.sum() == Some(rows) && written.pop().is_some() {
        says |= ADD_UP;
    }
    (says, written)
}
