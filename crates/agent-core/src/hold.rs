//! Holding grants: reading their rows, letting go of them in one way or another.

use types::{Digest, Millis, Stage};

use crate::action::{Action, Actions, Cause, Released};
use crate::core::Core;
use crate::device::{Device, Worker};
use crate::event::Unready;
use crate::grant::{Grant, Rows};
use crate::limits::{BUNDLE_LATERS_MAX, PREPARES_MAX, storage_back_off};
use crate::{DeviceNo, GrantKey, PartNo};

impl Core {
    pub(crate) fn prepare(&mut self, now: Millis, actions: &mut Actions) {
        for grant in self.grants.values_mut() {
            if let Rows::Wanted { at, failures } = grant.rows
                && at <= now
            {
                grant.rows = Rows::Asked { failures };
                actions.push(Action::Prepare {
                    grant: grant.key.clone(),
                });
            }
        }
    }

    pub(crate) fn prepared(
        &mut self,
        now: Millis,
        key: &GrantKey,
        outcome: Result<(), Unready>,
        actions: &mut Actions,
    ) {
        let Some(grant) = self.grants.get_mut(key) else {
            return;
        };
        let Rows::Asked { failures } = grant.rows else {
            return;
        };
        let failures = failures.saturating_add(1);
        match outcome {
            Ok(()) => {
                grant.rows = Rows::Here;
                self.reject_if_told(key, actions);
            }
            Err(Unready::Later) if failures < PREPARES_MAX => {
                grant.rows = Rows::Wanted {
                    at: now + storage_back_off(failures),
                    failures,
                };
            }
            Err(Unready::Later | Unready::Never) => self.release(key, Cause::Storage, actions),
        }
    }

    /// Forgets a grant: what is in hand is given up, parts and rows are dropped. Objects in storage stay.
    pub(crate) fn forget(&mut self, key: &GrantKey, actions: &mut Actions) {
        let Some(grant) = self.grants.remove(key) else {
            return;
        };
        for token in grant.tokens() {
            self.drop_token(token);
            actions.push(Action::Abort { token });
        }
        let parts: Vec<PartNo> = self.parts_of(key);
        for part in parts {
            self.parts.remove(&part);
            actions.push(Action::ForgetPart { part });
        }
        actions.push(Action::Forget { grant: key.clone() });
    }

    pub(crate) fn forget_all(&mut self, actions: &mut Actions) {
        let keys: Vec<GrantKey> = self.grants.keys().cloned().collect();
        for key in keys {
            self.forget(&key, actions);
        }
        self.released.clear();
    }

    /// Gives a grant back with the cause.
    pub(crate) fn release(&mut self, key: &GrantKey, cause: Cause, actions: &mut Actions) {
        if self.grants.contains_key(key) {
            self.forget(key, actions);
            self.released.push(Released {
                key: key.clone(),
                cause,
            });
        }
    }

    /// Gives back what of a grant is not begun. The grant follows with the cause once what is made and in hand is committed.
    pub(crate) fn give_back(&mut self, key: &GrantKey, cause: Cause) {
        if let Some(grant) = self.grants.get_mut(key) {
            grant.giving_back = Some(cause);
            grant.drop_queued();
        }
    }

    /// Gives back what is all or nothing and will not be finished: what is made of it counts for nothing without the rest.
    pub(crate) fn release_undone(&mut self, actions: &mut Actions) {
        let drains = self.draining.then_some(Cause::Drain);
        let undone = self
            .grants
            .values()
            .filter(|grant| grant.is_whole() && grant.open() > 0);
        let undone = undone.filter_map(|grant| {
            let cause = grant.giving_back.or(drains)?;
            Some((grant.key.clone(), cause))
        });
        for (key, cause) in undone.collect::<Vec<_>>() {
            self.release(&key, cause, actions);
        }
    }

    /// Gives back every grant for which `wanted` holds; at once where nothing of it is made or in hand.
    pub(crate) fn give_back_if(
        &mut self,
        cause: Cause,
        wanted: impl Fn(&Grant) -> bool,
        actions: &mut Actions,
    ) {
        let keys: Vec<GrantKey> = self
            .grants
            .values()
            .filter(|grant| wanted(grant))
            .map(|grant| grant.key.clone())
            .collect();
        for key in keys {
            self.give_back(&key, cause);
        }
        self.bury(actions);
    }

    /// Lays grants to rest that have no track left.
    pub(crate) fn bury(&mut self, actions: &mut Actions) {
        let over: Vec<(GrantKey, Option<Cause>)> = self
            .grants
            .values()
            .filter(|grant| grant.is_over())
            .map(|grant| (grant.key.clone(), grant.giving_back))
            .collect();
        for (key, cause) in over {
            let cause = cause.or(self.draining.then_some(Cause::Drain));
            self.released.extend(cause.map(|cause| Released {
                key: key.clone(),
                cause,
            }));
            self.forget(&key, actions);
        }
    }

    pub(crate) fn grants_deadline(&self) -> Option<Millis> {
        let rows = self.grants.values().filter_map(|grant| match grant.rows {
            Rows::Wanted { at, .. } => Some(at),
            Rows::Asked { .. } | Rows::Here => None,
        });
        let flushes = self
            .grants
            .values()
            .filter_map(|grant| self.flush_deadline(grant));
        let put_off = self.grants.values().filter_map(Grant::put_off_until);
        rows.chain(flushes).chain(put_off).min()
    }

    pub(crate) fn devices_deadline(&self) -> Option<Millis> {
        let restarts = self
            .devices
            .iter()
            .filter_map(|device| match device.worker {
                Worker::Down { until, .. } => Some(until),
                Worker::None | Worker::Loading(_) | Worker::Ready(_) | Worker::Out(_) => None,
            });
        let sources = self.sources.values().filter_map(|source| source.from);
        restarts.chain(sources).min()
    }

    pub(crate) fn bundle_unready(
        &mut self,
        now: Millis,
        device: DeviceNo,
        bundle: Digest,
        why: Unready,
        actions: &mut Actions,
    ) {
        let Some(state) = self.devices.get_mut(device.0 as usize) else {
            return;
        };
        let spoilt = state.worker == Worker::Ready(bundle) && why == Unready::Never;
        if state.worker != Worker::Loading(bundle) && !spoilt {
            return;
        }
        let cause = match why {
            Unready::Later => {
                let failures = self.late_bundles.entry(bundle).or_default();
                *failures = failures.saturating_add(1);
                if *failures < BUNDLE_LATERS_MAX {
                    return state.wait_for_bundle(now, bundle);
                }
                Cause::Storage
            }
            Unready::Never => {
                self.bad_bundles.push(bundle);
                Cause::Bundle
            }
        };
        let lost = state.lose_worker();
        state.worker = Worker::None;
        self.late_bundles.remove(&bundle);
        for (key, ordinal) in lost {
            self.again(&key, ordinal);
        }
        // No worker comes whose canary could prove what this device scored.
        self.unmake(device);
        self.give_back_if(cause, |grant| grant.bundle == Some(bundle), actions);
    }

    pub(crate) fn stage_unserved(&mut self, number: DeviceNo, bundle: Digest, stage: Stage) {
        if let Some(device) = self.device(number)
            && [Worker::Loading(bundle), Worker::Ready(bundle)].contains(&device.worker)
        {
            device.unserved.insert(stage);
        }
    }

    /// Gives back what no worker with the grant's bundle serves here, whenever it came: nothing of it would ever be run.
    pub(crate) fn give_back_unserved(&mut self, actions: &mut Actions) {
        let of_device = |device: &Device| {
            let bundle = device.loaded()?;
            let stages = device.unserved.iter();
            Some(stages.map(|stage| (bundle, *stage)).collect::<Vec<_>>())
        };
        let unserved = self.devices.iter().filter_map(of_device).flatten();
        for (bundle, stage) in unserved.collect::<Vec<_>>() {
            let its = |grant: &Grant| {
                let waits = grant.giving_back.is_none() && grant.key.stage() == stage;
                waits && grant.bundle == Some(bundle)
            };
            self.give_back_if(Cause::Bundle, its, actions);
        }
    }
}
