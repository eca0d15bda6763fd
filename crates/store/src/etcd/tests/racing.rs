//! Clients that race on one store, and what they hear: histories for the judge.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use types::Epoch;

use super::judge::{Did, Event, Record, judge};
use super::{World, in_time};
use crate::{Etcd, EtcdSettings, KeyRange, Outcome, Revision, Seen, Store, Txn};

/// A clock that only counts: what ended before something began has a smaller number.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// The keys that racing clients fight for.
const RACED: usize = 4;

/// One client's part of a race: it reads, writes guarded by what it read, and now and then leads and writes under its epoch. Values are never
/// repeated.
pub(super) async fn race(
    settings: EtcdSettings,
    client: u64,
    steps: usize,
    clock: Arc<Clock>,
) -> Vec<Event> {
    let store = Etcd::open(settings).await.expect("the cluster serves");
    let mut racer = Racer {
        store,
        dice: ChaCha8Rng::seed_from_u64(client),
        client,
        clock,
        epoch: None,
        events: Vec::new(),
    };
    for n in 0..steps {
        racer.step(n).await;
    }
    if let Some(epoch) = racer.epoch {
        drop(racer.store.resign(epoch).await);
    }
    racer.events
}

struct Racer {
    store: Etcd,
    dice: ChaCha8Rng,
    client: u64,
    clock: Arc<Clock>,
    epoch: Option<Epoch>,
    events: Vec<Event>,
}

impl Racer {
    async fn step(&mut self, n: usize) {
        let key = format!("k{}", self.dice.random_range(0..RACED));
        let begun = self.clock.tick();
        let did = match self.dice.random_range(0..10) {
            0..3 => self.read().await,
            3 => self.lead(n).await,
            _ => self.read_and_write(&key, n, begun).await,
        };
        let ended = self.clock.tick();
        self.events
            .extend(did.map(|did| Event { begun, ended, did }));
    }

    async fn read(&mut self) -> Option<Did> {
        let range = KeyRange::prefix("k");
        let page = self.store.range(&range).await.ok()?;
        Some(Did::Read { range, page })
    }

    async fn lead(&mut self, n: usize) -> Option<Did> {
        match self.epoch.take() {
            Some(epoch) if self.dice.random_bool(0.5) => {
                self.epoch = self.store.keep(epoch).await.is_ok().then_some(epoch);
                None
            }
            Some(epoch) => {
                drop(self.store.resign(epoch).await);
                None
            }
            None => {
                let epoch = self
                    .store
                    .lead(&format!("{}-{n}", self.client))
                    .await
                    .ok()?;
                self.epoch = Some(epoch);
                Some(Did::Led { epoch })
            }
        }
    }

    async fn read_and_write(&mut self, key: &str, n: usize, begun: u64) -> Option<Did> {
        let entry = self.store.get(key).await.ok()?;
        let read = self.clock.tick();
        self.events.push(Event {
            begun,
            ended: read,
            did: Did::Got {
                key: key.to_owned(),
                entry: entry.clone(),
            },
        });
        let mut txn = self.epoch.map_or_else(Txn::default, Txn::under);
        txn = match &entry {
            Some(entry) => txn.at(key, entry.revision),
            None => txn.absent(key),
        };
        txn = match self.dice.random_bool(0.15) {
            true => txn.delete(key),
            false => txn.put(key, format!("{}-{n}", self.client)),
        };
        // A guarded removal is told apart from another one by what goes with it.
        txn = txn.put(
            format!("k-log-{}", self.client),
            format!("{}-{n}", self.client),
        );
        let began = self.clock.tick();
        let outcome = self.store.write(txn.clone()).await;
        let ended = self.clock.tick();
        let did = Did::Wrote { txn, outcome };
        self.events.push(Event {
            begun: began,
            ended,
            did,
        });
        None
    }
}

/// The store's own record from `base` on. It ends with writes of its own, which are given too.
pub(super) async fn record(store: &Etcd, base: Revision, clock: &Clock) -> (Record, Vec<Event>) {
    let (end, events) = last_write(store, clock).await;
    let mut watch = store
        .watch("", base)
        .await
        .expect("a reachable store answers");
    let mut record = Vec::new();
    loop {
        match in_time("the end of a history", watch.next()).await.unwrap() {
            Seen::Progress { .. } => {}
            Seen::Changed { revision, changes } => {
                record.push((revision, changes));
                if revision >= end {
                    return (record, events);
                }
            }
        }
    }
}

/// Writes until one write is acknowledged: what came before it is in the record then.
async fn last_write(store: &Etcd, clock: &Clock) -> (Revision, Vec<Event>) {
    let mut events = Vec::new();
    let writing = async {
        loop {
            let begun = clock.tick();
            let txn = Txn::default().put("k-end", format!("end {begun}"));
            let outcome = store.write(txn.clone()).await;
            let ended = clock.tick();
            let acknowledged = match outcome {
                Outcome::Applied { revision } => Some(revision),
                Outcome::Refused(_) | Outcome::NotApplied(_) | Outcome::Unknown { .. } => None,
            };
            let did = Did::Wrote { txn, outcome };
            events.push(Event { begun, ended, did });
            if let Some(revision) = acknowledged {
                return revision;
            }
        }
    };
    let end = in_time("a last write", writing).await;
    (end, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_racing_clients_hear_can_be_true() {
    let world = World::one().await;
    let store = world.open("p").await;
    let base = store.status().await.expect("the cluster serves").revision;
    let clock = Arc::new(Clock::default());
    let racing = (0..5).map(|client| {
        let settings = world.cluster.settings("p");
        tokio::spawn(race(settings, client, 80, clock.clone()))
    });
    let mut events = Vec::new();
    for racer in racing.collect::<Vec<_>>() {
        events.extend(racer.await.expect("no client panics"));
    }
    let (record, ends) = record(&store, base, &clock).await;
    events.extend(ends);
    assert_eq!(judge(base, &record, &events), Ok(()));
    let landed = record.len();
    assert!(
        landed > 20,
        "only {landed} writes landed; the race shows little"
    );
}
