//! Which tracks of a shard a grant takes: a pure choice. Ranges are cut from what is neither covered nor granted;
//! suspects are granted apart from sound tracks, as many together as their deaths allow.

use crate::mutants::{self, Mutant};
use crate::record::{Care, ShardRecord};
use crate::suspects;
use types::{NodeId, Ordinal, Range, TrackSet};

/// What the choice is made from.
pub(crate) struct Ground<'a> {
    /// The shard's tracks.
    pub(crate) extent: &'a TrackSet,
    /// Those that a part covers.
    pub(crate) covered: &'a TrackSet,
    /// Its record, with grants chosen before in the same answer.
    pub(crate) record: &'a ShardRecord,
}

/// For whom, and within which bounds.
pub(crate) struct Taker<'a> {
    pub(crate) node: &'a NodeId,
    /// The nodes that could take tracks of this shard; empty where none of its tracks died alone.
    pub(crate) able: &'a [NodeId],
    /// Those of them that its tracks wait for: all, or none once they have waited long enough.
    pub(crate) others: &'a [NodeId],
    /// Whether suspects may be tried now.
    pub(crate) suspects: Trial,
}

/// Whether suspects may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    Open,
    /// They wait for their back-off, or the answer holds sound tracks already.
    Held,
}

/// A grant to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) range: Range,
    /// The tracks to be done in it.
    pub(crate) tracks: TrackSet,
    pub(crate) care: Care,
    /// Those of them to be run alone, where they are granted with others.
    pub(crate) apart: Option<TrackSet>,
}

/// The first range that this taker may have, with at most `want` tracks to be done.
pub(crate) fn choose(ground: &Ground<'_>, taker: &Taker<'_>, want: u32) -> Option<Choice> {
    let free = ground.free();
    let first = free
        .iter()
        .find(|ordinal| ground.allowed(taker, *ordinal))?;
    let (care, most) = ground.terms(taker, first, want);
    let end = ground.end(&free, taker, first, (care, most));
    let range = Range { first, end };
    Some(Choice {
        range,
        tracks: free.intersection(&TrackSet::from(range)),
        care,
        apart: None,
    })
}

/// All that is left of a shard that is not divided, while nobody holds any of it: suspects are named to be run alone, so that
/// they need not be told apart by halves. A track that is to be rejected goes before, by itself.
pub(crate) fn choose_whole(ground: &Ground<'_>, taker: &Taker<'_>) -> Option<Choice> {
    if !ground.record.grants.is_empty() {
        return None;
    }
    let free = ground.free();
    if let Some(convicted) = ground.suspects(&free, taker, Care::Reject).first() {
        let tracks = TrackSet::from_iter([convicted]);
        return Choice::of(tracks, Care::Reject, None);
    }
    let apart = ground.suspects(&free, taker, Care::Apart);
    if !apart.iter().all(|ordinal| ground.allowed(taker, ordinal)) {
        return None;
    }
    let apart = (!apart.is_empty()).then_some(apart);
    Choice::of(free, Care::Normal, apart)
}

impl Choice {
    /// The range from the first of these tracks to the last.
    fn of(tracks: TrackSet, care: Care, apart: Option<TrackSet>) -> Option<Self> {
        let range = Range {
            first: tracks.first()?,
            end: tracks.ranges().last()?.end,
        };
        Some(Self {
            range,
            tracks,
            care,
            apart,
        })
    }
}

impl Ground<'_> {
    fn free(&self) -> TrackSet {
        let mut free = self.extent.difference(self.covered);
        if mutants::on(Mutant::GrantsOverlap) {
            return free;
        }
        self.record
            .grants
            .iter()
            .for_each(|grant| free.remove(grant.range));
        free
    }

    /// Those of the free tracks that are under suspicion and to be handled so.
    fn suspects(&self, free: &TrackSet, taker: &Taker<'_>, care: Care) -> TrackSet {
        let runs = self.record.suspects.iter();
        let runs = runs.filter(|suspect| suspect.care(taker.able) == care);
        let each = runs.map(|suspect| free.intersection(&TrackSet::from(suspect.tracks)));
        each.fold(TrackSet::new(), |all, run| all.union(&run))
    }

    fn allowed(&self, taker: &Taker<'_>, ordinal: Ordinal) -> bool {
        let Some(suspect) = suspects::of(&self.record.suspects, ordinal) else {
            return true;
        };
        if suspect.care(taker.able) == Care::Reject {
            return true;
        }
        let elsewhere = suspect.died_on(taker.node) && suspect.has_other(taker.others);
        taker.suspects == Trial::Open && !elsewhere
    }

    /// How the first track is to be handled, and how many go with it.
    fn terms(&self, taker: &Taker<'_>, first: Ordinal, want: u32) -> (Care, u32) {
        match suspects::of(&self.record.suspects, first) {
            None => (Care::Normal, want.max(1)),
            Some(suspect) => match suspect.care(taker.able) {
                Care::Reject => (Care::Reject, 1),
                Care::Normal | Care::Apart => {
                    (Care::Apart, want.clamp(1, u32::from(suspect.together)))
                }
            },
        }
    }

    /// Where the range ends: after `most` free tracks of the same kind, before a live grant or a track of another.
    fn end(
        &self,
        free: &TrackSet,
        taker: &Taker<'_>,
        first: Ordinal,
        (care, most): (Care, u32),
    ) -> Ordinal {
        let grants = self.record.grants.iter().map(|grant| grant.range.first);
        let fence = grants
            .filter(|start| *start > first)
            .min()
            .unwrap_or(Ordinal::MAX);
        if self.record.suspects.is_empty() {
            return alike_end(free, first, fence, most);
        }
        let same = |ordinal: &Ordinal| {
            *ordinal < fence && self.kind(taker, *ordinal) == (care, self.together(first))
        };
        let run = free.iter().skip_while(|ordinal| *ordinal < first);
        let last = run.take_while(same).take(most as usize).last();
        last.unwrap_or(first).saturating_add(1)
    }

    fn kind(&self, taker: &Taker<'_>, ordinal: Ordinal) -> (Care, Option<u16>) {
        let suspect = suspects::of(&self.record.suspects, ordinal);
        let care = suspect.map_or(Care::Normal, |suspect| suspect.care(taker.able));
        (care, self.together(ordinal))
    }

    fn together(&self, ordinal: Ordinal) -> Option<u16> {
        suspects::of(&self.record.suspects, ordinal).map(|suspect| suspect.together)
    }
}

/// Where `most` free tracks from `first` on end that all are of one kind, or before the fence.
fn alike_end(free: &TrackSet, first: Ordinal, fence: Ordinal, most: u32) -> Ordinal {
    let (mut left, mut end) = (most, first.saturating_add(1));
    for range in free.ranges().iter().filter(|range| range.end > first) {
        let from = range.first.max(first);
        let run = range.end.min(fence).saturating_sub(from);
        if run >= left {
            return from + left;
        }
        if run == 0 {
            break;
        }
        left -= run;
        end = from + run;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{AloneDeath, Death, Grant};
    use proptest::prelude::*;
    use types::{Attempt, PullNo, Session, TenantId};

    fn range(first: u32, end: u32) -> Range {
        Range { first, end }
    }

    fn grant(attempt: u32, first: u32, end: u32) -> Grant {
        Grant {
            attempt: Attempt(attempt),
            tenant: TenantId::default(),
            node: NodeId::new("n").unwrap(),
            session: Session(1),
            pull: PullNo(1),
            range: range(first, end),
            care: Care::Normal,
            apart: None,
        }
    }

    struct Case {
        covered: TrackSet,
        record: ShardRecord,
        able: Vec<NodeId>,
        others: Vec<NodeId>,
        suspects: Trial,
    }

    impl Case {
        fn new() -> Self {
            Self {
                covered: TrackSet::new(),
                record: ShardRecord::default(),
                able: Vec::new(),
                others: Vec::new(),
                suspects: Trial::Open,
            }
        }

        fn choose(&self, want: u32) -> Option<Choice> {
            let extent = TrackSet::from(range(100, 116));
            let node = NodeId::new("n").unwrap();
            let ground = Ground {
                extent: &extent,
                covered: &self.covered,
                record: &self.record,
            };
            let taker = Taker {
                node: &node,
                able: &self.able,
                others: &self.others,
                suspects: self.suspects,
            };
            choose(&ground, &taker, want)
        }

        fn choose_whole(&self) -> Option<Choice> {
            let extent = TrackSet::from(range(100, 116));
            let node = NodeId::new("n").unwrap();
            let ground = Ground {
                extent: &extent,
                covered: &self.covered,
                record: &self.record,
            };
            let taker = Taker {
                node: &node,
                able: &self.able,
                others: &self.others,
                suspects: self.suspects,
            };
            choose_whole(&ground, &taker)
        }

        /// With the tracks that are to be done, and those of them that are to be run alone.
        fn check_whole(&self, expected: Option<(Range, Care, u64, &[u32])>) {
            let got = self.choose_whole();
            let got = got.map(|c| {
                let apart: Vec<u32> = c.apart.iter().flat_map(TrackSet::iter).collect();
                (c.range, c.care, c.tracks.len(), apart)
            });
            let expected = expected.map(|(r, c, tracks, apart)| (r, c, tracks, apart.to_vec()));
            assert_eq!(got, expected);
        }

        fn check(&self, want: u32, expected: Option<(Range, u64, Care)>) {
            let got = self.choose(want).map(|c| (c.range, c.tracks.len(), c.care));
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_grant_takes_what_is_wanted_from_the_first_free_track() {
        let mut case = Case::new();
        case.check(4, Some((range(100, 104), 4, Care::Normal)));
        case.check(99, Some((range(100, 116), 16, Care::Normal)));
        case.record.grants = vec![grant(1, 100, 106)];
        case.check(4, Some((range(106, 110), 4, Care::Normal)));
    }

    #[test]
    fn covered_tracks_are_passed_over_and_do_not_count() {
        let mut case = Case::new();
        case.covered = [100, 102, 103].into_iter().collect();
        case.check(2, Some((range(101, 105), 2, Care::Normal)));
        case.covered = TrackSet::from(range(100, 116));
        case.check(2, None);
    }

    #[test]
    fn a_grant_never_spans_a_live_one() {
        let mut case = Case::new();
        case.record.grants = vec![grant(1, 104, 108)];
        case.check(16, Some((range(100, 104), 4, Care::Normal)));
    }

    #[test]
    fn suspects_are_granted_apart_and_no_more_than_their_deaths_allow() {
        let mut case = Case::new();
        suspects::accuse(&mut case.record.suspects, &(102..110).collect(), None);
        case.check(16, Some((range(100, 102), 2, Care::Normal)));
        case.covered = [100, 101].into_iter().collect();
        case.check(16, Some((range(102, 106), 4, Care::Apart)));
        case.suspects = Trial::Held;
        case.check(16, Some((range(110, 116), 6, Care::Normal)));
    }

    #[test]
    fn a_track_that_died_alone_goes_to_another_node_where_there_is_one() {
        let mut case = Case::new();
        let death = AloneDeath {
            node: NodeId::new("n").unwrap(),
            death: Death::Silent,
        };
        suspects::accuse(
            &mut case.record.suspects,
            &(100..101).collect(),
            Some(&death),
        );
        let other = || vec![NodeId::new("other").unwrap()];
        (case.able, case.others) = (other(), other());
        case.check(4, Some((range(101, 105), 4, Care::Normal)));
        case.others.clear();
        case.check(4, Some((range(100, 101), 1, Care::Apart)));
        suspects::accuse(
            &mut case.record.suspects,
            &(100..101).collect(),
            Some(&death),
        );
        case.check(4, Some((range(100, 101), 1, Care::Apart)));
        case.others = other();
        case.check(4, Some((range(101, 105), 4, Care::Normal)));
        case.able.clear();
        case.others.clear();
        case.check(4, Some((range(100, 101), 1, Care::Reject)));
    }

    #[test]
    fn a_shard_that_is_not_divided_is_granted_whole_and_only_while_nobody_holds_any_of_it() {
        let mut case = Case::new();
        case.check_whole(Some((range(100, 116), Care::Normal, 16, &[])));
        case.covered = [100, 105, 115].into_iter().collect();
        case.check_whole(Some((range(101, 115), Care::Normal, 13, &[])));
        case.record.grants = vec![grant(1, 103, 104)];
        case.check_whole(None);
        case.record.grants.clear();
        case.covered = TrackSet::from(range(100, 116));
        case.check_whole(None);
    }

    #[test]
    fn suspects_of_a_shard_that_is_not_divided_are_named_and_wait_with_all_of_it() {
        let mut case = Case::new();
        suspects::accuse(&mut case.record.suspects, &(102..105).collect(), None);
        case.check_whole(Some((range(100, 116), Care::Normal, 16, &[102, 103, 104])));
        case.covered = [102].into_iter().collect();
        case.check_whole(Some((range(100, 116), Care::Normal, 15, &[103, 104])));
        case.suspects = Trial::Held;
        case.check_whole(None);
    }

    #[test]
    fn what_is_convicted_of_a_shard_that_is_not_divided_is_rejected_before_the_rest_is_granted() {
        let mut case = Case::new();
        let death = AloneDeath {
            node: NodeId::new("n").unwrap(),
            death: Death::Silent,
        };
        let alone: TrackSet = (107..108).collect();
        suspects::accuse(&mut case.record.suspects, &alone, Some(&death));
        case.others = vec![NodeId::new("other").unwrap()];
        case.check_whole(None);
        case.others.clear();
        case.check_whole(Some((range(100, 116), Care::Normal, 16, &[107])));
        suspects::accuse(&mut case.record.suspects, &alone, Some(&death));
        case.check_whole(Some((range(107, 108), Care::Reject, 1, &[])));
    }

    proptest! {
        #[test]
        fn a_run_of_sound_tracks_ends_where_counting_them_ends(
            tracks in prop::collection::btree_set(100u32..160, 1..40),
            nth in 0usize..40,
            beyond in 1u32..70,
            most in 1u32..50,
        ) {
            let free: TrackSet = tracks.iter().copied().collect();
            let first = *tracks.iter().nth(nth % tracks.len()).unwrap();
            let fence = first + beyond;
            let run = tracks.range(first..fence).take(most as usize);
            let expected = run.last().unwrap() + 1;
            prop_assert_eq!(alike_end(&free, first, fence, most), expected);
        }
    }
}
