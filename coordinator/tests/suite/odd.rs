//! What a coordinator makes of a store that is led by others meanwhile, put back, half restored, or out of its reach: it refuses to lead, or
//! shows nothing. The store is the model, with one thing odd about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use proto::v1;
use storage::{ClusterMark, Storage};
use store::{
    Entry, KeyRange, LeadError, Leader, Modelled, Outcome, Page, ReadError, Revision, Status,
    Store, Txn, Watch,
};
use tokio::time::timeout;
use types::{Code, Epoch, Generation};

use crate::people::{People, caller};
use crate::several::until;
use crate::world::{Running, START_TIMEOUT, World};

/// The number of the model.
const CLUSTER: u64 = 7;

/// What is odd.
enum Oddity {
    /// Whoever asks how far it has come is told, and then its leader goes on and marks that in storage.
    GoesOn(Storage),
    /// A restore begins, and its process dies, just before somebody leads.
    IsRestored,
    /// Nobody can renew the leadership any more once this is set.
    IsDeaf(AtomicBool),
}

struct Odd(Modelled, Oddity);

impl Odd {
    fn new(oddity: Oddity) -> Arc<Self> {
        Arc::new(Self(Modelled::new(CLUSTER), oddity))
    }

    async fn put(&self, key: &str, value: &[u8]) {
        let put = self.0.write(Txn::default().put(key, value)).await;
        assert!(matches!(put, Outcome::Applied { .. }), "{put:?}");
    }
}

fn mark(cluster: u64, revision: u64) -> ClusterMark {
    ClusterMark {
        cluster,
        generation: Generation(1),
        revision,
    }
}

#[tonic::async_trait]
impl Store for Odd {
    async fn status(&self) -> Result<Status, ReadError> {
        let told = self.0.status().await?;
        if let Oddity::GoesOn(storage) = &self.1 {
            self.put("/elsewhere", b"").await;
            let later = self.0.status().await?.revision.0;
            storage.put_mark(mark(CLUSTER, later)).await.unwrap();
        }
        Ok(told)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        self.0.get(key).await
    }

    async fn range(&self, range: &KeyRange) -> Result<Page, ReadError> {
        self.0.range(range).await
    }

    async fn write(&self, txn: Txn) -> Outcome {
        self.0.write(txn).await
    }

    async fn lead(&self, candidate: &str) -> Result<Epoch, LeadError> {
        if let Oddity::IsRestored = &self.1 {
            // Of generation 1 as 2, by no backup.
            let marker = scheduler::record::encode(&(1_u32, 2_u32));
            self.put("/restore", &marker).await;
        }
        self.0.lead(candidate).await
    }

    async fn keep(&self, epoch: Epoch) -> Result<(), LeadError> {
        match &self.1 {
            Oddity::IsDeaf(deaf) if deaf.load(Ordering::Relaxed) => Err(LeadError::Unavailable {
                cause: "it is deaf".to_owned(),
            }),
            Oddity::IsDeaf(_) | Oddity::GoesOn(_) | Oddity::IsRestored => self.0.keep(epoch).await,
        }
    }

    async fn resign(&self, epoch: Epoch) -> Result<(), LeadError> {
        self.0.resign(epoch).await
    }

    async fn led_by(&self) -> Result<Option<Leader>, ReadError> {
        self.0.led_by().await
    }

    async fn leader_other_than(&self, known: Option<Epoch>) -> Result<Option<Leader>, ReadError> {
        self.0.leader_other_than(known).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError> {
        self.0.watch(prefix, after).await
    }
}

/// With which code a coordinator ends by itself.
async fn ends(running: Running) -> Code {
    let ended = timeout(START_TIMEOUT, running.ended()).await;
    ended.expect("it ends").unwrap_err().code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_leader_goes_on_meanwhile_is_not_taken_for_an_older_one() {
    let world = World::new(0);
    let store = Odd::new(Oddity::GoesOn(world.storage()));
    let running = world.start_on(store, "one").await;
    until(&running.channel().await, |said| said.here).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_does_not_lead_a_store_that_was_put_back_while_it_followed() {
    let (world, store) = (World::new(0), Arc::new(Modelled::new(CLUSTER)));
    let leads = world.start_on(store.clone(), "one").await;
    until(&leads.channel().await, |said| said.here).await;
    let follows = world.start_on(store.clone(), "other").await;
    until(&follows.channel().await, |said| said.revision > 0).await;
    // Storage has seen more of the store than it holds.
    let seen = store.status().await.unwrap().revision.0 + 1_000_000;
    let put = world.storage().put_mark(mark(CLUSTER, seen)).await;
    put.unwrap();
    leads.stop().await.unwrap();
    assert_eq!(ends(follows).await, Code::StoreOlder);
    assert_eq!(store.led_by().await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_leads_a_store_whose_restore_has_not_ended_be_it_begun_at_the_last_moment() {
    let (world, store) = (World::new(0), Odd::new(Oddity::IsRestored));
    let running = world.start_on(store.clone(), "one").await;
    assert_eq!(ends(running).await, Code::RestoreUnfinished);
    assert_eq!(store.led_by().await, Ok(None));
    let (_, entries) = store::read_all(store.as_ref(), "/").await.unwrap();
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["/restore"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_clusters_that_begin_at_once_on_one_storage_no_two_go_on() {
    let world = World::new(0);
    let stores = [CLUSTER, CLUSTER + 1].map(|cluster| Arc::new(Modelled::new(cluster)));
    let [one, other] = world.start_at_once(stores).await;
    let either = async {
        tokio::select! {
            ended = one.ended() => ended,
            ended = other.ended() => ended,
        }
    };
    let ended = timeout(START_TIMEOUT, either).await.expect("one ends");
    assert_eq!(ended.unwrap_err().code, Code::StorageForeign);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_store_another_one_has_taken_the_place_of_ends() {
    let (world, store) = (World::new(0), Arc::new(Modelled::new(CLUSTER)));
    let running = world.start_on(store.clone(), "one").await;
    until(&running.channel().await, |said| said.here).await;
    let restored = ClusterMark {
        generation: Generation(2),
        ..mark(CLUSTER + 1, 1)
    };
    world.storage().put_mark(restored).await.unwrap();
    assert_eq!(ends(running).await, Code::StorageForeign);
    assert_eq!(store.led_by().await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_renew_shows_nothing_that_it_remembers() {
    let deaf = Oddity::IsDeaf(AtomicBool::new(false));
    let (world, store) = (World::new(0), Odd::new(deaf));
    let running = world.start_on(store.clone(), "one").await;
    let channel = running.channel().await;
    until(&channel, |said| said.here).await;
    let mut people = People::new(channel);
    let request = || v1::ListBundlesRequest { caller: caller() };
    assert!(people.bundles.list_bundles(request()).await.is_ok());
    let Oddity::IsDeaf(deaf) = &store.1 else {
        panic!("it is deaf");
    };
    deaf.store(true, Ordering::Relaxed);
    let over = Instant::now() + START_TIMEOUT;
    let refused = loop {
        match people.bundles.list_bundles(request()).await {
            Err(status) => break status,
            Ok(_) => assert!(Instant::now() < over, "it still shows them"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(proto::problem::code(&refused), Some(Code::NotLeader));
    deaf.store(false, Ordering::Relaxed);
    running.stop().await.unwrap();
}
