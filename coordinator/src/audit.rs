//! The audit trail, under the tracing target `audit`: one line for each change of a record, written as the core says that it is
//! stored; one for each change that is no record's, such as an import; and one for each call that was refused one. Reading
//! is not audited, and neither is a call that found done what it asked for.

use proto::Caller;
use scheduler::record::Duty;
use scheduler::{Change, RecordKey, What};
use types::{ActorId, Problem};

/// Who is named where nobody asked: what the core does by itself.
const NOBODY: &str = "coordinator";

/// Writes the line of a call about something that is no record of the core, however it ended. `action` is a verb of the
/// contract, `what` the thing it was about.
pub(crate) fn line<T>(
    caller: &Caller,
    action: &'static str,
    what: &str,
    outcome: &Result<T, Problem>,
) {
    let (outcome, detail) = match outcome {
        Ok(_) => ("OK", ""),
        Err(problem) => (problem.code.as_str(), problem.message.as_str()),
    };
    tracing::info!(
        target: "audit",
        tenant = %caller.tenant,
        actor = %caller.actor,
        action,
        what,
        outcome,
        detail,
    );
}

/// Writes the line of a call to the core that was refused; what one changed has its own.
pub(crate) fn refusal<T>(
    caller: &Caller,
    action: &'static str,
    what: &str,
    outcome: &Result<T, Problem>,
) {
    if outcome.is_err() {
        line(caller, action, what, outcome);
    }
}

/// Writes the line of a change that is stored.
pub(crate) fn change(by: Option<&ActorId>, change: &Change) {
    metrics::counter!("scan_change_lines_total").increment(1);
    tracing::info!(
        target: "audit",
        tenant = %change.key.tenant(),
        actor = by.map_or(NOBODY, ActorId::as_str),
        action = action(&change.what),
        what = %thing(&change.key),
        outcome = "OK",
        detail = %detail(&change.what),
    );
}

fn thing(key: &RecordKey) -> String {
    match key {
        RecordKey::Job(key) => key.job.to_string(),
        RecordKey::Shard(key, shard) => format!("{} shard {shard}", key.job),
        RecordKey::Node(key) => key.node.to_string(),
        RecordKey::Revocation(key) => key.revocation.to_string(),
    }
}

/// Verbs of the contract where a call asked for it.
const fn action(what: &What) -> &'static str {
    match what {
        What::Submitted => "SubmitJob",
        What::Paused => "PauseJob",
        What::Resumed => "ResumeJob",
        What::Ranked => "RankJob",
        What::Cancelled => "CancelJob",
        What::Publishing => "BeginPublish",
        What::Published => "Publish",
        What::Joined(_) => "Join",
        What::Left => "Leave",
        What::Duty(_) => "SetDuty",
        What::Granted(..) => "Grant",
        What::Withdrawn(_) => "Withdraw",
        What::Shrunk(_) => "Shrink",
        What::Counted(_) => "Count",
        What::Dropped(_) => "Drop",
        What::Accused => "Accuse",
        What::Tombstoned => "Tombstone",
        What::Revoked => "Revoke",
        What::Closed => "CloseRevocation",
        What::Removed => "Remove",
    }
}

fn detail(what: &What) -> String {
    match what {
        What::Joined(session) => format!("session {session}"),
        What::Duty(duty) => String::from(match duty {
            Duty::Serving => "serving",
            Duty::Cordoned => "cordoned",
            Duty::Draining => "draining",
        }),
        What::Granted(attempt, node) => format!("attempt {attempt} to {node}"),
        What::Withdrawn(attempt) | What::Shrunk(attempt) => format!("attempt {attempt}"),
        What::Counted(sha256) | What::Dropped(sha256) => format!("part {sha256}"),
        What::Submitted
        | What::Paused
        | What::Resumed
        | What::Ranked
        | What::Cancelled
        | What::Publishing
        | What::Published
        | What::Left
        | What::Accused
        | What::Tombstoned
        | What::Revoked
        | What::Closed
        | What::Removed => String::new(),
    }
}
