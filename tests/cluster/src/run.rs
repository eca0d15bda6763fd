//! Carries a schedule out: begins and undoes each fault when it is time, and writes a record of it, one line of JSON each. What a fault
//! does to the world is its [`Hands`]' business; `stage` has those of real hosts.

use crate::fault::Fault;
use crate::schedule::{Plan, Step, steps};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the world is tended and the stop is looked at, and so how late a fault may be.
const TICK: Duration = Duration::from_millis(50);

/// How often a leader is looked for that was not there: whoever is asked may stand still, and other faults wait meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whom a fault hits that was meant for a leader while there was none.
pub(crate) const NOBODY: &str = "nobody";

/// Who carries faults out.
pub trait Hands {
    /// Makes a fault happen and says whom it hit.
    ///
    /// # Errors
    /// Where it cannot; the schedule goes on, and the fault is not undone.
    fn begin(&mut self, fault: &Fault) -> Result<String>;

    /// Ends it, and says how much it met where that is counted; `hit` is what its beginning said.
    ///
    /// # Errors
    /// Where it cannot; the schedule goes on.
    fn undo(&mut self, fault: &Fault, hit: &str) -> Result<Option<u64>>;

    /// Which builds take part, as the record says it.
    fn builds(&self) -> Vec<String>;

    /// Does between faults what a service manager does all the time.
    fn tend(&mut self);
}

/// What became of one fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// As it was planned.
    pub fault: Fault,
    /// Whom it hit; none where it could not begin.
    pub hit: Option<String>,
    /// When it had begun, from the start of the run.
    pub began_ms: u64,
    /// When it was undone.
    pub ended_ms: u64,
    /// How much it met, where that is counted: packets that a cut or a lossy way kept back, syncs on a slow disk, requests that storage refused or
    /// left without an answer, looks that found the store's alarm standing.
    pub met: Option<u64>,
    /// Why it could not be carried out or undone.
    pub failure: Option<String>,
}

impl Record {
    /// Whether it hit something: a leader that was there, and where it is counted, anything that it met. What a relay does to what passes it and who
    /// reads a clock is not counted.
    #[must_use]
    pub fn bit(&self) -> bool {
        self.hit_somebody() && self.met != Some(0)
    }

    fn hit_somebody(&self) -> bool {
        self.hit.as_ref().is_some_and(|hit| hit != NOBODY)
    }
}

/// The first line of a record, from which the run is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    /// Which builds took part.
    #[serde(default)]
    pub builds: Vec<String>,
    /// What was planned.
    pub plan: Plan,
}

/// Runs a plan to its end, or until `stop` is set, and undoes what lasts then. Each record is written once its fault is over.
///
/// # Errors
/// Where the record cannot be written; what lasts is undone all the same.
pub fn run(
    plan: &Plan,
    hands: &mut dyn Hands,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<Vec<Record>> {
    let faults = plan.draw();
    let beginning = Beginning {
        builds: hands.builds(),
        plan: plan.clone(),
    };
    let mut course = Course {
        hands,
        stop,
        begun: Instant::now(),
        records: faults.iter().map(|_| None).collect(),
        leaderless: BTreeSet::new(),
        looked: Instant::now(),
    };
    let mut written = line(out, &beginning);
    for (at_ms, step) in steps(&faults) {
        course.wait_until(at_ms);
        match step {
            Step::Begin(n) => course.begin(n, &faults[n]),
            Step::End(n) => {
                if let Some(record) = course.end(n) {
                    written = written.and(line(out, record));
                }
            }
        }
    }
    written?;
    Ok(course.records.into_iter().flatten().collect())
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)?;
    writeln!(out, "{text}").context("write the record of the faults")
}

struct Course<'a> {
    hands: &'a mut dyn Hands,
    stop: &'a AtomicBool,
    begun: Instant,
    records: Vec<Option<Record>>,
    /// Faults that last and have not found the leader that they are for.
    leaderless: BTreeSet<usize>,
    /// When a leader was last looked for.
    looked: Instant,
}

impl Course<'_> {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn wait_until(&mut self, at_ms: u64) {
        while !self.is_stopped() && self.now_ms() < at_ms {
            self.hands.tend();
            self.look_for_leaders();
            let left = Duration::from_millis(at_ms.saturating_sub(self.now_ms()));
            std::thread::sleep(left.min(TICK));
        }
    }

    /// Begins a fault, unless the run is being stopped.
    fn begin(&mut self, n: usize, fault: &Fault) {
        if self.is_stopped() {
            return;
        }
        let done = self.hands.begin(fault);
        let now_ms = self.now_ms();
        let failure = done.as_ref().err().map(|why| format!("{why:#}"));
        let record = Record {
            fault: fault.clone(),
            hit: done.ok(),
            began_ms: now_ms,
            ended_ms: now_ms,
            met: None,
            failure,
        };
        match record.hit.as_deref() == Some(NOBODY) {
            true => self.leaderless.insert(n),
            false => self.leaderless.remove(&n),
        };
        self.records[n] = Some(record);
    }

    /// A fault for a leader that was not there hits the next one, for as long as it lasts.
    fn look_for_leaders(&mut self) {
        if self.leaderless.is_empty() || self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        for n in self.leaderless.clone() {
            let fault = self.records[n].as_ref().map(|record| record.fault.clone());
            if let Some(fault) = fault {
                self.begin(n, &fault);
            }
        }
    }

    /// Undoes a fault that began.
    fn end(&mut self, n: usize) -> Option<&Record> {
        self.leaderless.remove(&n);
        let ended = self.records[n].as_ref().and_then(|record| {
            let hit = record.hit.as_ref()?;
            Some(self.hands.undo(&record.fault, hit))
        });
        let now_ms = self.now_ms();
        let record = self.records[n].as_mut()?;
        record.ended_ms = now_ms;
        match ended {
            Some(Ok(met)) => record.met = met,
            Some(Err(why)) => record.failure = Some(format!("{why:#}")),
            None => {}
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Kind, Usual};
    use crate::schedule::{Lone, Member};
    use std::collections::BTreeMap;

    /// Hands that only remember; the fault of number `fails` cannot begin, and `stops_at` stops the run.
    struct Notes<'a> {
        said: Vec<(bool, u32)>,
        fails: u32,
        stops_at: u32,
        stop: &'a AtomicBool,
    }

    /// Hands that find a leader at the look of this number.
    struct Late {
        looks: u32,
        leads_at: u32,
        undone: Vec<String>,
    }

    impl Hands for Late {
        fn begin(&mut self, _: &Fault) -> Result<String> {
            self.looks += 1;
            let hit = match self.looks >= self.leads_at {
                true => "node-1",
                false => NOBODY,
            };
            Ok(hit.to_owned())
        }

        fn undo(&mut self, _: &Fault, hit: &str) -> Result<Option<u64>> {
            self.undone.push(hit.to_owned());
            Ok(None)
        }

        fn builds(&self) -> Vec<String> {
            Vec::new()
        }

        fn tend(&mut self) {}
    }

    impl Hands for Notes<'_> {
        fn begin(&mut self, fault: &Fault) -> Result<String> {
            anyhow::ensure!(fault.number != self.fails, "no hands");
            self.said.push((true, fault.number));
            self.stop
                .store(fault.number == self.stops_at, Ordering::SeqCst);
            Ok(fault.target.to_string())
        }

        fn undo(&mut self, fault: &Fault, hit: &str) -> Result<Option<u64>> {
            assert_eq!(hit, fault.target.to_string());
            self.said.push((false, fault.number));
            Ok(Some(u64::from(fault.number)))
        }

        fn builds(&self) -> Vec<String> {
            vec!["first".to_owned(), "second".to_owned()]
        }

        fn tend(&mut self) {}
    }

    /// Faults every few milliseconds, a hundred in all.
    fn plan() -> Plan {
        let quick = |kind: Kind| Usual {
            held_ms: (1, 9),
            ..kind.usual()
        };
        let member = |n: usize| Member {
            name: format!("node-{n}"),
            role: "node".to_owned(),
            host: format!("h{n}"),
            upgradable: true,
            has_disk: true,
            has_clock: true,
        };
        Plan {
            seed: 1,
            lasts_ms: 300,
            every_ms: (2, 4),
            members: (0..6).map(member).collect(),
            links: Vec::new(),
            busy: Vec::new(),
            relayed: Vec::new(),
            led: BTreeSet::new(),
            impaired_max: BTreeMap::new(),
            lone: Lone {
                held_ms_max: u64::MAX,
                rest_ms: 0,
            },
            unusual: Kind::ALL.map(|kind| (kind, quick(kind))).into(),
        }
    }

    fn noted(fails: u32, stops_at: u32) -> (Vec<Record>, Vec<(bool, u32)>, String) {
        let stop = AtomicBool::new(false);
        let mut notes = Notes {
            said: Vec::new(),
            fails,
            stops_at,
            stop: &stop,
        };
        let mut out = Vec::new();
        let records = run(&plan(), &mut notes, &stop, &mut out).unwrap();
        (records, notes.said, String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_fault_begins_and_is_undone_once_and_in_that_order() {
        let (records, said, _) = noted(u32::MAX, u32::MAX);
        assert_eq!(records.len(), plan().draw().len());
        for record in records {
            let number = record.fault.number;
            let of_it = said.iter().filter(|(_, its)| *its == number);
            let of_it: Vec<bool> = of_it.map(|(begins, _)| *begins).collect();
            assert_eq!(of_it, [true, false]);
            assert!(record.failure.is_none() && record.began_ms <= record.ended_ms);
        }
    }

    #[test]
    fn a_fault_that_cannot_begin_is_recorded_and_not_undone_and_the_others_go_on() {
        let (records, said, _) = noted(3, u32::MAX);
        assert_eq!(records.len(), plan().draw().len());
        assert_eq!(records[3].failure.as_deref(), Some("no hands"));
        assert!(said.iter().all(|(_, number)| *number != 3));
    }

    #[test]
    fn a_stopped_run_undoes_what_lasts_and_begins_nothing_more() {
        let (records, said, _) = noted(u32::MAX, 4);
        assert_eq!(records.len(), 5);
        let undone = said.iter().filter(|(begins, _)| !begins).count();
        assert_eq!(undone, 5);
    }

    #[test]
    fn a_record_begins_with_its_plan_and_has_a_line_for_each_fault() {
        let (records, _, text) = noted(u32::MAX, u32::MAX);
        let mut lines = text.lines();
        let beginning: Beginning = serde_json::from_str(lines.next().unwrap()).unwrap();
        let faults: Vec<Fault> = records.iter().map(|record| record.fault.clone()).collect();
        assert_eq!(beginning.plan.draw(), faults);
        assert_eq!(beginning.builds, ["first", "second"]);
        let mut read: Vec<Record> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
        read.sort_by_key(|record| record.fault.number);
        assert_eq!(read, records);
    }

    #[test]
    fn a_fault_bites_where_it_hit_somebody_and_met_something_if_that_is_counted() {
        let (records, _, _) = noted(3, u32::MAX);
        let bitten = |number: usize| records[number].bit();
        assert!(!bitten(0), "it met nothing");
        assert!(bitten(1));
        assert!(!bitten(3), "it could not begin");
        let of = |hit: &str, met| Record {
            hit: Some(hit.to_owned()),
            met,
            ..records[1].clone()
        };
        assert!(of("coordinator-1", None).bit());
        assert!(!of(NOBODY, None).bit());
    }

    /// One fault for a leader that lasts while the leader is looked for some times.
    fn one_leader() -> Plan {
        let only = |kind: Kind| Usual {
            weight: u32::from(kind == Kind::StopLeader),
            held_ms: (10_000, 10_000),
            ..kind.usual()
        };
        Plan {
            lasts_ms: 2_500,
            every_ms: (100, 100),
            led: BTreeSet::from(["node".to_owned()]),
            unusual: Kind::ALL.map(|kind| (kind, only(kind))).into(),
            ..plan()
        }
    }

    fn late(leads_at: u32) -> (Vec<Record>, Late) {
        let mut hands = Late {
            looks: 0,
            leads_at,
            undone: Vec::new(),
        };
        let never = AtomicBool::new(false);
        let records = run(&one_leader(), &mut hands, &never, &mut Vec::new()).unwrap();
        (records, hands)
    }

    #[test]
    fn a_fault_for_a_leader_that_is_not_there_hits_the_next_one_while_it_lasts() {
        let (records, hands) = late(2);
        assert_eq!((records.len(), hands.looks), (1, 2));
        assert!(records[0].bit());
        assert_eq!(hands.undone, ["node-1"]);
    }

    #[test]
    fn a_fault_for_a_leader_that_never_comes_is_over_when_its_time_is() {
        let (records, hands) = late(u32::MAX);
        assert!(hands.looks > 1 && !records[0].bit());
        assert_eq!(hands.undone, [NOBODY]);
    }
}
