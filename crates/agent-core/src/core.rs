//! The core itself: events change the state, then one pass over it decides all that can be done now.
//!
//! The pass is idempotent: what is asked for is remembered, so that a second pass asks for nothing twice. That is why a
//! `Tick` may come early, late or doubled.

use std::collections::BTreeMap;

use types::{Digest, JobId, Millis, Stage};

use crate::action::{Actions, Released};
use crate::apart::{Told, Trial};
use crate::device::{Device, Rate};
use crate::event::Event;
use crate::grant::Grant;
use crate::limits::FLUSH_EVERY;
use crate::part::Part;
use crate::session::{Link, Live};
use crate::{GrantKey, PartNo};

/// What the core must know of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Devices, at least one.
    pub devices: u32,
    /// Least time between two flushes of a grant.
    pub flush_every: Millis,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            devices: 1,
            flush_every: FLUSH_EVERY,
        }
    }
}

/// The agent's core. See the crate's words for what it sees to.
#[derive(Debug)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) link: Link,
    /// The session that was lost without its end being known: a join may give the same one again.
    pub(crate) before: Option<Live>,
    pub(crate) join_failures: u8,
    pub(crate) draining: bool,
    pub(crate) devices: Vec<Device>,
    pub(crate) grants: BTreeMap<GrantKey, Grant>,
    pub(crate) parts: BTreeMap<PartNo, Part>,
    pub(crate) released: Vec<Released>,
    /// Bundles that this node cannot have.
    pub(crate) bad_bundles: Vec<Digest>,
    /// Workers' deaths told so far in this session.
    pub(crate) deaths: u64,
    pub(crate) arrivals: u64,
    pub(crate) tokens: u64,
    pub(crate) next_part: u64,
    pub(crate) nonces: u64,
    /// Jobs of which a track was out of reach since one was last scored.
    pub(crate) sources: BTreeMap<JobId, Source>,
    /// How often in a row each bundle could not be had for the moment.
    pub(crate) late_bundles: BTreeMap<Digest, u8>,
    /// The suspect that has the node to itself, or is to have it.
    pub(crate) apart: Option<Trial>,
    pub(crate) told: Told,
    /// Commits that were due under a grant without a renewal, and were not sent. Zero, or there is a bug.
    pub(crate) unrenewed: u64,
}

/// What a job's tracks are read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// None of its tracks is started before.
    pub(crate) from: Option<Millis>,
    pub(crate) failures: u8,
}

impl Core {
    /// A core at rest. It joins at the first event.
    pub fn new(config: Config) -> Self {
        let devices = (0..config.devices.max(1)).map(|_| Device::new()).collect();
        Self {
            config,
            link: Link::Apart { at: Millis(0) },
            before: None,
            join_failures: 0,
            draining: false,
            devices,
            grants: BTreeMap::new(),
            parts: BTreeMap::new(),
            released: Vec::new(),
            bad_bundles: Vec::new(),
            deaths: 0,
            arrivals: 0,
            tokens: 0,
            next_part: 0,
            nonces: 0,
            sources: BTreeMap::new(),
            late_bundles: BTreeMap::new(),
            apart: None,
            told: Told::Nothing,
            unrenewed: 0,
        }
    }

    /// Takes one event and appends what is to be done.
    pub fn handle(&mut self, now: Millis, event: Event, actions: &mut Actions) {
        self.take(now, event, actions);
        self.advance(now, actions);
    }

    /// When the core wants a `Tick`, unless something happens before.
    pub fn next_deadline(&self) -> Option<Millis> {
        let link = match &self.link {
            Link::Apart { at } => Some(*at),
            Link::Joining | Link::Leaving { .. } | Link::Gone => None,
            Link::Joined(live) => min(live.beat_deadline(), self.pull_deadline(live)),
        };
        [
            link,
            self.devices_deadline(),
            self.grants_deadline(),
            self.parts_deadline(),
        ]
        .into_iter()
        .fold(None, min)
    }

    /// How often I19 would have been broken: commits not sent since nothing renewed their grants within a grant's life. Zero, or
    /// there is a bug.
    #[must_use]
    pub const fn unrenewed_commits(&self) -> u64 {
        self.unrenewed
    }

    /// Whether a part is still wanted.
    #[must_use]
    pub fn has_part(&self, part: PartNo) -> bool {
        self.parts.contains_key(&part)
    }

    /// Whether a grant is held.
    #[must_use]
    pub fn has_grant(&self, grant: &GrantKey) -> bool {
        self.grants.contains_key(grant)
    }

    /// Tracks that are queued or in hand.
    pub fn open_tracks(&self) -> usize {
        self.grants.values().map(Grant::open).sum()
    }

    /// What the node does in 1,000 seconds, once it is measured: at the screen where it screens, else at the residual.
    pub fn tracks_per_1000_s(&self) -> Option<u32> {
        let rate = self
            .rate_at(Stage::Screen)
            .or_else(|| self.rate_at(Stage::Residual));
        rate.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX))
    }

    /// Tracks that it takes through a stage in 1,000 seconds, once that is measured.
    pub(crate) fn rate_at(&self, stage: Stage) -> Option<u64> {
        let rates = self.devices.iter().map(|device| device.rate(stage));
        let sum: u64 = rates.filter_map(Rate::tracks_per_1000_s).sum();
        (sum > 0).then_some(sum)
    }

    /// The number of the unanswered beat.
    #[cfg(test)]
    pub(crate) fn beat_out(&self) -> Option<u64> {
        match &self.link {
            Link::Joined(live) => live.beat.as_ref().map(|_| live.beats),
            Link::Apart { .. } | Link::Joining | Link::Leaving { .. } | Link::Gone => None,
        }
    }

    fn take(&mut self, now: Millis, event: Event, actions: &mut Actions) {
        match event {
            Event::Joined(answer) => self.joined(now, answer, actions),
            Event::Pulled {
                session,
                number,
                answer,
            } => self.pulled(now, (session, number), answer, actions),
            Event::Beaten {
                session,
                number,
                answer,
            } => self.beaten(now, (session, number), answer, actions),
            Event::Committed { part, answer } => self.committed(now, part, answer, actions),
            Event::Left(answer) => self.left(answer, actions),
            Event::Found(found) => self.found(now, &found),
            Event::Prepared { grant, outcome } => self.prepared(now, &grant, outcome, actions),
            Event::DeviceReady { device, bundle } => self.device_ready(device, bundle),
            Event::StageUnserved {
                device,
                bundle,
                stage,
            } => self.stage_unserved(device, bundle, stage),
            Event::BundleUnready {
                device,
                bundle,
                why,
            } => self.bundle_unready(now, device, bundle, why, actions),
            Event::WorkerDied { device, death } => self.worker_died(now, device, death, actions),
            Event::SlotReady { device, slot } => self.slot_ready(device, slot),
            Event::TrackEnded { token, outcome } => self.track_ended(now, token, outcome, actions),
            Event::CanarySung {
                device,
                nonce,
                good,
            } => self.canary_sung(now, device, nonce, good, actions),
            Event::NoRoom { device } => self.no_room(device, actions),
            Event::PartSaved { part, bytes } => self.part_saved(part, bytes),
            Event::PartWritten { part, outcome } => self.part_written(now, part, outcome),
            Event::Drain => self.drain(),
            Event::DrainOver => self.end_drain(actions),
            Event::Tick => {}
        }
    }

    fn advance(&mut self, now: Millis, actions: &mut Actions) {
        self.join(now, actions);
        self.take_up(now);
        self.give_back_unserved(actions);
        self.release_undone(actions);
        self.prepare(now, actions);
        self.load(now, actions);
        self.start(now, actions);
        self.flush(now);
        self.sing(actions);
        self.write(now, actions);
        self.commit(now, actions);
        self.bury(actions);
        self.measure(now);
        self.pull(now, actions);
        self.beat(now, actions);
        self.leave(actions);
    }
}

/// The earlier of two times, where there is one.
pub(crate) fn min(a: Option<Millis>, b: Option<Millis>) -> Option<Millis> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
