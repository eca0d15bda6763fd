//! What a slow or broken disk does to the syncs of those that are on it. The stand-in asks the kernel itself, as a program without a C
//! library does.

use crate::town::Town;
use cluster::Disk;
use std::time::Duration;

fn town(disk: &Disk) -> (Town, String) {
    let town = Town::with(&["a"], |program, _| program.on(disk));
    let question = format!("sync {}", town.folder.path().join("file").display());
    (town, question)
}

#[test]
fn a_slow_disk_makes_each_sync_so_much_slower_and_a_healed_one_does_not() {
    let disk = Disk::new();
    let (town, question) = town(&disk);
    let mut line = town.line("a", "a");
    let mut micros = || line.ask(&question).parse::<u64>().unwrap();
    micros();
    disk.slow(Duration::from_secs(1));
    let slowed = [micros(), micros()];
    disk.heal();
    // A busy machine is slow by itself: one quick sync shows that nothing holds it any more.
    let healed = (0..20).map(|_| micros()).min().unwrap();
    assert!(slowed.iter().all(|slow| *slow >= 1_000_000), "{slowed:?}");
    assert!(healed < 1_000_000, "{healed}");
    assert_eq!(disk.syncs(), 23);
}

#[test]
fn a_healed_disk_lets_a_sync_go_that_waits() {
    let disk = Disk::new();
    let (town, question) = town(&disk);
    disk.slow(Duration::from_secs(100_000));
    let mut line = town.line("a", "a");
    line.say(&question);
    assert!(line.is_silent());
    disk.heal();
    assert!(line.hear().parse::<u64>().is_ok());
}

#[test]
fn a_broken_disk_fails_syncs_and_nothing_else() {
    let disk = Disk::new();
    let (town, question) = town(&disk);
    disk.fail();
    let mut line = town.line("a", "a");
    assert!(line.ask(&question).contains("error"));
    assert_eq!(line.ask("well"), "well");
    disk.heal();
    assert!(line.ask(&question).parse::<u64>().is_ok());
}

#[test]
fn a_process_that_waits_for_a_disk_can_be_killed_and_started_again() {
    let disk = Disk::new();
    let (mut town, question) = town(&disk);
    disk.slow(Duration::from_secs(100_000));
    town.line("a", "a").say(&question);
    let process = town.echoes.get_mut("a").unwrap();
    process.kill(crate::town::PATIENCE).unwrap();
    disk.heal();
    process.start_again().unwrap();
    process.ready(crate::town::PATIENCE).unwrap();
    assert!(town.ask("a", &question).parse::<u64>().is_ok());
}

#[test]
fn two_processes_on_two_disks_wait_for_their_own() {
    let (one, other) = (Disk::new(), Disk::new());
    let (slow, quick) = (town(&one), town(&other));
    one.slow(Duration::from_secs(100_000));
    let mut line = slow.0.line("a", "a");
    line.say(&slow.1);
    assert!(quick.0.ask("a", &quick.1).parse::<u64>().is_ok());
    assert!(line.is_silent());
}
