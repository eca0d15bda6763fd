//! Committing: the one transaction that makes parts count. A commit counts only while its node holds the live
//! attempt it names and its tracks lie in that grant and are free. The same digest already there is `done already`;
//! an attempt that is not live is `superseded`, which means *forget*: only the collector deletes.

use crate::chores::has_work;
use crate::desk::Asked;
use crate::event::{CanaryVerdict, Commit, PartClaim};
use crate::limits::{
    COVERAGE_BYTES_MAX, DEVICE_NAME_BYTES_MAX, MAKERS_PER_PART_MAX, PARTS_PER_COMMIT_MAX,
};
use crate::mutants::{self, Mutant};
use crate::pull::stage_of;
use crate::record::{Grant, JobRecord, Made, Part, PartKind, ShardRecord};
use crate::reign::{Reign, Step, Turn};
use crate::state::{GrantId, Job, JobNo, NodeNo, Slot};
use crate::suspects;
use crate::{Answer, CommitAnswer, CommitOutcome, NodeKey, Order};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use types::{Code, ShardId, Stage, Stages, TrackSet};

impl Reign {
    pub(crate) fn commit(&mut self, asked: &Asked, commit: &Commit) -> Step {
        let no = match self.seated(asked, &commit.node, commit.session) {
            Ok(no) => no,
            Err(step) => return step,
        };
        if commit.generation != self.generation {
            return Step::refuse(
                Code::GenerationOld,
                format!("commit parts of generation {}", commit.generation),
            );
        }
        let node = self.nodes.get(&no).map(|node| &node.key);
        let Some(job) = node.and_then(|node| self.job_of_agent(node, &commit.job)) else {
            return Step::refuse(Code::NotFound, format!("commit to job `{}`", commit.job));
        };
        for slot in [Slot::Job(job), Slot::Shard(job, commit.shard)] {
            if self.desk.is_dirty(slot) {
                return Step::Wait(slot);
            }
        }
        if self.jobs.get(&job).is_some_and(Job::is_closing) {
            return Step::Wait(Slot::Job(job));
        }
        self.judge_commit(no, job, commit)
    }

    /// The rules, in their order, over stored records only.
    fn judge_commit(&mut self, no: NodeNo, job: JobNo, commit: &Commit) -> Step {
        let id = GrantId {
            job,
            shard: commit.shard,
            attempt: commit.attempt,
        };
        let Some(entry) = self.jobs.get(&job) else {
            return Step::refuse(Code::NotFound, format!("commit to job `{}`", commit.job));
        };
        let known = entry
            .shards
            .get(&commit.shard)
            .map(|shard| &shard.stored.record);
        let again = mutants::on(Mutant::DuplicateCounted);
        if known.is_some_and(|record| counted_before(record, commit)) && !again {
            return self.committed(no, id, CommitOutcome::DoneAlready);
        }
        let open = entry.record().is_some_and(|record| record.state.is_open());
        if !open || !entry.exists(commit.shard) {
            return self.committed(no, id, CommitOutcome::Superseded);
        }
        let grant = self.live_grant(no, id).cloned();
        #[cfg(feature = "mutants")]
        let grant = grant.or_else(|| self.unfenced(no, id));
        let Some(grant) = grant else {
            return self.committed(no, id, CommitOutcome::Superseded);
        };
        if let Err((code, what)) = self.fits(job, commit, &grant) {
            return Step::refuse(
                code,
                format!(
                    "commit attempt {} of shard `{}`: {what}",
                    commit.attempt, commit.shard
                ),
            );
        }
        let record = self.with_parts(job, commit, &grant);
        match self.shard_unit(job, commit.shard, record) {
            Ok(unit) if mutants::on(Mutant::AnsweredEarly) => {
                self.desk.stage(vec![unit], None);
                self.committed(no, id, CommitOutcome::Counted)
            }
            Ok(unit) => Step::Write(vec![unit]),
            Err(problem) => Step::Answer(Err(problem)),
        }
    }

    /// A grant where there is none: only a planted bug has one.
    #[cfg(feature = "mutants")]
    fn unfenced(&self, no: NodeNo, id: GrantId) -> Option<Grant> {
        let node = self
            .nodes
            .get(&no)
            .filter(|_| mutants::on(Mutant::FenceDropped))?;
        Some(Grant {
            attempt: id.attempt,
            tenant: node.key.tenant.clone(),
            node: node.key.node.clone(),
            session: node.record()?.session,
            pull: types::PullNo(0),
            range: types::Range {
                first: 0,
                end: u32::MAX,
            },
            care: crate::record::Care::Normal,
            apart: None,
        })
    }

    fn committed(&self, no: NodeNo, id: GrantId, outcome: CommitOutcome) -> Step {
        let outcome = match outcome {
            CommitOutcome::Superseded if mutants::on(Mutant::LateIsCounted) => {
                CommitOutcome::Counted
            }
            CommitOutcome::Superseded | CommitOutcome::Counted | CommitOutcome::DoneAlready => {
                outcome
            }
        };
        let order = match outcome {
            CommitOutcome::Superseded => Order::Stop,
            CommitOutcome::Counted | CommitOutcome::DoneAlready => self.order(no, id),
        };
        Step::Answer(Ok(Answer::Committed(CommitAnswer { outcome, order })))
    }

    /// Whether the claims may count under this grant; else the code and what is wrong.
    fn fits(&self, job: JobNo, commit: &Commit, grant: &Grant) -> Result<(), (Code, String)> {
        let invalid = |what: &str| (Code::CommitInvalid, String::from(what));
        let count = commit.parts.len();
        if count == 0 || count > PARTS_PER_COMMIT_MAX {
            return Err(invalid("it names no part, or more than two"));
        }
        let entry = self
            .jobs
            .get(&job)
            .ok_or_else(|| invalid("the job is gone"))?;
        let extent = entry.extent(commit.shard).unwrap_or_default();
        let nothing = TrackSet::new();
        let screens = |record: &JobRecord| record.spec.policy.stages == Stages::Screen;
        let ends_here = entry.record().is_some_and(screens);
        let covered = entry
            .shards
            .get(&commit.shard)
            .map_or(&nothing, |shard| &shard.covered);
        let mut taken = covered.clone();
        #[cfg(feature = "mutants")]
        if mutants::on(Mutant::PartsCapped) && self.shard_record(job, commit.shard).parts.len() >= 3
        {
            return Err(invalid("the shard has parts enough"));
        }
        for claim in &commit.parts {
            check_claim(claim, commit.shard).map_err(|(code, what)| (code, String::from(what)))?;
            if ends_here && claim.kind == PartKind::Escalation {
                return Err(invalid("its job runs the screen alone"));
            }
            let granted = extent.intersection(&TrackSet::from(grant.range));
            if !claim.tracks.difference(&granted).is_empty() {
                return Err(invalid("it names tracks outside its grant"));
            }
            let unchecked =
                mutants::on(Mutant::DuplicateCounted) || mutants::on(Mutant::TakenUnchecked);
            if claim.tracks.intersects(&taken) && !unchecked {
                return Err(invalid("it names tracks that another part covers"));
            }
            taken = taken.union(&claim.tracks);
        }
        let granted = extent.intersection(&TrackSet::from(grant.range));
        let record = self.shard_record(job, commit.shard);
        entry
            .keeps_budget(commit, &record, &granted.difference(covered))
            .map_err(invalid)
    }

    /// The record with the parts counted, the suspects among them cleared, and the grant ended if nothing is left.
    fn with_parts(&self, job: JobNo, commit: &Commit, grant: &Grant) -> ShardRecord {
        let mut record = self.shard_record(job, commit.shard);
        let counted = |claim: &PartClaim| Part {
            attempt: commit.attempt,
            kind: claim.kind,
            tracks: claim.tracks.clone(),
            sha256: claim.sha256,
            rows: claim.rows,
            bytes: claim.bytes,
            verdicts: claim.verdicts,
            ledger: claim.ledger,
            node: grant.node.clone(),
            epoch: self.epoch,
            made: claim.made.clone(),
        };
        record.parts.extend(commit.parts.iter().map(counted));
        let covered = record.covered();
        suspects::clear(&mut record.suspects, &covered);
        let extent = self.jobs.get(&job).and_then(|job| job.extent(commit.shard));
        let extent = extent.unwrap_or_default();
        record
            .grants
            .retain(|grant| has_work(grant, &extent, &covered));
        record
    }

    /// A commit is stored: answer it.
    pub(crate) fn commit_stored(&mut self, turn: &mut Turn<'_>, asked: &Asked, commit: &Commit) {
        let tenant = &asked.caller.tenant;
        let node = NodeKey {
            tenant: tenant.clone(),
            node: commit.node.clone(),
        };
        let job = self.job_of_agent(&node, &commit.job);
        let order = match (self.node_names.get(&node), job) {
            (Some(no), Some(job)) => {
                let (entry, made) = (self.jobs.get(&job), self.nodes.get_mut(no));
                if let (Some(entry), Some(made)) = (entry, made) {
                    made.shunned.remove(&entry.key);
                    made.note_cost(commit);
                }
                let id = GrantId {
                    job,
                    shard: commit.shard,
                    attempt: commit.attempt,
                };
                self.order(*no, id)
            }
            _ => Order::Stop,
        };
        let answer = CommitAnswer {
            outcome: CommitOutcome::Counted,
            order,
        };
        turn.answer(asked.call, Ok(Answer::Committed(answer)));
    }
}

/// Whether all of the commit's parts count already.
fn counted_before(record: &ShardRecord, commit: &Commit) -> bool {
    let counts = |claim: &PartClaim| {
        let same = |part: &Part| part.sha256 == claim.sha256 && part.attempt == commit.attempt;
        record.parts.iter().any(same)
    };
    !commit.parts.is_empty() && commit.parts.iter().all(counts)
}

/// What can be checked of a claim without its shard.
fn check_claim(claim: &PartClaim, shard: ShardId) -> Result<(), (Code, &'static str)> {
    let escalation = claim.kind == PartKind::Escalation;
    let verdicts = if escalation { 0 } else { u64::from(claim.rows) };
    let again = escalation && matches!(shard, ShardId::Escalation { .. });
    let scored = escalation || claim.verdicts.likely_ai > 0 || claim.verdicts.no_evidence > 0;
    let device = claim.made.iter().any(|made| made.stage != Stage::Decode);
    let runs = |made: &Made| made.stage == Stage::Decode || made.stage == stage_of(shard);
    let rules = [
        (
            claim.made.iter().all(runs),
            "a device made it at a stage that its shard does not go through",
        ),
        (!scored || device, "rows have scores that no device made"),
        (!claim.tracks.is_empty(), "a part covers no track"),
        (
            u64::from(claim.rows) == claim.tracks.len(),
            "a part has not one row for each track",
        ),
        (
            claim.verdicts.sum() == Some(verdicts),
            "the verdicts do not add up to the rows",
        ),
        (claim.bytes > 0, "a part has no bytes"),
        (!again, "an escalation shard never escalates further"),
        (
            claim.tracks.to_bytes().len() <= COVERAGE_BYTES_MAX,
            "the coverage is no subset of one shard",
        ),
        (
            claim.made.len() <= MAKERS_PER_PART_MAX,
            "too many devices made one part",
        ),
        (
            claim
                .made
                .iter()
                .all(|made| made.device.len() <= DEVICE_NAME_BYTES_MAX),
            "a device's name is longer than 64 bytes",
        ),
    ];
    if let Some((_, what)) = rules.iter().find(|(holds, _)| !holds) {
        return Err((Code::CommitInvalid, what));
    }
    if claim
        .canaries
        .iter()
        .any(|canary| canary.verdict == CanaryVerdict::Bad)
    {
        return Err((Code::CanaryFailed, "a device failed its canary"));
    }
    let checked = |made: &Made| {
        let same =
            |canary: &&crate::Canary| canary.device == made.device && canary.stage == made.stage;
        made.stage == Stage::Decode || claim.canaries.iter().any(|canary| same(&canary))
    };
    if !claim.made.iter().all(checked) {
        return Err((
            Code::CommitInvalid,
            "a device that made the part states no canary",
        ));
    }
    Ok(())
}
