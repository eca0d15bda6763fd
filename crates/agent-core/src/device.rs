//! One device: its worker's life, its faults, its rate, and the tracks that it has in hand.

use std::collections::{BTreeMap, BTreeSet};

use types::{Code, Digest, Millis, Ordinal, Stage};

use crate::event::Death;
use crate::limits::{
    CONVICTIONS_IN_A_ROW_MAX, DEVICE_FAULTS_MAX, DEVICE_KILLS_MAX, FAULTS_WITHIN, RATE_FROM,
    RATE_WINDOW, back_off,
};
use crate::{GrantKey, PartNo, SlotNo, Token};

/// A device of the node.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) worker: Worker,
    /// Idle slots of the living worker.
    pub(crate) slots: BTreeSet<SlotNo>,
    pub(crate) in_hand: BTreeMap<Token, (GrantKey, Ordinal)>,
    /// The canary asked for, with the parts that wait for it.
    pub(crate) song: Option<Song>,
    /// Stages of which the living worker has passed a canary.
    pub(crate) proven: BTreeSet<Stage>,
    /// Stages that it does not serve with its bundle.
    pub(crate) unserved: BTreeSet<Stage>,
    pub(crate) alone: Alone,
    pub(crate) screen: Rate,
    pub(crate) residual: Rate,
    faults: Vec<Millis>,
    open_faults: Vec<OpenFault>,
    kills: Vec<Millis>,
    /// Deaths and failed loads since a track was last scored.
    failures: u8,
    /// Tracks given up for its deaths since a track was last scored.
    convictions: u8,
}

/// A death of which it is not known yet who did it.
#[derive(Debug)]
struct OpenFault {
    at: Millis,
    /// The tracks in hand that have not run through alone since.
    suspects: BTreeSet<Suspect>,
}

/// A track that was in hand when a worker died.
pub(crate) type Suspect = (GrantKey, Ordinal);

/// The state of a device's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worker {
    /// Never started, or its bundle is not to be had.
    None,
    /// Starting with this bundle.
    Loading(Digest),
    /// At work with this bundle.
    Ready(Digest),
    /// To be started again with this bundle at this time.
    Down { bundle: Digest, until: Millis },
    /// Out of service.
    Out(Code),
}

/// Whether the track in hand has the device to itself, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alone {
    No,
    /// It is a suspect, on a proven device.
    Suspect,
    /// It is under no suspicion: it tells whether the device dies of whatever it is given.
    Probe,
}

/// Whose doing a worker's death is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The one track's that it had in hand, on a proven device.
    Track,
    /// One of these tracks' or the device's: trying them alone will tell.
    Open(Vec<Suspect>),
    /// The device's: it had nothing in hand, or dies of whatever it is given.
    Device,
}

/// A canary under way.
#[derive(Debug)]
pub(crate) struct Song {
    pub(crate) nonce: u64,
    pub(crate) stage: Stage,
    pub(crate) parts: Vec<PartNo>,
}

impl Device {
    pub(crate) fn new() -> Self {
        Self {
            worker: Worker::None,
            slots: BTreeSet::new(),
            in_hand: BTreeMap::new(),
            song: None,
            proven: BTreeSet::new(),
            unserved: BTreeSet::new(),
            alone: Alone::No,
            screen: Rate::default(),
            residual: Rate::default(),
            faults: Vec::new(),
            open_faults: Vec::new(),
            kills: Vec::new(),
            failures: 0,
            convictions: 0,
        }
    }

    /// Whether it serves or will again.
    pub(crate) fn is_in_service(&self) -> bool {
        !matches!(self.worker, Worker::Out(_))
    }

    /// The bundle that its living worker has.
    pub(crate) fn loaded(&self) -> Option<Digest> {
        match self.worker {
            Worker::Ready(bundle) => Some(bundle),
            Worker::None | Worker::Loading(_) | Worker::Down { .. } | Worker::Out(_) => None,
        }
    }

    /// The bundle that its worker has, gets or is to get.
    pub(crate) fn bundle(&self) -> Option<Digest> {
        match self.worker {
            Worker::Ready(bundle) | Worker::Loading(bundle) | Worker::Down { bundle, .. } => {
                Some(bundle)
            }
            Worker::None | Worker::Out(_) => None,
        }
    }

    /// A worker begins: nothing is known of it but its bundle.
    pub(crate) fn begin(&mut self, bundle: Digest) {
        self.lose_worker();
        self.worker = Worker::Loading(bundle);
    }

    /// The worker is gone with all that it had. Returns what was in hand.
    pub(crate) fn lose_worker(&mut self) -> Vec<(GrantKey, Ordinal)> {
        self.slots.clear();
        self.song = None;
        self.proven.clear();
        self.unserved.clear();
        self.alone = Alone::No;
        std::mem::take(&mut self.in_hand).into_values().collect()
    }

    /// Counts a death and decides what becomes of the device: a wait, or the end.
    pub(crate) fn fall(&mut self, now: Millis, death: Death, blame: Blame) {
        let Some(bundle) = self.bundle() else { return };
        self.failures = self.failures.saturating_add(1);
        match (death, blame) {
            (Death::Killed, _) => self.kills.push(now),
            (Death::Own | Death::Hung, Blame::Track) => {}
            (Death::Own | Death::Hung, Blame::Open(lost)) => {
                let suspects = lost.into_iter().collect();
                self.open_faults.push(OpenFault { at: now, suspects });
            }
            (Death::Own | Death::Hung, Blame::Device) => self.faults.push(now),
        }
        self.worker = Worker::Down {
            bundle,
            until: now + back_off(self.failures),
        };
        self.end_if_faulty(now);
    }

    /// A suspect ran through alone, on whichever device. A death all of whose suspects did so was this device's own; one of
    /// which a suspect has left untried stays unexplained, and counts for nothing.
    pub(crate) fn clear(&mut self, now: Millis, track: &Suspect, waits: impl Fn(&Suspect) -> bool) {
        for mut fault in std::mem::take(&mut self.open_faults) {
            let was_its = fault.suspects.remove(track);
            if was_its && fault.suspects.is_empty() {
                self.faults.push(fault.at);
            } else if fault.suspects.iter().all(&waits) {
                self.open_faults.push(fault);
            }
        }
        self.end_if_faulty(now);
    }

    /// A track was given up for a death: those at which it was in hand were its doing too.
    pub(crate) fn acquit(&mut self, track: &Suspect) {
        self.open_faults
            .retain(|fault| !fault.suspects.contains(track));
    }

    fn end_if_faulty(&mut self, now: Millis) {
        let lately = |at: Millis| now.since(at) < FAULTS_WITHIN;
        for times in [&mut self.faults, &mut self.kills] {
            times.retain(|time| lately(*time));
        }
        self.open_faults.retain(|fault| lately(fault.at));
        if self.faults.len() >= DEVICE_FAULTS_MAX || self.kills.len() >= DEVICE_KILLS_MAX {
            self.worker = Worker::Out(Code::DeviceFaulty);
        }
    }

    /// Whether a lone death may still be laid at a track's door: not when one track after the other died here.
    pub(crate) fn is_believed(&self) -> bool {
        self.convictions < CONVICTIONS_IN_A_ROW_MAX
    }

    /// A track that was tried here was given up.
    pub(crate) fn convict(&mut self) {
        self.convictions = self.convictions.saturating_add(1);
    }

    /// The bundle did not load for no fault of the device: wait and try again.
    pub(crate) fn wait_for_bundle(&mut self, now: Millis, bundle: Digest) {
        self.lose_worker();
        self.failures = self.failures.saturating_add(1);
        self.worker = Worker::Down {
            bundle,
            until: now + back_off(self.failures),
        };
    }

    /// What it does at a stage.
    pub(crate) const fn rate(&self, stage: Stage) -> &Rate {
        match stage {
            Stage::Decode | Stage::Screen => &self.screen,
            Stage::Residual => &self.residual,
        }
    }

    /// Keeps its rates up to date.
    pub(crate) fn measure(&mut self, now: Millis) {
        let has = |stage| move |(key, _): &(GrantKey, Ordinal)| key.stage() == stage;
        let screens = self.in_hand.values().any(has(Stage::Screen));
        let separates = self.in_hand.values().any(has(Stage::Residual));
        self.screen.tick(now, screens);
        self.residual.tick(now, separates);
    }

    /// A track came to its end here. Only a scored one counts in the rate: a source that lost its files ends tracks as
    /// fast as they are asked for, and a node with such a rate would pull ever more of them.
    pub(crate) fn ended(&mut self, stage: Stage, scored: bool) {
        if scored {
            match stage {
                Stage::Decode | Stage::Screen => self.screen.tracks += 1,
                Stage::Residual => self.residual.tracks += 1,
            }
            self.failures = 0;
            self.convictions = 0;
        }
    }
}

/// Tracks against the time in which there was work in hand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    busy: u64,
    tracks: u64,
    seen: Millis,
    was_busy: bool,
}

impl Rate {
    /// Counts the time since the last call, and says what holds from now on.
    pub(crate) fn tick(&mut self, now: Millis, busy: bool) {
        if self.was_busy {
            self.busy += now.since(self.seen).0;
        }
        if self.busy > RATE_WINDOW.0 {
            self.busy /= 2;
            self.tracks /= 2;
        }
        self.seen = now;
        self.was_busy = busy;
    }

    /// Tracks in 1,000 seconds, once measured.
    pub(crate) fn tracks_per_1000_s(&self) -> Option<u64> {
        let known = self.busy >= RATE_FROM.0 && self.tracks > 0;
        known.then(|| (self.tracks * 1_000_000 / self.busy).max(1))
    }
}
