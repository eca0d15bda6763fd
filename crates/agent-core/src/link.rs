//! The session's life: joining, asking for work, being refused, leaving.

use types::{Digest, Millis, PullNo, Session, Stage};

use crate::Token;
use crate::action::{Action, Actions, Cause, PullCall, Released};
use crate::core::Core;
use crate::device::Device;
use crate::event::{CallError, Granted, Joined, Pulled};
use crate::grant::Grant;
use crate::limits::{
    LEAVES_MAX, PARTS_BYTES_MAX, PARTS_WAITING_MAX, TRACKS_HELD_MAX, TRACKS_UNMEASURED, WORK_AHEAD,
    WORK_WAITING_PERCENT, call_back_off,
};
use crate::mutants::{self, Mutant};
use crate::session::{Link, Live, Standing, standing};

impl Core {
    pub(crate) fn join(&mut self, now: Millis, actions: &mut Actions) {
        if matches!(self.link, Link::Apart { at } if at <= now) {
            self.link = Link::Joining;
            actions.push(Action::Join);
        }
    }

    pub(crate) fn joined(
        &mut self,
        now: Millis,
        answer: Result<Joined, CallError>,
        actions: &mut Actions,
    ) {
        match answer {
            Ok(joined) => {
                self.join_failures = 0;
                self.bad_bundles.clear();
                let before = self.before.take();
                let before = before.filter(|_| !mutants::on(Mutant::NumbersRestart));
                let live = match before {
                    Some(before) if before.session == joined.session => before.resumed(now),
                    Some(before) => self.begun(joined, now).numbered_after(&before),
                    None => self.begun(joined, now),
                };
                self.link = Link::Joined(live);
            }
            Err(error) => {
                if standing(error) == Standing::Void {
                    self.forget_all(actions);
                }
                self.join_failures = self.join_failures.saturating_add(1);
                self.link = Link::Apart {
                    at: now + call_back_off(self.join_failures),
                };
            }
        }
    }

    /// A session of its own: what was counted within the last one is void.
    fn begun(&mut self, joined: Joined, now: Millis) -> Live {
        self.deaths = 0;
        for grant in self.grants.values_mut() {
            grant.deaths.clear();
        }
        Live::new(joined, now)
    }

    /// The session is lost: join, now.
    fn part(&mut self, now: Millis) {
        let link = std::mem::replace(&mut self.link, Link::Apart { at: now });
        if let Link::Joined(live) = link {
            self.before = Some(live);
        }
    }

    /// Takes from a failed call what it says about the session.
    pub(crate) fn refused(&mut self, now: Millis, error: CallError, actions: &mut Actions) {
        match standing(error) {
            Standing::Same => {}
            Standing::Unknown => self.part(now),
            Standing::Void => {
                self.forget_all(actions);
                self.part(now);
            }
        }
    }

    pub(crate) fn drain(&mut self) {
        self.draining = true;
        for grant in self.grants.values_mut() {
            grant.drop_queued();
        }
    }

    /// Gives up what is in hand and ends the session: who leaves gives back all that it holds, at no cost. Parts without an answer
    /// stay on disk; where the farewell does not arrive, they may count in the next life.
    pub(crate) fn end_drain(&mut self, actions: &mut Actions) {
        self.drain();
        let tokens: Vec<Token> = self.grants.values().flat_map(Grant::tokens).collect();
        for token in tokens {
            if let Some((_, key, ordinal)) = self.drop_token(token) {
                self.again(&key, ordinal);
            }
            actions.push(Action::Abort { token });
        }
        match &self.link {
            Link::Joined(live) => {
                let session = live.session;
                self.link = Link::Leaving { session, tries: 1 };
                actions.push(Action::Leave { session });
            }
            Link::Apart { .. } | Link::Joining => {
                self.link = Link::Gone;
                actions.push(Action::Exit);
            }
            Link::Leaving { .. } | Link::Gone => {}
        }
    }

    pub(crate) fn leave(&mut self, actions: &mut Actions) {
        if !self.draining || !self.grants.is_empty() {
            return;
        }
        match &mut self.link {
            Link::Joined(live) if live.pulling.is_none() && live.beat.is_none() => {
                let session = live.session;
                self.link = Link::Leaving { session, tries: 1 };
                actions.push(Action::Leave { session });
            }
            Link::Apart { .. } => {
                self.link = Link::Gone;
                actions.push(Action::Exit);
            }
            Link::Joined(_) | Link::Joining | Link::Leaving { .. } | Link::Gone => {}
        }
    }

    pub(crate) fn left(&mut self, answer: Result<(), CallError>, actions: &mut Actions) {
        let Link::Leaving { session, tries } = self.link else {
            return;
        };
        if answer == Err(CallError::Unanswered) && tries < LEAVES_MAX {
            self.link = Link::Leaving {
                session,
                tries: tries + 1,
            };
            actions.push(Action::Leave { session });
        } else {
            self.link = Link::Gone;
            actions.push(Action::Exit);
        }
    }

    /// Tracks that the node should hold, and holds.
    pub(crate) fn work(&self) -> (u32, u32) {
        let target = match self.tracks_per_1000_s() {
            None => u64::from(TRACKS_UNMEASURED),
            Some(rate) => {
                u64::from(rate) * WORK_AHEAD.0 / 1_000_000 * (100 + WORK_WAITING_PERCENT) / 100
            }
        };
        let slots: usize = self
            .devices
            .iter()
            .map(|device| device.slots.len() + device.in_hand.len())
            .sum();
        let least = u64::try_from(slots * 2).unwrap_or(0).max(1);
        let target = target.max(least).min(u64::from(TRACKS_HELD_MAX));
        let held = self.work_held().min(u64::from(TRACKS_HELD_MAX));
        (
            u32::try_from(target).unwrap_or(TRACKS_HELD_MAX),
            u32::try_from(held).unwrap_or(TRACKS_HELD_MAX),
        )
    }

    /// Tracks in hand or waiting; one of the residual counts as so many as are screened meanwhile.
    fn work_held(&self) -> u64 {
        let open = |stage: Stage| {
            let own = self.grants.values().filter(|own| own.key.stage() == stage);
            own.map(|own| own.open() as u64).sum::<u64>()
        };
        let rates = self
            .rate_at(Stage::Screen)
            .zip(self.rate_at(Stage::Residual));
        let weighs = |tracks: u64| match rates {
            Some((screen, residual)) => tracks.saturating_mul(screen) / residual,
            None => tracks,
        };
        open(Stage::Screen).saturating_add(weighs(open(Stage::Residual)))
    }

    fn wants_work(&self) -> bool {
        let (target, held) = self.work();
        let serves = self.devices.iter().any(Device::is_in_service);
        serves && !self.draining && !self.is_clogged() && held < target * 2 / 3 + 1
    }

    /// Whether parts pile up, by their number or on the disk: then nothing new is started.
    pub(crate) fn is_clogged(&self) -> bool {
        let bytes: u64 = self.parts.values().map(|part| part.bytes).sum();
        self.parts.len() >= PARTS_WAITING_MAX || bytes >= PARTS_BYTES_MAX
    }

    pub(crate) fn pull(&mut self, now: Millis, actions: &mut Actions) {
        if !self.wants_work() {
            return;
        }
        let (target, held) = self.work();
        let tracks_per_1000_s = self.tracks_per_1000_s();
        let mut bundles: Vec<Digest> = self.devices.iter().filter_map(Device::loaded).collect();
        bundles.sort_unstable();
        bundles.dedup();
        let Link::Joined(live) = &mut self.link else {
            return;
        };
        if live.pulling.is_some() || now < live.pull_due {
            return;
        }
        live.pulling = Some(now);
        let (session, number) = (live.session, live.pull);
        let want_tracks = target.saturating_sub(held).max(1);
        actions.push(Action::Pull(PullCall {
            session,
            number,
            tracks_per_1000_s,
            want_tracks,
            bundles,
        }));
    }

    pub(crate) fn pull_deadline(&self, live: &Live) -> Option<Millis> {
        (live.pulling.is_none() && self.wants_work()).then_some(live.pull_due)
    }

    pub(crate) fn pulled(
        &mut self,
        now: Millis,
        call: (Session, PullNo),
        answer: Result<Pulled, CallError>,
        actions: &mut Actions,
    ) {
        let Link::Joined(live) = &mut self.link else {
            return;
        };
        if call != (live.session, live.pull) {
            return;
        }
        let Some(sent) = live.pulling.take() else {
            return;
        };
        match answer {
            Err(error) => {
                live.pull_failed(now);
                self.refused(now, error, actions);
            }
            Ok(pulled) => {
                live.pulled(now, pulled.again_after);
                for granted in pulled.grants {
                    self.granted(now, sent, granted);
                }
            }
        }
    }

    fn granted(&mut self, now: Millis, sent: Millis, granted: Granted) {
        if self.grants.contains_key(&granted.key) {
            return;
        }
        let (key, bundle) = (granted.key.clone(), granted.bundle);
        // The last device may have gone out while the pull was under way: then nobody would ever run it.
        let serves = self.devices.iter().any(Device::is_in_service);
        let cause = match (self.draining, self.bad_bundles.contains(&bundle)) {
            (true, _) => Some(Cause::Drain),
            (false, true) => Some(Cause::Bundle),
            (false, false) if !serves && !mutants::on(Mutant::WorkKeptWhenOut) => {
                Some(Cause::DeviceOut)
            }
            (false, false) => None,
        };
        if let Some(cause) = cause {
            self.released.push(Released { key, cause });
            return;
        }
        self.arrivals += 1;
        self.grants
            .insert(key, Grant::new(granted, self.arrivals, now, sent));
    }
}
