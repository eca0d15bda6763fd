//! The cluster in a few numbers for Prometheus, taken from the core's views now and then. They are of the whole
//! installation, all tenants together; labels are bounded: states only.

use scheduler::Core;
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
    let violations: u64 = core.violations().values().sum();
    metrics::counter!("scan_invariant_violations_total").absolute(violations);
}

const fn is_open(state: &JobState) -> bool {
    match state {
        JobState::Running | JobState::Paused | JobState::Publishing => true,
        JobState::Published(_) | JobState::Cancelled(_) => false,
    }
}
