//! Parts on this node: composed, kept on disk until their commit is answered, put to storage, and found again after a crash.
//!
//! A part is on disk, synced, before it goes anywhere, so that what was computed survives this process. Its file holds the
//! part's own bytes and nothing else: the claim follows from them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agent_core::GrantKey;
use bytes::Bytes;
use storage::{EncodedPart, PartFooter, PartKind, StageSpan, Storage, StorageError, parts, paths};
use types::{
    Code, Digest, Epoch, Generation, JobSpec, Ledger, NodeId, Ordinal, Problem, Stage, TrackRow,
    TrackSet, UnixMillis,
};

use crate::claim::Claim;
use crate::rows::MadeRow;

/// Parts taken over from an earlier life at most: as many as a core lets wait. Others are left to be swept by hand.
const FOUND_MAX: usize = 64;
/// How a part's file is called: the digest of its bytes and this.
const SUFFIX: &str = ".part";

/// A part that is on disk.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) claim: Claim,
    encoded: EncodedPart,
    file: PathBuf,
}

/// What a part states beside its rows.
#[derive(Clone, Debug)]
pub(crate) struct Circumstances {
    pub(crate) grant: GrantKey,
    pub(crate) spec: JobSpec,
    pub(crate) epoch: Epoch,
    pub(crate) generation: Generation,
    pub(crate) node: NodeId,
    /// The device that scored, where one did.
    pub(crate) device: Option<String>,
    /// Time for which the device waited since its last part, microseconds.
    pub(crate) wait_us: u64,
}

/// Footer and rows of a part of these tracks.
pub(crate) fn compose(
    about: &Circumstances,
    tracks: &TrackSet,
    made: &BTreeMap<Ordinal, MadeRow>,
) -> (PartFooter, Vec<TrackRow>) {
    let chosen: Vec<&MadeRow> = tracks
        .iter()
        .filter_map(|ordinal| made.get(&ordinal))
        .collect();
    let mut ledger = chosen
        .iter()
        .fold(Ledger::default(), |sum, made| sum.plus(made.ledger));
    if about.device.is_some() {
        ledger.screen.wait_us = about.wait_us;
    }
    let footer = PartFooter {
        kind: PartKind::Terminal,
        tenant: about.spec.tenant.clone(),
        generation: about.generation,
        job: about.grant.job.clone(),
        list: about.spec.list,
        shard: about.grant.shard,
        attempt: about.grant.attempt,
        tracks: tracks.clone(),
        escalation: None,
        bundle: about.spec.bundle,
        policy: about.spec.policy.clone(),
        epoch: about.epoch,
        spans: spans(about, &chosen),
        ledger,
    };
    (
        footer,
        chosen.into_iter().map(|made| made.row.clone()).collect(),
    )
}

fn spans(about: &Circumstances, made: &[&MadeRow]) -> Vec<StageSpan> {
    let span = |stage, device: &str, times: Vec<(UnixMillis, UnixMillis)>| {
        let from = times.iter().map(|(from, _)| *from).min()?;
        let to = times.iter().map(|(_, to)| *to).max()?;
        Some(StageSpan {
            stage,
            node: about.node.clone(),
            device: device.to_owned(),
            from,
            to,
        })
    };
    let decoded = made.iter().map(|made| (made.from, made.to)).collect();
    let screened = made
        .iter()
        .filter_map(|made| Some((made.screened_from?, made.to)))
        .collect();
    let decode = span(Stage::Decode, DECODE_DEVICE, decoded);
    let screen = about
        .device
        .as_ref()
        .and_then(|device| span(Stage::Screen, device, screened));
    decode.into_iter().chain(screen).collect()
}

/// Where decoding runs.
const DECODE_DEVICE: &str = "cpu:0";

/// The folder of parts.
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

    /// Encodes a part, reads it back, and writes it to disk, synced. Blocks.
    ///
    /// # Errors
    /// When rows and footer make no part (an error of this program), or the disk refuses.
    pub(crate) fn save(&self, footer: &PartFooter, rows: &[TrackRow]) -> Result<Saved, Problem> {
        let encoded = parts::encode(footer, rows)
            .map_err(|error| Problem::new(Code::Internal, format!("encode a part: {error}")))?;
        let claim = Claim::of(footer, rows, &encoded);
        let file = self.folder.join(format!("{}{SUFFIX}", encoded.sha256));
        write_synced(&file, &encoded.bytes).map_err(|error| unwritten(&file, error))?;
        Ok(Saved {
            claim,
            encoded,
            file,
        })
    }

    /// Parts of an earlier life, in the order of their names. What is no whole part is removed: it never left this node.
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
        match whole(&file, bytes) {
            Ok(saved) => Some(saved),
            Err(cause) => {
                tracing::warn!(file = %file.display(), cause, "removing what is no whole part");
                let _left_for_the_next_start = fs::remove_file(&file);
                None
            }
        }
    }
}

/// The part that a file's bytes are.
fn whole(file: &Path, bytes: Bytes) -> Result<Saved, String> {
    let sha256 = Digest::of(&bytes);
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if name != format!("{sha256}{SUFFIX}") {
        return Err("its name is not the digest of its bytes".to_owned());
    }
    let part = parts::decode(&bytes).map_err(|error| error.to_string())?;
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
    let encoded = EncodedPart {
        path,
        bytes,
        sha256,
        rows,
    };
    let claim = Claim::of(&part.footer, &part.rows, &encoded);
    Ok(Saved {
        claim,
        encoded,
        file: file.to_owned(),
    })
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

impl Saved {
    /// Puts the part to storage and reads it back: digest, footer and rows. Repeating it is a success.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub(crate) async fn put(&self, storage: &Storage) -> Result<(), StorageError> {
        storage.put_part(&self.encoded).await?;
        storage
            .get_part(&self.encoded.path, self.encoded.sha256)
            .await
            .map(|_checked| ())
    }

    /// Removes the copy on disk.
    pub(crate) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.file) {
            tracing::warn!(file = %self.file.display(), %error, "a part's copy stays on disk");
        }
    }
}
