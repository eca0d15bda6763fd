//! The steps of a restore, in the order in which nothing is believed before it holds: which generation is read and which is made, the
//! record that says so, what was revoked, jobs, the shelf, nodes, the mark in storage, and the one write that makes it the store's.

use std::path::PathBuf;
use std::sync::Arc;

use scheduler::RecordKey;
use scheduler::record::encode;
use storage::{GenerationMark, Storage};
use store::{KeyRange, Store};
use types::{Code, Epoch, Generation, Problem, Rebuilt};

use super::desk::{Desk, sweep};
use super::kept::{Backup, Kept, read_store};
use super::marker::{self, Marker, unfinished};
use super::words::Asked;
use super::{jobs, known, shelf};
use crate::app::{SCRATCH_PREFIX, storage_problem};
use crate::settings::Settings;
use crate::shelf::{GENERATION, read_problem};
use crate::{clock, mirror};

/// Where a restore works.
pub(super) struct Place {
    pub(super) store: Arc<dyn Store>,
    pub(super) storage: Arc<Storage>,
    pub(super) epoch: Epoch,
    pub(super) settings: Settings,
}

/// A restore under way.
pub(super) struct Work<'a> {
    pub(super) place: &'a Place,
    /// The generation that is read.
    pub(super) old: Generation,
    /// The generation that is made.
    pub(super) new: Generation,
    pub(super) kept: Kept,
    pub(super) desk: Desk,
    /// Whether an earlier run of it has written before.
    pub(super) again: bool,
    pub(super) report: Rebuilt,
}

/// Makes the records anew.
///
/// # Errors
/// See [`super::run`].
pub(super) async fn run(
    place: &Place,
    backup: Option<Backup>,
    asked: &Asked,
) -> Result<Rebuilt, Problem> {
    let digest = backup.as_ref().map(|backup| backup.whole.digest);
    let begun = marker::read(place.store.as_ref()).await?;
    let own = mirror::generation(place.store.as_ref()).await?;
    let (marker, again) = match begun {
        Some((marker, _)) if marker.backup == digest => (marker, true),
        Some((marker, _)) => return Err(unfinished("restore", &marker)),
        None if !asked.replace && !is_empty(place).await? => {
            let said = "restore into a store that holds records";
            return Err(Problem::new(Code::StoreNotEmpty, said));
        }
        None => {
            let kept = backup.as_ref().and_then(|backup| backup.kept.generation);
            let (old, new) = generations(&place.storage, own.max(kept)).await?;
            let backup = digest;
            (Marker { old, new, backup }, false)
        }
    };
    // Asked again of one that goes on: storage may have gone since.
    if !asked.ignore_missing_marks {
        known::check(place.store.as_ref(), &place.storage, own).await?;
    }
    let kept = match (backup, own) {
        (Some(backup), _) => backup.kept,
        (None, Some(own)) => read_store(place.store.as_ref(), own).await?,
        (None, None) => Kept::default(),
    };
    let (old, new) = (marker.old, marker.new);
    tracing::info!(%old, %new, again, "making the records of a new generation");
    let desk = Desk::begin(place.store.clone(), place.epoch, marker).await?;
    let report = Rebuilt {
        replaced: old.0,
        generation: new.0,
        ..Rebuilt::default()
    };
    let work = Work {
        place,
        old,
        new,
        kept,
        desk,
        again,
        report,
    };
    work.run().await
}

impl Work<'_> {
    async fn run(mut self) -> Result<Rebuilt, Problem> {
        let revocations = shelf::revocations(&mut self).await?;
        let lists = jobs::rebuild(&mut self, &revocations).await?;
        shelf::rebuild(&mut self, lists).await?;
        self.nodes().await?;
        self.desk.flush().await?;
        let store = self.place.store.as_ref();
        let status = store.status().await;
        let status = status.map_err(|error| read_problem("the store's number", &error))?;
        let mark = GenerationMark {
            generation: self.new,
            replaced: self.old,
            cluster: status.cluster,
            at: clock::wall(),
        };
        let marked = self.place.storage.put_restored(&mark).await;
        marked.map_err(|error| storage_problem("mark the new generation", &error))?;
        self.desk.finish(GENERATION, encode(&self.new)).await?;
        let removed = sweep(store, self.place.epoch, self.new).await?;
        tracing::info!(removed, generation = %self.new, "the new generation is the store's");
        Ok(self.report)
    }

    /// What operators said of nodes. Their sessions are over: each joins anew.
    async fn nodes(&mut self) -> Result<(), Problem> {
        for (key, mut record) in std::mem::take(&mut self.kept.nodes) {
            record.left = true;
            let path = RecordKey::Node(key).path(self.new);
            self.desk.put(path, encode(&record)).await?;
        }
        Ok(())
    }

    /// A folder of its own that vanishes with it.
    pub(super) fn scratch(&self) -> Result<tempfile::TempDir, Problem> {
        let folder: &PathBuf = &self.place.settings.scratch;
        let made = std::fs::create_dir_all(folder).and_then(|()| {
            tempfile::Builder::new()
                .prefix(SCRATCH_PREFIX)
                .tempdir_in(folder)
        });
        made.map_err(|error| {
            let said = format!("make a folder in `{}`: {error}", folder.display());
            Problem::new(Code::StorageUnavailable, said)
        })
    }
}

async fn is_empty(place: &Place) -> Result<bool, Problem> {
    let range = KeyRange {
        limit: 1,
        ..KeyRange::prefix("/")
    };
    let page = place.store.range(&range).await;
    let page = page.map_err(|error| read_problem("whether the store is empty", &error))?;
    Ok(page.entries.is_empty())
}

/// The generation to read and the one to make: the last that is whole, and one that nobody has begun. The first is whole by itself, any
/// later one once its restore has marked it: what a restore left half made is never read.
async fn generations(
    storage: &Storage,
    known: Option<Generation>,
) -> Result<(Generation, Generation), Problem> {
    let failed = |error| storage_problem("look for generations", &error);
    let restored = storage.restored().await.map_err(failed)?;
    let old = restored.last().copied().unwrap_or(Generation(1));
    let begun = storage.generations().await.map_err(failed)?;
    let last = begun.last().copied().max(known).max(Some(old));
    let last = last.unwrap_or(old);
    Ok((old, Generation(last.0.saturating_add(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::UnixMillis;

    #[tokio::test]
    async fn what_is_read_is_the_last_whole_generation_and_what_is_made_is_new() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let expect = async |known: Option<u32>, old: u32, new: u32| {
            let found = generations(&storage, known.map(Generation)).await.unwrap();
            assert_eq!(found, (Generation(old), Generation(new)));
        };
        expect(None, 1, 2).await;
        expect(Some(4), 1, 5).await;
        std::fs::create_dir_all(folder.path().join("default/2/j/x")).unwrap();
        std::fs::write(folder.path().join("default/2/j/x/y"), "").unwrap();
        expect(None, 1, 3).await;
        let mark = GenerationMark {
            generation: Generation(2),
            replaced: Generation(1),
            cluster: 1,
            at: UnixMillis(1),
        };
        storage.put_restored(&mark).await.unwrap();
        expect(Some(1), 2, 3).await;
    }
}
