//! Finding repeated track ids and keys among a hundred million rows in bounded memory: digests are sorted in runs that
//! go to scratch files, and merged; what remains is one bit per row.
//!
//! Used on the first of two passes over a manifest. A row repeats another when an earlier sound row has its id, or its
//! source and key, even where that earlier row was itself a repetition.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use sha2::{Digest as _, Sha256};
use types::{CatalogRow, Code};

/// A place for bytes that are needed until the import has ended.
pub trait ScratchFile: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> ScratchFile for T {}

/// Makes scratch files, each empty.
pub trait Scratch {
    /// A new, empty file that vanishes when dropped.
    ///
    /// # Errors
    /// When none can be made.
    fn file(&mut self) -> io::Result<Box<dyn ScratchFile>>;
}

/// Digests sorted at once: 48 MB each for ids and keys.
const RUN_ENTRIES: usize = 2_000_000;

/// Digests written per scratch file and read at once in the merge: with a hundred runs open, 6 MB.
const BUFFER_BYTES: usize = 64 * 1024;

/// The first 16 bytes of SHA-256: among 200 million rows two different ones share them with odds of 1 in 10²¹.
type Short = u128;

const ENTRY_BYTES: usize = 24;

/// Collects what rows are called.
pub struct Duplicates<'a> {
    ids: Sorter,
    keys: Sorter,
    rows: u64,
    scratch: &'a mut dyn Scratch,
}

/// Which rows repeat an earlier one.
#[derive(Debug, Default)]
pub struct DuplicatesFound {
    ids: Bits,
    keys: Bits,
}

impl<'a> Duplicates<'a> {
    /// Begins with no rows.
    pub fn new(scratch: &'a mut dyn Scratch) -> Self {
        Self {
            ids: Sorter::new(RUN_ENTRIES),
            keys: Sorter::new(RUN_ENTRIES),
            rows: 0,
            scratch,
        }
    }

    /// Adds the next sound row.
    ///
    /// # Errors
    /// When a scratch file cannot be written.
    pub fn add(&mut self, row: &CatalogRow) -> io::Result<()> {
        let number = self.rows;
        self.rows += 1;
        self.ids
            .add(short(&[row.track_id.as_str()]), number, self.scratch)?;
        self.keys.add(
            short(&[row.source.as_str(), &row.key]),
            number,
            self.scratch,
        )
    }

    /// Finds the repetitions.
    ///
    /// # Errors
    /// When a scratch file cannot be read back.
    pub fn finish(self) -> io::Result<DuplicatesFound> {
        Ok(DuplicatesFound {
            ids: self.ids.repeated()?,
            keys: self.keys.repeated()?,
        })
    }
}

impl DuplicatesFound {
    /// What is wrong with the `number`th sound row, from 0; nothing for most.
    pub fn code(&self, number: u64) -> Option<Code> {
        match (self.ids.get(number), self.keys.get(number)) {
            (true, _) => Some(Code::DuplicateTrackId),
            (false, true) => Some(Code::DuplicateKey),
            (false, false) => None,
        }
    }
}

fn short(parts: &[&str]) -> Short {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    digest[..size_of::<Short>()]
        .iter()
        .fold(0, |number, byte| number << 8 | Short::from(*byte))
}

/// Sorts (digest, row number) pairs, in memory or through scratch files.
struct Sorter {
    entries: Vec<(Short, u64)>,
    runs: Vec<Box<dyn ScratchFile>>,
    run_entries: usize,
}

impl Sorter {
    fn new(run_entries: usize) -> Self {
        Self {
            entries: Vec::new(),
            runs: Vec::new(),
            run_entries,
        }
    }

    fn add(&mut self, name: Short, number: u64, scratch: &mut dyn Scratch) -> io::Result<()> {
        self.entries.push((name, number));
        match self.entries.len() < self.run_entries {
            true => Ok(()),
            false => self.spill(scratch),
        }
    }

    fn spill(&mut self, scratch: &mut dyn Scratch) -> io::Result<()> {
        self.entries.sort_unstable();
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, scratch.file()?);
        for (name, number) in self.entries.drain(..) {
            out.write_all(&name.to_be_bytes())?;
            out.write_all(&number.to_be_bytes())?;
        }
        self.runs
            .push(out.into_inner().map_err(io::IntoInnerError::into_error)?);
        Ok(())
    }

    /// The rows whose digest an earlier row has.
    fn repeated(mut self) -> io::Result<Bits> {
        self.entries.sort_unstable();
        let mut runs: Vec<Run> = vec![Run::Memory(self.entries.into_iter())];
        for mut run in self.runs {
            run.seek(SeekFrom::Start(0))?;
            runs.push(Run::File(BufReader::with_capacity(BUFFER_BYTES, run)));
        }
        let mut heap = BinaryHeap::new();
        for (n, run) in runs.iter_mut().enumerate() {
            heap.extend(run.next()?.map(|entry| Reverse((entry, n))));
        }
        let (mut bits, mut last) = (Bits::default(), None);
        while let Some(Reverse(((name, number), n))) = heap.pop() {
            if last == Some(name) {
                bits.set(number);
            }
            last = Some(name);
            heap.extend(runs[n].next()?.map(|entry| Reverse((entry, n))));
        }
        Ok(bits)
    }
}

enum Run {
    Memory(std::vec::IntoIter<(Short, u64)>),
    File(BufReader<Box<dyn ScratchFile>>),
}

impl Run {
    fn next(&mut self) -> io::Result<Option<(Short, u64)>> {
        let file = match self {
            Self::Memory(entries) => return Ok(entries.next()),
            Self::File(file) => file,
        };
        let mut bytes = [0; ENTRY_BYTES];
        match file.read_exact(&mut bytes) {
            Ok(()) => {
                let packed = (
                    read_u64(&bytes[..8]),
                    read_u64(&bytes[8..16]),
                    read_u64(&bytes[16..]),
                );
                Ok(Some((
                    Short::from(packed.0) << 64 | Short::from(packed.1),
                    packed.2,
                )))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn read_u64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// One bit per row, as far as any is set: 25 MB for [`crate::ROWS_MAX`].
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, number: u64) {
        let word = (number / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    fn get(&self, number: u64) -> bool {
        self.0
            .get((number / 64) as usize)
            .is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::io::Cursor;

    struct Memory;

    impl Scratch for Memory {
        fn file(&mut self) -> io::Result<Box<dyn ScratchFile>> {
            Ok(Box::new(Cursor::new(Vec::new())))
        }
    }

    fn sorted(names: &[u8], run_entries: usize) -> Vec<u64> {
        let mut sorter = Sorter::new(run_entries);
        for (number, name) in names.iter().enumerate() {
            sorter
                .add(short(&[&name.to_string()]), number as u64, &mut Memory)
                .unwrap();
        }
        let bits = sorter.repeated().unwrap();
        (0..names.len() as u64)
            .filter(|number| bits.get(*number))
            .collect()
    }

    proptest! {
        #[test]
        fn exactly_the_later_ones_of_equal_names_are_found_however_they_were_spilled(
            names in prop::collection::vec(0u8..40, 0..200),
            run_entries in 1usize..50,
        ) {
            let mut seen = BTreeSet::new();
            let expected: Vec<u64> =
                (0u64..).zip(&names).filter(|(_, name)| !seen.insert(**name)).map(|(n, _)| n).collect();
            prop_assert_eq!(sorted(&names, run_entries), expected);
        }
    }

    #[test]
    fn two_parts_never_run_together() {
        assert_ne!(short(&["ab", "c"]), short(&["a", "bc"]));
    }
}
