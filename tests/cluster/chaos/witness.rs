//! The schedule's hands with somebody beside them who writes down which coordinator or node a fault ended, at the moment it did.

use crate::books::Books;
use crate::scene::Scene;
use anyhow::Result;
use cluster::{Fault, Hands, Kind, Stage};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The stage and the books.
pub(crate) struct Witness<'a> {
    pub(crate) stage: &'a mut Stage<Scene>,
    pub(crate) books: Arc<Mutex<Books>>,
    pub(crate) zero: Instant,
}

impl Witness<'_> {
    fn note(&self, kind: Kind, hit: &str) {
        let now_ms = u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        // A node that is asked to end gives back what it holds: nothing of it waits for its death to be noticed.
        let dies = matches!(kind, Kind::Kill | Kind::Stop);
        if hit.starts_with("node-") && dies {
            books.node_ended(hit, now_ms);
        }
        if hit.starts_with("coordinator-") && ends(kind) {
            books.coordinator_ended(hit, kind, now_ms);
        }
    }
}

/// Whether a process that a fault of this kind hits is gone, or as good as gone.
fn ends(kind: Kind) -> bool {
    let killed = matches!(kind, Kind::Kill | Kind::KillLeader);
    let asked = matches!(
        kind,
        Kind::Terminate | Kind::TerminateLeader | Kind::Upgrade
    );
    killed || asked || matches!(kind, Kind::Stop | Kind::StopLeader)
}

impl Hands for Witness<'_> {
    fn begin(&mut self, fault: &Fault) -> Result<String> {
        let hit = self.stage.begin(fault)?;
        self.note(fault.kind, &hit);
        Ok(hit)
    }

    fn undo(&mut self, fault: &Fault, hit: &str) -> Result<Option<u64>> {
        self.stage.undo(fault, hit)
    }

    fn builds(&self) -> Vec<String> {
        self.stage.builds()
    }

    fn tend(&mut self) {
        self.stage.tend();
    }
}
