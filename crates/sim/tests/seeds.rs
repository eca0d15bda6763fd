//! The simulator on itself: seeds of the full mix hold every promise, and a run is repeated exactly from its seed and from
//! its notes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::{
    Origin, Record, Report, Tally, bounds, fault_kinds, replay_journal, run, run_with_journals,
};

/// Seeds in one run of the tests: about half a minute of two cores. `SEEDS=N` runs more.
fn seeds() -> u64 {
    let more = std::env::var("SEEDS").ok();
    more.and_then(|n| n.parse().ok()).unwrap_or(2_000)
}

/// Threads that share the seeds.
const THREADS: u64 = 2;

/// Runs each seed twice and holds the two against each other.
fn run_twice(seed: u64) -> Report {
    let report = run(&Origin::Seed(seed), false);
    assert_eq!(
        report.violation, None,
        "seed {seed}: see `trackscan-sim replay --seed {seed}`"
    );
    let again = run(&Origin::Seed(seed), false);
    report.agrees_with(&again).expect("two runs are alike");
    report
}

#[test]
fn no_seed_of_the_full_mix_breaks_a_promise_and_each_runs_alike_twice() {
    let next = AtomicU64::new(0);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds() {
                return tally;
            }
            tally.add(&run_twice(seed).tally);
        }
    };
    let tallies = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.collect::<Result<Vec<Tally>, _>>()
    });
    let mut all = Tally::default();
    for tally in &tallies.expect("the seed that failed is named above") {
        all.add(tally);
    }
    // A mix in which nothing happens would hold every promise too.
    assert!(all.faults > 20 * seeds(), "{all:?}");
    assert!(
        all.published > seeds() && all.cancelled > seeds() / 10,
        "{all:?}"
    );
    assert!(all.reigns > 3 * seeds() / 2, "{all:?}");
    assert!(all.trimmed > seeds() / 20, "{all:?}");
    if seeds() >= SEEDS_OF_BOUNDS {
        let reached: BTreeSet<_> = all.reached.keys().copied().collect();
        assert_eq!(reached, BTreeSet::from(bounds()));
    }
}

/// Seeds of the mix within which every bound is to be reached: clusters that are large enough are rare.
const SEEDS_OF_BOUNDS: u64 = 2_000;

/// Seeds of the mix within which every kind of fault is to strike: the rarest has needed a tenth of them.
const SEEDS_OF_KINDS: u64 = 500;

#[test]
fn every_kind_of_fault_strikes_within_the_first_seeds() {
    let mut all = Tally::default();
    for seed in 0..SEEDS_OF_KINDS.min(seeds()) {
        all.add(&run(&Origin::Seed(seed), false).tally);
    }
    let mut kinds = fault_kinds();
    kinds.sort_unstable();
    let struck: Vec<_> = all.struck.keys().copied().collect();
    assert_eq!(struck, kinds);
    assert!(all.struck.values().sum::<u64>() <= all.faults);
}

#[test]
fn a_calm_cluster_publishes_every_job_without_a_fault() {
    for seed in 0..50 {
        let report = run(&Origin::Calm(seed), false);
        assert_eq!(report.violation, None, "seed {seed}");
        let tally = &report.tally;
        assert_eq!((tally.published, tally.cancelled, tally.faults), (2, 0, 0));
    }
}

#[test]
fn a_run_is_repeated_from_its_notes_line_by_line() {
    for seed in [0, 1, 17, 400] {
        let report = run(&Origin::Seed(seed), true);
        let record = Record::of(seed, &report);
        let read = Record::parse(&record.to_text()).expect("a record reads back");
        assert_eq!(read.to_text(), record.to_text(), "seed {seed}");
        let again = run(&Origin::Tape(read.tape), true);
        assert_eq!(again, report, "seed {seed}");
    }
}

#[test]
fn the_journal_of_each_coordinator_replays_to_the_same_records() {
    let (mut events, mut records, mut cores) = (0, 0, 0);
    for seed in 0..60 {
        let (report, journals) = run_with_journals(&Origin::Seed(seed));
        assert_eq!(report.violation, None, "seed {seed}");
        assert_eq!(report, run(&Origin::Seed(seed), false), "seed {seed}");
        for journal in journals {
            let told = replay_journal(&journal).expect("a journal replays");
            assert!(told.states > 0 && !told.torn, "seed {seed}: {told:?}");
            events += told.events;
            records += told.records;
            cores += told.cores;
        }
    }
    assert!(
        events > 10_000 && records > 100 && cores > 60,
        "{events} {records} {cores}"
    );
}

#[test]
fn notes_that_were_cut_short_or_changed_still_are_a_run() {
    let report = run(&Origin::Seed(5), false);
    for keep in [0, 10, report.tape.len() / 2] {
        let tape: Vec<u32> = report.tape[..keep].to_vec();
        let short = run(&Origin::Tape(tape.clone()), false);
        assert_eq!(short, run(&Origin::Tape(tape), false), "{keep} draws");
    }
}

#[test]
fn what_is_no_record_is_refused_by_what_it_lacks() {
    for (text, lacks) in [
        ("", "its first line"),
        ("trackscan-sim 2\n", "its first line"),
        (
            "trackscan-sim 1\nseed 1\ndigest zz\nviolation\ntape\n",
            "digest",
        ),
        (
            "trackscan-sim 1\nseed 1\ndigest 0\nviolation\ntape 1 x\n",
            "tape",
        ),
    ] {
        let error = Record::parse(text).expect_err("it is no record");
        assert_eq!(error.0, lacks);
    }
}
