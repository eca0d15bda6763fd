//! The model of an etcd-like store behind the trait: in memory, gone with the process.
//!
//! For tests that want what a cluster would answer without a cluster, and the proof that the model which the simulator
//! drives does what every backend must. Keys stand under a prefix of their own, so that the leadership key is nobody's to
//! read or write, as a cluster backend lays them out. It acknowledges what no disk holds: nobody serves with it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use store_model as model;
use types::{Epoch, Millis};

use crate::feed::Feed;
use crate::page::shortened;
use crate::txn::check_key;
use crate::{
    Change, Compare, Entry, KeyRange, LeadError, Leader, NotAppliedCause, Op, Outcome,
    PAGE_ENTRIES_MAX, Page, ReadError, Refusal, Revision, Status, Store, Txn, Watch,
};

/// What every key of a caller stands under.
const DATA: &str = "data/";
/// The leadership key.
const LEADER: &str = "leader";
/// How long a leadership lives without renewal: the cluster's default.
const LEADER_LIVES: Millis = Millis(5_000);

/// A store in memory.
#[derive(Debug)]
pub struct Modelled {
    cluster: u64,
    begun: Instant,
    /// Milliseconds that were let pass beyond the clock's.
    passed: AtomicU64,
    lives: Millis,
    model: Mutex<model::Model>,
    feed: Feed,
}

impl Modelled {
    /// An empty store of that number.
    #[must_use]
    pub fn new(cluster: u64) -> Self {
        Self {
            cluster,
            begun: Instant::now(),
            passed: AtomicU64::new(0),
            lives: LEADER_LIVES,
            model: Mutex::new(model::Model::new()),
            feed: Feed::at(Revision(0)),
        }
    }

    /// The same, with leaderships that live so long without renewal.
    #[must_use]
    pub fn with_leadership(mut self, lives: Millis) -> Self {
        self.lives = lives;
        self
    }

    /// Lets so much time pass at once: what lives no longer without renewal has ended when this returns.
    pub fn pass(&self, time: Millis) {
        self.passed.fetch_add(time.0, Ordering::SeqCst);
        self.change(|_, _| ());
    }

    /// Forgets what stood before a revision, as an operator lets a cluster do from time to time.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] where that has been forgotten before, or the revision is not reached yet.
    pub fn compact(&self, revision: Revision) -> Result<(), ReadError> {
        let (mut model, to) = (self.model(), revision_out(revision));
        if to <= model.compacted() || to > model.revision() {
            return Err(ReadError::Compacted { revision });
        }
        model.compact(to);
        self.feed.forget_before(revision);
        Ok(())
    }

    /// The model. Each of its calls is whole or not begun, so that a panic elsewhere leaves it sound.
    fn model(&self) -> MutexGuard<'_, model::Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the model as of now, and tells followers what it changed.
    fn change<T>(&self, change: impl FnOnce(&mut model::Model, Millis) -> T) -> T {
        let now = self.now();
        let mut model = self.model();
        let known = model::Revision(self.feed.head().unwrap_or_default().0);
        model.advance(now);
        let changed = change(&mut model, now);
        if model.revision() != known {
            let changes = model.changes(DATA, known, usize::MAX).unwrap_or_default();
            self.feed
                .push(transactions(changes), revision_in(model.revision()));
        }
        changed
    }

    /// Waits for a change of the store, or for the end of a lease where that comes first.
    async fn moved(&self, moves: &mut tokio::sync::watch::Receiver<()>) -> Result<(), ReadError> {
        let lease = self.model().next_lease_end();
        let left = lease.map(|ends| Duration::from_millis(ends.0.saturating_sub(self.now().0)));
        let moved = match left {
            Some(left) => tokio::time::timeout(left, moves.changed()).await,
            None => Ok(moves.changed().await),
        };
        match moved {
            Ok(Err(_)) => Err(ReadError::Unavailable {
                cause: "the store is closed".to_owned(),
            }),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    fn now(&self) -> Millis {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Millis(elapsed.saturating_add(self.passed.load(Ordering::SeqCst)))
    }
}

#[async_trait]
impl Store for Modelled {
    async fn status(&self) -> Result<Status, ReadError> {
        Ok(Status {
            cluster: self.cluster,
            revision: revision_in(self.model().revision()),
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        check_key(key)?;
        Ok(self.model().get(&path(key)).map(entry))
    }

    async fn range(&self, range: &KeyRange) -> Result<Page, ReadError> {
        let wanted = model::KeyRange {
            prefix: path(&range.prefix),
            after: range.after.as_deref().map(path),
            limit: range.limit.clamp(1, PAGE_ENTRIES_MAX),
            at: range.at.map(revision_out),
        };
        let read = self.model().range(&wanted);
        let page = read.map_err(|gone| ReadError::Compacted {
            revision: revision_in(gone.0),
        })?;
        let next = page.next.as_deref().map(key);
        let entries = page.entries.into_iter().map(entry).collect();
        Ok(shortened(revision_in(page.revision), entries, next))
    }

    async fn write(&self, txn: Txn) -> Outcome {
        if let Err(error) = txn.validate() {
            return Outcome::NotApplied(NotAppliedCause::Invalid(error));
        }
        self.change(|model, _| write(model, &txn))
    }

    async fn lead(&self, candidate: &str) -> Result<Epoch, LeadError> {
        let led = self.change(|model, now| model.lead(now, LEADER, candidate, self.lives));
        led.map(|led| Epoch(led.epoch.0))
            .map_err(|by| LeadError::Held { by })
    }

    async fn keep(&self, epoch: Epoch) -> Result<(), LeadError> {
        let epoch = model::Revision(epoch.0);
        let kept = self.change(|model, now| model.keep_leading(now, LEADER, epoch));
        kept.then_some(()).ok_or(LeadError::Lost)
    }

    async fn resign(&self, epoch: Epoch) -> Result<(), LeadError> {
        let epoch = model::Revision(epoch.0);
        let ended = self.change(|model, now| model.resign(now, LEADER, epoch));
        ended.then_some(()).ok_or(LeadError::Lost)
    }

    async fn led_by(&self) -> Result<Option<Leader>, ReadError> {
        let leader = self.change(|model, _| model.get(LEADER));
        Ok(leader.map(|leader| Leader {
            epoch: Epoch(leader.made.0),
            name: String::from_utf8_lossy(&leader.value).into_owned(),
        }))
    }

    async fn leader_other_than(&self, known: Option<Epoch>) -> Result<Option<Leader>, ReadError> {
        let mut moves = self.feed.moves();
        loop {
            let leader = self.led_by().await?;
            if leader.as_ref().map(|leader| leader.epoch) != known {
                return Ok(leader);
            }
            self.moved(&mut moves).await?;
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError> {
        Ok(Watch::following(self.feed.follow(prefix, after)))
    }
}

fn write(model: &mut model::Model, txn: &Txn) -> Outcome {
    // The epoch's refusal comes before any key's.
    let over = |compare: &Compare| match compare {
        Compare::Leads(epoch) => !leads(model, *epoch),
        Compare::At { .. } | Compare::Absent { .. } => false,
    };
    if txn.compares.iter().any(over) {
        return Outcome::Refused(Refusal::Epoch);
    }
    match model.write(&transaction(txn)) {
        model::End::Applied { revision } => Outcome::Applied {
            revision: revision_in(revision),
        },
        model::End::Refused { compare } => Outcome::Refused(refusal(&txn.compares[compare])),
    }
}

/// Changes in order, put together by the transaction that made them.
fn transactions(changes: Vec<model::Change>) -> Vec<(Revision, Vec<Change>)> {
    let mut transactions: Vec<(Revision, Vec<Change>)> = Vec::new();
    for changed in changes {
        let revision = revision_in(changed.revision);
        let change = Change {
            key: key(&changed.key),
            value: changed.value,
        };
        match transactions.last_mut().filter(|last| last.0 == revision) {
            Some(last) => last.1.push(change),
            None => transactions.push((revision, vec![change])),
        }
    }
    transactions
}

fn leads(model: &model::Model, epoch: Epoch) -> bool {
    let leader = model.get(LEADER);
    leader.is_some_and(|leader| leader.made.0 == epoch.0)
}

fn path(key: &str) -> String {
    format!("{DATA}{key}")
}

const fn revision_in(revision: model::Revision) -> Revision {
    Revision(revision.0)
}

const fn revision_out(revision: Revision) -> model::Revision {
    model::Revision(revision.0)
}

fn key(path: &str) -> String {
    path.strip_prefix(DATA).unwrap_or(path).to_owned()
}

fn entry(entry: model::Entry) -> Entry {
    Entry {
        key: key(&entry.key),
        value: entry.value,
        revision: revision_in(entry.revision),
    }
}

fn transaction(txn: &Txn) -> model::Txn {
    model::Txn {
        compares: txn.compares.iter().map(compare).collect(),
        ops: txn.ops.iter().map(op).collect(),
    }
}

fn compare(compare: &Compare) -> model::Compare {
    match compare {
        Compare::At { key, revision } => model::Compare::At {
            key: path(key),
            revision: revision_out(*revision),
        },
        Compare::Absent { key } => model::Compare::Absent { key: path(key) },
        Compare::Leads(epoch) => model::Compare::Made {
            key: LEADER.to_owned(),
            revision: model::Revision(epoch.0),
        },
    }
}

fn op(op: &Op) -> model::Op {
    match op {
        Op::Put { key, value } => model::Op::Put {
            key: path(key),
            value: value.clone(),
            lease: None,
        },
        Op::Delete { key } => model::Op::Delete { key: path(key) },
    }
}

fn refusal(compare: &Compare) -> Refusal {
    match compare {
        Compare::At { key, .. } | Compare::Absent { key } => Refusal::Key(key.clone()),
        Compare::Leads(_) => Refusal::Epoch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PAGE_BYTES_MAX, conformance};

    #[tokio::test]
    async fn the_model_does_what_every_backend_must() {
        conformance::all(async || Modelled::new(7)).await;
    }

    async fn put(store: &Modelled, key: &str) -> Revision {
        match store.write(Txn::default().put(key, "1")).await {
            Outcome::Applied { revision } => revision,
            other @ (Outcome::Refused(_) | Outcome::NotApplied(_) | Outcome::Unknown { .. }) => {
                panic!("{other:?}")
            }
        }
    }

    #[tokio::test]
    async fn what_was_compacted_away_is_neither_read_nor_watched() {
        let store = Modelled::new(1);
        let mut last = Revision(0);
        for key in ["a", "b", "c"] {
            last = put(&store, key).await;
        }
        let gone = |revision| ReadError::Compacted { revision };
        assert_eq!(store.compact(last), Ok(()));
        for refused in [Revision(1), last, Revision(last.0 + 1)] {
            assert_eq!(store.compact(refused), Err(gone(refused)));
        }
        let old = KeyRange {
            at: Some(Revision(2)),
            ..KeyRange::prefix("")
        };
        assert_eq!(store.range(&old).await, Err(gone(Revision(2))));
        let mut late = store.watch("", Revision(1)).await.unwrap();
        assert_eq!(late.next().await, Err(gone(Revision(1))));
        let mut at_it = store.watch("", Revision(2)).await.unwrap();
        assert_eq!(at_it.next().await.map(|seen| seen.revision()), Ok(last));
    }

    #[tokio::test]
    async fn a_leadership_ends_with_the_time_that_is_let_pass() {
        let lives = Millis(60_000);
        let store = Modelled::new(1).with_leadership(lives);
        let epoch = store.lead("a").await.unwrap();
        store.pass(Millis(lives.0 / 2));
        assert_eq!(store.keep(epoch).await, Ok(()));
        store.pass(lives);
        assert_eq!(store.led_by().await, Ok(None));
        assert_eq!(store.keep(epoch).await, Err(LeadError::Lost));
        assert!(store.lead("b").await.unwrap() > epoch);
    }

    #[tokio::test]
    async fn a_page_is_cut_at_its_bytes_and_the_next_one_goes_on() {
        let store = Modelled::new(1);
        for n in 0..3 {
            let value = vec![n; PAGE_BYTES_MAX / 2];
            let put = store
                .write(Txn::default().put(format!("k{n}"), value))
                .await;
            assert!(matches!(put, Outcome::Applied { .. }));
        }
        let page = store.range(&KeyRange::prefix("k")).await.unwrap();
        assert_eq!((page.entries.len(), page.next.as_deref()), (1, Some("k0")));
        let (_, all) = crate::read_all(&store, "k").await.unwrap();
        assert_eq!(all.len(), 3);
    }
}
