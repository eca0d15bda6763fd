//! Looks at the run's servers all the time: which term etcd is in, whether its alarm stands as the schedule wants it, how many tracks each agent
//! has made. It changes nothing but that alarm, which is a fault and its end.

use cluster::{etcd, http};
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

/// Where servers are reached from outside, by name.
pub(crate) type Doors = BTreeMap<String, SocketAddr>;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Each term of etcd with the time at which it was first seen.
    terms: Vec<(u64, u64)>,
    made: BTreeMap<String, Sum>,
    seconds: BTreeMap<String, Sum>,
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
        let total = |sums: &BTreeMap<String, Sum>| sums.values().map(|sum| sum.total).sum();
        (total(&self.made), total(&self.seconds))
    }

    fn term(&mut self, now_ms: u64, term: u64) {
        if self.terms.last().is_none_or(|(_, last)| term > *last) {
            self.terms.push((now_ms, term));
        }
    }
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
    pub(crate) fn begin(etcd: Doors, nodes: Doors, zero: Instant) -> Self {
        let mut watch = Self {
            seen: Arc::default(),
            full: Arc::default(),
            end: Arc::default(),
            threads: Vec::new(),
        };
        let (seen, full) = (Arc::clone(&watch.seen), Arc::clone(&watch.full));
        watch.every(move || {
            let now_ms = u64::try_from(zero.elapsed().as_millis()).unwrap_or(u64::MAX);
            let terms = etcd
                .values()
                .filter_map(|at| Some(etcd::status(*at).ok()?.term));
            if let Some(term) = terms.max() {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.term(now_ms, term);
            }
            keep_alarm(&etcd, full.load(Ordering::SeqCst));
        });
        for (name, at) in nodes {
            let seen = Arc::clone(&watch.seen);
            watch.every(move || {
                if let Ok(page) = http::get(at, "/metrics") {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.page(&name, &page);
                }
            });
        }
        watch
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

/// Brings the alarm to what it should be, by whichever member answers; one that cannot now is asked again at the next look.
fn keep_alarm(etcd: &Doors, full: bool) {
    let keep = |at: &SocketAddr| -> anyhow::Result<()> {
        match (full, etcd::is_full(*at)?) {
            (true, false) => etcd::raise(*at),
            (false, true) => etcd::disarm(*at),
            (true, true) | (false, false) => Ok(()),
        }
    };
    let _ = etcd.values().any(|at| keep(at).is_ok());
}

#[test]
fn a_counter_of_a_process_that_began_again_goes_on_in_the_sum() {
    let mut sum = Sum::default();
    for value in [3.0, 10.0, 2.0, 4.0] {
        sum.add(value);
    }
    assert!((sum.total - 14.0).abs() < f64::EPSILON);
}
