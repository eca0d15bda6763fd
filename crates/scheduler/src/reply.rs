//! What a call hears once its writes are back.

use crate::desk::Asked;
use crate::event::Caller;
use crate::reign::{Reign, Turn};
use crate::{Answer, JobKey, NodeKey, Request};
use types::{JobId, NodeId, Problem};

impl Reign {
    /// All writes of a call are stored (of a pull: at least one): answer it from what is stored.
    pub(crate) fn stored(&mut self, turn: &mut Turn<'_>, asked: &Asked) {
        match asked.request.as_ref() {
            Request::Submit(submission) => {
                let job = job_key(&asked.caller, &submission.spec.job);
                turn.answer(
                    asked.call,
                    Ok(Answer::Submitted {
                        job,
                        existing: false,
                    }),
                );
            }
            Request::Cancel { job, .. } => self.job_changed(turn, asked, job),
            Request::Pause { job } | Request::Resume { job } | Request::SetRank { job, .. } => {
                self.job_changed(turn, asked, job);
            }
            Request::SetDuty { .. } => {
                self.work += 1;
                turn.answer(asked.call, Ok(Answer::Done));
            }
            Request::Join(info) => self.join_stored(turn, asked, &info.node),
            Request::Pull(pull) => self.pull_stored(turn, asked, pull),
            Request::Commit(commit) => self.commit_stored(turn, asked, commit),
            Request::Leave { node, .. } => {
                self.left(&node_key(&asked.caller, node));
                turn.answer(asked.call, Ok(Answer::Done));
            }
            Request::Beat(_) | Request::Revoke(_) => turn.answer(asked.call, Ok(Answer::Done)),
        }
    }

    fn job_changed(&mut self, turn: &mut Turn<'_>, asked: &Asked, job: &JobId) {
        let Some(no) = self.job_no(&job_key(&asked.caller, job)) else {
            return turn.answer(asked.call, Err(crate::reign::overloaded()));
        };
        let answer = Ok(self.changed(no, false));
        if matches!(*asked.request, Request::Cancel { .. }) {
            self.cancel_over(turn, no, &answer);
        }
        turn.answer(asked.call, answer);
    }

    fn join_stored(&mut self, turn: &mut Turn<'_>, asked: &Asked, node: &NodeId) {
        let key = node_key(&asked.caller, node);
        self.began(turn.now, &key);
        let node = self.node_names.get(&key).and_then(|no| self.nodes.get(no));
        let session = node
            .and_then(|node| node.record())
            .map(|record| record.session);
        let answer = session.map(|session| self.joined(session));
        turn.answer(asked.call, answer.ok_or_else(crate::reign::overloaded));
    }

    /// Not all writes of a call are stored: what it had promised to others is taken back. `why` is `None` where the
    /// call is tried again.
    pub(crate) fn unstored(&mut self, turn: &mut Turn<'_>, asked: &Asked, why: Option<&Problem>) {
        let why = why.cloned().unwrap_or_else(crate::reign::overloaded);
        match asked.request.as_ref() {
            Request::Pull(pull) => self.pull_unstored(turn, asked, pull, &why),
            Request::Cancel { job, .. } => {
                if let Some(no) = self.job_no(&job_key(&asked.caller, job)) {
                    self.cancel_over(turn, no, &Err(why));
                }
            }
            Request::Submit(_)
            | Request::Pause { .. }
            | Request::Resume { .. }
            | Request::SetRank { .. }
            | Request::Revoke(_)
            | Request::SetDuty { .. }
            | Request::Join(_)
            | Request::Beat(_)
            | Request::Commit(_)
            | Request::Leave { .. } => {}
        }
    }
}

pub(crate) fn job_key(caller: &Caller, job: &JobId) -> JobKey {
    JobKey {
        tenant: caller.tenant.clone(),
        job: job.clone(),
    }
}

pub(crate) fn node_key(caller: &Caller, node: &NodeId) -> NodeKey {
    NodeKey {
        tenant: caller.tenant.clone(),
        node: node.clone(),
    }
}
