//! Which tracks of a shard go on to the residual where its job has a budget, and for which of them another device might have chosen
//! otherwise. Asked by [`crate::grant`] when it is flushed. Knows distances and names; never who came first, nor what a score is.

use types::{Ordinal, TrackId, TrackSet};

use crate::event::{Escalation, Spared};
use crate::mutants::{self, Mutant};

/// What the gate said of a track that it takes, or might take elsewhere.
#[derive(Debug)]
pub(crate) enum Gated {
    Onward(Escalation),
    Spared(Spared),
}

/// What becomes of the tracks that the gate takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Those that go on.
    pub(crate) onward: TrackSet,
    /// Those that would, and for which the budget has no room.
    pub(crate) withheld: TrackSet,
    /// Those of both that might change places on another device.
    pub(crate) borderline: TrackSet,
}

/// The `most` nearest go on. By their distance from the gate and their names alone.
pub(crate) fn choose(gated: &[&(Ordinal, Gated)], most: usize) -> Chosen {
    let mut sent: Vec<(&Escalation, Ordinal)> = gated.iter().filter_map(|of| onward(of)).collect();
    if !mutants::on(Mutant::BudgetByArrival) {
        sent.sort_unstable();
    }
    let (onward, withheld) = sent.split_at(most.min(sent.len()));
    let rivals = Rivals::of(gated);
    let falls = |of: &&(&Escalation, Ordinal)| rivals.that_may_precede(of.0) >= most;
    let rises = |of: &&(&Escalation, Ordinal)| rivals.that_must_precede(of.0) < most;
    let moves = onward.iter().filter(falls);
    let moves = moves.chain(withheld.iter().filter(rises));
    Chosen {
        onward: ordinals(onward.iter()),
        withheld: ordinals(withheld.iter()),
        borderline: ordinals(moves),
    }
}

fn onward((ordinal, gated): &(Ordinal, Gated)) -> Option<(&Escalation, Ordinal)> {
    match gated {
        Gated::Onward(escalation) => Some((escalation, *ordinal)),
        Gated::Spared(_) => None,
    }
}

fn ordinals<'a, 'b: 'a>(some: impl Iterator<Item = &'a (&'b Escalation, Ordinal)>) -> TrackSet {
    some.map(|(_, ordinal)| *ordinal).collect()
}

/// A distance with the name that decides among equals.
type Place<'a> = (u64, &'a TrackId);

/// Where the tracks of a shard may stand on other devices, each list in its order.
struct Rivals<'a> {
    /// The first place of each track that the gate may take.
    first: Vec<Place<'a>>,
    /// The last place of each track that it takes everywhere.
    last: Vec<Place<'a>>,
}

impl<'a> Rivals<'a> {
    fn of(gated: &[&'a (Ordinal, Gated)]) -> Self {
        let first = gated.iter().map(|(_, gated)| match gated {
            Gated::Onward(of) => (of.reach.nearest, &of.track),
            Gated::Spared(of) => (of.nearest, &of.track),
        });
        let last = gated.iter().filter_map(|(_, gated)| match gated {
            Gated::Onward(of) => of.reach.certain.then_some((of.reach.farthest, &of.track)),
            Gated::Spared(_) => None,
        });
        let (mut first, mut last): (Vec<_>, Vec<_>) = (first.collect(), last.collect());
        first.sort_unstable();
        last.sort_unstable();
        Self { first, last }
    }

    /// How many others may stand before a track that goes on here.
    fn that_may_precede(&self, one: &Escalation) -> usize {
        let last = (one.reach.farthest, &one.track);
        let before = self.first.partition_point(|place| *place < last);
        // Where its places differ, its own first one is among them.
        before - usize::from(one.reach.nearest < one.reach.farthest)
    }

    /// How many others stand before it wherever it is.
    fn that_must_precede(&self, one: &Escalation) -> usize {
        let first = (one.reach.nearest, &one.track);
        self.last.partition_point(|place| *place < first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Reach;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn name(ordinal: usize) -> TrackId {
        TrackId::new(format!("t{ordinal:03}")).unwrap()
    }

    fn onward(ordinal: usize, distance: u64, by: u64, certain: bool) -> (Ordinal, Gated) {
        let reach = Reach {
            nearest: distance.saturating_sub(by),
            farthest: distance + by,
            certain,
        };
        let track = name(ordinal);
        let escalation = Escalation {
            distance,
            track,
            reach,
        };
        (
            Ordinal::try_from(ordinal).unwrap(),
            Gated::Onward(escalation),
        )
    }

    fn spared(ordinal: usize, nearest: u64) -> (Ordinal, Gated) {
        let track = name(ordinal);
        (
            Ordinal::try_from(ordinal).unwrap(),
            Gated::Spared(Spared { nearest, track }),
        )
    }

    fn chosen(gated: &[(Ordinal, Gated)], most: usize) -> Chosen {
        choose(&gated.iter().collect::<Vec<_>>(), most)
    }

    #[track_caller]
    fn check(gated: &[(Ordinal, Gated)], most: usize, borderline: &[Ordinal]) {
        let expected: TrackSet = borderline.iter().copied().collect();
        assert_eq!(chosen(gated, most).borderline, expected, "of {most}");
    }

    #[test]
    fn what_lies_closer_to_the_cut_than_both_sides_may_move_is_borderline() {
        let tracks = [(0, 10), (1, 17), (2, 20), (3, 23), (4, 30)];
        let by = |by| tracks.map(|(ordinal, distance)| onward(ordinal, distance, by, true));
        check(&by(0), 2, &[]);
        check(&by(1), 2, &[]);
        check(&by(2), 2, &[1, 2]);
        check(&by(4), 2, &[1, 2, 3]);
        check(&by(6), 2, &[0, 1, 2, 3]);
        check(&by(9), 5, &[]);
        check(&by(9), 0, &[]);
    }

    #[test]
    fn equals_whose_scores_differ_nowhere_are_told_apart_by_their_names() {
        let equals = |by| [onward(0, 5, by, true), onward(1, 5, by, true)];
        check(&equals(0), 1, &[]);
        check(&equals(1), 1, &[0, 1]);
    }

    #[test]
    fn what_may_come_in_or_drop_out_at_the_gate_makes_the_cut_itself_unsure() {
        let far_apart = [onward(0, 10, 1, true), onward(1, 20, 1, true)];
        check(&far_apart, 1, &[]);
        let with_another = far_apart.into_iter().chain([spared(2, 0)]);
        check(&with_another.collect::<Vec<_>>(), 1, &[0]);
        let without_the_first = [onward(0, 10, 1, false), onward(1, 20, 1, true)];
        check(&without_the_first, 1, &[1]);
    }

    #[derive(Debug, Clone)]
    struct Drawn {
        distance: u64,
        by: u64,
        certain: bool,
        /// The gate lets it be here.
        spared: bool,
        /// Where it stands elsewhere, in its reach; and whether the gate takes it there, where that is not certain.
        elsewhere: u64,
        there: bool,
    }

    fn drawn() -> impl Strategy<Value = Drawn> {
        let numbers = (0..30_u64, 0..4_u64, 0..100_u64);
        let drawn = (numbers, any::<bool>(), 0..8_u8, any::<bool>());
        drawn.prop_map(|((distance, by, place), certain, spared, there)| Drawn {
            distance,
            by,
            certain,
            spared: spared == 0,
            elsewhere: place,
            there,
        })
    }

    /// The names of those that go on elsewhere, of those that the gate takes there.
    fn elsewhere(tracks: &[Drawn], most: usize) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let place = |one: &Drawn| {
            let first = one.distance.saturating_sub(one.by);
            first + one.elsewhere % (one.distance + one.by - first + 1)
        };
        let taken = |one: &Drawn| one.there || (one.certain && !one.spared);
        let mut taken: Vec<(u64, usize)> = tracks
            .iter()
            .enumerate()
            .filter(|(_, one)| taken(one))
            .map(|(ordinal, one)| (place(one), ordinal))
            .collect();
        taken.sort_unstable();
        let names = |some: &[(u64, usize)]| some.iter().map(|(_, ordinal)| *ordinal).collect();
        (names(&taken[..most.min(taken.len())]), names(&taken))
    }

    proptest! {
        #[test]
        fn only_what_is_borderline_changes_places_however_far_scores_move(
            tracks in prop::collection::vec(drawn(), 1..16),
            most in 0..12_usize,
        ) {
            let gated: Vec<(Ordinal, Gated)> = tracks.iter().enumerate().map(|(ordinal, one)| {
                match one.spared {
                    true => spared(ordinal, one.distance.saturating_sub(one.by)),
                    false => onward(ordinal, one.distance, one.by, one.certain),
                }
            }).collect();
            let here = chosen(&gated, most);
            let (sent, taken) = elsewhere(&tracks, most);
            for ordinal in 0..tracks.len() {
                let number = Ordinal::try_from(ordinal).unwrap();
                let fell = here.onward.contains(number) && taken.contains(&ordinal) && !sent.contains(&ordinal);
                let rose = here.withheld.contains(number) && sent.contains(&ordinal);
                prop_assert!(!(fell || rose) || here.borderline.contains(number), "{ordinal} of {tracks:?}");
            }
        }
    }
}
