//! The zip archive around a torch checkpoint: one pickle and one entry for each storage, all stored as they are. Reads its
//! directory and hands out slices; copies nothing, writes nothing, inflates nothing.

use crate::refusal::{Refusal, shown};
use rawzip::{CompressionMethod, ZipArchive, ZipFileHeaderRecord, ZipSliceArchive};
use std::collections::BTreeMap;

/// Most entries: twenty times the tensors of the published networks.
const ENTRIES_MAX: usize = 10_000;
/// Longest name of an entry; torch's have about thirty.
const NAME_BYTES_MAX: usize = 256;
/// The pickle's name below the archive's one folder.
const PICKLE: &str = "data.pkl";
/// Where storages lie below that folder.
const STORAGES: &str = "data/";

/// An archive's entries by name, without the folder that all of them lie in.
#[derive(Debug)]
pub(crate) struct Archive<'a>(BTreeMap<String, &'a [u8]>);

impl<'a> Archive<'a> {
    /// Reads the directory and checks each entry's name, method, place and checksum.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let archive = ZipArchive::from_slice(bytes).map_err(damaged)?;
        let mut all = BTreeMap::new();
        let mut held = 0usize;
        for entry in entries(&archive) {
            let entry = entry?;
            if all.len() == ENTRIES_MAX {
                return Err(Refusal::Entries(ENTRIES_MAX));
            }
            let (name, data) = stored(bytes, &archive, &entry)?;
            // Entries that lie over each other would be checked, each of them, for the price of one.
            held = held.saturating_add(data.len());
            if held > bytes.len() {
                return Err(Refusal::Archive("its entries lie over each other".into()));
            }
            if rawzip::crc32(data) != entry.crc32() {
                return Err(Refusal::Checksum(shown(&name)));
            }
            let taken = Refusal::EntryName(shown(&name));
            if all.insert(name, data).is_some() {
                return Err(taken);
            }
        }
        Self::of(&all)
    }

    /// The entries below the folder of the one pickle that is there.
    fn of(all: &BTreeMap<String, &'a [u8]>) -> Result<Self, Refusal> {
        let mut folders = all.keys().filter_map(|name| match name.split_once('/') {
            Some((folder, PICKLE)) => Some(folder),
            Some(_) | None => None,
        });
        let Some(folder) = folders.next() else {
            return Err(Refusal::EntryMissing(PICKLE.to_owned()));
        };
        if folders.next().is_some() {
            return Err(Refusal::Archive("it holds two pickles".into()));
        }
        let below = all.iter().filter_map(|(name, data)| {
            let rest = name.strip_prefix(folder)?.strip_prefix('/')?;
            Some((rest.to_owned(), *data))
        });
        let archive = Self(below.collect());
        match archive.0.get("byteorder") {
            Some(order) if *order != b"little" => Err(Refusal::ByteOrder),
            Some(_) | None => Ok(archive),
        }
    }

    /// The pickle.
    ///
    /// # Errors
    /// [`Refusal::EntryMissing`].
    pub(crate) fn pickle(&self) -> Result<&'a [u8], Refusal> {
        self.get(PICKLE)
    }

    /// A storage's bytes.
    ///
    /// # Errors
    /// [`Refusal::EntryMissing`].
    pub(crate) fn storage(&self, key: &str) -> Result<&'a [u8], Refusal> {
        self.get(&format!("{STORAGES}{key}"))
    }

    fn get(&self, name: &str) -> Result<&'a [u8], Refusal> {
        let found = self.0.get(name).copied();
        found.ok_or_else(|| Refusal::EntryMissing(shown(name)))
    }
}

fn damaged(error: rawzip::Error) -> Refusal {
    Refusal::Archive(shown(&error.to_string()))
}

fn entries<'a>(
    archive: &'a ZipSliceArchive<&'a [u8]>,
) -> impl Iterator<Item = Result<ZipFileHeaderRecord<'a>, Refusal>> {
    archive.entries().map(|entry| entry.map_err(damaged))
}

/// An entry's name and bytes.
fn stored<'a>(
    bytes: &'a [u8],
    archive: &ZipSliceArchive<&[u8]>,
    entry: &ZipFileHeaderRecord<'_>,
) -> Result<(String, &'a [u8]), Refusal> {
    let raw = entry.file_path();
    let name = String::from_utf8_lossy(raw.as_bytes()).into_owned();
    if !is_plain(&name) {
        return Err(Refusal::EntryName(shown(&name)));
    }
    let whole = entry.compressed_size_hint() == entry.uncompressed_size_hint();
    let is_stored = entry.compression_method() == CompressionMethod::STORE;
    if !whole || !is_stored || entry.flags().is_encrypted() {
        return Err(Refusal::Compressed(shown(&name)));
    }
    let found = archive.get_entry(entry.wayfinder()).map_err(damaged)?;
    let (begin, end) = found.compressed_data_range();
    match range(bytes, begin, end) {
        Some(data) => Ok((name, data)),
        None => Err(Refusal::Archive(format!("`{}` leaves it", shown(&name)))),
    }
}

fn range(bytes: &[u8], begin: u64, end: u64) -> Option<&[u8]> {
    let (begin, end) = (usize::try_from(begin).ok()?, usize::try_from(end).ok()?);
    bytes.get(begin..end)
}

/// Whether a name leads down from where it stands and nowhere else. Nothing is ever written under it; a name that leads
/// elsewhere says that the archive is not torch's.
fn is_plain(name: &str) -> bool {
    let letter = |letter: char| letter == ' ' || letter.is_ascii_graphic();
    let sound = |segment: &str| !matches!(segment, "" | "." | "..");
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(letter)
        && !name.contains(['\\', ':'])
        && name.split('/').all(sound)
}
