//! Marks looked at again and again, by a leader that lives for months. Where nobody may remove anything, old marks become many: a look lists what
//! stands from the highest known one on, of its own cluster and of some others, and the next look goes on with the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;

use futures::{StreamExt, TryStreamExt};

use super::{ClusterMark, FOLDER};
use crate::{Storage, StorageError};

/// Other clusters whose marks one look lists: those that were not known before it come first. Mostly there is none.
const OTHERS_MAX: usize = 16;

/// Marks of one cluster that one look lists: ten requests to an object store. Where more stand, the next look goes on from the highest of them.
const LISTED_MAX: usize = 10_000;

/// What was seen before.
#[derive(Debug, Default)]
pub struct MarksSeen {
    highest: BTreeMap<u64, ClusterMark>,
    /// The other cluster that is looked at next.
    next: u64,
}

impl MarksSeen {
    /// The clusters to look at: the own one, those that are new, and some of the others.
    fn chosen(&mut self, own: u64, there: &BTreeSet<u64>) -> Vec<u64> {
        let (known, new): (Vec<u64>, Vec<u64>) = there
            .iter()
            .copied()
            .filter(|cluster| *cluster != own)
            .partition(|cluster| self.highest.contains_key(cluster));
        let (before, from): (Vec<u64>, Vec<u64>) =
            known.into_iter().partition(|cluster| *cluster < self.next);
        let others = new.into_iter().chain(from).chain(before);
        let others: Vec<u64> = others.take(OTHERS_MAX).collect();
        let last = others.last().copied().unwrap_or_default();
        self.next = last.saturating_add(1);
        std::iter::once(own).chain(others).collect()
    }
}

impl Storage {
    /// The highest mark of each cluster, as far as it was seen by this look or an earlier one. A cluster that has no mark any more is not among
    /// them once it was looked at.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn marks_again(
        &self,
        seen: &mut MarksSeen,
        own: u64,
    ) -> Result<Vec<ClusterMark>, StorageError> {
        let folders = self.folders(FOLDER).await?;
        let number = |name: &String| u64::from_str_radix(name, 16).ok();
        let there: BTreeSet<u64> = folders.iter().filter_map(number).collect();
        seen.highest.retain(|cluster, _| there.contains(cluster));
        for cluster in seen.chosen(own, &there) {
            let known = seen.highest.remove(&cluster);
            let highest = self.highest_mark(cluster, known).await?;
            seen.highest
                .extend(highest.map(|highest| (cluster, highest)));
        }
        Ok(seen.highest.values().copied().collect())
    }

    /// The highest mark of a cluster that is not below the known one.
    async fn highest_mark(
        &self,
        cluster: u64,
        known: Option<ClusterMark>,
    ) -> Result<Option<ClusterMark>, StorageError> {
        let most = match self.is_folder() {
            // It lists in no order: the highest may come last.
            true => usize::MAX,
            false => LISTED_MAX,
        };
        let folder = format!("{FOLDER}/{cluster:016x}");
        let listed = match known {
            Some(known) => self.listed_marks_after(&folder, &below(known)?),
            None => self.listed_marks(&folder),
        };
        let higher = |highest: Option<ClusterMark>, mark| ready(Ok(highest.max(Some(mark))));
        listed.take(most).try_fold(None, higher).await
    }
}

/// A name that sorts before this mark, and after all but a few lower ones.
fn below(mark: ClusterMark) -> Result<String, StorageError> {
    let mut path = mark.path()?.as_str().to_owned();
    path.pop();
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Kind, Store};
    use types::Generation;

    const OWN: u64 = 7;

    fn mark(cluster: u64, revision: u64) -> ClusterMark {
        ClusterMark {
            cluster,
            generation: Generation(1),
            revision,
        }
    }

    async fn check(kind: Kind) {
        let store = Store::start(kind);
        let (storage, mut seen) = (store.open(), MarksSeen::default());
        let mut look = async || storage.marks_again(&mut seen, OWN).await.unwrap();
        assert_eq!(look().await, [], "{kind:?}");
        for revision in [9, 10, 11, 100] {
            storage.put_mark(mark(OWN, revision)).await.unwrap();
            assert_eq!(look().await, [mark(OWN, revision)], "{kind:?}");
        }
        storage.put_mark(mark(OWN + 1, 3)).await.unwrap();
        assert_eq!(look().await, [mark(OWN, 100), mark(OWN + 1, 3)], "{kind:?}");
        storage.put_mark(mark(OWN + 1, 30)).await.unwrap();
        assert_eq!(look().await[1], mark(OWN + 1, 30), "{kind:?}");
        for revision in [9, 10, 11, 100] {
            storage.take_back_mark(mark(OWN, revision)).await.unwrap();
        }
        assert_eq!(look().await, [mark(OWN + 1, 30)], "{kind:?}");
    }

    #[tokio::test]
    async fn each_look_finds_what_is_highest_new_and_gone() {
        check(Kind::Local).await;
        check(Kind::S3sFs).await;
        check(Kind::Moto).await;
    }

    #[test]
    fn all_other_clusters_have_their_turn_and_new_ones_come_first() {
        let mut seen = MarksSeen::default();
        let mut there: BTreeSet<u64> = (0..40).map(|n| n + 100).chain([OWN]).collect();
        let mut looked = BTreeSet::new();
        for _ in 0..4 {
            let chosen = seen.chosen(OWN, &there);
            assert!(chosen.len() <= OTHERS_MAX + 1);
            seen.highest
                .extend(chosen.iter().map(|cluster| (*cluster, mark(*cluster, 1))));
            looked.extend(chosen);
        }
        assert_eq!(looked, there);
        there.insert(50);
        assert_eq!(seen.chosen(OWN, &there)[..2], [OWN, 50]);
    }
}
