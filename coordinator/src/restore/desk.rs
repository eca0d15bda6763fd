//! The writes of a restore: puts and removals gathered into guarded transactions, each repeated until it is known to have happened. All of
//! them compare the leadership and the restore's own record, so that none of another run, or of this one later, lands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use store::{Compare, KeyRange, NotAppliedCause, Op, Outcome, Refusal, Revision, Store, Txn};
use types::{Code, Epoch, Generation, Problem};

use super::marker::{MARKER, Marker, unfinished};
use crate::shelf::read_problem;

/// Changes in one transaction, below what a store takes.
const OPS_MAX: usize = 100;
/// Bytes of keys and values in one transaction, beside one record that takes it beyond: a record has 32 KiB at most.
const BYTES_MAX: usize = 1024 * 1024;
/// Tries at one transaction, with the waits between them about a minute: a store that has no room or does not answer for longer needs
/// its operator, who runs the restore again.
const TRIES_MAX: u32 = 20;
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Where a restore writes.
pub(super) struct Desk {
    store: Arc<dyn Store>,
    epoch: Epoch,
    marker: Marker,
    stands_at: Revision,
    /// Values to put; none removes.
    pending: BTreeMap<String, Option<Vec<u8>>>,
    bytes: usize,
}

impl Desk {
    /// Says in the store that this restore goes on from now; what an earlier run of it has under way can no longer land.
    pub(super) async fn begin(
        store: Arc<dyn Store>,
        epoch: Epoch,
        marker: Marker,
    ) -> Result<Self, Problem> {
        let value = marker.encoded();
        let txn = Txn::under(epoch).put(MARKER, value);
        let stands_at = settle(store.as_ref(), &txn).await;
        let stands_at = stands_at?.ok_or_else(|| lost("begin"))?;
        Ok(Self {
            store,
            epoch,
            marker,
            stands_at,
            pending: BTreeMap::new(),
            bytes: 0,
        })
    }

    /// Puts a record, at the latest with the next [`Desk::flush`].
    pub(super) async fn put(&mut self, key: String, value: Vec<u8>) -> Result<(), Problem> {
        self.change(key, Some(value)).await
    }

    /// Removes every key under a prefix.
    pub(super) async fn clear(&mut self, prefix: &str) -> Result<(), Problem> {
        self.flush().await?;
        let mut range = KeyRange::prefix(prefix);
        loop {
            let page = self.store.range(&range).await;
            let page = page.map_err(|error| read_problem(prefix, &error))?;
            for entry in &page.entries {
                self.change(entry.key.clone(), None).await?;
            }
            self.flush().await?;
            match page.next {
                // Read anew: the revision of the page before may go at any time.
                Some(after) => range.after = Some(after),
                None => return Ok(()),
            }
        }
    }

    async fn change(&mut self, key: String, value: Option<Vec<u8>>) -> Result<(), Problem> {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.pending.insert(key, value);
        match self.pending.len() >= OPS_MAX || self.bytes >= BYTES_MAX {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Writes what is pending.
    pub(super) async fn flush(&mut self) -> Result<(), Problem> {
        let pending = std::mem::take(&mut self.pending);
        self.bytes = 0;
        if pending.is_empty() {
            return Ok(());
        }
        let ops = pending.into_iter().map(|(key, value)| match value {
            Some(value) => Op::Put { key, value },
            None => Op::Delete { key },
        });
        let mut txn = self.txn();
        txn.ops.extend(ops);
        match settle(self.store.as_ref(), &txn).await? {
            Some(_) => Ok(()),
            None => Err(unfinished("write a record", &self.marker)),
        }
    }

    /// The last write: the new generation is the store's, and the restore is over.
    pub(super) async fn finish(mut self, key: &str, generation: Vec<u8>) -> Result<(), Problem> {
        self.flush().await?;
        let txn = self.txn().put(key, generation).delete(MARKER);
        match settle(self.store.as_ref(), &txn).await? {
            Some(_) => Ok(()),
            // Its own record is gone: either this write had happened and its answer was lost, or another restore came to its end.
            None => match super::marker::read(self.store.as_ref()).await? {
                None => Ok(()),
                Some((other, _)) => Err(unfinished("finish the restore", &other)),
            },
        }
    }

    fn txn(&self) -> Txn {
        let mut txn = Txn::under(self.epoch);
        txn.compares.push(Compare::At {
            key: MARKER.to_owned(),
            revision: self.stands_at,
        });
        txn
    }
}

/// Removes what stands of other generations, once the new one is the store's. Whatever is left of them is read by nobody.
pub(super) async fn sweep(
    store: &dyn Store,
    epoch: Epoch,
    new: Generation,
) -> Result<u64, Problem> {
    let keep = [
        format!("/{:010}/", new.0),
        crate::shelf::prefix(new),
        crate::shelf::GENERATION.to_owned(),
    ];
    let mut range = KeyRange::prefix("/");
    range.limit = OPS_MAX;
    let mut removed = 0;
    loop {
        let page = store.range(&range).await;
        let page = page.map_err(|error| read_problem("what stood before", &error))?;
        let old = page.entries.iter().map(|entry| &entry.key);
        let old = old.filter(|key| !keep.iter().any(|keep| key.starts_with(keep)));
        let txn = old.fold(Txn::under(epoch), |txn, key| txn.delete(key.clone()));
        removed += txn.ops.len() as u64;
        if !txn.ops.is_empty() {
            settle(store, &txn).await?;
        }
        match page.next {
            Some(after) => range.after = Some(after),
            None => return Ok(removed),
        }
    }
}

/// Repeats a transaction until it is known what became of it: the revision at which it happened, or none where a record was not as
/// compared. To repeat it is harmless: it puts the same again.
async fn settle(store: &dyn Store, txn: &Txn) -> Result<Option<Revision>, Problem> {
    let (mut tries, mut wait) = (1, WAIT_FIRST);
    loop {
        let problem = match store.write(txn.clone()).await {
            Outcome::Applied { revision } => return Ok(Some(revision)),
            Outcome::Refused(Refusal::Key(_)) => return Ok(None),
            Outcome::Refused(Refusal::Epoch) => return Err(lost("write a record")),
            Outcome::NotApplied(NotAppliedCause::Invalid(error)) => {
                return Err(Problem::of(Code::Internal, &error));
            }
            Outcome::NotApplied(NotAppliedCause::Full { cause }) => {
                Problem::new(Code::StoreFull, format!("write a record: {cause}"))
            }
            Outcome::NotApplied(NotAppliedCause::Unavailable { cause })
            | Outcome::Unknown { cause } => {
                Problem::new(Code::StoreUnavailable, format!("write a record: {cause}"))
            }
        };
        if tries >= TRIES_MAX {
            return Err(problem);
        }
        tracing::warn!(%problem, tries, "a write is tried again");
        tokio::time::sleep(wait).await;
        (tries, wait) = (tries + 1, (wait * 2).min(WAIT_MAX));
    }
}

fn lost(what: &str) -> Problem {
    let said = format!("{what}: the leadership of this restore is over; another process leads");
    Problem::new(Code::NotLeader, said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::check_finished;
    use crate::shelf::GENERATION;
    use scheduler::record::encode;
    use store::Modelled;

    const NEW: Generation = Generation(2);

    fn marker() -> Marker {
        Marker {
            old: Generation(1),
            new: NEW,
            backup: None,
        }
    }

    async fn begun(store: &Arc<dyn Store>, epoch: Epoch) -> Desk {
        Desk::begin(store.clone(), epoch, marker()).await.unwrap()
    }

    #[tokio::test]
    async fn no_coordinator_starts_from_a_restore_s_first_write_to_its_last() {
        let store: Arc<dyn Store> = Arc::new(Modelled::new(7));
        let epoch = store.lead("restore").await.unwrap();
        let refused = async || check_finished(store.as_ref()).await.map_err(|p| p.code);
        assert_eq!(refused().await, Ok(()));
        let mut desk = begun(&store, epoch).await;
        assert_eq!(refused().await, Err(Code::RestoreUnfinished));
        desk.put("/0000000002/a/job/j".to_owned(), vec![1])
            .await
            .unwrap();
        desk.finish(GENERATION, encode(&NEW)).await.unwrap();
        assert_eq!(refused().await, Ok(()));
        let found = crate::mirror::generation(store.as_ref()).await.unwrap();
        assert_eq!(found, Some(NEW));
    }

    #[tokio::test]
    async fn what_an_earlier_run_has_under_way_can_no_longer_land() {
        let store: Arc<dyn Store> = Arc::new(Modelled::new(7));
        let epoch = store.lead("restore").await.unwrap();
        let mut first = begun(&store, epoch).await;
        first
            .put("/0000000002/a/job/old".to_owned(), vec![1])
            .await
            .unwrap();
        let mut second = begun(&store, epoch).await;
        let late = first.flush().await.unwrap_err();
        assert_eq!(late.code, Code::RestoreUnfinished);
        second
            .put("/0000000002/a/job/new".to_owned(), vec![1])
            .await
            .unwrap();
        second.flush().await.unwrap();
        let (_, entries) = store::read_all(store.as_ref(), "/0000000002/")
            .await
            .unwrap();
        assert_eq!(entries.len(), 1);
    }

    #[tokio::test]
    async fn what_stood_in_other_generations_goes_and_nothing_else() {
        let store: Arc<dyn Store> = Arc::new(Modelled::new(7));
        let epoch = store.lead("restore").await.unwrap();
        let mut desk = begun(&store, epoch).await;
        let old = (0..250).map(|n| format!("/0000000001/a/shard/j/{n:010}"));
        let kept = [
            "/0000000002/a/job/j",
            "/shelf/0000000002/source/s",
            GENERATION,
        ];
        let keys = old.chain(kept.map(str::to_owned));
        for key in keys.chain(["/shelf/0000000001/source/s".to_owned()]) {
            desk.put(key, vec![1]).await.unwrap();
        }
        desk.flush().await.unwrap();
        desk.clear("/0000000001/a/shard/j/").await.unwrap();
        desk.finish(GENERATION, encode(&NEW)).await.unwrap();
        assert_eq!(sweep(store.as_ref(), epoch, NEW).await.unwrap(), 1);
        let (_, left) = store::read_all(store.as_ref(), "/").await.unwrap();
        let left: Vec<_> = left.into_iter().map(|entry| entry.key).collect();
        assert_eq!(left, kept);
    }
}
