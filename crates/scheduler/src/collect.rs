//! Mark and sweep of part objects that nothing will ever name. The shell lists what storage holds, page by page, and
//! deletes what [`Collector::see`] gives back; nothing else is ever deleted. An orphan is marked when it is seen first and
//! given back when it is seen again after a while, judged anew both times, so that one mistaken listing costs nothing.
//!
//! Its memory is this process's alone: a new leader marks anew. Why an orphan can never become anything else is said in
//! `orphans`.

use crate::limits::MARKED_MAX;
use crate::orphans::{Fate, PartName};
use crate::reign::Core;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use types::{Epoch, Millis};

/// A part object as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What its path names.
    pub part: PartName,
    /// Whether the manifest names it that its job's record states. `true` where no manifest was read.
    pub in_manifest: bool,
}

/// Which orphans were seen, and when.
#[derive(Debug)]
pub struct Collector {
    age: Millis,
    epoch: Option<Epoch>,
    marked: BTreeMap<PartName, Millis>,
}

impl Collector {
    /// A collector that gives an orphan back no sooner than `age` after it was seen first. Longer than any write to
    /// storage may be under way.
    #[must_use]
    pub const fn new(age: Millis) -> Self {
        Self {
            age,
            epoch: None,
            marked: BTreeMap::new(),
        }
    }

    /// Takes a page of a listing and gives back what is to be deleted. Nothing while this core does not lead.
    pub fn see(&mut self, now: Millis, core: &Core, page: &[Listed]) -> Vec<PartName> {
        if self.epoch != core.leads() {
            self.epoch = core.leads();
            self.marked.clear();
        }
        if self.epoch.is_none() {
            return Vec::new();
        }
        let mut doomed = Vec::new();
        for listed in page {
            if !is_orphan(core, listed) {
                self.marked.remove(&listed.part);
            } else if self.is_due(now, &listed.part) {
                self.marked.remove(&listed.part);
                if core.may_go(&listed.part) {
                    doomed.push(listed.part.clone());
                }
            }
        }
        doomed
    }

    /// Marks an orphan; whether it was marked long enough ago. Beyond the bound it is marked another time.
    fn is_due(&mut self, now: Millis, part: &PartName) -> bool {
        if let Some(at) = self.marked.get(part) {
            return now.since(*at) >= self.age;
        }
        if self.marked.len() < MARKED_MAX {
            self.marked.insert(part.clone(), now);
        }
        false
    }

    /// Orphans that wait to be seen again.
    #[must_use]
    pub fn marked(&self) -> usize {
        self.marked.len()
    }
}

/// Whether nothing names the object and nothing ever will, as of now.
fn is_orphan(core: &Core, listed: &Listed) -> bool {
    match core.fate(&listed.part) {
        Fate::Keep => false,
        Fate::ByManifest => !listed.in_manifest,
        Fate::Orphan => true,
    }
}
