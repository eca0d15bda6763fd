//! Tracks under suspicion: those in hand when a node or worker died. Each death halves how many of them one grant
//! may name, until the one that kills is alone; a track that died alone often enough is rejected, and a track whose
//! row is committed is cleared. Pure functions on a shard's record.

use crate::limits::{ALONE_DEATHS_MAX, ALONE_SILENT_MAX, SUSPECT_RUNS_MAX};
use crate::mutants::{self, Mutant};
use crate::record::{AloneDeath, Care, Death, Suspect};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use types::{NodeId, Ordinal, Range, TrackSet};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Suspicion {
    deaths: u16,
    together: u16,
    alone: Vec<AloneDeath>,
}

/// Notes a death with these tracks in hand; `alone` says where and how, if it was one track and nothing else.
pub(crate) fn accuse(suspects: &mut Vec<Suspect>, tracks: &TrackSet, alone: Option<&AloneDeath>) {
    let together = u16::try_from((tracks.len() / 2).max(1)).unwrap_or(u16::MAX);
    let mut by_track = unfold(suspects);
    for ordinal in tracks.iter() {
        let suspicion = by_track.entry(ordinal).or_insert(Suspicion {
            deaths: 0,
            together,
            alone: Vec::new(),
        });
        suspicion.deaths = suspicion.deaths.saturating_add(1);
        suspicion.together = suspicion.together.min(together);
        if let Some(death) = alone
            && suspicion.alone.len() < ALONE_DEATHS_MAX
        {
            suspicion.alone.push(death.clone());
        }
    }
    *suspects = fold(by_track);
    join_runs(suspects);
}

/// Clears tracks that have their rows.
pub(crate) fn clear(suspects: &mut Vec<Suspect>, covered: &TrackSet) {
    let touched = |suspect: &Suspect| covered.intersects(&TrackSet::from(suspect.tracks));
    if !suspects.iter().any(touched) {
        return;
    }
    let mut by_track = unfold(suspects);
    by_track.retain(|ordinal, _| !covered.contains(*ordinal));
    *suspects = fold(by_track);
    join_runs(suspects);
}

/// The suspicion that a track is under.
pub(crate) fn of(suspects: &[Suspect], ordinal: Ordinal) -> Option<&Suspect> {
    suspects
        .iter()
        .find(|suspect| suspect.tracks.contains(ordinal))
}

impl Suspect {
    /// How a grant of these tracks is to be handled, while these nodes could take them.
    pub(crate) fn care(&self, able: &[NodeId]) -> Care {
        if self.is_convicted(able) {
            Care::Reject
        } else {
            Care::Apart
        }
    }

    /// Whether it is to be rejected: it alone was in hand as two machines fell silent, or as one did twice where no other
    /// one could try it. One that may be sick itself is no evidence while there is another.
    fn is_convicted(&self, able: &[NodeId]) -> bool {
        let silent = |alone: &&AloneDeath| alone.death == Death::Silent;
        let silent: Vec<&NodeId> = self
            .alone
            .iter()
            .filter(silent)
            .map(|alone| &alone.node)
            .collect();
        let on_two = silent.iter().any(|node| *node != silent[0]);
        let nowhere_else = able.iter().all(|node| silent.contains(&node));
        let silenced = silent.len() >= ALONE_SILENT_MAX && (on_two || nowhere_else);
        self.tracks.len() == 1 && (silenced || self.alone.len() >= ALONE_DEATHS_MAX)
    }

    /// Whether another node should try it, where there is one.
    pub(crate) fn died_on(&self, node: &NodeId) -> bool {
        self.alone.iter().any(|alone| alone.node == *node)
    }

    /// Whether it has not died on one of these nodes.
    pub(crate) fn has_other(&self, nodes: &[NodeId]) -> bool {
        nodes.iter().any(|node| !self.died_on(node))
    }
}

fn unfold(suspects: &[Suspect]) -> BTreeMap<Ordinal, Suspicion> {
    let each = |suspect: &Suspect| {
        let suspicion = Suspicion {
            deaths: suspect.deaths,
            together: suspect.together,
            alone: suspect.alone.clone(),
        };
        let tracks = suspect.tracks.iter();
        tracks.map(move |ordinal| (ordinal, suspicion.clone()))
    };
    suspects.iter().flat_map(each).collect()
}

/// Runs of equal suspicion; a track that died alone has a run of its own.
fn fold(by_track: BTreeMap<Ordinal, Suspicion>) -> Vec<Suspect> {
    let mut runs: Vec<Suspect> = Vec::new();
    for (ordinal, suspicion) in by_track {
        let end = ordinal.saturating_add(1);
        if let Some(last) = runs.last_mut()
            && last.tracks.end == ordinal
            && last.deaths == suspicion.deaths
            && last.together == suspicion.together
            && last.alone.is_empty()
            && suspicion.alone.is_empty()
        {
            last.tracks.end = end;
            continue;
        }
        runs.push(Suspect {
            tracks: Range {
                first: ordinal,
                end,
            },
            deaths: suspicion.deaths,
            together: suspicion.together,
            alone: suspicion.alone,
        });
    }
    runs
}

/// Keeps the number of runs within its bound by joining the two with the smallest gap that died alone nowhere.
fn join_runs(runs: &mut Vec<Suspect>) {
    while runs.len() > SUSPECT_RUNS_MAX && !mutants::on(Mutant::SuspectsUnjoined) {
        let gap = |at: &usize| runs[at + 1].tracks.first - runs[*at].tracks.end;
        let plain = |at: &usize| runs[*at].alone.is_empty() && runs[at + 1].alone.is_empty();
        let candidates = 0..runs.len() - 1;
        let at = candidates.clone().filter(plain).min_by_key(gap);
        let at = at.or_else(|| candidates.min_by_key(gap)).unwrap_or(0);
        let next = runs.remove(at + 1);
        let joined = &mut runs[at];
        joined.tracks.end = next.tracks.end;
        joined.deaths = joined.deaths.max(next.deaths);
        joined.together = joined.together.max(next.together);
        joined.alone = vec![];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ordinals: &[Ordinal]) -> TrackSet {
        ordinals.iter().copied().collect()
    }

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn on(name: &str, death: Death) -> AloneDeath {
        AloneDeath {
            node: node(name),
            death,
        }
    }

    #[test]
    fn each_death_halves_how_many_suspects_one_grant_may_name() {
        let mut suspects = Vec::new();
        accuse(&mut suspects, &(0..8).collect(), None);
        assert_eq!(suspects.len(), 1);
        assert_eq!((suspects[0].deaths, suspects[0].together), (1, 4));
        accuse(&mut suspects, &(4..8).collect(), None);
        assert_eq!(suspects.len(), 2);
        assert_eq!((suspects[1].deaths, suspects[1].together), (2, 2));
        accuse(&mut suspects, &set(&[5]), None);
        assert_eq!(of(&suspects, 5).unwrap().together, 1);
        assert_eq!(of(&suspects, 4).unwrap().together, 2);
    }

    #[test]
    fn a_track_that_died_alone_with_two_silent_machines_is_rejected() {
        let mut suspects = Vec::new();
        accuse(&mut suspects, &set(&[3]), None);
        accuse(&mut suspects, &set(&[3]), Some(&on("a", Death::Silent)));
        let able = [node("a"), node("b")];
        assert_eq!(of(&suspects, 3).unwrap().care(&able), Care::Apart);
        assert!(of(&suspects, 3).unwrap().died_on(&node("a")));
        accuse(&mut suspects, &set(&[3]), Some(&on("b", Death::Silent)));
        assert_eq!(of(&suspects, 3).unwrap().care(&able), Care::Reject);
    }

    #[test]
    fn one_machine_that_falls_silent_convicts_no_track_while_another_could_try_it() {
        let check = |deaths: &[(&str, Death)], able: &[&str], expected| {
            let mut suspects = Vec::new();
            for (name, death) in deaths {
                accuse(&mut suspects, &set(&[3]), Some(&on(name, *death)));
            }
            let able: Vec<NodeId> = able.iter().map(|name| node(name)).collect();
            let care = of(&suspects, 3).unwrap().care(&able);
            assert_eq!(care, expected, "{deaths:?} where {able:?} are able");
        };
        let (silent, replaced) = (Death::Silent, Death::Replaced);
        let twice = [("a", silent), ("a", silent)];
        check(&twice, &[], Care::Reject);
        check(&twice, &["a"], Care::Reject);
        check(&twice, &["a", "b"], Care::Apart);
        check(&twice, &["b"], Care::Apart);
        check(&[("a", silent), ("b", replaced)], &["a", "b"], Care::Apart);
        check(
            &[("a", silent), ("a", silent), ("b", replaced)],
            &["a", "b"],
            Care::Apart,
        );
        check(&[("a", silent); ALONE_DEATHS_MAX], &["b"], Care::Reject);
    }

    #[test]
    fn agents_that_are_back_at_once_convict_a_track_only_after_five_of_them() {
        let mut suspects = Vec::new();
        for deaths in 1..=ALONE_DEATHS_MAX {
            accuse(&mut suspects, &set(&[3]), Some(&on("a", Death::Replaced)));
            let expected = if deaths < 5 {
                Care::Apart
            } else {
                Care::Reject
            };
            assert_eq!(
                of(&suspects, 3).unwrap().care(&[]),
                expected,
                "{deaths} deaths"
            );
        }
    }

    #[test]
    fn a_committed_track_is_cleared_and_its_neighbours_stay_suspect() {
        let mut suspects = Vec::new();
        accuse(&mut suspects, &(0..8).collect(), None);
        clear(&mut suspects, &set(&[2, 3]));
        let left: Vec<Range> = suspects.iter().map(|s| s.tracks).collect();
        assert_eq!(
            left,
            [Range { first: 0, end: 2 }, Range { first: 4, end: 8 }]
        );
    }

    #[test]
    fn runs_stay_within_their_bound_and_no_suspect_is_forgotten() {
        let mut suspects = Vec::new();
        let tracks: TrackSet = (0..1_024).filter(|o| o % 2 == 0).collect();
        accuse(&mut suspects, &tracks, None);
        assert_eq!(suspects.len(), SUSPECT_RUNS_MAX);
        assert!(
            tracks
                .iter()
                .all(|ordinal| of(&suspects, ordinal).is_some())
        );
    }
}
