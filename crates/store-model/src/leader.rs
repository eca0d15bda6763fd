//! Leadership as an etcd client builds it: a key made under a lease. The revision that made the key is the epoch, which
//! transactions compare; no clock but the lease's is needed, and the fence does not rest on it.

use types::Millis;

use crate::lease::LeaseId;
use crate::model::{Compare, End, Model, Op, Revision, Txn};

/// A leadership begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// The revision that made the key.
    pub epoch: Revision,
    /// What it hangs on.
    pub lease: LeaseId,
}

impl Model {
    /// Makes `key` for `candidate` under a lease of `life`; where it exists, gives the name of who leads.
    ///
    /// # Errors
    /// The name of who leads.
    pub fn lead(
        &mut self,
        now: Millis,
        key: &str,
        candidate: &str,
        life: Millis,
    ) -> Result<Led, String> {
        self.advance(now);
        if let Some(held) = self.get(key) {
            return Err(String::from_utf8_lossy(&held.value).into_owned());
        }
        let lease = self.grant_lease(now, life);
        let key = key.to_owned();
        let txn = Txn {
            compares: vec![Compare::Absent { key: key.clone() }],
            ops: vec![Op::Put {
                key,
                value: candidate.as_bytes().to_vec(),
                lease: Some(lease),
            }],
        };
        match self.write(&txn) {
            End::Applied { revision } => Ok(Led {
                epoch: revision,
                lease,
            }),
            End::Refused { .. } => Err(String::new()),
        }
    }

    /// Renews the leadership of an epoch. False where it is over for good.
    pub fn keep_leading(&mut self, now: Millis, key: &str, epoch: Revision) -> bool {
        self.advance(now);
        let lease = self.lease_of_leader(key, epoch);
        lease.is_some_and(|lease| self.keep_lease(now, lease))
    }

    /// Gives the leadership of an epoch up. False where it was over.
    pub fn resign(&mut self, now: Millis, key: &str, epoch: Revision) -> bool {
        self.advance(now);
        let lease = self.lease_of_leader(key, epoch);
        lease.is_some_and(|lease| self.revoke_lease(lease))
    }

    fn lease_of_leader(&self, key: &str, epoch: Revision) -> Option<LeaseId> {
        let leads = self.get(key).is_some_and(|entry| entry.made == epoch);
        let lease = self.leases.of(key).filter(|_| leads)?;
        self.leases.lives(lease).then_some(lease)
    }
}
