//! Makes the report of a run out of what was written down. Pure.

use crate::books::{Books, Handover};
use crate::flow::Run;
use crate::watch::Seen;
use crate::wishes::Wishes;
use cluster::report::{Report, Times};
use cluster::{Kind, Record};
use std::collections::BTreeMap;

/// How a leader may end: killed, asked to, or standing still.
const KILLED: [Kind; 2] = [Kind::Kill, Kind::KillLeader];
const ASKED: [Kind; 3] = [Kind::Terminate, Kind::TerminateLeader, Kind::Upgrade];
const STOPPED: [Kind; 2] = [Kind::Stop, Kind::StopLeader];

/// The report.
pub(crate) fn report(wishes: &Wishes, run: Run, books: &Books, seen: &Seen) -> Report {
    let judgement = run.judgement;
    let (tracks, seconds) = in_vain(seen, judgement.findings.rows);
    let (steady, unsteady) = fail_overs(books, seen);
    let spans = run.spans;
    Report {
        seed: wishes.seed,
        builds: run.builds,
        lasted_ms: spans.faults_ms - spans.undisturbed_ms,
        course: spans.course(),
        faults: faults(&run.records, |record| record.hit.is_some()),
        bit: faults(&run.records, Record::bit),
        failed_faults: failed_faults(&run.records, seen),
        revived: run.revived,
        commits: books.commits,
        refused_stale_commits: books.superseded,
        fail_over: Times::of(steady),
        fail_over_unsteady: Times::of(unsteady),
        fail_over_answered: Times::of(handovers(books, &KILLED, |over| over.answered_ms)),
        hand_over: Times::of(handovers(books, &ASKED, |over| over.written_ms)),
        hand_over_answered: Times::of(handovers(books, &ASKED, |over| over.answered_ms)),
        stand_still: Times::of(handovers(books, &STOPPED, |over| over.written_ms)),
        etcd_leader_changes: seen.changes(),
        re_grant: Times::of(books.re_grants.clone()),
        re_grant_after_leader: Times::of(books.re_grants_of_new.clone()),
        rows_per_s_undisturbed: rate(books, (spans.first_ms, spans.undisturbed_ms)),
        rows_per_s: rate(books, (spans.undisturbed_ms, spans.faults_ms)),
        tracks_scanned_in_vain: tracks,
        device_seconds_in_vain: seconds,
        jobs: run.jobs.published.len(),
        unfinished: run.jobs.open,
        wrong: judgement.wrong,
        findings: judgement.findings,
    }
}

/// How many there were of each kind, of those that are wanted.
fn faults(records: &[Record], wanted: fn(&Record) -> bool) -> BTreeMap<Kind, usize> {
    let mut kinds = BTreeMap::new();
    for record in records.iter().filter(|record| wanted(record)) {
        *kinds.entry(record.fault.kind).or_default() += 1;
    }
    kinds
}

/// What could not be carried out or undone. The alarm is lowered by whoever watches it, some time after its fault is over.
fn failed_faults(records: &[Record], seen: &Seen) -> Vec<String> {
    let stands = seen.is_alarmed();
    let stands = stands.then(|| "the store's alarm stands long after it was wanted".to_owned());
    let failed = records.iter().filter_map(failed);
    failed.chain(stands).collect()
}

fn failed(record: &Record) -> Option<String> {
    let why = record.failure.as_ref()?;
    let fault = &record.fault;
    Some(format!("{:?} of {}: {why}", fault.kind, fault.target))
}

/// Fail-overs after a SIGKILL, where etcd kept its leader and where it did not.
fn fail_overs(books: &Books, seen: &Seen) -> (Vec<u64>, Vec<u64>) {
    let killed = books.handovers.iter();
    let killed = killed.filter(|over| KILLED.contains(&over.kind));
    let spans = killed.filter_map(|over| Some((over.at_ms, over.written_ms?)));
    let (steady, unsteady): (Vec<_>, Vec<_>) =
        spans.partition(|(from, until)| seen.was_steady(*from, *until));
    let lasted = |spans: Vec<(u64, u64)>| spans.iter().map(|(from, until)| until - from).collect();
    (lasted(steady), lasted(unsteady))
}

/// How long ends of these kinds took until something was so.
fn handovers(books: &Books, kinds: &[Kind], when: fn(&Handover) -> Option<u64>) -> Vec<u64> {
    let of_kind = books.handovers.iter();
    let of_kind = of_kind.filter(|over| kinds.contains(&over.kind));
    of_kind
        .filter_map(|over| Some(when(over)? - over.at_ms))
        .collect()
}

fn rate(books: &Books, (from_ms, until_ms): (u64, u64)) -> f64 {
    let seconds = until_ms.saturating_sub(from_ms) as f64 / 1_000.0;
    books.counted_within(from_ms, until_ms) as f64 / seconds.max(1.0)
}

/// Tracks that were made and do not count, and their share of the devices' seconds.
fn in_vain(seen: &Seen, rows: usize) -> (u64, u64) {
    let (made, seconds) = seen.made();
    let vain = (made - rows as f64).max(0.0);
    let share = vain / made.max(1.0);
    (vain as u64, (seconds * share) as u64)
}
