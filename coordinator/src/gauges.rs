//! The cluster in a few numbers for Prometheus, taken from the core's views now and then. They are of the whole
//! installation, all tenants together; labels are bounded: states, and ids of the invariants that the core counts.

use scheduler::Core;
use scheduler::invariants::Invariant;
use scheduler::record::JobState;
use types::Millis;

/// Sets every gauge from the core as it stands.
pub(crate) fn set(core: &Core, now: Millis) {
    let (mut open, mut done, mut granted, mut queued) = (0u64, 0u64, 0u64, 0u64);
    for job in core.all_jobs().filter(|job| is_open(&job.record.state)) {
        open += 1;
        done += job.totals.done;
        granted += job.totals.granted;
        queued += job
            .totals
            .tracks
            .saturating_sub(job.totals.done + job.totals.granted);
    }
    let (live, silent): (Vec<bool>, Vec<bool>) = core
        .all_nodes(now)
        .map(|node| node.live)
        .partition(|live| *live);
    metrics::gauge!("scan_jobs_open").set(open as f64);
    for (state, tracks) in [("done", done), ("granted", granted), ("queued", queued)] {
        metrics::gauge!("scan_tracks", "state" => state).set(tracks as f64);
    }
    for (state, nodes) in [("live", live.len()), ("silent", silent.len())] {
        metrics::gauge!("scan_nodes", "state" => state).set(nodes as f64);
    }
    let violations = core.violations();
    for id in Invariant::COUNTED {
        let count = violations.get(id).copied().unwrap_or_default();
        metrics::counter!("scan_invariant_violations_total", "invariant" => id.to_string())
            .absolute(count);
    }
    // As many as `scan_change_lines_total` has counted, once both are read at rest.
    metrics::counter!("scan_changes_applied_total").absolute(core.changes_applied());
}

const fn is_open(state: &JobState) -> bool {
    match state {
        JobState::Running | JobState::Paused | JobState::Publishing => true,
        JobState::Published(_) | JobState::Cancelled(_) => false,
    }
}
