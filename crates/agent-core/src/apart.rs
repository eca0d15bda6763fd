//! Suspects that may take the whole machine down, as the coordinator grants them after a node's death: each has the node to
//! itself, and a beat that was answered has named it before it runs. So the last beat of a machine that falls silent tells
//! who was there, though it is seconds old. Called at every pass; decides nothing about deaths of workers.

use types::{Millis, Ordinal};

use crate::core::Core;
use crate::device::Device;
use crate::grant::{Grant, Stage};
use crate::session::Link;
use crate::{DeviceNo, GrantKey};

/// A suspect.
pub(crate) type Trial = (GrantKey, Ordinal);

/// What the coordinator takes to be alone in hand, by the beats that went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// No suspect.
    Nothing,
    /// One perhaps: the beat that named it has no answer.
    Perhaps,
    /// This one.
    Alone(Trial),
}

impl Core {
    /// Lets the next suspect have the node once that is at rest, and the node have others when the suspect is through.
    pub(crate) fn choose_apart(&mut self, now: Millis) {
        if self.apart.as_ref().is_some_and(|trial| self.goes_on(trial)) {
            return;
        }
        let waiting = self.waiting_apart().filter(|_| self.is_at_rest(now));
        let before = std::mem::replace(&mut self.apart, waiting.map(|(_, trial)| trial));
        if self.apart != before {
            self.hurry_beat(now);
        }
    }

    /// Whether nothing else may begin on the node: a suspect has it, waits for it, or is still taken to be alone.
    pub(crate) fn is_kept_apart(&self) -> bool {
        self.apart.is_some() || self.told != Told::Nothing || self.is_wanted_apart()
    }

    /// Whether a suspect waits for the node to come to rest. Without a session no beat can name it, and other work goes on.
    pub(crate) fn is_wanted_apart(&self) -> bool {
        matches!(self.link, Link::Joined(_)) && self.waiting_apart().is_some()
    }

    /// The suspect that this device is to run now.
    pub(crate) fn trial_for(&self, number: DeviceNo) -> Option<Trial> {
        let trial = self.apart.as_ref()?;
        let known = self.told == Told::Alone(trial.clone());
        let waits = self
            .suspect_on(number)
            .is_some_and(|(_, first)| first == *trial);
        (known && waits).then(|| trial.clone())
    }

    /// The first suspect of a grant to be tried apart that a device could run with what it has loaded.
    pub(crate) fn suspect_on(&self, number: DeviceNo) -> Option<(u64, Trial)> {
        let loaded = self.devices.get(number.0 as usize)?.loaded()?;
        let apart = self
            .runnable(number)
            .filter(|grant| grant.next_apart().is_some() && grant.bundle == Some(loaded));
        let first = apart.min_by_key(|grant| grant.arrival)?;
        let ordinal = first.next_apart()?;
        Some((first.arrival, (first.key.clone(), ordinal)))
    }

    fn waiting_apart(&self) -> Option<(u64, Trial)> {
        let mut grants = self.grants.values();
        if !grants.any(|grant| grant.next_apart().is_some()) {
            return None;
        }
        let each = self.numbers().filter_map(|number| self.suspect_on(number));
        each.min()
    }

    /// Whether a suspect is being tried, or will be without anything else being done first.
    fn goes_on(&self, (key, ordinal): &Trial) -> bool {
        let Some(grant) = self.grants.get(key) else {
            return false;
        };
        match grant.stage(*ordinal) {
            Some(Stage::InHand(_)) => true,
            Some(Stage::Queued) => grant.next_apart() == Some(*ordinal) && self.has_way(grant),
            Some(Stage::Made { .. } | Stage::InPart(_)) | None => false,
        }
    }

    /// Whether a device has the grant's bundle or gets it, and its source is not waited for.
    fn has_way(&self, grant: &Grant) -> bool {
        let gets = |(number, device): (DeviceNo, &Device)| {
            let takes = grant.device.is_none_or(|taken| taken == number);
            takes && device.bundle().is_some() && device.bundle() == grant.bundle
        };
        self.is_in_reach(grant) && self.numbers().zip(&self.devices).any(gets)
    }

    /// Whether nothing is in hand, and nothing is to be written before a suspect may take the machine down.
    fn is_at_rest(&self, now: Millis) -> bool {
        let idle = self.devices.iter().all(|device| device.in_hand.is_empty());
        let flushes = || {
            self.grants
                .values()
                .any(|grant| self.is_flush_due(now, grant))
        };
        idle && self.parts.is_empty() && !flushes()
    }
}
