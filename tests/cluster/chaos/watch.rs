//! Looks at the run's servers all the time: which term etcd is in, whether its alarm stands as the schedule wants it, how many tracks each agent
//! has made, which of their requests storage was made to fail. It changes nothing but that alarm, which is a fault and its end.

use cluster::{Aim, Kind, etcd, http};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks: an agent that is killed has made what it made since the last one unseen.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The metrics of agents that are summed up over all their lives.
const MADE: &str = "trackscan_tracks";
const SECONDS: &str = "trackscan_worker_seconds";

/// The metric of whoever uses storage, summed up alike: faults that were made on purpose between it and storage.
const SPOILT: &str = "trackscan_storage_faults_total";
/// Its labels for storms of 503 and for answers that are lost.
const REFUSED: &str = "fault=\"unavailable\"";
const LATE: &str = "fault=\"lost-after\"";

/// Where servers are reached from outside, by name.
pub(crate) type Doors = BTreeMap<String, SocketAddr>;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Each term of etcd with the time at which it was first seen.
    terms: Vec<(u64, u64)>,
    made: BTreeMap<String, Sum>,
    seconds: BTreeMap<String, Sum>,
    refused: BTreeMap<String, Sum>,
    late: BTreeMap<String, Sum>,
    /// Looks that found the alarm standing while it was wanted.
    alarmed: u64,
    /// Whether it stood at the last look.
    stands: bool,
}

/// A counter that begins again with each life of its process.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    last: f64,
    total: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.total += match value >= self.last {
            true => value - self.last,
            false => value,
        };
        self.last = value;
    }
}

impl Seen {
    /// Whether etcd was in one term all the while.
    pub(crate) fn was_steady(&self, from_ms: u64, until_ms: u64) -> bool {
        let changes = self.terms.iter().skip(1).map(|(at_ms, _)| *at_ms);
        // A change is seen a look or two after it was made.
        let seen_until = until_ms + 2_000;
        !changes
            .into_iter()
            .any(|at| at >= from_ms && at <= seen_until)
    }

    /// How often etcd changed its leader.
    pub(crate) fn changes(&self) -> usize {
        self.terms.len().saturating_sub(1)
    }

    /// Tracks that agents made a last row of, and seconds of devices that went into all they did.
    pub(crate) fn made(&self) -> (f64, f64) {
        (total(&self.made), total(&self.seconds))
    }

    /// How much faults of a kind have met so far, where it is seen from here.
    pub(crate) fn met(&self, kind: Kind) -> Option<u64> {
        match kind.aim() {
            Aim::Store => Some(self.alarmed),
            Aim::Storage if kind == Kind::StorageLate => Some(total(&self.late) as u64),
            Aim::Storage => Some(total(&self.refused) as u64),
            Aim::Process
            | Aim::Upgradable
            | Aim::Leader
            | Aim::Link
            | Aim::Relay
            | Aim::Host
            | Aim::Disk
            | Aim::Clock => None,
        }
    }

    /// Whether the alarm still stood when it was looked at last.
    pub(crate) fn is_alarmed(&self) -> bool {
        self.stands
    }

    fn alarm(&mut self, wanted: bool, stands: bool) {
        self.alarmed += u64::from(wanted && stands);
        self.stands = stands;
    }

    fn term(&mut self, now_ms: u64, term: u64) {
        if self.terms.last().is_none_or(|(_, last)| term > *last) {
            self.terms.push((now_ms, term));
        }
    }
}

fn total(sums: &BTreeMap<String, Sum>) -> f64 {
    sums.values().map(|sum| sum.total).sum()
}

/// The running eyes.
pub(crate) struct Watch {
    pub(crate) seen: Arc<Mutex<Seen>>,
    /// Whether etcd is to say that it is full.
    pub(crate) full: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn begin(etcd: &Doors, coordinators: &Doors, nodes: &Doors, zero: Instant) -> Self {
        let mut watch = Self {
            seen: Arc::default(),
            full: Arc::default(),
            end: Arc::default(),
            threads: Vec::new(),
        };
        watch.terms(etcd.clone(), zero);
        watch.alarm(etcd.clone());
        for (name, at) in coordinators.iter().chain(nodes) {
            watch.page(name.clone(), *at);
        }
        watch
    }

    fn terms(&mut self, etcd: Doors, zero: Instant) {
        let seen = Arc::clone(&self.seen);
        self.every(move || {
            let now_ms = u64::try_from(zero.elapsed().as_millis()).unwrap_or(u64::MAX);
            let terms = etcd
                .values()
                .filter_map(|at| Some(etcd::status(*at).ok()?.term));
            if let Some(term) = terms.max() {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.term(now_ms, term);
            }
        });
    }

    /// Apart from the terms, whose times matter: a change of the alarm may wait for slow disks.
    fn alarm(&mut self, etcd: Doors) {
        let (seen, full) = (Arc::clone(&self.seen), Arc::clone(&self.full));
        self.every(move || {
            let wanted = full.load(Ordering::SeqCst);
            if let Some(stands) = keep_alarm(&etcd, wanted) {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.alarm(wanted, stands);
            }
        });
    }

    fn page(&mut self, name: String, at: SocketAddr) {
        let seen = Arc::clone(&self.seen);
        self.every(move || {
            if let Ok(page) = http::get(at, "/metrics") {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.page(&name, &page);
            }
        });
    }

    fn every(&mut self, mut look: impl FnMut() + Send + 'static) {
        let end = Arc::clone(&self.end);
        self.threads.push(std::thread::spawn(move || {
            while !end.load(Ordering::SeqCst) {
                look();
                std::thread::sleep(LOOK_EVERY);
            }
        }));
    }
}

impl Seen {
    fn page(&mut self, name: &str, page: &str) {
        if let Some(made) = http::metric(page, MADE, "") {
            self.made.entry(name.to_owned()).or_default().add(made);
        }
        for (sums, fault) in [(&mut self.refused, REFUSED), (&mut self.late, LATE)] {
            if let Some(spoilt) = http::metric(page, SPOILT, fault) {
                sums.entry(name.to_owned()).or_default().add(spoilt);
            }
        }
        // Answers are time of the worker's, not of its device.
        let stages = ["stage=\"screen\"", "stage=\"residual\""];
        let seconds = stages
            .iter()
            .filter_map(|stage| http::metric(page, SECONDS, stage));
        let seconds: f64 = seconds.sum();
        self.seconds
            .entry(name.to_owned())
            .or_default()
            .add(seconds);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Whether the alarm stands, by the word of the member that leads; none where none says so. One that is not as it should be is changed, and looked at
/// again the next time.
fn keep_alarm(etcd: &Doors, wanted: bool) -> Option<bool> {
    let said = etcd
        .values()
        .filter_map(|at| Some((*at, etcd::status(*at).ok()?)));
    let leading = said.filter(|(_, status)| status.leads);
    let (at, status) = leading.max_by_key(|(_, status)| status.term)?;
    let changed = match (wanted, status.full) {
        (true, false) => etcd::raise(at),
        (false, true) => etcd::disarm(at),
        (true, true) | (false, false) => Ok(()),
    };
    // What fails is made good at a later look, and an alarm that never stood is seen by its count.
    drop(changed);
    Some(status.full)
}

#[test]
fn a_counter_of_a_process_that_began_again_goes_on_in_the_sum() {
    let mut sum = Sum::default();
    for value in [3.0, 10.0, 2.0, 4.0] {
        sum.add(value);
    }
    assert!((sum.total - 14.0).abs() < f64::EPSILON);
}

#[test]
fn an_alarm_is_counted_where_it_stood_while_it_was_wanted_and_known_to_stand_until_it_is_gone() {
    let mut seen = Seen::default();
    for (wanted, stands) in [(true, false), (true, true), (true, true), (false, true)] {
        seen.alarm(wanted, stands);
    }
    assert_eq!(seen.met(Kind::StoreFull), Some(2));
    assert!(seen.is_alarmed());
    seen.alarm(false, false);
    assert!(!seen.is_alarmed());
}

#[test]
fn what_storage_was_made_to_fail_is_told_by_its_kind_and_goes_on_over_lives() {
    let page = |refused: u32, late: u32| {
        format!("{SPOILT}{{{REFUSED}}} {refused}\n{SPOILT}{{{LATE}}} {late}\n")
    };
    let mut seen = Seen::default();
    seen.page("node-1", &page(5, 0));
    seen.page("node-2", &page(1, 7));
    seen.page("node-1", &page(2, 0));
    assert_eq!(seen.met(Kind::StorageRefuses), Some(8));
    assert_eq!(seen.met(Kind::StorageLate), Some(7));
    assert_eq!(seen.met(Kind::Kill), None);
}
