//! How a new leader learns the state: it reads every record of its generation, page by page at one revision, and
//! only then serves. Records decide alone; nothing of an earlier reign's memory is needed. All live grants get a
//! full life once, since their nodes could not renew them meanwhile.

use crate::desk::ReadFor;
use crate::held::was_set_back;
use crate::key::{RecordKey, prefix};
use crate::limits::PAGE_ENTRIES;
use crate::mutants::{self, Mutant};
use crate::record::JobState;
use crate::reign::{Phase, Reign, Turn};
use crate::settle::{decode, store_wait};
use crate::state::{JobNo, Slot};
use crate::{Action, ReadOutcome, Reading, Revision, StepDown, StoredEntry};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use types::{Millis, NodeId, PullNo};

/// How far the reading has come.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    after: Option<String>,
    at: Option<Revision>,
    tries: u32,
    again_at: Option<Millis>,
}

impl Recovery {
    pub(crate) const fn again_at(&self) -> Option<Millis> {
        self.again_at
    }
}

impl Reign {
    pub(crate) fn read_first_page(&mut self, turn: &mut Turn<'_>) {
        self.phase = Phase::Recovering(Recovery::default());
        self.read_page(turn);
    }

    fn read_page(&mut self, turn: &mut Turn<'_>) {
        let Phase::Recovering(recovery) = &mut self.phase else {
            return;
        };
        recovery.again_at = None;
        let reading = Reading::Prefix {
            prefix: prefix(self.generation),
            after: recovery.after.clone(),
            at: recovery.at,
            limit: PAGE_ENTRIES,
        };
        let id = self.desk.read_id(ReadFor::Recovery);
        turn.actions.push(Action::Read { id, reading });
    }

    /// Repeats a page that could not be read, once its time has come.
    pub(crate) fn read_again(&mut self, turn: &mut Turn<'_>) {
        let due = match &self.phase {
            Phase::Recovering(recovery) => recovery.again_at.is_some_and(|at| at <= turn.now),
            Phase::Leading | Phase::Following { .. } => false,
        };
        if due {
            self.read_page(turn);
        }
    }

    pub(crate) fn recovery_page(&mut self, turn: &mut Turn<'_>, outcome: ReadOutcome) {
        match outcome {
            ReadOutcome::Page {
                entries,
                next,
                revision,
            } if revision < self.desk.heard => {
                let first = entries.into_iter().next().map(|entry| entry.key);
                let key = first.or(next).unwrap_or_default();
                self.over = Some(was_set_back(key, revision, self.desk.heard));
            }
            ReadOutcome::Page {
                entries,
                next,
                revision,
            } => self.take_page(turn, entries, next, revision),
            ReadOutcome::Compacted => self.start_over(turn),
            ReadOutcome::Unavailable { .. } => {
                if let Phase::Recovering(recovery) = &mut self.phase {
                    recovery.tries = recovery.tries.saturating_add(1);
                    recovery.again_at = Some(turn.now + store_wait(recovery.tries));
                }
            }
            ReadOutcome::Damaged { key, cause } => {
                self.over = Some(StepDown::Unreadable { key, cause });
            }
        }
    }

    fn start_over(&mut self, turn: &mut Turn<'_>) {
        self.jobs.clear();
        self.job_names.clear();
        self.job_ids.clear();
        self.nodes.clear();
        self.node_names.clear();
        self.revocations.clear();
        self.going.clear();
        self.revocation_names.clear();
        self.line.clear();
        self.open.clear();
        self.read_first_page(turn);
    }

    fn take_page(
        &mut self,
        turn: &mut Turn<'_>,
        entries: Vec<StoredEntry>,
        next: Option<String>,
        revision: Revision,
    ) {
        for entry in &entries {
            if let Err(cause) = self.take_entry(turn, entry) {
                self.over = Some(StepDown::Unreadable {
                    key: entry.key.clone(),
                    cause,
                });
                return;
            }
        }
        let Phase::Recovering(recovery) = &mut self.phase else {
            return;
        };
        self.desk.heard = self.desk.heard.max(revision);
        match next {
            Some(last) => {
                recovery.after = Some(last);
                recovery.at = Some(revision);
                self.read_page(turn);
            }
            None => self.recovered(turn),
        }
    }

    /// Takes one record as stored.
    pub(crate) fn take_entry(
        &mut self,
        turn: &mut Turn<'_>,
        entry: &StoredEntry,
    ) -> Result<(), String> {
        let key = RecordKey::parse(self.generation, &entry.key).map_err(|e| e.to_string())?;
        let slot = match &key {
            RecordKey::Job(key) if self.is_name_of_other(key) => {
                return Err("another tenant's job has its name".to_string());
            }
            RecordKey::Job(key) => Slot::Job(self.job_entry(key)),
            RecordKey::Node(key) => Slot::Node(self.node_entry(key)),
            RecordKey::Revocation(key) => Slot::Revocation(self.revocation_entry(key)),
            RecordKey::Shard(key, shard) => {
                let no = self.job_no(key).ok_or("its job has no record")?;
                Slot::Shard(no, *shard)
            }
        };
        let record = decode(slot, &entry.value).map_err(|e| e.to_string())?;
        self.install(turn, slot, record, entry.revision);
        Ok(())
    }

    /// All records are in: serve, and take up what was under way.
    fn recovered(&mut self, turn: &mut Turn<'_>) {
        self.phase = Phase::Leading;
        self.pulls_from_grants();
        turn.actions.push(Action::Ready { epoch: self.epoch });
        self.revocations_before();
        self.left_before();
        let jobs: Vec<(JobNo, JobState)> = self
            .jobs
            .iter()
            .filter_map(|(no, job)| Some((*no, job.record()?.state.clone())))
            .collect();
        for (no, state) in jobs {
            self.entered(turn, no, &state);
            self.after_shard(turn, no);
        }
        self.go_on_revoking(None);
        self.trim_jobs();
    }

    /// Takes up the revocations that an earlier leader did not close, before any job may publish.
    fn revocations_before(&mut self) {
        self.going = self
            .revocations
            .iter()
            .filter(|(_, entry)| entry.is_open() && !mutants::on(Mutant::RevocationForgotten))
            .map(|(no, _)| *no)
            .collect();
        for no in self.going.clone() {
            self.revocation_opened(no);
        }
    }

    /// The last pull of each session that has left a trace: a repetition of it is answered from the records.
    fn pulls_from_grants(&mut self) {
        let mut last: Vec<(crate::NodeKey, types::Session, PullNo)> = Vec::new();
        for shard in self.jobs.values().flat_map(|job| job.shards.values()) {
            for grant in &shard.stored.record.grants {
                let node: NodeId = grant.node.clone();
                let key = crate::NodeKey {
                    tenant: grant.tenant.clone(),
                    node,
                };
                last.push((key, grant.session, grant.pull));
            }
        }
        for (key, session, pull) in last {
            let node = self
                .node_names
                .get(&key)
                .and_then(|no| self.nodes.get_mut(no));
            if let Some(node) = node
                && node
                    .record()
                    .is_some_and(|record| record.session == session)
            {
                node.pulled = node.pulled.max(pull);
            }
        }
    }
}
