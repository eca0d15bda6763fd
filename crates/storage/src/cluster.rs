//! Whose storage this is, and how far its store has come: a mark of (cluster, generation, revision), all in an object's name.
//!
//! Called by a leading coordinator, before its first answer and from time to time. Marks are put once and never changed, so that a
//! late write of an older leader adds a lower mark and takes nothing back. The highest mark tells a store that was put back from an
//! older copy, a mark of another cluster a prefix that two clusters share.

mod again;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use thiserror::Error;
use types::Generation;

use crate::{ObjectPath, Put, Storage, StorageError};

pub use again::MarksSeen;

/// The folder of marks; no tenant's name begins with `_`.
const FOLDER: &str = "_cluster";

/// Marks of one cluster that are kept: the highest, and some more, since a reader may be between listing and looking.
const KEPT: usize = 4;

/// Marks that are cleared up at most with one that is put: a leader leaves one behind at a time, and what one that may not remove left is
/// cleared up bit by bit once somebody may.
const CLEARED_MAX: usize = 100;

/// Most clusters whose marks are read: one keeps its objects here, and each restore into a new store leaves one behind.
pub const CLUSTERS_MAX: usize = 10_000;

/// How far the store of a cluster had come when its leader said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterMark {
    /// The store's own number, for life.
    pub cluster: u64,
    /// The generation.
    pub generation: Generation,
    /// The store's revision.
    pub revision: u64,
}

/// What marks say against a store.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MarkConflict {
    /// Another cluster writes here.
    #[error(
        "cluster {theirs:016x} keeps its objects under this prefix, and this is cluster {ours:016x}"
    )]
    Foreign {
        /// The store that was asked about.
        ours: u64,
        /// The other one.
        theirs: u64,
    },
    /// The store is older than what was seen of it.
    #[error("the store is at revision {} of generation {}, and storage has seen {} of {}", .ours.revision, .ours.generation, .seen.revision, .seen.generation)]
    Older {
        /// The store that was asked about.
        ours: ClusterMark,
        /// The highest mark.
        seen: ClusterMark,
    },
}

impl ClusterMark {
    /// What these marks say against a store that stands at this one; nothing where it may go on. A cluster of a lower generation is
    /// the one that a restore took the place of.
    ///
    /// # Errors
    /// The conflict, another cluster first.
    pub fn check(self, marks: &[Self]) -> Result<(), MarkConflict> {
        if let Some(other) = marks
            .iter()
            .find(|mark| mark.cluster != self.cluster && mark.generation >= self.generation)
        {
            return Err(MarkConflict::Foreign {
                ours: self.cluster,
                theirs: other.cluster,
            });
        }
        let own = marks.iter().filter(|mark| mark.cluster == self.cluster);
        match own.max() {
            Some(seen) if *seen > self => Err(MarkConflict::Older {
                ours: self,
                seen: *seen,
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn path(self) -> Result<ObjectPath, StorageError> {
        let Self {
            cluster,
            generation: Generation(generation),
            revision,
        } = self;
        let path = format!("{FOLDER}/{cluster:016x}/{generation:010}-{revision:020}");
        path.parse()
            .map_err(|error| StorageError::Invalid(format!("{error}")))
    }

    fn of(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix(FOLDER)?.strip_prefix('/')?.split('/');
        let (cluster, name) = (segments.next()?, segments.next()?);
        let (generation, revision) = name.split_once('-')?;
        let mark = Self {
            cluster: u64::from_str_radix(cluster, 16).ok()?,
            generation: Generation(generation.parse().ok()?),
            revision: revision.parse().ok()?,
        };
        let same = mark.path().is_ok_and(|expected| expected.as_str() == path);
        same.then_some(mark)
    }
}

impl Storage {
    /// The highest mark of each cluster under this storage root. Objects of other names are passed over. There may be any number of lower
    /// ones, where nobody may remove anything.
    ///
    /// # Errors
    /// See [`StorageError`]; `Invalid` where there are marks of more than [`CLUSTERS_MAX`] clusters.
    pub async fn marks(&self) -> Result<Vec<ClusterMark>, StorageError> {
        let mut highest = BTreeMap::new();
        let mut listed = self.listed_marks(FOLDER);
        while let Some(mark) = listed.try_next().await? {
            let known = highest.entry(mark.cluster).or_insert(mark);
            *known = mark.max(*known);
            if highest.len() > CLUSTERS_MAX {
                let said =
                    format!("marks of more than {CLUSTERS_MAX} clusters stand under `{FOLDER}`");
                return Err(StorageError::Invalid(said));
            }
        }
        Ok(highest.into_values().collect())
    }

    /// Takes back a mark that its own cluster has just put, and that nobody may rest on: it found that another cluster was here first.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn take_back_mark(&self, mark: ClusterMark) -> Result<(), StorageError> {
        self.remove(&mark.path()?).await
    }

    fn listed_marks(&self, folder: &str) -> BoxStream<'static, Result<ClusterMark, StorageError>> {
        let under = object_store::path::Path::from(folder);
        named(self.object_store().list(Some(&under)))
    }

    /// The marks of a folder whose names sort behind this one.
    fn listed_marks_after(
        &self,
        folder: &str,
        after: &str,
    ) -> BoxStream<'static, Result<ClusterMark, StorageError>> {
        let (under, after) = (
            object_store::path::Path::from(folder),
            object_store::path::Path::from(after),
        );
        named(self.object_store().list_with_offset(Some(&under), &after))
    }

    /// Puts a mark, and removes some of those of the same cluster that it leaves far behind.
    ///
    /// # Errors
    /// See [`StorageError`]. A mark that could not be removed is no error: it says nothing wrong.
    pub async fn put_mark(&self, mark: ClusterMark) -> Result<Put, StorageError> {
        let put = self.put(&mark.path()?, Bytes::new()).await?;
        let folder = format!("{FOLDER}/{:016x}", mark.cluster);
        let lower = |other: &ClusterMark| std::future::ready(*other < mark);
        let lower = self.listed_marks(&folder).try_filter(lower);
        let mut own: Vec<_> = lower.take(KEPT + CLEARED_MAX).try_collect().await?;
        own.sort_unstable();
        let behind = own.len().saturating_sub(KEPT);
        for old in &own[..behind] {
            if let Err(error) = self.remove(&old.path()?).await {
                tracing::warn!(%error, "an old mark of how far the store has come stays");
                break;
            }
        }
        Ok(put)
    }
}

/// The marks among listed objects.
fn named(
    listed: BoxStream<'static, object_store::Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ClusterMark, StorageError>> {
    let named = |listed: object_store::Result<ObjectMeta>| {
        let mark = listed
            .map_err(|error| StorageError::from_store("list", FOLDER, error))
            .map(|object| ClusterMark::of(object.location.as_ref()));
        std::future::ready(mark.transpose())
    };
    listed.filter_map(named).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(cluster: u64, generation: u32, revision: u64) -> ClusterMark {
        ClusterMark {
            cluster,
            generation: Generation(generation),
            revision,
        }
    }

    async fn after(marks: &[ClusterMark]) -> (Storage, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        for mark in marks {
            storage.put_mark(*mark).await.unwrap();
        }
        (storage, folder)
    }

    #[tokio::test]
    async fn two_clusters_on_one_prefix_are_noticed_by_both() {
        let (storage, _folder) = after(&[mark(1, 1, 10), mark(u64::MAX, 1, 3)]).await;
        let marks = storage.marks().await.unwrap();
        for (ours, theirs) in [(1, u64::MAX), (u64::MAX, 1)] {
            let conflict = mark(ours, 1, 99).check(&marks).unwrap_err();
            assert_eq!(conflict, MarkConflict::Foreign { ours, theirs });
        }
    }

    #[tokio::test]
    async fn a_mark_that_is_taken_back_is_no_cluster_s_any_more() {
        let (storage, _folder) = after(&[mark(1, 1, 10), mark(2, 1, 3)]).await;
        storage.take_back_mark(mark(2, 1, 3)).await.unwrap();
        assert_eq!(storage.marks().await.unwrap(), [mark(1, 1, 10)]);
    }

    #[tokio::test]
    async fn the_cluster_that_a_restore_replaced_is_no_stranger_and_finds_one_itself() {
        let (storage, _folder) = after(&[mark(1, 1, 900), mark(2, 2, 3)]).await;
        let marks = storage.marks().await.unwrap();
        assert_eq!(mark(2, 2, 4).check(&marks), Ok(()));
        let conflict = mark(1, 1, 901).check(&marks).unwrap_err();
        assert_eq!(conflict, MarkConflict::Foreign { ours: 1, theirs: 2 });
    }

    #[tokio::test]
    async fn a_store_below_a_mark_is_older_and_one_at_it_or_above_goes_on() {
        let (storage, _folder) = after(&[mark(7, 1, 500), mark(7, 2, 20)]).await;
        let marks = storage.marks().await.unwrap();
        for (generation, revision, is_sound) in [
            (2, 20, true),
            (2, 21, true),
            (3, 1, true),
            (2, 19, false),
            (1, 900, false),
        ] {
            let outcome = mark(7, generation, revision).check(&marks);
            assert_eq!(outcome.is_ok(), is_sound, "{outcome:?}");
        }
        assert_eq!(
            mark(7, 1, 1).check(&[]),
            Ok(()),
            "a new storage has no marks"
        );
    }

    #[tokio::test]
    async fn a_late_mark_takes_nothing_back_and_old_marks_are_cleared_up() {
        let rising: Vec<_> = (1..=20).map(|revision| mark(7, 1, revision)).collect();
        let (storage, _folder) = after(&rising).await;
        assert!(storage.marks().await.unwrap().len() <= KEPT + 1);
        storage.put_mark(mark(7, 1, 2)).await.unwrap();
        let marks = storage.marks().await.unwrap();
        assert_eq!(marks.iter().max(), Some(&mark(7, 1, 20)));
    }
    #[tokio::test]
    async fn marks_that_nobody_may_remove_keep_nobody_from_reading_the_highest() {
        let (storage, folder) = after(&[mark(7, 1, 1), mark(8, 1, 1)]).await;
        let here = folder.path().join(FOLDER).join(format!("{:016x}", 7));
        for revision in 2..CLUSTERS_MAX + 10 {
            std::fs::write(here.join(format!("0000000001-{revision:020}")), "").unwrap();
        }
        let marks = storage.marks().await.unwrap();
        let last = CLUSTERS_MAX as u64 + 9;
        assert_eq!(marks, [mark(7, 1, last), mark(8, 1, 1)]);
        let before = std::fs::read_dir(&here).unwrap().count();
        storage.put_mark(mark(7, 1, last + 1)).await.unwrap();
        let left = std::fs::read_dir(&here).unwrap().count();
        assert_eq!(left, before + 1 - CLEARED_MAX);
        assert_eq!(storage.marks().await.unwrap()[0], mark(7, 1, last + 1));
    }
}
