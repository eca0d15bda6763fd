//! Restores: an operator stops the coordinators, raises the generation, and has the records rebuilt by the real rule from what
//! storage holds of the one before. The store begins anew, or comes back as it was some time ago; what was on its way to the store
//! that was lost may land on the one that takes its place. One old coordinator may be forgotten: it runs on, speaks to agents and
//! to storage, and reaches the store never, later or at once. And the judge of what was rebuilt.

use std::collections::BTreeMap;

use scheduler::rebuild::{FoundJob, FoundPart, Rebuilt, rebuild};
use scheduler::record::{
    Closing, JobRecord, JobState, Part, RevocationRecord, ShardRecord, decode,
};
use scheduler::{JobKey, RecordKey, invariants};
use store_model::{Model, Op, Txn};
use types::{ActorId, Digest, Epoch, Generation, Millis, ShardId, TrackSet, UnixMillis};

use crate::agenda::Who;
use crate::asks;
use crate::depot::{Object, PartPath};
use crate::mutants::{self, ShellMutant};
use crate::oracle::Oracle;
use crate::shelf::{LEADER, LEADER_LIVES};
use crate::struck;
use crate::truth::JobTruth;
use crate::world::World;

/// Restores in one run.
const RESTORES_MAX: u32 = 2;
/// How long operators need to restore.
const TAKES: Millis = Millis(2_000);
/// Some forgotten coordinators stay cut from the store for longer than any run.
const FOR_EVER: Millis = Millis(u64::MAX / 4);
/// The others reach it after a while: before operators are done, or with the new generation well under way.
const CUT_MAX: u64 = 30_000;
/// Chance in ten thousand that a forgotten coordinator never reaches the restored store.
const CUT_OFF: u32 = 4_000;
/// Chance in ten thousand that what was on its way to the old store never lands on the restored one.
const LATE_GONE: u32 = 4_000;
/// Chance in ten thousand that a forgotten coordinator that does not lead is made a leader by the lost store as its last act.
const LED_LAST: u32 = 5_000;
/// Chance in ten thousand that a restore finds the store lost, and not as it was.
const LOST: u32 = 5_000;

impl World {
    /// Somebody keeps a copy of the store, now and then.
    pub(crate) fn back_up(&mut self) {
        if self.dice.happens(2_000) {
            self.shelf.backup = Some(self.shelf.model.clone());
        }
    }

    /// Whether operators restored: they do so a few times in one run.
    pub(crate) fn restore(&mut self) -> bool {
        if self.tally.restores >= u64::from(RESTORES_MAX) {
            return false;
        }
        self.tally.restores += 1;
        let forgotten = self.stop_coordinators();
        let late = forgotten.and_then(|who| self.maybe_led_last(who));
        let lost = self.dice.happens(LOST);
        let backup = self.shelf.backup.clone().filter(|_| !lost);
        let old = self.generation;
        let kept = mutants::on(ShellMutant::GenerationKept);
        let new = if kept { old } else { Generation(old.0 + 1) };
        let at = self.wall();
        let jobs = self.found_jobs(old);
        let revocations: Vec<RevocationRecord> = self.depot.revocations().cloned().collect();
        let rebuilt = rebuild((old, new), &jobs, &revocations, at);
        let mut store = backup.unwrap_or_default();
        if let Some(epoch) = late {
            numbers_meet(&mut store, epoch, rebuilt.records.len());
        }
        self.replace_store(store);
        self.generation = new;
        for object in self.depot.parts_of(old) {
            let named = |name: &scheduler::PartName| {
                (&name.job, name.sha256) == (&object.job, object.sha256)
            };
            if rebuilt.copies.iter().any(named) {
                self.depot.copy(&object, new);
            }
        }
        for (job, name) in &rebuilt.manifests {
            self.depot.copy_manifest(job, *name, new);
        }
        self.begin_generation(&rebuilt);
        true
    }

    /// Another store stands where the old one stood: whoever asks from now on, and what is under way, finds this one.
    fn replace_store(&mut self, mut by: Model) {
        // An epoch is the revision that made a leadership: of two stores with one number each would have a leader of it.
        if !mutants::on(ShellMutant::RevisionKept) {
            by.go_on_above(self.shelf.model.revision());
        }
        by.take_late(&mut self.shelf.model);
        if self.dice.happens(LATE_GONE) {
            by.drop_all_late();
            self.shelf.late.clear();
        }
        self.shelf.model = by;
    }

    /// All coordinators stop but perhaps one, which nobody thinks of.
    fn stop_coordinators(&mut self) -> Option<usize> {
        let mut runs_on = None;
        let forgotten = self.dice.index(2 * self.coordinators.len());
        for who in 0..self.coordinators.len() {
            if who == forgotten && self.coordinators[who].up {
                self.judge_core(who);
                let until = if self.dice.happens(CUT_OFF) {
                    FOR_EVER
                } else {
                    self.now + Millis(self.dice.below(CUT_MAX))
                };
                let (from, to) = (Who::Coordinator(who), Who::Store);
                self.links.cut(from, to, until);
                self.links.cut(to, from, until);
                self.mix.stubborn = true;
                runs_on = Some(who);
            } else {
                self.crash_coordinator(who, TAKES);
            }
        }
        runs_on
    }

    /// The last thing that the lost store does may be to make the forgotten coordinator its leader: it hears of it when another
    /// store stands there.
    fn maybe_led_last(&mut self, who: usize) -> Option<Epoch> {
        let leads = self.coordinators[who].reign.is_some();
        if leads || !self.strikes(LED_LAST, struck::LED_LAST) {
            return None;
        }
        if let Some(Epoch(held)) = self.shelf.epoch() {
            let held = store_model::Revision(held);
            self.shelf.model.resign(self.now, LEADER, held);
        }
        let name = format!("c{who}");
        let led = self.shelf.model.lead(self.now, LEADER, &name, LEADER_LIVES);
        let epoch = Epoch(led.ok()?.epoch.0);
        self.hears_of(who, epoch);
        Some(epoch)
    }

    /// Once faults stop, no coordinator of an older generation goes on.
    pub(crate) fn end_the_old(&mut self) {
        for who in 0..self.coordinators.len() {
            if self.is_of_the_past(who) {
                self.crash_coordinator(who, TAKES);
            }
        }
    }

    /// Whether a coordinator took up its reign in an older generation: what it says and does is the past's.
    pub(crate) fn is_of_the_past(&self, who: usize) -> bool {
        let one = &self.coordinators[who];
        one.reign.is_some() && one.generation != self.generation
    }

    /// What storage holds of jobs whose specification was put: of all that anybody tried to submit.
    fn found_jobs(&self, old: Generation) -> Vec<FoundJob> {
        let objects = self.depot.parts_of(old);
        let known = self.truths.iter().take(self.operators.submitted);
        known
            .map(|truth| self.found_job(old, truth, &objects))
            .collect()
    }

    fn found_job(
        &self,
        old: Generation,
        truth: &JobTruth,
        objects: &[std::rc::Rc<Object>],
    ) -> FoundJob {
        let manifest = self.depot.manifest_of(&truth.key, old);
        let manifest = manifest.map(|(name, plan)| (name, plan.totals));
        let marked = self.depot.is_marked(&truth.key);
        let closing = || Closing {
            by: ActorId::default(),
            at: UnixMillis(0),
            reason: String::new(),
        };
        let parts = objects.iter().filter(|object| object.job == truth.key);
        FoundJob {
            spec: truth.spec.clone(),
            spec_sha256: Digest::of(format!("{:?}", truth.spec).as_bytes()),
            cancelled: marked.then(closing),
            manifest,
            parts: parts.map(|object| found_part(object)).collect(),
        }
    }

    /// Writes the records and opens the judge's books anew.
    fn begin_generation(&mut self, rebuilt: &Rebuilt) {
        self.log.line(
            self.now,
            format_args!(
                "generation {}: {} records, {} copies",
                self.generation,
                rebuilt.records.len(),
                rebuilt.copies.len()
            ),
        );
        for (key, value) in &rebuilt.records {
            let op = Op::Put {
                key: key.clone(),
                value: value.clone(),
                lease: None,
            };
            self.shelf.model.write(&Txn {
                compares: Vec::new(),
                ops: vec![op],
            });
        }
        let generation = self.generation;
        for truth in &mut self.truths {
            truth.spec.generation = generation;
        }
        let before = std::mem::take(&mut self.oracle);
        self.oracle = self.books(rebuilt, &before);
        self.judge_rebuilt(&before);
    }

    /// The judge's books of a new generation: what its records say, and what is never forgotten.
    fn books(&self, rebuilt: &Rebuilt, before: &Oracle) -> Oracle {
        let mut books = Oracle {
            collected: before.collected.clone(),
            violation: before.violation.clone(),
            ..Oracle::default()
        };
        if mutants::on(ShellMutant::GenerationKept) {
            books.attempts.clone_from(&before.attempts);
        }
        for (key, value) in &rebuilt.records {
            match RecordKey::parse(self.generation, key) {
                Ok(RecordKey::Job(job)) => {
                    books
                        .jobs
                        .extend(decode(value).map(|record: JobRecord| (job, record)));
                }
                Ok(RecordKey::Shard(job, shard)) => {
                    let record = decode(value).map(|record: ShardRecord| ((job, shard), record));
                    books.shards.extend(record);
                }
                Ok(RecordKey::Node(_) | RecordKey::Revocation(_)) | Err(_) => {}
            }
        }
        let parts = books.shards.iter().flat_map(|((job, _), record)| {
            let parts = record.parts.iter();
            parts.map(move |part| (job.clone(), part.clone()))
        });
        for (job, part) in parts.collect::<Vec<_>>() {
            books.note_row(&job, &part);
        }
        books
    }

    /// Published and cancelled jobs are what they were; each part taken is there, sound, and of its shard.
    fn judge_rebuilt(&mut self, before: &Oracle) {
        for (job, was) in before.jobs.iter().chain(&before.dropped) {
            let is = self.oracle.jobs.get(job).map(|record| record.state.clone());
            let holds = match &was.state {
                JobState::Published(name) => {
                    matches!(&is, Some(JobState::Published(now)) if now.sha256 == name.sha256)
                }
                JobState::Cancelled(_) => matches!(is, Some(JobState::Cancelled(_))),
                // Of these only one that publishes can have a manifest.
                JobState::Running | JobState::Paused => {
                    matches!(is, Some(JobState::Running | JobState::Cancelled(_)))
                }
                JobState::Publishing => is.is_some(),
            };
            let what = format!("job {job} was {:?} and is rebuilt as {is:?}", was.state);
            self.hold(holds, "P4", || what);
        }
        let shards: BTreeMap<(JobKey, ShardId), ShardRecord> = self.oracle.shards.clone();
        for ((job, shard), record) in shards {
            let extent = self.extent(&job, shard).unwrap_or_default();
            self.judge_rebuilt_shard(&job, shard, &record, &extent);
        }
    }

    fn judge_rebuilt_shard(
        &mut self,
        job: &JobKey,
        shard: ShardId,
        record: &ShardRecord,
        extent: &TrackSet,
    ) {
        let sums = invariants::tracks_add_up(record, extent);
        self.hold(sums.is_ok(), "I8", || format!("{job}/{shard}: {sums:?}"));
        for part in &record.parts {
            let path = PartPath::of(self.generation, job, shard, part);
            let name = format!("part {:?} of {job}/{shard}#{}", part.sha256, part.attempt);
            let Some(object) = self.depot.part(&path).cloned() else {
                return self.violated("I5", format!("{name} is taken and not copied"));
            };
            let own = object.escalation == record.escalation;
            self.hold(own, "H8", || {
                format!("{name} was made for another escalation part")
            });
            let covered = self.depot.revocations().any(|by| by.covers(part));
            self.hold(!covered, "H7", || {
                format!("{name} is taken and was revoked")
            });
        }
    }

    /// Whether a key is of an older generation than the one that counts.
    pub(crate) fn is_of_old(&self, key: &str) -> bool {
        let mut older = (0..self.generation.0).map(Generation);
        older.any(|generation| RecordKey::parse(generation, key).is_ok())
    }
}

/// Whoever restored wrote and tried so much before that the next leadership of this store gets the number of that one, unless the
/// store is told to go on above what the lost one had.
fn numbers_meet(store: &mut Model, epoch: Epoch, to_write: usize) {
    let before = epoch.0.saturating_sub(1 + to_write as u64);
    store.go_on_above(store_model::Revision(before));
}

fn found_part(object: &Object) -> FoundPart {
    let claim = asks::claim(object, None);
    FoundPart {
        shard: object.shard,
        escalation: object.escalation,
        part: Part {
            attempt: object.attempt,
            kind: claim.kind,
            tracks: claim.tracks,
            sha256: claim.sha256,
            rows: claim.rows,
            bytes: claim.bytes,
            verdicts: claim.verdicts,
            ledger: claim.ledger,
            node: object.node.clone(),
            epoch: Epoch(0),
            made: claim.made,
        },
    }
}
