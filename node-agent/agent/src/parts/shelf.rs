//! The folder of parts: what one flush made is one file, so that its objects are found again together or not at all.
//!
//! A file is named by the SHA-256 of its bytes and by what they are:
//! - `DIGEST.part`: one object, and nothing else.
//! - `DIGEST.pair`: the terminal and the escalation part of one flush. `TSPAIR1` and a line feed; the length of the terminal
//!   part's object in bytes, 64 bits with the lowest byte first; this object; that of the escalation part up to the file's end.
//!
//! A file is written under another name, synced, and renamed. What its name does not fit is half-written, and is removed at the
//! next start: it never left this node.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use storage::{EncodedPart, Part, PartFooter, PartKind, StorageError, parts, paths};
use types::{Code, Digest, Problem};

use super::{Composed, Saved};
use crate::claim::{Claim, ClaimedPart};

/// Files taken over from an earlier life at most: as many as a core lets wait. Others stay for a later start.
const FOUND_MAX: usize = 64;
/// How the file of one object is called behind its digest.
const SINGLE: &str = ".part";
/// How the file of two is.
const PAIR: &str = ".pair";
/// How such a file begins.
const PAIR_MAGIC: &[u8; 8] = b"TSPAIR1\n";
/// Bytes before its first object: the beginning and a length.
const PAIR_HEAD: usize = 16;

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// Opens the folder, made where it does not exist.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Encodes what a flush made, reads it back, and writes it to disk, synced. Blocks.
    ///
    /// # Errors
    /// When rows and footers make no parts (an error of this program), or the disk refuses.
    pub(crate) fn save(&self, composed: &[Composed]) -> Result<Saved, Problem> {
        let internal = |why: String| Problem::new(Code::Internal, format!("encode a part: {why}"));
        let encode = |(footer, rows): &Composed| parts::encode(footer, rows);
        let objects: Vec<EncodedPart> = composed
            .iter()
            .map(encode)
            .collect::<Result<_, _>>()
            .map_err(|error| internal(error.to_string()))?;
        let told = composed
            .iter()
            .zip(&objects)
            .map(|((footer, rows), object)| (footer, ClaimedPart::of(footer, rows, object)));
        let claim = claim(told.collect()).map_err(internal)?;
        let (bytes, suffix) = file_of(&objects);
        let name = format!("{}{suffix}", Digest::of(&bytes));
        let file = self.folder.join(name);
        write_synced(&file, &bytes).map_err(|error| unwritten(&file, error))?;
        Ok(Saved {
            claim,
            objects,
            file,
        })
    }

    /// What earlier lives left, in the order of the files' names. What is no whole file is removed: it never left this node.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn find(&self) -> io::Result<Vec<Saved>> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        files.sort();
        files.retain(|file| file.is_file());
        Ok(files
            .into_iter()
            .filter_map(Self::read)
            .take(FOUND_MAX)
            .collect())
    }

    fn read(file: PathBuf) -> Option<Saved> {
        let bytes = match fs::read(&file) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "a part that cannot be read stays for the next start");
                return None;
            }
        };
        match whole(&file, &bytes) {
            Ok(saved) => Some(saved),
            Err(cause) => {
                tracing::warn!(file = %file.display(), cause, "removing what is no whole part");
                let _left_for_the_next_start = fs::remove_file(&file);
                None
            }
        }
    }
}

/// What a file of these objects holds, and how it is called behind its digest.
fn file_of(objects: &[EncodedPart]) -> (Bytes, &'static str) {
    let [terminal, onward] = objects else {
        return (
            objects
                .first()
                .map(|object| object.bytes.clone())
                .unwrap_or_default(),
            SINGLE,
        );
    };
    let mut pair = Vec::with_capacity(PAIR_HEAD + terminal.bytes.len() + onward.bytes.len());
    pair.extend(PAIR_MAGIC);
    pair.extend((terminal.bytes.len() as u64).to_le_bytes());
    pair.extend(&terminal.bytes);
    pair.extend(&onward.bytes);
    (pair.into(), PAIR)
}

/// What a file of this name and these bytes holds.
fn whole(file: &Path, bytes: &Bytes) -> Result<Saved, String> {
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut read = Vec::new();
    for bytes in objects_in(&name, bytes)? {
        let part = parts::decode(&bytes).map_err(|error| error.to_string())?;
        let object = object_of(&part, bytes)?;
        read.push((part, object));
    }
    let told = read.iter().map(|(part, object)| {
        let claimed = ClaimedPart::of(&part.footer, &part.rows, object);
        (&part.footer, claimed)
    });
    Ok(Saved {
        claim: claim(told.collect())?,
        objects: read.into_iter().map(|(_, object)| object).collect(),
        file: file.to_owned(),
    })
}

/// The objects that a file's bytes are.
fn objects_in(name: &str, bytes: &Bytes) -> Result<Vec<Bytes>, String> {
    let sha256 = Digest::of(bytes);
    if name == format!("{sha256}{SINGLE}") {
        return Ok(vec![bytes.clone()]);
    }
    if name != format!("{sha256}{PAIR}") {
        return Err("its name is not the digest of its bytes".to_owned());
    }
    let length = bytes
        .strip_prefix(PAIR_MAGIC)
        .and_then(<[u8]>::first_chunk)
        .map(|length| u64::from_le_bytes(*length));
    let end = length
        .and_then(|length| usize::try_from(length).ok()?.checked_add(PAIR_HEAD))
        .filter(|end| *end <= bytes.len())
        .ok_or("it does not begin like a pair")?;
    Ok(vec![bytes.slice(PAIR_HEAD..end), bytes.slice(end..)])
}

/// The object of a part that was read.
fn object_of(part: &Part, bytes: Bytes) -> Result<EncodedPart, String> {
    let sha256 = Digest::of(&bytes);
    let PartFooter {
        tenant,
        generation,
        job,
        shard,
        attempt,
        tracks,
        ..
    } = &part.footer;
    let first = tracks.first().ok_or("it has no tracks")?;
    let path = paths::part(tenant, *generation, job, *shard, *attempt, first, sha256);
    let rows = u32::try_from(part.rows.len()).map_err(|error| error.to_string())?;
    Ok(EncodedPart {
        path,
        bytes,
        sha256,
        rows,
    })
}

/// What parts claim together: they are of one grant, cover different tracks, and only the last one may go on.
fn claim(parts: Vec<(&PartFooter, ClaimedPart)>) -> Result<Claim, String> {
    let (first, _) = parts.first().ok_or("it has no part")?;
    let mut claim = Claim::under(first);
    for (footer, part) in parts {
        let one = Claim::under(footer);
        let alike = (&one.tenant, one.generation, &one.grant)
            == (&claim.tenant, claim.generation, &claim.grant);
        let behind = claim
            .parts
            .iter()
            .all(|before| before.kind == PartKind::Terminal && part.kind == PartKind::Escalation);
        if !alike || !behind || part.tracks.intersects(&claim.tracks()) {
            return Err("its parts are not those of one flush".to_owned());
        }
        claim.parts.push(part);
    }
    Ok(claim)
}

/// The file appears whole, under its name, and survives a power cut; or it does not appear.
fn write_synced(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = file.with_extension("unfinished");
    let mut out = File::create(&unfinished)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&unfinished, file)?;
    file.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Why a part's file was not written: no room, or what else the disk says.
fn unwritten(file: &Path, error: io::Error) -> Problem {
    let error = StorageError::from_io("write", &file.display().to_string(), error);
    Problem::of(error.code(), &error)
}
