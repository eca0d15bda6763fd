//! What a coordinator makes of a store that is led by others meanwhile, put back, half restored, slow, or out of its reach: it refuses to
//! lead, shows nothing, or goes on. The store is the model, with one thing odd about it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use proto::v1;
use storage::{ClusterMark, Storage};
use store::{
    Entry, KeyRange, LeadError, Leader, Modelled, Outcome, Page, ReadError, Revision, Status,
    Store, Txn, Watch,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use types::{Code, Epoch, Generation};

use crate::people::{People, caller, submission};
use crate::several::until;
use crate::world::{Running, START_TIMEOUT, World};

/// The number of the model.
pub(crate) const CLUSTER: u64 = 7;

/// What is odd.
pub(crate) enum Oddity {
    /// Whoever asks how far it has come is told, and then its leader goes on and marks that in storage.
    GoesOn(Storage),
    /// A restore begins, and its process dies, just before somebody leads.
    IsRestored,
    /// Nobody can renew the leadership any more once this is set.
    IsDeaf(AtomicBool),
    /// Nobody can read it while this is set.
    IsAway(AtomicBool),
    /// It tells when the leadership was given and given back.
    Tells(Mutex<Vec<Turn>>),
    /// Whoever asks how far it has come panics once this is set.
    Panics(AtomicBool),
    /// One read hangs for ever after somebody asked for the leadership in vain.
    Hangs(Hang),
    /// One write waits to be let go, once that is asked for.
    Holds(Hold),
}

/// A turn of the leadership.
pub(crate) enum Turn {
    Given(Instant),
    GivenBack(Instant),
}

/// A read that hangs.
#[derive(Default)]
pub(crate) struct Hang {
    armed: AtomicBool,
    hangs: AtomicBool,
}

/// A write that waits.
#[derive(Default)]
pub(crate) struct Hold {
    armed: AtomicBool,
    waits: AtomicBool,
    goes: Notify,
    outcome: Mutex<Option<Outcome>>,
    /// Renewals of the leadership so far.
    renewals: AtomicUsize,
}

/// The model, and what is odd about it.
pub(crate) struct Odd(Arc<Modelled>, pub(crate) Oddity);

impl Odd {
    pub(crate) fn new(oddity: Oddity) -> Arc<Self> {
        Self::view(Arc::new(Modelled::new(CLUSTER)), oddity)
    }

    /// How one coordinator finds a store that others find sound.
    fn view(store: Arc<Modelled>, oddity: Oddity) -> Arc<Self> {
        Arc::new(Self(store, oddity))
    }

    fn tell(&self, turn: Turn) {
        if let Oddity::Tells(told) = &self.1 {
            told.lock().unwrap().push(turn);
        }
    }

    fn check_there(&self) -> Result<(), ReadError> {
        let Oddity::IsAway(away) = &self.1 else {
            return Ok(());
        };
        let cause = "it is away".to_owned();
        match away.load(Ordering::Relaxed) {
            true => Err(ReadError::Unavailable { cause }),
            false => Ok(()),
        }
    }

    async fn hang(&self) {
        if let Oddity::Hangs(hang) = &self.1
            && hang.armed.swap(false, Ordering::Relaxed)
        {
            hang.hangs.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
    }

    /// The hold, where this is the write that waits.
    fn hold(&self) -> Option<&Hold> {
        let Oddity::Holds(hold) = &self.1 else {
            return None;
        };
        hold.armed.swap(false, Ordering::Relaxed).then_some(hold)
    }

    async fn put(&self, key: &str, value: &[u8]) {
        let put = self.0.write(Txn::default().put(key, value)).await;
        assert!(matches!(put, Outcome::Applied { .. }), "{put:?}");
    }
}

pub(crate) fn mark(cluster: u64, revision: u64) -> ClusterMark {
    ClusterMark {
        cluster,
        generation: Generation(1),
        revision,
    }
}

#[tonic::async_trait]
impl Store for Odd {
    async fn status(&self) -> Result<Status, ReadError> {
        if let Oddity::Panics(panics) = &self.1 {
            assert!(!panics.load(Ordering::Relaxed), "it panics on purpose");
        }
        self.check_there()?;
        let told = self.0.status().await?;
        if let Oddity::GoesOn(storage) = &self.1 {
            self.put("/elsewhere", b"").await;
            let later = self.0.status().await?.revision.0;
            storage.put_mark(mark(CLUSTER, later)).await.unwrap();
        }
        Ok(told)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        self.check_there()?;
        self.hang().await;
        self.0.get(key).await
    }

    async fn range(&self, range: &KeyRange) -> Result<Page, ReadError> {
        self.0.range(range).await
    }

    async fn write(&self, txn: Txn) -> Outcome {
        let Some(hold) = self.hold() else {
            return self.0.write(txn).await;
        };
        hold.waits.store(true, Ordering::Relaxed);
        hold.goes.notified().await;
        let outcome = self.0.write(txn).await;
        *hold.outcome.lock().unwrap() = Some(outcome.clone());
        outcome
    }

    async fn lead(&self, candidate: &str) -> Result<Epoch, LeadError> {
        if let Oddity::IsRestored = &self.1 {
            // Of generation 1 as 2, by no backup.
            let marker = scheduler::record::encode(&(1_u32, 2_u32));
            self.put("/restore", &marker).await;
        }
        let led = self.0.lead(candidate).await;
        match (&led, &self.1) {
            (Ok(_), _) => self.tell(Turn::Given(Instant::now())),
            (Err(_), Oddity::Hangs(hang)) => hang.armed.store(true, Ordering::Relaxed),
            (Err(_), _) => {}
        }
        led
    }

    async fn keep(&self, epoch: Epoch) -> Result<(), LeadError> {
        if let Oddity::IsDeaf(deaf) = &self.1
            && deaf.load(Ordering::Relaxed)
        {
            let cause = "it is deaf".to_owned();
            return Err(LeadError::Unavailable { cause });
        }
        if let Oddity::Holds(hold) = &self.1 {
            hold.renewals.fetch_add(1, Ordering::Relaxed);
        }
        self.0.keep(epoch).await
    }

    async fn resign(&self, epoch: Epoch) -> Result<(), LeadError> {
        let resigned = self.0.resign(epoch).await;
        if resigned.is_ok() {
            self.tell(Turn::GivenBack(Instant::now()));
        }
        resigned
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

/// Waits until something holds.
pub(crate) async fn come(holds: impl Fn() -> bool) {
    let over = Instant::now() + START_TIMEOUT;
    while !holds() {
        assert!(Instant::now() < over, "it does not come");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// With which code a coordinator ends by itself.
pub(crate) async fn ends(running: Running) -> Code {
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
async fn a_leader_that_can_no_longer_mark_because_of_a_bug_ends_and_says_so() {
    let (world, store) = (
        World::new(0),
        Odd::new(Oddity::Panics(AtomicBool::new(false))),
    );
    let running = world.start_on(store.clone(), "one").await;
    until(&running.channel().await, |said| said.here).await;
    let Oddity::Panics(panics) = &store.1 else {
        panic!("it is to panic");
    };
    panics.store(true, Ordering::Relaxed);
    assert_eq!(ends(running).await, Code::Internal);
    assert_eq!(store.led_by().await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_gone_since_it_was_opened_is_waited_for_at_a_start() {
    let away = Oddity::IsAway(AtomicBool::new(true));
    let (world, store) = (World::new(0), Odd::new(away));
    let running = world.start_on(store.clone(), "one").await;
    let channel = running.channel().await;
    let gone = Code::StoreUnavailable.as_str();
    until(&channel, |said| {
        !said.here && said.unready.starts_with(gone) && said.why.starts_with(gone)
    })
    .await;
    let Oddity::IsAway(away) = &store.1 else {
        panic!("it is away");
    };
    away.store(false, Ordering::Relaxed);
    until(&channel, |said| said.here && said.unready.is_empty()).await;
    running.stop().await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_waits_for_a_read_takes_up_the_leadership_that_it_is_given_meanwhile() {
    let (world, store) = (World::new(0), Arc::new(Modelled::new(CLUSTER)));
    let leads = world.start_on(store.clone(), "one").await;
    until(&leads.channel().await, |said| said.here).await;
    let slow = Odd::view(store, Oddity::Hangs(Hang::default()));
    let follows = world.start_on(slow.clone(), "other").await;
    let Oddity::Hangs(hang) = &slow.1 else {
        panic!("a read hangs");
    };
    come(|| hang.hangs.load(Ordering::Relaxed)).await;
    leads.stop().await.unwrap();
    until(&follows.channel().await, |said| said.here).await;
    follows.stop().await.unwrap();
}

/// Renewals that are waited for once the end was asked for: the first may have been due before it settles, and no two are on their way at once.
const RENEWALS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_keeps_the_leadership_while_a_write_is_on_its_way() {
    let (world, store) = (World::new(1), Odd::new(Oddity::Holds(Hold::default())));
    let running = world
        .start_on_with(store.clone(), "one", &["--drain-secs", "60"])
        .await;
    let channel = running.channel().await;
    until(&channel, |said| said.here).await;
    let mut people = People::new(channel);
    people.imported(&world.music()).await;
    let Oddity::Holds(hold) = &store.1 else {
        panic!("a write waits");
    };
    hold.armed.store(true, Ordering::Relaxed);
    let submitted = tokio::spawn(async move { people.jobs.submit_job(submission("r-1")).await });
    come(|| hold.waits.load(Ordering::Relaxed)).await;
    running.ask();
    let before = hold.renewals.load(Ordering::Relaxed);
    come(|| hold.renewals.load(Ordering::Relaxed) >= before + RENEWALS).await;
    hold.goes.notify_one();
    running.ended().await.unwrap();
    let outcome = hold.outcome.lock().unwrap().clone();
    assert!(
        matches!(outcome, Some(Outcome::Applied { .. })),
        "{outcome:?}"
    );
    assert_eq!(store.led_by().await, Ok(None));
    submitted.abort();
}
