//! What a beat says, and what its answer changes.

use types::{Code, Millis, Session, TrackSet};

use crate::action::{Action, Actions, BeatCall, Held};
use crate::apart::Told;
use crate::core::Core;
use crate::device::Worker;
use crate::event::{Beaten, CallError, Flush, GrantOrder, Order};
use crate::grant::{Grant, one};
use crate::mutants::{self, Mutant};
use crate::session::{Link, SentBeat};
use crate::{DeviceNo, GrantKey};

impl Core {
    /// Sends the beat that is due.
    pub(crate) fn beat(&mut self, now: Millis, actions: &mut Actions) {
        let sent = SentBeat {
            at: now,
            released: self.released.len(),
            deaths: self.deaths,
            apart: self.apart.clone(),
        };
        let Link::Joined(live) = &mut self.link else {
            return;
        };
        let Some(number) = live.next_beat(now, sent) else {
            return;
        };
        let session = live.session;
        let known = self.apart.clone().map(Told::Alone);
        if known.is_some_and(|known| known != self.told) {
            self.told = Told::Perhaps;
        }
        actions.push(Action::Beat(BeatCall {
            session,
            number,
            held: self.held(),
            released: self.released.clone(),
            devices_out: self.devices_out(),
            storage_trouble: self.storage_trouble(),
            draining: self.draining,
        }));
    }

    fn held(&self) -> Vec<Held> {
        let held = self.grants.values().map(|grant| Held {
            key: grant.key.clone(),
            in_hand: self.in_hand(grant),
            yielded_at: grant.yielded_at,
            deaths: grant.deaths.clone(),
            unflushed: grant.unflushed(),
        });
        held.collect()
    }

    /// What a grant has in hand, a suspect that is only about to run included.
    fn in_hand(&self, grant: &Grant) -> TrackSet {
        let mut in_hand = grant.in_hand();
        let own = self.apart.iter().filter(|(key, _)| *key == grant.key);
        own.for_each(|(_, ordinal)| in_hand.insert(one(*ordinal)));
        in_hand
    }

    fn devices_out(&self) -> Vec<(DeviceNo, Code)> {
        let outs = (0..)
            .zip(&self.devices)
            .filter_map(|(number, device)| match device.worker {
                Worker::Out(code) => Some((DeviceNo(number), code)),
                Worker::None | Worker::Loading(_) | Worker::Ready(_) | Worker::Down { .. } => None,
            });
        outs.collect()
    }

    /// A beat was answered, or not.
    pub(crate) fn beaten(
        &mut self,
        now: Millis,
        call: (Session, u64),
        answer: Result<Beaten, CallError>,
        actions: &mut Actions,
    ) {
        let Link::Joined(live) = &mut self.link else {
            return;
        };
        if call != (live.session, live.beats) {
            return;
        }
        let Some(sent) = live.beat.take() else { return };
        match answer {
            Err(error) => self.refused(now, error, actions),
            Ok(beaten) => self.obey(now, sent, beaten, actions),
        }
    }

    fn obey(&mut self, now: Millis, sent: SentBeat, beaten: Beaten, actions: &mut Actions) {
        self.told = sent.apart.map_or(Told::Nothing, Told::Alone);
        self.released
            .drain(..sent.released.min(self.released.len()));
        for grant in self.grants.values_mut() {
            grant.deaths.retain(|death| death.number > sent.deaths);
        }
        if let (true, Link::Joined(live)) = (beaten.pull_now, &mut self.link) {
            live.pull_due = live.pull_due.min(now);
        }
        if beaten.drain {
            self.drain();
        }
        for GrantOrder { key, order, flush } in beaten.orders {
            self.order(sent.at, &key, order, Some(flush), actions);
        }
    }

    /// Carries out an order about a grant, as of a call that was sent at `at`.
    pub(crate) fn order(
        &mut self,
        at: Millis,
        key: &GrantKey,
        order: Order,
        flush: Option<Flush>,
        actions: &mut Actions,
    ) {
        let Some(grant) = self.grants.get_mut(key) else {
            return;
        };
        grant.flush = flush.unwrap_or(grant.flush);
        match order {
            Order::Continue => grant.renewed = grant.renewed.max(Some(at)),
            Order::YieldAt(ordinal) => {
                grant.renewed = grant.renewed.max(Some(at));
                if grant.yield_from(ordinal) {
                    self.hurry_beat(at);
                }
            }
            Order::Stop if mutants::on(Mutant::StopIgnored) => {}
            Order::Stop => self.forget(key, actions),
        }
    }

    pub(crate) fn hurry_beat(&mut self, now: Millis) {
        if let Link::Joined(live) = &mut self.link {
            live.hurry_beat(now);
        }
    }
}
