//! Cancelling: first a marker beside the specification in storage, which a rebuild honours, then the job's record.
//! While a cancel is on its way the job does not begin to publish; once it publishes, no cancel is accepted.

use crate::desk::Asked;
use crate::event::StorageOutcome;
use crate::mutants::{self, Mutant};
use crate::record::{Closing, JobRecord, JobState};
use crate::reign::{Reign, Step, Turn};
use crate::state::{Cancelling, JobNo};
use crate::{Action, JobKey, Request};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use types::{Code, JobId, Problem};

/// Calls that may ask for the same cancel while it is on its way: more than people do, fewer than a loop.
const SAME_CANCELS_MAX: usize = 16;

impl Reign {
    pub(crate) fn cancel(
        &mut self,
        turn: &mut Turn<'_>,
        asked: &Asked,
        job: &JobId,
        reason: &str,
    ) -> Step {
        let no = match self.known_job(asked, job) {
            Ok(no) => no,
            Err(step) => return step,
        };
        let Some(entry) = self.jobs.get_mut(&no) else {
            return Step::refuse(Code::NotFound, format!("cancel job `{job}`"));
        };
        match entry.record().map(|record| &record.state) {
            Some(JobState::Cancelled(_)) => return Step::Answer(Ok(self.changed(no, true))),
            Some(JobState::Publishing | JobState::Published(_)) => {
                return Step::refuse(Code::JobClosed, format!("cancel job `{job}`"));
            }
            Some(JobState::Running | JobState::Paused) | None => {}
        }
        if let Some(cancelling) = &mut entry.cancelling {
            if cancelling.also.len() >= SAME_CANCELS_MAX {
                return Step::Answer(Err(crate::reign::overloaded()));
            }
            cancelling.also.push(asked.call);
            return Step::Held;
        }
        entry.cancelling = Some(Cancelling {
            asked: Some(asked.clone()),
            also: Vec::new(),
            closing: None,
        });
        turn.actions.push(Action::MarkCancelled {
            job: entry.key.clone(),
            by: asked.caller.actor.clone(),
            at: asked.at,
            reason: shortened(reason),
        });
        Step::Held
    }

    /// The marker was put, or was not.
    pub(crate) fn cancel_marked(
        &mut self,
        turn: &mut Turn<'_>,
        key: &JobKey,
        outcome: StorageOutcome<()>,
    ) {
        let Some(no) = self.job_no(key) else {
            return;
        };
        let cancelling = self
            .jobs
            .get_mut(&no)
            .and_then(|job| job.cancelling.as_mut());
        let Some(asked) = cancelling.and_then(|cancelling| cancelling.asked.take()) else {
            return;
        };
        match outcome {
            StorageOutcome::Done(()) => self.cancel_record(turn, no, asked),
            StorageOutcome::Failed { code, cause } => {
                let problem = Problem::new(code, format!("mark job `{key}` as cancelled: {cause}"));
                self.cancel_over(turn, no, &Err(problem.clone()));
                turn.answer(asked.call, Err(problem));
                self.after_shard(turn, no);
            }
        }
    }

    /// Goes on with a cancel that waited for the job's shards.
    pub(crate) fn close_cancelled(&mut self, turn: &mut Turn<'_>, no: JobNo) {
        if self.desk.job_is_dirty(no) {
            return;
        }
        let job = self.jobs.get_mut(&no);
        let cancelling = job.and_then(|job| job.cancelling.as_mut());
        if let Some(asked) = cancelling.and_then(|cancelling| cancelling.closing.take()) {
            self.cancel_record(turn, no, asked);
        }
    }

    /// Writes the job's record, with the totals of all that counts. A commit on its way may count yet: it is waited for,
    /// and none is let in behind it.
    fn cancel_record(&mut self, turn: &mut Turn<'_>, no: JobNo, asked: Asked) {
        let slot = crate::state::Slot::Job(no);
        if self.desk.is_dirty(slot) {
            // Paused or resumed meanwhile: begin again when that is stored. The marker is put again, unchanged.
            let also = self.jobs.get_mut(&no).and_then(|job| job.cancelling.take());
            let waits = self.desk.wait(slot, asked);
            if let Err(asked) = waits {
                turn.answer(asked.call, Err(crate::reign::overloaded()));
            }
            for call in also.into_iter().flat_map(|cancelling| cancelling.also) {
                turn.answer(call, Err(crate::reign::overloaded()));
            }
            return;
        }
        if self.desk.job_is_dirty(no) {
            let job = self.jobs.get_mut(&no);
            if let Some(cancelling) = job.and_then(|job| job.cancelling.as_mut()) {
                cancelling.closing = Some(asked);
            }
            return;
        }
        let Request::Cancel { reason, .. } = asked.request.as_ref() else {
            return;
        };
        let Some(job) = self.jobs.get(&no) else {
            return;
        };
        let Some(record) = job.record() else {
            return;
        };
        if !record.state.is_open() && !mutants::on(Mutant::CancelRaces) {
            // Another cancel, of an unknown outcome before, has landed meanwhile: the call is judged by the record.
            self.cancel_over(turn, no, &Err(crate::reign::overloaded()));
            return self.call(turn, asked);
        }
        let closing = Closing {
            by: asked.caller.actor.clone(),
            at: asked.at,
            reason: shortened(reason),
        };
        let record = JobRecord {
            state: JobState::Cancelled(closing),
            changed_by: asked.caller.actor.clone(),
            changed_at: asked.at,
            totals: Some(job.tally.totals),
            ..record.clone()
        };
        if let Some(unit) = self.job_unit(no, record) {
            self.desk.stage(vec![unit], Some(asked));
        }
    }

    /// Answers everybody who asked for the same cancel.
    pub(crate) fn cancel_over(
        &mut self,
        turn: &mut Turn<'_>,
        no: JobNo,
        answer: &Result<crate::Answer, Problem>,
    ) {
        let cancelling = self.jobs.get_mut(&no).and_then(|job| job.cancelling.take());
        for call in cancelling
            .into_iter()
            .flat_map(|cancelling| cancelling.also)
        {
            turn.answer(call, answer.clone());
        }
    }
}

/// A reason within its bound, cut at a character.
pub(crate) fn shortened(reason: &str) -> String {
    let mut end = reason.len().min(Closing::REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_string()
}
