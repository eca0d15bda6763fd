//! The audit trail: one line for each call that changes something, whoever made it and however it ended, under the
//! tracing target `audit`. Reading is not audited.

use proto::Caller;
use types::Problem;

/// Writes the line of one call. `action` is a verb of the contract, `what` the thing it was about.
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
