//! Which track runs where: loading bundles, starting tracks, trying suspects alone.

use types::{Digest, JobId, Millis, Ordinal};

use crate::action::{Action, Actions};
use crate::core::Core;
use crate::device::{Alone, Device, Worker};
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
    /// Run this track, which is none, alone.
    Probe(GrantKey, Ordinal),
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

    /// The bundle to change to: only when nothing here needs the loaded one before another one's turn.
    fn other_bundle(&self, number: DeviceNo, loaded: Digest) -> Option<Digest> {
        let device = self.devices.get(number.0 as usize)?;
        let in_use = !device.in_hand.is_empty() || self.awaits_canary(number);
        let turn = self.turn_ends(number, loaded);
        let needed = self
            .runnable(number)
            .any(|grant| grant.bundle == Some(loaded) && has_turn(grant, turn));
        if in_use || needed {
            None
        } else {
            self.first_bundle(number).filter(|first| *first != loaded)
        }
    }

    /// Bundles have their turns in the order in which their grants came: the arrival of the first grant here that needs
    /// another one than is loaded, and that no other device has or gets. Later ones of the loaded bundle wait for theirs, unless
    /// they are begun and all or nothing.
    fn turn_ends(&self, number: DeviceNo, loaded: Digest) -> u64 {
        let elsewhere = |bundle: Option<Digest>| {
            let others = self.numbers().zip(&self.devices);
            let mut others = others.filter(|(other, _)| *other != number);
            others.any(|(_, device)| bundle.is_some() && device.bundle() == bundle)
        };
        let waits = |grant: &&Grant| {
            let other = grant.bundle != Some(loaded);
            other && (grant.device == Some(number) || !elsewhere(grant.bundle))
        };
        let first = self.runnable(number).filter(waits);
        first.map(|grant| grant.arrival).min().unwrap_or(u64::MAX)
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
            .filter(|grant| grant.rows == Rows::Here && grant.has_ready())
            .filter(|grant| self.is_in_reach(grant))
    }

    /// Whether the source of the grant's job is not waited for.
    pub(crate) fn is_in_reach(&self, grant: &Grant) -> bool {
        let source = self.sources.get(&grant.key.job);
        source.is_none_or(|source| source.from.is_none())
    }

    /// Ends the waits that are over, and forgets what no grant is concerned with any more.
    pub(crate) fn take_up(&mut self, now: Millis) {
        for grant in self.grants.values_mut() {
            grant.take_up(now);
        }
        let held = |job: &JobId| self.grants.keys().any(|key| key.job == *job);
        self.sources.retain(|job, _| held(job));
        for source in self.sources.values_mut() {
            source.from = source.from.filter(|from| *from > now);
        }
        let wanted = |bundle: &Digest| {
            let mut grants = self.grants.values();
            grants.any(|grant| grant.bundle == Some(*bundle))
        };
        self.late_bundles.retain(|bundle, _| wanted(bundle));
    }

    pub(crate) fn device_ready(&mut self, number: DeviceNo, bundle: Digest) {
        if let Some(device) = self.device(number)
            && device.worker == Worker::Loading(bundle)
        {
            device.worker = Worker::Ready(bundle);
            self.late_bundles.remove(&bundle);
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
        self.choose_apart(now);
        if self.is_clogged() {
            return;
        }
        for number in self.numbers() {
            while let Some(slot) = self.idle_slot(number) {
                let (alone, grant, ordinal) = match self.next(number) {
                    Next::Nothing => break,
                    Next::Run(grant, ordinal) => (Alone::No, grant, ordinal),
                    Next::Try(grant, ordinal) => (Alone::Suspect, grant, ordinal),
                    Next::Probe(grant, ordinal) => (Alone::Probe, grant, ordinal),
                };
                self.run(number, slot, &grant, ordinal, alone, actions);
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
        // A suspect waits until it is alone and the device has proven itself.
        let rests = device.in_hand.is_empty() && device.song.is_none();
        let ready = |key: &GrantKey| rests && device.proven.contains(&key.stage());
        if self.is_kept_apart() {
            let trial = self.trial_for(number).filter(|(key, _)| ready(key));
            return trial.map_or(Next::Nothing, |(grant, ordinal)| Next::Try(grant, ordinal));
        }
        let first = self.first_queued(number, bundle, false);
        match (self.first_queued(number, bundle, true), first) {
            (Some((suspect, _)), _) if !ready(&suspect) => Next::Nothing,
            (Some(_), Some((grant, ordinal))) if !device.is_believed() => {
                Next::Probe(grant, ordinal)
            }
            (Some((grant, ordinal)), _) => Next::Try(grant, ordinal),
            (None, Some((grant, ordinal))) if device.alone == Alone::No => {
                Next::Run(grant, ordinal)
            }
            (None, _) => Next::Nothing,
        }
    }

    /// The first track here to be run beside others, or the first suspect of a worker's death: of the fastest lane that the loaded
    /// bundle serves, since what waits there was asked back from the others.
    pub(crate) fn first_queued(
        &self,
        number: DeviceNo,
        bundle: Digest,
        suspect: bool,
    ) -> Option<(GrantKey, Ordinal)> {
        let turn = self.turn_ends(number, bundle);
        let fits = self
            .runnable(number)
            .filter(|grant| grant.bundle == Some(bundle) && has_turn(grant, turn));
        let queued =
            fits.filter_map(|grant| grant.next_queued(suspect).map(|ordinal| (grant, ordinal)));
        let first = queued.min_by_key(|(grant, _)| (grant.rank, grant.arrival));
        first.map(|(grant, ordinal)| (grant.key.clone(), ordinal))
    }

    fn run(
        &mut self,
        number: DeviceNo,
        slot: SlotNo,
        key: &GrantKey,
        ordinal: Ordinal,
        alone: Alone,
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
            device.alone = alone;
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
            device.measure(now);
        }
    }
}

/// Whether a grant goes on before another bundle's turn.
fn has_turn(grant: &Grant, turn: u64) -> bool {
    grant.arrival < turn || grant.must_be_finished()
}
