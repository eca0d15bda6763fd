//! A drawn schedule on real hosts: every fault is carried out and undone, and afterwards everything is as it was.

use crate::town::{Line, PATIENCE, Town, copy, wait_for};
use anyhow::Result;
use cluster::{
    Clock, Cluster, Disk, Fault, Hands, Kind, Lone, Member, Plan, Relay, Stage, Target, Usual,
    Weather, World, run,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

const HOSTS: [&str; 3] = ["a", "b", "c"];

/// A cluster of stand-ins: one of them may lead, storage and store are only told.
struct Stands {
    leads: Option<&'static str>,
    other: PathBuf,
    /// What storage was told, and the store where it was.
    told: Vec<(Weather, Option<bool>)>,
}

impl Cluster for Stands {
    fn leader(&mut self, _: &str) -> Result<Option<String>> {
        Ok(self.leads.map(str::to_owned))
    }

    fn builds(&self) -> Vec<String> {
        vec!["stand-ins".to_owned()]
    }

    fn other_build(&mut self, _: &str, current: &Path) -> Result<PathBuf> {
        let own = cluster::program("cluster-echo")?;
        Ok(if current == own {
            self.other.clone()
        } else {
            own
        })
    }

    fn storage(&mut self, weather: Weather) -> Result<()> {
        self.told.push((weather, None));
        Ok(())
    }

    fn store_full(&mut self, full: bool) -> Result<()> {
        self.told.push((Weather::Fair, Some(full)));
        Ok(())
    }

    fn met(&mut self, kind: Kind) -> Option<u64> {
        let alarms = self.told.iter().filter(|(_, full)| *full == Some(true));
        (kind == Kind::StoreFull).then(|| alarms.count() as u64)
    }
}

fn stage() -> (Stage<Stands>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("cluster-echo-of-another-build");
    copy("cluster-echo", &other);
    let world = World::make(&folder.path().join("logs"), &HOSTS).unwrap();
    let stands = Stands {
        leads: Some("a"),
        other,
        told: Vec::new(),
    };
    let mut stage = Stage::new(world, stands);
    for name in HOSTS {
        let clock = Clock::make(&folder.path().join(name)).unwrap();
        let mut program = crate::town::echo(stage.world(), name)
            .by(&clock)
            .on(&Disk::new());
        program.name = name.to_owned();
        let process = stage.world().host(name).unwrap().start(program).unwrap();
        process.ready(PATIENCE).unwrap();
        stage.add(process);
    }
    stage.relay("a").unwrap();
    (stage, folder)
}

/// Short faults, closely one after the other, each kind as often as the others.
fn plan() -> Plan {
    let short = |kind: Kind| Usual {
        weight: 1,
        held_ms: (100, 400),
        ..kind.usual()
    };
    let member = |name: &str| Member {
        name: name.to_owned(),
        role: "echo".to_owned(),
        host: name.to_owned(),
        upgradable: true,
        has_disk: true,
        has_clock: true,
    };
    Plan {
        seed: 4,
        lasts_ms: 15_000,
        every_ms: (50, 120),
        members: HOSTS.map(member).into(),
        links: ways(&[("a", "b"), ("a", "c"), ("b", "c")]),
        busy: ways(&[("a", "b"), ("a", "c")]),
        relayed: ways(&[("a", "b"), ("a", "c")]),
        led: BTreeSet::from(["echo".to_owned()]),
        impaired_max: BTreeMap::new(),
        lone: Lone {
            held_ms_max: 400,
            rest_ms: 0,
        },
        unusual: Kind::ALL.map(|kind| (kind, short(kind))).into(),
    }
}

fn ways(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let way = |(from, to): &(&str, &str)| ((*from).to_owned(), (*to).to_owned());
    all.iter().map(way).collect()
}

fn ask(stage: &Stage<Stands>, from: &str, to: &str, question: &str) -> String {
    let to = stage.world().host(to).unwrap().address();
    let to = SocketAddrV4::new(to, crate::town::PORT);
    let (_door, outside) = Relay::inward(stage.world().host(from).unwrap(), to).unwrap();
    wait_for("an answer", || Line::open(outside).try_ask(question))
}

#[test]
fn a_drawn_schedule_of_every_kind_is_carried_out_and_leaves_everything_as_it_was() {
    let (mut stage, _folder) = stage();
    let mut record = Vec::new();
    let records = run(&plan(), &mut stage, &AtomicBool::new(false), &mut record).unwrap();
    let failed: Vec<_> = records
        .iter()
        .filter(|record| record.failure.is_some())
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    let kinds: BTreeSet<Kind> = records.iter().map(|record| record.fault.kind).collect();
    assert_eq!(kinds, BTreeSet::from(Kind::ALL));
    for from in HOSTS {
        for to in HOSTS {
            assert_eq!(ask(&stage, from, to, "well"), "well", "{from} to {to}");
        }
    }
    let last = stage.cluster().told.iter().rev();
    let storage = last.clone().find(|(_, full)| full.is_none());
    let store = last.clone().find(|(_, full)| full.is_some());
    assert_eq!(storage, Some(&(Weather::Fair, None)));
    assert_eq!(store, Some(&(Weather::Fair, Some(false))));
    assert_eq!(stage.revived(), 0);
    stage.end().unwrap();
}

#[test]
fn a_process_that_ends_by_itself_is_started_again_and_counted() {
    let (mut stage, _folder) = stage();
    let first = stage.process("b").unwrap().pid();
    stage.process("b").unwrap().kill(PATIENCE).unwrap();
    wait_for("it to be started again", || {
        stage.tend();
        (stage.process("b").ok()?.pid() != first).then_some(())
    });
    stage.process("b").unwrap().ready(PATIENCE).unwrap();
    assert_eq!(stage.revived(), 1);
    assert_eq!(ask(&stage, "a", "b", "back"), "back");
}

#[test]
fn a_fault_for_a_leader_hits_nobody_while_there_is_none() {
    let (mut stage, _folder) = stage();
    stage.cluster().leads = None;
    let before = stage.process("a").unwrap().pid();
    let fault = Fault {
        number: 0,
        kind: Kind::KillLeader,
        target: Target::Leader("echo".to_owned()),
        amount: 0,
        at_ms: 0,
        until_ms: 1,
    };
    let hit = stage.begin(&fault).unwrap();
    stage.undo(&fault, &hit).unwrap();
    assert_eq!(hit, "nobody");
    assert_eq!(stage.process("a").unwrap().pid(), before);
    assert!(stage.process("a").unwrap().ended().is_none());
}

#[test]
fn a_town_and_a_stage_stand_side_by_side() {
    let town = Town::of(&["a"]);
    let (stage, _folder) = stage();
    assert_eq!(town.ask("a", "one"), "one");
    assert_eq!(ask(&stage, "b", "c", "other"), "other");
}
