//! What a stepped clock is to those that read it: another time of day, from one reading to the next, and for nobody else.

use crate::town::Town;
use cluster::Clock;
use std::time::{Duration, SystemTime};

/// A step that no busy machine explains.
const HOUR: Duration = Duration::from_secs(3_600);

/// Half of it: what may lie between two readings and still tell a step from none.
const HALF: i128 = 1_800_000;

fn machine_ms() -> i128 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i128::try_from(since.as_millis()).unwrap()
}

/// How far a stand-in's clock is ahead of the machine's.
fn ahead_ms(town: &Town, host: &str) -> i128 {
    town.ask(host, "time").parse::<i128>().unwrap() - machine_ms()
}

#[test]
fn a_step_either_way_is_seen_at_the_next_reading_and_only_by_whom_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::make(folder.path()).unwrap();
    let stepped = Town::with(&["a"], |program, _| program.by(&clock));
    let other = Town::of(&["a"]);
    assert!(ahead_ms(&stepped, "a").abs() < HALF);
    clock.ahead(HOUR);
    assert!(ahead_ms(&stepped, "a") > HALF);
    assert!(ahead_ms(&other, "a").abs() < HALF);
    clock.behind(HOUR);
    assert!(ahead_ms(&stepped, "a") < -HALF);
    clock.right();
    assert!(ahead_ms(&stepped, "a").abs() < HALF);
}

#[test]
fn a_clock_that_only_rises_takes_no_part_in_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::make(folder.path()).unwrap();
    let town = Town::with(&["a"], |program, _| program.by(&clock));
    let mut line = town.line("a", "a");
    let mut rises = || line.ask("rises").parse::<i128>().unwrap();
    let before = rises();
    clock.ahead(HOUR);
    let after = rises();
    assert!(after >= before && after - before < HALF, "{before} {after}");
}
