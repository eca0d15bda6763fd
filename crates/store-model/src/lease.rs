//! Leases: lives that run out unless they are renewed, and the keys that go with them.

use std::collections::{BTreeMap, BTreeSet};

use types::Millis;

use crate::model::{Model, Op, Txn};

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

#[derive(Clone, Debug)]
struct Lease {
    life: Millis,
    ends: Millis,
    keys: BTreeSet<String>,
}

/// All leases that live.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases {
    last: u64,
    live: BTreeMap<LeaseId, Lease>,
}

impl Leases {
    /// A key's life hangs on a lease from now on.
    pub(crate) fn hang(&mut self, key: &str, lease: LeaseId) {
        if let Some(lease) = self.live.get_mut(&lease) {
            lease.keys.insert(key.to_owned());
        }
    }

    /// A key hangs on no lease any more.
    pub(crate) fn release(&mut self, key: &str) {
        for lease in self.live.values_mut() {
            lease.keys.remove(key);
        }
    }

    /// Whether a lease lives.
    pub(crate) fn lives(&self, lease: LeaseId) -> bool {
        self.live.contains_key(&lease)
    }

    /// The lease that a key hangs on.
    pub(crate) fn of(&self, key: &str) -> Option<LeaseId> {
        let holds = |(_, lease): &(&LeaseId, &Lease)| lease.keys.contains(key);
        self.live.iter().find(holds).map(|(id, _)| *id)
    }
}

impl Model {
    /// Begins a lease that lives for `life` from `now`, unless renewed.
    pub fn grant_lease(&mut self, now: Millis, life: Millis) -> LeaseId {
        self.leases.last += 1;
        let id = LeaseId(self.leases.last);
        let lease = Lease {
            life,
            ends: now + life,
            keys: BTreeSet::new(),
        };
        self.leases.live.insert(id, lease);
        id
    }

    /// Renews a lease. False where it has ended.
    pub fn keep_lease(&mut self, now: Millis, id: LeaseId) -> bool {
        let Some(lease) = self.leases.live.get_mut(&id) else {
            return false;
        };
        lease.ends = now + lease.life;
        true
    }

    /// Ends a lease with the keys that hang on it. False where it had ended.
    pub fn revoke_lease(&mut self, id: LeaseId) -> bool {
        let Some(lease) = self.leases.live.remove(&id) else {
            return false;
        };
        let ops = lease.keys.into_iter().map(|key| Op::Delete { key });
        let txn = Txn {
            compares: Vec::new(),
            ops: ops.collect(),
        };
        self.write(&txn);
        true
    }

    /// Lets time come to `now`: leases whose life is over end.
    pub fn advance(&mut self, now: Millis) {
        let over = self.leases.live.iter().filter(|(_, l)| l.ends <= now);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.revoke_lease(id);
        }
    }

    /// When the next lease ends, unless renewed before.
    #[must_use]
    pub fn next_lease_end(&self) -> Option<Millis> {
        self.leases.live.values().map(|lease| lease.ends).min()
    }
}
