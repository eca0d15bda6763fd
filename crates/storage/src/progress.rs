//! How far an import has come, and the wish to stop it: shared between the thread that reads and whoever watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The counts of a running import. Numbers for people: they lag behind by a row and decide nothing.
#[derive(Debug, Default)]
pub struct ImportProgress {
    accepted: AtomicU64,
    rejected: AtomicU64,
    stopped: AtomicBool,
}

impl ImportProgress {
    /// Rows accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Rows rejected so far.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Asks the import to end before its next row; it then gives [`crate::ImportError::Stopped`].
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reject(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }
}
