//! Which track runs where: loading bundles, starting tracks, trying suspects alone.

use types::{Digest, Millis, Ordinal};

use crate::action::{Action, Actions};
use crate::core::Core;
use crate::device::{Device, Worker};
use crate::event::Care;
use crate::grant::{CONVICTED, Grant, Rows, Stage};
use crate::mutants::{self, Mutant};
use crate::{DeviceNo, GrantKey, SlotNo, Token};

/// What a device is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    /// Nothing at the moment.
    Nothing,
    /// Run this track beside others.
    Run(GrantKey, Ordinal),
    /// Run this suspect alone.
    Try(GrantKey, Ordinal),
}

impl Core {
    pub(crate) fn device(&mut self, device: DeviceNo) -> Option<&mut Device> {
        self.devices.get_mut(device.0 as usize)
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = DeviceNo> + use<> {
        (0..u32::try_from(self.devices.len()).unwrap_or(u32::MAX)).map(DeviceNo)
    }

    // Workers.

    /// Starts workers: those whose wait is over, and those that are idle while other bundles are wanted.
    pub(crate) fn load(&mut self, now: Millis, actions: &mut Actions) {
        for number in self.numbers() {
            let Some(bundle) = self.wanted_bundle(now, number) else {
                continue;
            };
            if let Some(device) = self.device(number) {
                device.begin(bundle);
                actions.push(Action::Load {
                    device: number,
                    bundle,
                });
            }
        }
    }

    fn wanted_bundle(&self, now: Millis, number: DeviceNo) -> Option<Digest> {
        let device = self.devices.get(number.0 as usize)?;
        match device.worker {
            Worker::Out(_) | Worker::Loading(_) => None,
            Worker::Down { bundle, until } if until <= now => {
                Some(self.next_bundle(number, bundle))
            }
            Worker::Down { .. } => None,
            Worker::None => self.first_bundle(number),
            Worker::Ready(bundle) => self.other_bundle(number, bundle),
        }
    }

    /// The bundle of the earliest grant that has tracks to run and may run here.
    fn first_bundle(&self, number: DeviceNo) -> Option<Digest> {
        self.runnable(number)
            .min_by_key(|grant| grant.arrival)
            .and_then(|grant| grant.bundle)
    }

    /// The bundle to start with after a fall: the same while rows wait for its canary.
    fn next_bundle(&self, number: DeviceNo, bundle: Digest) -> Digest {
        let keep = self.awaits_canary(number);
        self.first_bundle(number)
            .filter(|_| !keep)
            .unwrap_or(bundle)
    }

    /// The bundle to change to: only when nothing here needs the loaded one any more.
    fn other_bundle(&self, number: DeviceNo, loaded: Digest) -> Option<Digest> {
        let device = self.devices.get(number.0 as usize)?;
        let in_use = !device.in_hand.is_empty() || self.awaits_canary(number);
        let needed = self
            .runnable(number)
            .any(|grant| grant.bundle == Some(loaded));
        if in_use || needed {
            None
        } else {
            self.first_bundle(number)
        }
    }

    /// Whether the device made rows for which it has not sung yet.
    fn awaits_canary(&self, number: DeviceNo) -> bool {
        self.made_on(number) || !self.unsung(number).is_empty()
    }

    fn made_on(&self, number: DeviceNo) -> bool {
        self.grants
            .values()
            .any(|grant| grant.device == Some(number) && grant.has_made())
    }

    /// Grants with tracks to run that this device may take.
    pub(crate) fn runnable(&self, number: DeviceNo) -> impl Iterator<Item = &Grant> {
        let free = move |grant: &&Grant| grant.device.is_none_or(|taken| taken == number);
        self.grants
            .values()
            .filter(free)
            .filter(|grant| grant.rows == Rows::Here && grant.has_queued())
    }

    pub(crate) fn device_ready(&mut self, number: DeviceNo, bundle: Digest) {
        if let Some(device) = self.device(number)
            && device.worker == Worker::Loading(bundle)
        {
            device.worker = Worker::Ready(bundle);
        }
    }

    pub(crate) fn slot_ready(&mut self, number: DeviceNo, slot: SlotNo) {
        if let Some(device) = self.device(number)
            && device.loaded().is_some()
        {
            device.slots.insert(slot);
        }
    }

    // Starting tracks.

    /// Fills idle slots, as far as parts, sources and suspects allow.
    pub(crate) fn start(&mut self, now: Millis, actions: &mut Actions) {
        for grant in self.grants.values_mut() {
            grant.take_up(now);
        }
        if self.sources_from.is_some_and(|from| now < from) || self.is_clogged() {
            return;
        }
        self.sources_from = None;
        for number in self.numbers() {
            while let Some(slot) = self.idle_slot(number) {
                match self.next(number) {
                    Next::Nothing => break,
                    Next::Run(grant, ordinal) => {
                        self.run(number, slot, &grant, ordinal, false, actions)
                    }
                    Next::Try(grant, ordinal) => {
                        self.run(number, slot, &grant, ordinal, true, actions)
                    }
                }
            }
        }
    }

    fn idle_slot(&self, number: DeviceNo) -> Option<SlotNo> {
        self.devices.get(number.0 as usize)?.slots.first().copied()
    }

    fn next(&self, number: DeviceNo) -> Next {
        let Some(device) = self.devices.get(number.0 as usize) else {
            return Next::Nothing;
        };
        let Some(bundle) = device.loaded() else {
            return Next::Nothing;
        };
        if let Some((grant, ordinal)) = self.first_queued(number, bundle, true) {
            // A suspect waits until it is alone and the device has proven itself.
            let alone = device.in_hand.is_empty() && device.proven && device.song.is_none();
            return if alone {
                Next::Try(grant, ordinal)
            } else {
                Next::Nothing
            };
        }
        match self.first_queued(number, bundle, false) {
            Some((grant, ordinal)) if !device.trial => Next::Run(grant, ordinal),
            Some(_) | None => Next::Nothing,
        }
    }

    pub(crate) fn first_queued(
        &self,
        number: DeviceNo,
        bundle: Digest,
        suspect: bool,
    ) -> Option<(GrantKey, Ordinal)> {
        let fits = self
            .runnable(number)
            .filter(|grant| grant.bundle == Some(bundle));
        let queued =
            fits.filter_map(|grant| grant.next_queued(suspect).map(|ordinal| (grant, ordinal)));
        let first = queued.min_by_key(|(grant, _)| grant.arrival);
        first.map(|(grant, ordinal)| (grant.key.clone(), ordinal))
    }

    fn run(
        &mut self,
        number: DeviceNo,
        slot: SlotNo,
        key: &GrantKey,
        ordinal: Ordinal,
        alone: bool,
        actions: &mut Actions,
    ) {
        let token = Token(self.tokens);
        self.tokens += 1;
        if let Some(grant) = self.grants.get_mut(key) {
            grant.device = Some(number);
            grant.set(ordinal, Stage::InHand(token));
        }
        if let Some(device) = self.device(number) {
            device.slots.remove(&slot);
            device.in_hand.insert(token, (key.clone(), ordinal));
            device.trial = alone;
        }
        actions.push(Action::Start {
            token,
            device: number,
            slot,
            grant: key.clone(),
            ordinal,
        });
    }

    /// Makes the rows of a grant whose tracks are not to be run.
    pub(crate) fn reject_if_told(&mut self, key: &GrantKey, actions: &mut Actions) {
        let Some(grant) = self.grants.get_mut(key) else {
            return;
        };
        match grant.care {
            Care::Normal | Care::Apart => {}
            Care::Reject if mutants::on(Mutant::RejectUnwritten) => {}
            Care::Reject => {
                for ordinal in grant.ordinals() {
                    grant.set(ordinal, Stage::Made { screened: false });
                    actions.push(Action::Reject {
                        grant: key.clone(),
                        ordinal,
                        code: CONVICTED,
                    });
                }
            }
        }
    }

    /// Keeps the rates up to date.
    pub(crate) fn measure(&mut self, now: Millis) {
        for device in &mut self.devices {
            let busy = !device.in_hand.is_empty();
            device.rate.tick(now, busy);
        }
    }
}
