//! What a task scheduler of another kind does on a machine like this one, as context. These figures were measured on two cores
//! of the same kind with HyperQueue 0.22.0, one worker, and are not measured again by this program.

use crate::report::Report;

/// The figures, each with its unit.
const HYPERQUEUE: [(&str, f64, &str); 6] = [
    ("no-op tasks, journal not synced", 168_000.0, "/s"),
    ("server's processor time a task", 3.6, "us"),
    ("memory a task, queued", 465.0, "B"),
    ("memory a task, at its most", 890.0, "B"),
    ("journal a task, at its most", 35.0, "B"),
    ("1,000,000 finished tasks restored", 0.48, "s"),
];

/// Adds them, without targets.
pub(crate) fn context(report: &mut Report) {
    report.section(
        "beside it: HyperQueue 0.22.0, whose unit is a task and not a shard of up to 1,024 tracks; its journal is synced every 30 s, \
         not before an answer; tasks travel many to a message over a connection of its own kind; a task has no result to commit",
    );
    for (name, value, unit) in HYPERQUEUE {
        report.note(name, value, unit);
    }
}
