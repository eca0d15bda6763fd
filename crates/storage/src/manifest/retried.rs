//! The manifest of a job that scanned the unscannable tracks of a published result again: that result with the new rows in
//! the place of the old ones, all of them by reference. The published result stays as it is.
//!
//! Called by the coordinator at publish. Pure: the same manifests and selection give the same bytes.

use types::{JobId, Ledger, Ordinal, Range, TrackSet};

use super::{Manifest, ManifestOf, ManifestPart, Origin};
use crate::Selection;
use crate::export::groups;

/// Why no manifest was made.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RetriedError {
    /// The selection is of another list than the result.
    #[error("the selection is not of the result's list")]
    OtherList,
    /// The parts do not cover the selection, each track once.
    #[error("the parts do not have one row for each track of the selection")]
    NotCovered,
}

impl Manifest {
    /// The result `base` with the rows of `parts` in the place of those of the selected tracks. `of` is that of the job
    /// that made the parts, over the selection.
    ///
    /// # Errors
    /// See [`RetriedError`].
    pub fn retried(
        base: &Self,
        selection: &Selection,
        of: ManifestOf,
        parts: Vec<ManifestPart>,
        ledger: Ledger,
    ) -> Result<Self, RetriedError> {
        if selection.of != base.list || selection.list != of.list {
            return Err(RetriedError::OtherList);
        }
        let covered = parts.iter().map(|part| part.tracks.len()).sum::<u64>();
        if covered != selection.tracks.len() {
            return Err(RetriedError::NotCovered);
        }
        let mut all = base.kept(&selection.tracks);
        let bounds = base.bounds();
        for part in parts {
            let part = lifted(&part, &of.job, selection).ok_or(RetriedError::NotCovered)?;
            all.extend(cut(&part, &bounds));
        }
        let of = ManifestOf {
            version: base.version.saturating_add(1),
            list: base.list,
            rows: base.rows,
            ..of
        };
        Ok(Self::new(of, all, ledger))
    }

    /// Its parts without the rows of these tracks; parts of which nothing is left are gone.
    fn kept(&self, without: &TrackSet) -> Vec<ManifestPart> {
        let kept = self.parts.iter().filter_map(|part| {
            let tracks = part.tracks.difference(without);
            let origin = part.origin.clone().unwrap_or_else(|| Origin {
                job: self.job.clone(),
                list: self.list,
                tracks: part.tracks.clone(),
            });
            let origin = Origin {
                tracks: matching(&part.tracks, &tracks, &origin.tracks),
                ..origin
            };
            (!tracks.is_empty()).then(|| ManifestPart {
                tracks,
                origin: Some(origin),
                ..part.clone()
            })
        });
        kept.collect()
    }

    /// First ordinals of the groups of its parts, rising.
    fn bounds(&self) -> Vec<Ordinal> {
        let firsts = groups(&self.parts)
            .into_iter()
            .filter_map(|group| group.first()?.tracks.first());
        firsts.collect()
    }
}

/// A part over the selection as a part over the list that was selected from.
fn lifted(part: &ManifestPart, job: &JobId, selection: &Selection) -> Option<ManifestPart> {
    let all = TrackSet::from(Range {
        first: 0,
        end: u32::try_from(selection.tracks.len()).ok()?,
    });
    let tracks = matching(&all, &part.tracks, &selection.tracks);
    (tracks.len() == part.tracks.len()).then(|| ManifestPart {
        tracks,
        origin: Some(Origin {
            job: job.clone(),
            list: selection.list,
            tracks: part.tracks.clone(),
        }),
        ..part.clone()
    })
}

/// A part in pieces that cross no bound, so that readers still hold few parts at a time: a selection's tracks may lie all
/// over its list. A piece costs its readers another look at the part.
fn cut(part: &ManifestPart, bounds: &[Ordinal]) -> Vec<ManifestPart> {
    let Some(origin) = &part.origin else {
        return vec![part.clone()];
    };
    let pairs: Vec<(Ordinal, Ordinal)> = part.tracks.iter().zip(origin.tracks.iter()).collect();
    let place = |pair: &(Ordinal, Ordinal)| bounds.partition_point(|bound| *bound <= pair.0);
    let piece = |pairs: &[(Ordinal, Ordinal)]| ManifestPart {
        tracks: pairs.iter().map(|(here, _)| *here).collect(),
        origin: Some(Origin {
            tracks: pairs.iter().map(|(_, there)| *there).collect(),
            ..origin.clone()
        }),
        ..part.clone()
    };
    let pieces = pairs.chunk_by(|one, other| place(one) == place(other));
    pieces.map(piece).collect()
}

/// The members of `to` that stand where those of `some` stand in `from`: `from` and `to` are as long as each other, and the
/// first of one stands for the first of the other.
fn matching(from: &TrackSet, some: &TrackSet, to: &TrackSet) -> TrackSet {
    let pairs = from.iter().zip(to.iter());
    let matched = pairs.filter(|(here, _)| some.contains(*here));
    matched.map(|(_, there)| there).collect()
}

#[cfg(test)]
mod tests {
    use types::{Attempt, Digest, ShardId};

    use super::super::FORMAT_BY_REFERENCE;
    use super::*;
    use crate::parts::samples::manifest_of;

    fn set(tracks: &[Ordinal]) -> TrackSet {
        tracks.iter().copied().collect()
    }

    fn part(shard: u32, tracks: &[Ordinal]) -> ManifestPart {
        let key = format!("default/1/job/{shard}/{}", tracks[0]);
        ManifestPart {
            key: key.parse().unwrap(),
            shard: ShardId::Root(shard),
            attempt: Attempt(1),
            tracks: set(tracks),
            rows: u32::try_from(tracks.len()).unwrap(),
            sha256: Digest::of(&[shard as u8, tracks[0] as u8]),
            origin: None,
        }
    }

    fn base() -> Manifest {
        let parts = vec![part(0, &[0, 1, 2, 3]), part(1, &[4, 5]), part(2, &[6, 7])];
        Manifest::new(
            manifest_of(Digest::of(b"list"), 8),
            parts,
            Ledger::default(),
        )
    }

    fn selection(tracks: &[Ordinal]) -> Selection {
        Selection::sample(Digest::of(b"list"), Digest::of(b"selected"), set(tracks))
    }

    fn retried(
        base: &Manifest,
        tracks: &[Ordinal],
        parts: Vec<ManifestPart>,
    ) -> Result<Manifest, RetriedError> {
        let mut of = manifest_of(Digest::of(b"selected"), 3);
        of.job = JobId::new("again").unwrap();
        Manifest::retried(base, &selection(tracks), of, parts, Ledger::default())
    }

    /// Which job's row of which ordinal each track has.
    fn rows(manifest: &Manifest) -> Vec<(Ordinal, String, Ordinal)> {
        let mut rows = Vec::new();
        for part in &manifest.parts {
            let origin = part.origin.as_ref().unwrap();
            assert_eq!(origin.tracks.len(), part.tracks.len());
            let pairs = part.tracks.iter().zip(origin.tracks.iter());
            rows.extend(pairs.map(|(here, there)| (here, origin.job.to_string(), there)));
        }
        rows.sort();
        rows
    }

    #[test]
    fn the_selected_tracks_have_their_new_rows_and_the_others_their_old_ones() {
        let made = retried(&base(), &[1, 4, 5], vec![part(0, &[0, 1]), part(1, &[2])]).unwrap();
        let expected = [
            (0, "job-1", 0),
            (1, "again", 0),
            (2, "job-1", 2),
            (3, "job-1", 3),
            (4, "again", 1),
            (5, "again", 2),
            (6, "job-1", 6),
            (7, "job-1", 7),
        ];
        let expected = expected.map(|(here, job, there)| (here, job.to_owned(), there));
        assert_eq!(rows(&made), expected);
        assert_eq!((made.version, made.list, made.rows), (2, base().list, 8));
        assert_eq!(made.format, FORMAT_BY_REFERENCE);
    }

    #[test]
    fn a_part_over_tracks_of_several_groups_is_listed_in_each_so_that_groups_stay_small() {
        let made = retried(&base(), &[1, 5, 7], vec![part(0, &[0, 1, 2])]).unwrap();
        let sizes: Vec<usize> = groups(&made.parts)
            .iter()
            .map(|group| group.len())
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), 6);
        assert!(sizes.iter().all(|size| *size <= 2), "{sizes:?}");
    }

    #[test]
    fn a_retry_of_a_retry_takes_each_row_from_where_it_last_came_from() {
        let first = retried(&base(), &[1, 4, 5], vec![part(0, &[0, 1, 2])]).unwrap();
        let mut of = manifest_of(Digest::of(b"selected"), 1);
        of.job = JobId::new("third").unwrap();
        let once_more = vec![part(0, &[0])];
        let made =
            Manifest::retried(&first, &selection(&[4]), of, once_more, Ledger::default()).unwrap();
        let found = rows(&made);
        assert_eq!(found[4], (4, "third".to_owned(), 0));
        assert_eq!(found[1], (1, "again".to_owned(), 0));
        assert_eq!(found[5], (5, "again".to_owned(), 2));
        assert_eq!(found[0], (0, "job-1".to_owned(), 0));
        assert_eq!(made.version, 3);
    }

    #[test]
    fn parts_that_miss_a_track_of_the_selection_or_are_of_another_list_make_no_manifest() {
        let missing = retried(&base(), &[1, 4, 5], vec![part(0, &[0, 1])]);
        assert_eq!(missing, Err(RetriedError::NotCovered));
        let beyond = retried(&base(), &[1, 4], vec![part(0, &[0, 9])]);
        assert_eq!(beyond, Err(RetriedError::NotCovered));
        let mut other = base();
        other.list = Digest::of(b"other");
        let other = retried(&other, &[1], vec![part(0, &[0])]);
        assert_eq!(other, Err(RetriedError::OtherList));
    }
}
