//! Transactions whose answer was lost on the way: they may land at any later time, and more than once.

use std::collections::BTreeMap;

use crate::model::{End, Model, Txn};

/// A transaction on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LateId(pub u64);

/// All that are on their way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Late {
    last: u64,
    parked: BTreeMap<LateId, Txn>,
}

impl Model {
    /// Lets a transaction stay on its way: nothing happens until it lands.
    pub fn park(&mut self, txn: Txn) -> LateId {
        self.late.last += 1;
        let id = LateId(self.late.last);
        self.late.parked.insert(id, txn);
        id
    }

    /// What a parked transaction says.
    #[must_use]
    pub fn parked(&self, id: LateId) -> Option<&Txn> {
        self.late.parked.get(&id)
    }

    /// Lets a parked transaction reach the store, where it ends as any other would. It stays parked, so that it can
    /// arrive again, until it is dropped. `None` where there is no such one.
    pub fn land(&mut self, id: LateId) -> Option<End> {
        let txn = self.late.parked.get(&id)?.clone();
        Some(self.write(&txn))
    }

    /// A parked transaction will never land again.
    pub fn drop_late(&mut self, id: LateId) {
        self.late.parked.remove(&id);
    }

    /// This store takes the place of another: what was on its way to that one is on its way here, under the same numbers.
    pub fn take_late(&mut self, of: &mut Self) {
        self.late = std::mem::take(&mut of.late);
    }

    /// Nothing that is on its way will ever land; its numbers are not given again.
    pub fn drop_all_late(&mut self) {
        self.late.parked.clear();
    }
}
