//! Sets of tracks against plain sets, in memory and stored.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn range() -> impl Strategy<Value = Range> {
    (0u32..200, 0u32..40).prop_map(|(first, len)| Range {
        first,
        end: first + len,
    })
}

fn edits() -> impl Strategy<Value = Vec<(bool, Range)>> {
    prop::collection::vec((any::<bool>(), range()), 0..24)
}

fn apply(edits: &[(bool, Range)]) -> (TrackSet, BTreeSet<Ordinal>) {
    let (mut set, mut plain) = (TrackSet::new(), BTreeSet::new());
    for (add, range) in edits {
        if *add {
            set.insert(*range);
            plain.extend(range.iter());
        } else {
            set.remove(*range);
            range.iter().for_each(|o| {
                plain.remove(&o);
            });
        }
    }
    (set, plain)
}

proptest! {
    #[test]
    fn a_track_set_holds_what_a_plain_set_holds(edits in edits(), probe in range()) {
        let (set, plain) = apply(&edits);
        prop_assert_eq!(set.iter().collect::<Vec<_>>(), plain.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(set.len(), plain.len() as u64);
        prop_assert_eq!(set.contains_range(probe), probe.iter().all(|o| plain.contains(&o)));
        prop_assert_eq!(set.len_within(probe), probe.iter().filter(|o| plain.contains(o)).count() as u64);
        prop_assert!(TrackSet::from_ranges(set.ranges().to_vec()).is_ok());
    }

    #[test]
    fn sets_combine_as_plain_sets_do(a in edits(), b in edits()) {
        let ((a, pa), (b, pb)) = (apply(&a), apply(&b));
        prop_assert_eq!(a.union(&b), pa.union(&pb).copied().collect());
        prop_assert_eq!(a.difference(&b), pa.difference(&pb).copied().collect());
        prop_assert_eq!(a.intersection(&b), pa.intersection(&pb).copied().collect());
        prop_assert_eq!(a.is_within(&b), pa.is_subset(&pb));
        prop_assert_eq!(a.intersects(&b), pa.intersection(&pb).next().is_some());
    }

    #[test]
    fn the_stored_form_returns_the_same_set(edits in edits()) {
        let (set, _) = apply(&edits);
        prop_assert_eq!(TrackSet::from_bytes(&set.to_bytes()), Some(set));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Some(set) = TrackSet::from_bytes(&bytes) {
            prop_assert!(TrackSet::from_ranges(set.ranges().to_vec()).is_ok());
        }
    }
}

#[test]
fn any_subset_of_a_full_shard_fits_the_coverage_bound() {
    let worst: TrackSet = (5_000..6_024).filter(|o| o % 2 == 0).collect();
    assert!(
        worst.to_bytes().len() <= 131,
        "bitmap of 1,024 tracks plus its head"
    );
}
