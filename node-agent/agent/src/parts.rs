//! Parts on this node: composed, kept on disk until their commit is answered, put to storage, and found again after a crash.
//!
//! What one flush made is one thing here, be it a terminal part, an escalation part or both: its objects are saved, put, claimed
//! and forgotten together. It is on disk, synced, before it goes anywhere, so that what was computed survives this process; what
//! a file holds is said in [`shelf`].

mod shelf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use agent_core::GrantKey;
use storage::{EncodedPart, PartFooter, PartKind, StageSpan, Storage, StorageError};
use types::{
    Digest, Epoch, Generation, JobSpec, Ledger, NodeId, Ordinal, Stage, TrackRow, TrackSet,
    UnixMillis,
};

use crate::claim::Claim;
use crate::residual;
use crate::rows::MadeRow;
pub(crate) use shelf::Shelf;

/// What one flush made, on disk.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) claim: Claim,
    /// In the order of the claim's parts.
    objects: Vec<EncodedPart>,
    file: PathBuf,
}

/// What parts state beside their rows.
#[derive(Clone, Debug)]
pub(crate) struct Circumstances {
    pub(crate) grant: GrantKey,
    pub(crate) spec: JobSpec,
    pub(crate) epoch: Epoch,
    pub(crate) generation: Generation,
    /// The escalation part that the grant's shard is made of, where it is of one.
    pub(crate) escalation: Option<Digest>,
    pub(crate) node: NodeId,
    /// The device that scored, where one did.
    pub(crate) device: Option<String>,
    /// Time for which the device waited since its last part, microseconds.
    pub(crate) wait_us: u64,
}

/// The tracks of one flush by what becomes of their rows.
#[derive(Clone, Debug)]
pub(crate) struct Flushed {
    /// All of them.
    pub(crate) tracks: TrackSet,
    /// Those that go on to the residual.
    pub(crate) onward: TrackSet,
    /// Those that would, and for which the job's budget has no room.
    pub(crate) withheld: TrackSet,
    /// Those of both that another device might have chosen otherwise.
    pub(crate) borderline: TrackSet,
}

/// Footer and rows of an object.
pub(crate) type Composed = (PartFooter, Vec<TrackRow>);

/// Footers and rows of what a flush makes: the terminal part, then the escalation part, each where it has tracks.
pub(crate) fn compose(
    about: &Circumstances,
    flushed: &Flushed,
    made: &BTreeMap<Ordinal, MadeRow>,
) -> Vec<Composed> {
    let terminal = flushed.tracks.difference(&flushed.onward);
    let kinds = [
        (PartKind::Terminal, terminal),
        (PartKind::Escalation, flushed.onward.clone()),
    ];
    let mut objects: Vec<Composed> = Vec::new();
    for (kind, tracks) in kinds {
        if tracks.is_empty() {
            continue;
        }
        // The device waited once for all of them.
        let wait_us = if objects.is_empty() { about.wait_us } else { 0 };
        objects.push(object(about, kind, tracks, wait_us, made));
    }
    for row in objects.iter_mut().flat_map(|(_, rows)| rows) {
        if flushed.withheld.contains(row.ordinal) {
            residual::withhold(row);
        }
        row.borderline |= flushed.borderline.contains(row.ordinal);
    }
    objects
}

fn object(
    about: &Circumstances,
    kind: PartKind,
    tracks: TrackSet,
    wait_us: u64,
    made: &BTreeMap<Ordinal, MadeRow>,
) -> Composed {
    let chosen: Vec<&MadeRow> = tracks
        .iter()
        .filter_map(|ordinal| made.get(&ordinal))
        .collect();
    let mut ledger = chosen
        .iter()
        .fold(Ledger::default(), |sum, made| sum.plus(made.ledger));
    if about.device.is_some() {
        ledger.stage_mut(about.grant.stage()).wait_us = wait_us;
    }
    let footer = PartFooter {
        kind,
        tenant: about.spec.tenant.clone(),
        generation: about.generation,
        job: about.grant.job.clone(),
        list: about.spec.list,
        shard: about.grant.shard,
        attempt: about.grant.attempt,
        tracks,
        escalation: about.escalation,
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
    let scored = made
        .iter()
        .filter_map(|made| Some((made.scored_from?, made.to)))
        .collect();
    let decode = span(Stage::Decode, DECODE_DEVICE, decoded);
    let scored = about
        .device
        .as_ref()
        .and_then(|device| span(about.grant.stage(), device, scored));
    decode.into_iter().chain(scored).collect()
}

/// Where decoding runs.
const DECODE_DEVICE: &str = "cpu:0";

impl Saved {
    /// Puts the objects to storage and reads them back: digest, footer and rows. Repeating it is a success.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub(crate) async fn put(&self, storage: &Storage) -> Result<(), StorageError> {
        for object in &self.objects {
            storage.put_part(object).await?;
            let _checked = storage.get_part(&object.path, object.sha256).await?;
        }
        Ok(())
    }

    /// Bytes that it takes on the disk, but for the few of a pair's head.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = self.objects.iter().map(|object| object.bytes.len() as u64);
        bytes.sum()
    }

    /// Removes the copy on disk.
    pub(crate) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.file) {
            tracing::warn!(file = %self.file.display(), %error, "a part's copy stays on disk");
        }
    }
}
