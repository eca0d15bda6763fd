//! A versioned store in memory that executes transactions as the real one does, and judges every shard change that
//! lands by the invariants.

use scheduler::record::{
    JobRecord, JobState, PartKind, Progress, RevocationRecord, ShardRecord, Standing, decode,
};
use scheduler::{
    Change, Compare, Op, Outcome, ReadOutcome, Reading, RecordKey, Refusal, Revision, StoredChange,
    StoredEntry, invariants,
};
use std::collections::BTreeMap;
use types::{Epoch, ShardId, TrackSet};

pub(crate) use scheduler::Txn;

use super::GENERATION;

#[derive(Debug, Default, Clone)]
pub(crate) struct MemStore {
    pub(crate) entries: BTreeMap<String, (Vec<u8>, u64)>,
    pub(crate) revision: u64,
    pub(crate) epoch: u64,
    pub(crate) writes: u64,
    /// Everything that a write changed, with the epoch that wrote it.
    pub(crate) changed: Vec<(Epoch, Change)>,
    /// Every transaction, as those are told of it who follow.
    pub(crate) log: Vec<(Revision, Vec<StoredChange>)>,
}

impl MemStore {
    /// Makes a new reign; every write of an older one is refused from now on.
    pub(crate) fn new_epoch(&mut self) -> Epoch {
        self.revision += 1;
        self.epoch = self.revision;
        Epoch(self.epoch)
    }

    pub(crate) fn read(&self, reading: &Reading) -> ReadOutcome {
        let entry = |(key, (value, revision)): (&String, &(Vec<u8>, u64))| StoredEntry {
            key: key.clone(),
            value: value.clone(),
            revision: Revision(*revision),
        };
        let revision = Revision(self.revision);
        match reading {
            Reading::Keys(keys) => ReadOutcome::Page {
                entries: keys
                    .iter()
                    .filter_map(|key| self.entries.get_key_value(key))
                    .map(entry)
                    .collect(),
                next: None,
                revision,
            },
            // Pages of two, so that every recovery takes several.
            Reading::Prefix { prefix, after, .. } => {
                let begins = |(key, _): &(&String, _)| key.starts_with(prefix.as_str());
                let later =
                    |(key, _): &(&String, _)| after.as_ref().is_none_or(|after| *key > after);
                let mut rest = self.entries.iter().filter(begins).filter(later);
                let entries: Vec<StoredEntry> = rest.by_ref().take(2).map(entry).collect();
                let more = rest.next().is_some();
                let next = entries
                    .last()
                    .filter(|_| more)
                    .map(|entry| entry.key.clone());
                ReadOutcome::Page {
                    entries,
                    next,
                    revision,
                }
            }
        }
    }

    /// Everything stored.
    pub(crate) fn all(&self) -> Vec<StoredEntry> {
        let entry = |(key, (value, revision)): (&String, &(Vec<u8>, u64))| StoredEntry {
            key: key.clone(),
            value: value.clone(),
            revision: Revision(*revision),
        };
        self.entries.iter().map(entry).collect()
    }

    /// Executes a transaction: what it would end as with a store that answers.
    pub(crate) fn write(&mut self, txn: &Txn) -> Outcome {
        if txn.epoch.0 != self.epoch {
            return Outcome::Refused(Refusal::Epoch);
        }
        assert!(
            txn.compares.len() < 128 && txn.ops.len() < 128,
            "a group exceeds its bound"
        );
        for compare in &txn.compares {
            let found = self
                .entries
                .get(compare.key())
                .map(|(_, revision)| *revision);
            let holds = match compare {
                Compare::At { revision, .. } => found == Some(revision.0),
                Compare::Absent { .. } => found.is_none(),
            };
            if !holds {
                return Outcome::Refused(Refusal::Key(compare.key().to_string()));
            }
        }
        self.revision += 1;
        self.writes += 1;
        for op in &txn.ops {
            self.judge(op);
        }
        self.judge_tombstones(txn);
        self.note_changes(txn);
        self.log_changes(&txn.ops);
        for op in &txn.ops {
            match op {
                Op::Put { key, value } => {
                    self.entries
                        .insert(key.clone(), (value.clone(), self.revision));
                }
                Op::Delete { key } => {
                    self.entries.remove(key);
                }
            }
        }
        Outcome::Applied {
            revision: Revision(self.revision),
        }
    }

    fn log_changes(&mut self, ops: &[Op]) {
        let told = |op: &Op| StoredChange {
            key: op.key().to_owned(),
            value: match op {
                Op::Put { value, .. } => Some(value.clone()),
                Op::Delete { .. } => None,
            },
        };
        let changes = ops.iter().map(told).collect();
        self.log.push((Revision(self.revision), changes));
    }

    /// Everything that was stored at a revision.
    pub(crate) fn all_at(&self, at: Revision) -> Vec<StoredEntry> {
        let mut entries = BTreeMap::new();
        let until = self.log.iter().take_while(|(revision, _)| *revision <= at);
        for (revision, changes) in until {
            for StoredChange { key, value } in changes {
                let entry = |value: &Vec<u8>| StoredEntry {
                    key: key.clone(),
                    value: value.clone(),
                    revision: *revision,
                };
                match value {
                    Some(value) => entries.insert(key.clone(), entry(value)),
                    None => entries.remove(key),
                };
            }
        }
        entries.into_values().collect()
    }

    /// Notes what a transaction that is about to land changes.
    fn note_changes(&mut self, txn: &Txn) {
        for op in &txn.ops {
            let key = RecordKey::parse(GENERATION, op.key()).expect("keys are of records");
            let before = self
                .entries
                .get(op.key())
                .map(|(value, _)| value.as_slice());
            let after = match op {
                Op::Put { value, .. } => Some(value.as_slice()),
                Op::Delete { .. } => None,
            };
            let changes = invariants::changes(&key, before, after).expect("records decode");
            let of_epoch = changes.into_iter().map(|change| (txn.epoch, change));
            self.changed.extend(of_epoch);
        }
    }

    /// Revocations of some standing that name a job.
    pub(crate) fn revocations(
        &self,
        progress: Progress,
        job: &scheduler::JobKey,
    ) -> Vec<RevocationRecord> {
        let known = self.entries.iter().filter(|(key, _)| {
            let key = RecordKey::parse(GENERATION, key);
            matches!(key, Ok(RecordKey::Revocation(_)))
        });
        let records = known.map(|(_, (bytes, _))| {
            decode::<RevocationRecord>(bytes).expect("revocation records decode")
        });
        records
            .filter(|record| record.progress == progress && record.jobs.contains(job))
            .collect()
    }

    /// A job that begins to publish holds nothing that was revoked, and no revocation of it is open.
    fn judge_publishing(&self, job: &scheduler::JobKey, value: &[u8]) {
        let record: JobRecord = decode(value).expect("job records decode");
        if record.state != JobState::Publishing {
            return;
        }
        let open = self.revocations(Progress::Open, job);
        assert!(open.is_empty(), "{job} publishes while {open:?} is open");
        let shard_of = |key: &str| match RecordKey::parse(GENERATION, key) {
            Ok(RecordKey::Shard(of, shard)) if of == *job => Some(shard),
            _ => None,
        };
        for revoked in self.revocations(Progress::Closed, job) {
            for shard in self.entries.keys().filter_map(|key| shard_of(key)) {
                let held = self.shard(job, shard).expect("it is there");
                let part = held.parts.iter().find(|part| revoked.covers(part));
                assert!(part.is_none(), "{job} publishes {part:?} under {revoked:?}");
            }
        }
    }

    /// An escalation part is gone only together with its shard, whose key stays as a tombstone.
    fn judge_tombstones(&self, txn: &Txn) {
        for op in &txn.ops {
            let (Op::Put { key, value }, Ok(RecordKey::Shard(job, ShardId::Root(root)))) =
                (op, RecordKey::parse(GENERATION, op.key()))
            else {
                continue;
            };
            let Some(before) = self.shard(&job, ShardId::Root(root)) else {
                continue;
            };
            let after: ShardRecord = decode(value).expect("shard records decode");
            let fell = before
                .parts
                .iter()
                .filter(|part| part.kind == PartKind::Escalation && !after.parts.contains(part));
            for part in fell {
                let id = ShardId::Escalation {
                    root,
                    attempt: part.attempt,
                    first: part.tracks.first().expect("a part covers a track"),
                };
                let path = RecordKey::Shard(job.clone(), id).path(GENERATION);
                let with = txn.ops.iter().find(|op| *op.key() == path);
                let Some(Op::Put { value, .. }) = with else {
                    panic!("{key}: part of {id} fell without a tombstone");
                };
                let grave: ShardRecord = decode(value).expect("shard records decode");
                assert_eq!(grave.standing, Standing::Tombstone, "{id}");
            }
        }
    }

    /// Holds a change that is about to land against the invariants, by what the store held before.
    fn judge(&self, op: &Op) {
        let key = RecordKey::parse(GENERATION, op.key());
        if let (Ok(RecordKey::Job(job)), Op::Put { value, .. }) = (&key, op) {
            let after: JobRecord = decode(value).expect("job records decode");
            invariants::job_change(self.job(job).as_ref(), &after).expect("I16 holds");
            invariants::job_is_its_tenants(job, &after.spec).expect("I10 holds");
            self.judge_publishing(job, value);
        }
        if let (Ok(RecordKey::Job(job)), Op::Delete { .. }) = (&key, op) {
            let closed = self.job(job).is_some_and(|record| record.state.is_closed());
            assert!(closed, "{job} is removed while it is open");
        }
        let Ok(RecordKey::Shard(job, shard)) = key else {
            return;
        };
        let job_path = RecordKey::Job(job.clone()).path(GENERATION);
        let (bytes, _) = self
            .entries
            .get(&job_path)
            .expect("a shard's job has a record");
        let record: JobRecord = decode(bytes).expect("job records decode");
        let Op::Put { value, .. } = op else {
            assert!(
                record.state.is_closed(),
                "a shard key is removed while its job is open"
            );
            return;
        };
        assert!(record.state.is_open(), "a shard of a closed job changes");
        let before: Option<ShardRecord> = self
            .entries
            .get(op.key())
            .map(|(v, _)| decode(v).expect("decodes"));
        let after: ShardRecord = decode(value).expect("shard records decode");
        let extent = match shard {
            ShardId::Root(root) => {
                TrackSet::from(record.spec.plan.range(root).expect("the root exists"))
            }
            ShardId::Escalation {
                root,
                attempt,
                first,
            } => {
                let path = RecordKey::Shard(job.clone(), ShardId::Root(root)).path(GENERATION);
                let (bytes, _) = self
                    .entries
                    .get(&path)
                    .expect("an escalation shard's root has a record");
                let root: ShardRecord = decode(bytes).expect("shard records decode");
                let part = root.parts.iter().find(|part| {
                    part.kind == PartKind::Escalation
                        && part.attempt == attempt
                        && part.tracks.first() == Some(first)
                });
                part.expect("an escalation shard counts only while its part does")
                    .tracks
                    .clone()
            }
        };
        let epoch = Epoch(self.epoch);
        let open = self.revocations(Progress::Open, &job);
        let open: Vec<&RevocationRecord> = open.iter().collect();
        let checked =
            invariants::shard_change_under(before.as_ref(), &after, &extent, epoch, &open);
        if let Err(violation) = checked {
            panic!(
                "{}: {violation}\nbefore {before:#?}\nafter {after:#?}",
                op.key()
            );
        }
    }

    /// The stored record of a shard.
    pub(crate) fn shard(&self, job: &scheduler::JobKey, shard: ShardId) -> Option<ShardRecord> {
        let path = RecordKey::Shard(job.clone(), shard).path(GENERATION);
        self.entries
            .get(&path)
            .map(|(bytes, _)| decode(bytes).expect("shard records decode"))
    }

    /// The stored record of a job.
    pub(crate) fn job(&self, job: &scheduler::JobKey) -> Option<JobRecord> {
        let path = RecordKey::Job(job.clone()).path(GENERATION);
        self.entries
            .get(&path)
            .map(|(bytes, _)| decode(bytes).expect("job records decode"))
    }

    pub(crate) fn shard_keys(&self) -> usize {
        self.entries
            .keys()
            .filter(|key| key.contains("/shard/"))
            .count()
    }
}
