//! How tracks end: scored, without a score, with their decoder, or with their worker; and what a device answers for.

use std::collections::BTreeMap;

use types::{Code, Millis, Ordinal, TrackSet};

use crate::action::{Action, Actions, Cause, WorkerDeath};
use crate::choice::Gated;
use crate::core::Core;
use crate::device::{Alone, Blame, Device, Suspect};
use crate::event::{Death, TrackOutcome};
use crate::grant::{CONVICTED, Grant, Stage, one};
use crate::limits::{UNREADABLE_MAX, back_off, storage_back_off};
use crate::mutants::{self, Mutant};
use crate::trials::Trials;
use crate::{DeviceNo, GrantKey, Token};

impl Core {
    /// Forgets a try, wherever it runs.
    pub(crate) fn drop_token(&mut self, token: Token) -> Option<(DeviceNo, GrantKey, Ordinal)> {
        for (number, device) in (0..).zip(&mut self.devices) {
            if let Some((key, ordinal)) = device.in_hand.remove(&token) {
                device.alone = Alone::No;
                return Some((DeviceNo(number), key, ordinal));
            }
        }
        None
    }

    pub(crate) fn track_ended(
        &mut self,
        now: Millis,
        token: Token,
        outcome: TrackOutcome,
        actions: &mut Actions,
    ) {
        let Some((number, key, ordinal)) = self.drop_token(token) else {
            return;
        };
        if let Some(device) = self.device(number) {
            device.ended(key.stage(), outcome.is_scored());
        }
        let track = (key, ordinal);
        match outcome {
            TrackOutcome::Scored => self.ran_through(now, &track, true, None, actions),
            TrackOutcome::Escalated(onward) => {
                self.passed_the_gate(now, &track, Gated::Onward(onward), actions);
            }
            TrackOutcome::Spared(spared) => {
                self.passed_the_gate(now, &track, Gated::Spared(spared), actions);
            }
            TrackOutcome::Unscannable => self.ran_through(now, &track, false, None, actions),
            TrackOutcome::DecoderDied { death, code } => {
                self.decoder_died(&track.0, ordinal, death, code, actions)
            }
            TrackOutcome::Unreachable => self.unreachable(now, &track.0, ordinal),
            TrackOutcome::Unreadable => self.unreadable(now, &track.0, ordinal, actions),
        }
    }

    /// It has its row, and the gate takes it, or might elsewhere. What comes from the residual goes no further, whatever is said of it.
    fn passed_the_gate(
        &mut self,
        now: Millis,
        track: &Suspect,
        gated: Gated,
        actions: &mut Actions,
    ) {
        let gated = (track.0.stage() == types::Stage::Screen).then_some(gated);
        self.ran_through(now, track, true, gated, actions);
    }

    /// It has its row, and nobody died of it.
    fn ran_through(
        &mut self,
        now: Millis,
        track: &Suspect,
        screened: bool,
        gated: Option<Gated>,
        actions: &mut Actions,
    ) {
        let (key, ordinal) = track;
        if screened {
            self.sources.remove(&key.job);
        }
        let Some(grant) = self.grants.get_mut(key) else {
            return;
        };
        grant.made(*ordinal, screened, gated);
        if grant.set_suspect(*ordinal, false) {
            self.cleared(now, track, actions);
        }
    }

    fn decoder_died(
        &mut self,
        key: &GrantKey,
        ordinal: Ordinal,
        death: Death,
        code: Code,
        actions: &mut Actions,
    ) {
        let trials = self
            .grants
            .get_mut(key)
            .and_then(|grant| grant.trials(ordinal));
        if trials.is_some_and(|trials| trials.decoder_died(death)) {
            self.convict(key, ordinal, code, actions);
        } else {
            self.again(key, ordinal);
        }
    }

    fn convict(&mut self, key: &GrantKey, ordinal: Ordinal, code: Code, actions: &mut Actions) {
        if let Some(grant) = self.grants.get_mut(key) {
            grant.made(ordinal, false, None);
        }
        actions.push(Action::Reject {
            grant: key.clone(),
            ordinal,
            code,
        });
    }

    /// The source of a job is out of reach: its tracks wait, other jobs' go on. After a few tries all of it goes back.
    fn unreachable(&mut self, now: Millis, key: &GrantKey, ordinal: Ordinal) {
        let source = self.sources.entry(key.job.clone()).or_default();
        source.failures = source.failures.saturating_add(1);
        source.from = Some(now + storage_back_off(source.failures));
        let trials = self
            .grants
            .get_mut(key)
            .and_then(|grant| grant.trials(ordinal));
        let spent = trials.is_some_and(|trials| trials.out_of_reach());
        self.again(key, ordinal);
        if spent {
            let of_job = self.grants.keys().filter(|other| other.job == key.job);
            for key in of_job.cloned().collect::<Vec<_>>() {
                self.give_back(&key, Cause::Storage);
            }
        }
    }

    /// Puts a track off whose neighbours can be read; nothing waits for it. After a few tries it ends in its code.
    fn unreadable(&mut self, now: Millis, key: &GrantKey, ordinal: Ordinal, actions: &mut Actions) {
        let Some(grant) = self.grants.get_mut(key) else {
            return;
        };
        let trials = grant.trials(ordinal);
        let tries = trials.map_or(UNREADABLE_MAX, Trials::unreadable);
        if tries >= UNREADABLE_MAX {
            return self.convict(key, ordinal, Code::SourceUnreadable, actions);
        }
        grant.put_off(ordinal, now + back_off(tries));
        self.again(key, ordinal);
    }

    /// Puts a track back into the queue; a draining node gives it back instead, alone or with all of its grant.
    pub(crate) fn again(&mut self, key: &GrantKey, ordinal: Ordinal) {
        let draining = self.draining;
        let Some(grant) = self.grants.get_mut(key) else {
            return;
        };
        let goes = draining || grant.giving_back.is_some();
        if goes && !grant.is_whole() {
            grant.remove(ordinal);
        } else {
            grant.set(ordinal, Stage::Queued);
        }
    }

    /// A worker died: one track that was alone on a proven device answers for it, several become suspects. What it scored
    /// is run again where no canary has proved it: its successor's says nothing about it. A worker that somebody outside
    /// killed was as sound as its device.
    pub(crate) fn worker_died(
        &mut self,
        now: Millis,
        number: DeviceNo,
        death: Death,
        actions: &mut Actions,
    ) {
        let Some(device) = self.device(number).filter(|device| device.is_in_service()) else {
            return;
        };
        let (tried, disbelieved) = match device.alone {
            Alone::No => (false, false),
            Alone::Suspect => (device.is_believed(), !device.is_believed()),
            Alone::Probe => (false, true),
        };
        let tried = tried || mutants::on(Mutant::ConvictsAtOnce);
        let lost = device.lose_worker();
        match death {
            Death::Own | Death::Hung => self.unmake(number),
            Death::Killed => {}
        }
        self.report(&lost, death);
        let (convicted, blame) = match lost.as_slice() {
            [(key, ordinal)] if tried => (self.judge(key, *ordinal, death, actions), Blame::Track),
            [] => (false, Blame::Device),
            _ if disbelieved => (false, Blame::Device),
            _ => (false, Blame::Open(lost.clone())),
        };
        for (key, ordinal) in &lost {
            self.suspect(key, *ordinal);
        }
        if let ([track], true) = (lost.as_slice(), convicted) {
            for device in &mut self.devices {
                device.acquit(track);
            }
        }
        let Some(device) = self.device(number) else {
            return;
        };
        if convicted {
            device.convict();
        }
        device.fall(now, death, blame);
        self.take_out_if_faulty(number, actions);
    }

    fn take_out_if_faulty(&mut self, number: DeviceNo, actions: &mut Actions) {
        let out = self
            .device(number)
            .is_some_and(|device| !device.is_in_service());
        if out {
            self.taken_out(number, Code::DeviceFaulty, actions);
        }
    }

    /// A suspect went through alone. Where it was the last one of a death, nobody but that device is left to blame.
    fn cleared(&mut self, now: Millis, track: &Suspect, actions: &mut Actions) {
        let grants = &self.grants;
        let waits = |(key, ordinal): &Suspect| {
            let grant = grants.get(key);
            grant.is_some_and(|grant| grant.is_suspect(*ordinal))
        };
        let mut out = Vec::new();
        for (number, device) in (0..).zip(&mut self.devices) {
            let served = device.is_in_service();
            device.clear(now, track, waits);
            if served && !device.is_in_service() {
                out.push(DeviceNo(number));
            }
        }
        for number in out {
            self.taken_out(number, Code::DeviceFaulty, actions);
        }
    }

    /// Notes a death for the next beat. One that somebody else caused says nothing about tracks.
    fn report(&mut self, lost: &[(GrantKey, Ordinal)], death: Death) {
        match death {
            Death::Killed => return,
            Death::Own | Death::Hung => {}
        }
        let mut by_grant = BTreeMap::<&GrantKey, TrackSet>::new();
        for (key, ordinal) in lost {
            by_grant.entry(key).or_default().insert(one(*ordinal));
        }
        self.deaths += u64::from(!by_grant.is_empty());
        for (key, tracks) in by_grant {
            if let Some(grant) = self.grants.get_mut(key) {
                grant.deaths.push(WorkerDeath {
                    number: self.deaths,
                    tracks,
                });
            }
        }
    }

    /// Counts a lone death on a proven device. True if the track is given up for it.
    fn judge(
        &mut self,
        key: &GrantKey,
        ordinal: Ordinal,
        death: Death,
        actions: &mut Actions,
    ) -> bool {
        let trials = self
            .grants
            .get_mut(key)
            .and_then(|grant| grant.trials(ordinal));
        let convicted = trials.is_some_and(|trials| trials.died_alone(death))
            || mutants::on(Mutant::ConvictsAtOnce);
        if convicted {
            self.convict(key, ordinal, CONVICTED, actions);
        }
        convicted
    }

    fn suspect(&mut self, key: &GrantKey, ordinal: Ordinal) {
        let Some(grant) = self.grants.get_mut(key) else {
            return;
        };
        match grant.stage(ordinal) {
            Some(Stage::InHand(_)) if mutants::on(Mutant::TrackForgotten) => {}
            Some(Stage::InHand(_)) => {
                grant.set_suspect(ordinal, true);
                self.again(key, ordinal);
            }
            Some(Stage::Queued | Stage::Made { .. } | Stage::InPart(_)) | None => {}
        }
    }

    /// A device is out: what it had in hand, and what it scored and no canary proved, is run again, elsewhere. Where there
    /// is no other, what is proven is committed first, and the rest goes back with it.
    pub(crate) fn taken_out(&mut self, number: DeviceNo, code: Code, actions: &mut Actions) {
        actions.push(Action::TakeOut {
            device: number,
            code,
        });
        let lost = self.device(number).map(Device::lose_worker);
        for (key, ordinal) in lost.into_iter().flatten() {
            self.again(&key, ordinal);
        }
        self.unmake(number);
        for grant in self.grants.values_mut() {
            grant.device = grant.device.filter(|device| *device != number);
        }
        if !self.devices.iter().any(Device::is_in_service) {
            self.give_back_if(Cause::DeviceOut, Grant::has_queued, actions);
        }
    }

    /// A device has no room for the network of its bundle's residual. Its grants for it, and those that it might take up, go to
    /// whoever has room; what it measured for them and no canary proved is measured again there. Its other work goes on.
    pub(crate) fn no_room(&mut self, number: DeviceNo, actions: &mut Actions) {
        let Some(bundle) = self.device(number).and_then(|device| device.loaded()) else {
            return;
        };
        let separates = |key: &GrantKey| key.stage() == types::Stage::Residual;
        let mine = |grant: &Grant| grant.device.is_none_or(|device| device == number);
        let wanted =
            |grant: &Grant| separates(&grant.key) && grant.bundle == Some(bundle) && mine(grant);
        self.give_back_if(Cause::NoRoom, wanted, actions);
        let Some(device) = self.device(number) else {
            return;
        };
        device
            .song
            .take_if(|song| song.stage == types::Stage::Residual);
        let in_hand = device.in_hand.iter().filter(|(_, (key, _))| separates(key));
        let tokens: Vec<Token> = in_hand.map(|(token, _)| *token).collect();
        for token in tokens {
            if let Some((_, key, ordinal)) = self.drop_token(token) {
                self.again(&key, ordinal);
            }
            actions.push(Action::Abort { token });
        }
        self.unmake_where(number, separates);
    }

    /// Runs again what a device scored and no canary proved; a draining node gives it back instead.
    pub(crate) fn unmake(&mut self, number: DeviceNo) {
        self.unmake_where(number, |_| true);
    }

    fn unmake_where(&mut self, number: DeviceNo, wanted: impl Fn(&GrantKey) -> bool) {
        let mut unproven = self.unsung(number);
        unproven.retain(|part| {
            let part = self.parts.get(part);
            part.is_some_and(|part| wanted(&part.grant))
        });
        for part in &unproven {
            self.parts.remove(part);
        }
        let mine = |grant: &&mut Grant| grant.device == Some(number) && wanted(&grant.key);
        for grant in self.grants.values_mut().filter(mine) {
            grant.unmake(&unproven);
            if self.draining || grant.giving_back.is_some() {
                grant.drop_queued();
            }
        }
    }
}

impl TrackOutcome {
    /// Whether the device has scored it, be it only to send it on.
    const fn is_scored(&self) -> bool {
        match self {
            Self::Scored | Self::Escalated(_) | Self::Spared(_) => true,
            Self::Unscannable | Self::DecoderDied { .. } | Self::Unreachable | Self::Unreadable => {
                false
            }
        }
    }
}
