//! How much the core looks at: each job and each grant that it considers for a quota, a share, a preemption or the tail
//! counts once. A measure of its work that no clock distorts; tests hold it against the size of what there is.

use core::sync::atomic::{AtomicU64, Ordering};

/// Looks since the reign began.
#[derive(Debug, Default)]
pub(crate) struct Looks(AtomicU64);

impl Looks {
    /// Counts one. Questions that change nothing count too, so that this needs no exclusive access.
    pub(crate) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
