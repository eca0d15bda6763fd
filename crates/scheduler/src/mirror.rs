//! What a coordinator knows that does not lead: a copy of the stored records, kept up with the store's changes. It begins
//! like a new leader, with every record of the generation page by page, and then takes one transaction after the other.
//!
//! Its shell reads and watches for it, and looks at it through [`Mirror::core`]. A mirror asks for no write and answers no
//! call; what only a leader knows (who was heard of, what is on its way) it does not know.

use crate::config::Config;
use crate::key::{RecordKey, prefix};
use crate::limits::PAGE_ENTRIES;
use crate::record::JobState;
use crate::reign::{Core, Phase, Reign, Turn};
use crate::settle::store_wait;
use crate::state::JobNo;
use crate::{Actions, ReadOutcome, Reading, Revision, StepDown, StoredEntry};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use types::{Epoch, Generation, Millis};

/// What became of one key in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChange {
    /// The key.
    pub key: String,
    /// Its value; `None` where it was removed.
    pub value: Option<Vec<u8>>,
}

/// What a mirror needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// This page; answer with [`Mirror::page`].
    Page(Reading),
    /// Something after this wait: the store could not be asked.
    Wait(Millis),
    /// The changes of this prefix after this revision, one transaction after the other, for [`Mirror::changed`].
    Changes {
        /// What the keys begin with.
        prefix: String,
        /// What the mirror shows already.
        after: Revision,
    },
}

/// A copy of the records of one generation.
#[derive(Debug)]
pub struct Mirror {
    core: Core,
    generation: Generation,
    config: Config,
    step: Step,
}

/// How far it has come.
#[derive(Debug)]
enum Step {
    Reading {
        after: Option<String>,
        at: Option<Revision>,
        tries: u32,
        waits: bool,
    },
    Following {
        waits: bool,
    },
}

impl Mirror {
    /// A mirror that knows nothing.
    #[must_use]
    pub fn new(generation: Generation, config: Config) -> Self {
        let mut mirror = Self {
            core: Core::new(),
            generation,
            config,
            step: first(),
        };
        mirror.begin_again();
        mirror
    }

    /// Its records, for looking: empty until all pages are in.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// What it needs next.
    #[must_use]
    pub fn wants(&self) -> Want {
        match &self.step {
            Step::Reading { waits, tries, .. } if *waits => Want::Wait(store_wait(*tries)),
            Step::Reading { after, at, .. } => Want::Page(Reading::Prefix {
                prefix: prefix(self.generation),
                after: after.clone(),
                at: *at,
                limit: PAGE_ENTRIES,
            }),
            Step::Following { waits: true } => Want::Wait(store_wait(1)),
            Step::Following { waits: false } => Want::Changes {
                prefix: prefix(self.generation),
                after: self.core.shows().unwrap_or_default(),
            },
        }
    }

    /// The wait is over: what was wanted before is wanted again.
    pub const fn waited(&mut self) {
        match &mut self.step {
            Step::Reading { waits, .. } | Step::Following { waits } => *waits = false,
        }
    }

    /// The changes had an end since the store could not be asked: they are wanted from where they ended, after a wait.
    pub const fn rest(&mut self) {
        if let Step::Following { waits } = &mut self.step {
            *waits = true;
        }
    }

    /// The changes have an end: they are no longer kept, or were not told in order. Everything is read anew.
    pub fn begin_again(&mut self) {
        let reign = Reign::new(Epoch(0), self.generation, 0, self.config.clone());
        self.core = Core::of_mirror(reign, self.config.clone());
        self.step = first();
    }

    /// Takes the page that was wanted.
    ///
    /// # Errors
    /// [`StepDown::Unreadable`] names a record that this version cannot read.
    pub fn page(&mut self, now: Millis, outcome: ReadOutcome) -> Result<(), StepDown> {
        let Step::Reading {
            after,
            at,
            tries,
            waits,
        } = &mut self.step
        else {
            return Ok(());
        };
        match outcome {
            ReadOutcome::Page {
                entries,
                next,
                revision,
            } => {
                *tries = 0;
                (*at, *after) = (Some(revision), next.clone());
                self.take(now, entries.into_iter().map(Ok))?;
                if next.is_none() {
                    self.all_is_read(revision);
                }
            }
            ReadOutcome::Compacted => self.begin_again(),
            ReadOutcome::Unavailable { .. } => {
                *tries = tries.saturating_add(1);
                *waits = true;
            }
            ReadOutcome::Damaged { key, cause } => return Err(StepDown::Unreadable { key, cause }),
        }
        Ok(())
    }

    /// Takes what one transaction changed. One that it shows already changes nothing.
    ///
    /// # Errors
    /// [`StepDown::Unreadable`] names a record that this version cannot read.
    pub fn changed(
        &mut self,
        now: Millis,
        revision: Revision,
        mut changes: Vec<StoredChange>,
    ) -> Result<(), StepDown> {
        let new = self.core.shows().is_some_and(|shown| shown < revision);
        if !new {
            return Ok(());
        }
        // As keys sort, a job stands before its shards: so it comes to be, and in reverse it goes.
        changes.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let (puts, removed): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| change.value.is_some());
        let entry = |change: StoredChange| StoredEntry {
            key: change.key,
            value: change.value.unwrap_or_default(),
            revision,
        };
        let gone = removed.into_iter().rev().map(|change| Err(change.key));
        self.take(now, puts.into_iter().map(entry).map(Ok).chain(gone))?;
        self.progressed(revision);
        Ok(())
    }

    /// Every change up to this revision was told.
    pub fn progressed(&mut self, revision: Revision) {
        if let Some(Phase::Following { at }) = self.core.mirrored().map(|reign| &mut reign.phase) {
            *at = revision.max(*at);
        }
    }

    fn all_is_read(&mut self, revision: Revision) {
        self.step = Step::Following { waits: false };
        if let Some(reign) = self.core.mirrored() {
            reign.phase = Phase::Following { at: revision };
            reign.drop_closed();
        }
    }

    /// Takes entries as stored and keys as gone, in their order.
    fn take(
        &mut self,
        now: Millis,
        entries: impl Iterator<Item = Result<StoredEntry, String>>,
    ) -> Result<(), StepDown> {
        let Some(reign) = self.core.mirrored() else {
            return Ok(());
        };
        let mut actions = Actions::new();
        let mut turn = Turn {
            now,
            actions: &mut actions,
        };
        for entry in entries {
            let (key, taken) = match entry {
                Ok(entry) => (entry.key.clone(), reign.take_entry(&mut turn, &entry)),
                Err(key) => (key.clone(), reign.take_gone(&mut turn, &key)),
            };
            taken.map_err(|cause| StepDown::Unreadable { key, cause })?;
        }
        debug_assert!(actions.is_empty(), "a mirror asks for nothing");
        Ok(())
    }
}

const fn first() -> Step {
    Step::Reading {
        after: None,
        at: None,
        tries: 0,
        waits: false,
    }
}

impl Reign {
    /// A key was removed.
    fn take_gone(&mut self, turn: &mut Turn<'_>, path: &str) -> Result<(), String> {
        let key = RecordKey::parse(self.generation, path).map_err(|e| e.to_string())?;
        if let Some(slot) = self.slot_at(&key) {
            self.install(turn, slot, crate::desk::Record::Gone, Revision(0));
        }
        Ok(())
    }

    /// Grants of closed jobs count no more; their records may stand a while longer.
    fn drop_closed(&mut self) {
        let closed = |(no, job): (&JobNo, &crate::state::Job)| {
            let record = job.record()?;
            record.state.is_closed().then_some(*no)
        };
        let closed: Vec<JobNo> = self.jobs.iter().filter_map(closed).collect();
        for no in closed {
            self.drop_job_holdings(no);
        }
    }

    /// A job of a mirror has come to this state.
    pub(crate) fn mirrored_state(&mut self, no: JobNo, state: &JobState) {
        if matches!(self.phase, Phase::Following { .. }) && state.is_closed() {
            self.drop_job_holdings(no);
        }
    }
}
