//! The tracks of one grant, with an index for each question that is asked of them at every event. Plain
//! bookkeeping for [`crate::grant`]; knows neither devices nor times but those it is given.

use std::collections::{BTreeMap, BTreeSet};

use types::{Millis, Ordinal, TrackSet};

use crate::choice::{Chosen, Gated, choose};
use crate::grant::{Stage, one};
use crate::trials::Trials;

/// What goes into one part.
pub(crate) struct Flushed {
    pub(crate) tracks: TrackSet,
    /// What becomes of those of them that the gate takes.
    pub(crate) chosen: Chosen,
    /// Whether the device scored any.
    pub(crate) screened: bool,
}

/// The tracks of a grant, with an index for each question that is asked at every event.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    pub(crate) all: BTreeMap<Ordinal, Track>,
    pub(crate) queued: BTreeSet<Ordinal>,
    /// Queued, but to be run alone on its device.
    pub(crate) suspects: BTreeSet<Ordinal>,
    /// Queued, but to be run with nothing else on the node.
    pub(crate) apart: BTreeSet<Ordinal>,
    /// Queued, but not before a time.
    pub(crate) put_off: BTreeSet<(Millis, Ordinal)>,
    /// In hand or in a part.
    pub(crate) begun: BTreeSet<Ordinal>,
    pub(crate) made: BTreeSet<Ordinal>,
    pub(crate) in_parts: usize,
    /// Those that are made or in a part and that the gate takes, or might elsewhere, in the order in which they were made.
    pub(crate) gated: Vec<(Ordinal, Gated)>,
}

#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) stage: Stage,
    /// Was in hand when a worker died; runs alone until it is cleared.
    pub(crate) suspect: bool,
    /// Granted as a suspect of a machine's death.
    pub(crate) apart: bool,
    /// Its last row was made by the device.
    pub(crate) screened: bool,
    /// Not to be run before.
    pub(crate) from: Millis,
    pub(crate) trials: Trials,
}

/// With whom a track may run.
#[derive(Clone, Copy)]
enum Queue {
    /// With nothing else on the node.
    Apart,
    /// With nothing else on its device.
    Suspects,
    Others,
}

impl Track {
    pub(crate) fn queued() -> Self {
        Self {
            stage: Stage::Queued,
            suspect: false,
            apart: false,
            screened: false,
            from: Millis(0),
            trials: Trials::default(),
        }
    }
}

impl Tracks {
    /// These tracks, all queued; those in `apart` are to have the node to themselves.
    pub(crate) fn of(tracks: &TrackSet, apart: &TrackSet) -> Self {
        let track = |ordinal| {
            let apart = apart.contains(ordinal);
            let track = Track {
                suspect: apart,
                apart,
                ..Track::queued()
            };
            (ordinal, track)
        };
        Self {
            all: tracks.iter().map(track).collect(),
            queued: tracks.difference(apart).iter().collect(),
            apart: tracks.intersection(apart).iter().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn set(&mut self, ordinal: Ordinal, stage: Stage) {
        let Some(track) = self.all.get_mut(&ordinal) else {
            return;
        };
        let (old, from) = (track.stage, track.from);
        let queue = match (track.apart, track.suspect) {
            (true, _) => Queue::Apart,
            (false, true) => Queue::Suspects,
            (false, false) => Queue::Others,
        };
        track.stage = stage;
        if let Stage::Made { screened } = stage {
            track.screened = screened;
        }
        self.leave(ordinal, old);
        self.enter(ordinal, stage, queue, from);
    }

    /// Whether a track is to have the node to itself whenever it runs.
    pub(crate) fn is_apart(&self, ordinal: Ordinal) -> bool {
        self.all.get(&ordinal).is_some_and(|track| track.apart)
    }

    /// Whether a track's last row was made by the device.
    pub(crate) fn was_screened(&self, ordinal: Ordinal) -> bool {
        self.all.get(&ordinal).is_some_and(|track| track.screened)
    }

    pub(crate) fn remove(&mut self, ordinal: Ordinal) {
        if let Some(track) = self.all.remove(&ordinal) {
            self.leave(ordinal, track.stage);
            self.gated.retain(|(other, _)| *other != ordinal);
        }
    }

    pub(crate) fn set_suspect(&mut self, ordinal: Ordinal, suspect: bool) -> bool {
        let Some(track) = self.all.get_mut(&ordinal) else {
            return false;
        };
        let was = std::mem::replace(&mut track.suspect, suspect);
        let stage = track.stage;
        self.set(ordinal, stage);
        was
    }

    /// Those of the made tracks that the gate takes, `most` of which go on.
    pub(crate) fn choose(&self, made: &BTreeSet<Ordinal>, most: usize) -> Chosen {
        let gated = self.gated.iter();
        let gated: Vec<&(Ordinal, Gated)> = gated
            .filter(|(ordinal, _)| made.contains(ordinal))
            .collect();
        choose(&gated, most)
    }

    fn leave(&mut self, ordinal: Ordinal, stage: Stage) {
        match stage {
            Stage::Queued => {
                self.queued.remove(&ordinal);
                self.suspects.remove(&ordinal);
                self.apart.remove(&ordinal);
                self.put_off.retain(|(_, track)| *track != ordinal);
            }
            Stage::InHand(_) => _ = self.begun.remove(&ordinal),
            Stage::Made { .. } => _ = self.made.remove(&ordinal),
            Stage::InPart(_) => {
                self.begun.remove(&ordinal);
                self.in_parts -= 1;
            }
        }
    }

    fn enter(&mut self, ordinal: Ordinal, stage: Stage, queue: Queue, from: Millis) {
        match stage {
            Stage::Queued => {
                self.gated.retain(|(other, _)| *other != ordinal);
                match queue {
                    _ if from > Millis(0) => _ = self.put_off.insert((from, ordinal)),
                    Queue::Apart => _ = self.apart.insert(ordinal),
                    Queue::Suspects => _ = self.suspects.insert(ordinal),
                    Queue::Others => _ = self.queued.insert(ordinal),
                }
            }
            Stage::InHand(_) => _ = self.begun.insert(ordinal),
            Stage::Made { .. } => _ = self.made.insert(ordinal),
            Stage::InPart(_) => {
                self.begun.insert(ordinal);
                self.in_parts += 1;
            }
        }
    }
}

pub(crate) fn set_of(ordinals: &BTreeSet<Ordinal>) -> TrackSet {
    let mut set = TrackSet::new();
    ordinals
        .iter()
        .for_each(|ordinal| set.insert(one(*ordinal)));
    set
}
