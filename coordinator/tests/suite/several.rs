//! Several coordinators on one store, in this process: who answers what, and how the leadership goes from one to another. What only real
//! processes and a real etcd show is in `etcd`.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::admin_client::AdminClient;
use store::{Modelled, Store};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use types::{Code, Epoch};

use crate::agent::{Agent, brief};
use crate::people::{People, caller, submission};
use crate::world::{Running, START_TIMEOUT, World};

const TRACKS: usize = 40;

/// Who leads, as a coordinator says; nobody where it does not answer.
pub(crate) async fn leader(channel: Channel) -> v1::GetLeaderResponse {
    let request = v1::GetLeaderRequest { caller: caller() };
    let answer = AdminClient::new(channel).get_leader(request).await;
    answer.map(tonic::Response::into_inner).unwrap_or_default()
}

/// Asks a coordinator who leads until the answer is as wanted.
pub(crate) async fn until(
    channel: &Channel,
    wanted: impl Fn(&v1::GetLeaderResponse) -> bool,
) -> v1::GetLeaderResponse {
    let over = Instant::now() + START_TIMEOUT;
    loop {
        let said = leader(channel.clone()).await;
        if wanted(&said) {
            return said;
        }
        assert!(Instant::now() < over, "it says {said:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A coordinator that leads and one that follows it.
struct Pair {
    world: World,
    store: Arc<Modelled>,
    leads: Running,
    follows: Running,
}

impl Pair {
    async fn new() -> Self {
        let (world, store) = (World::new(TRACKS), Arc::new(Modelled::new(7)));
        let leads = world.start_on(store.clone(), "one").await;
        until(&leads.channel().await, |said| said.here).await;
        let follows = world.start_on(store.clone(), "other").await;
        until(&follows.channel().await, |said| said.revision > 0).await;
        Self {
            world,
            store,
            leads,
            follows,
        }
    }

    /// The job of a catalog that is just imported.
    async fn job(&self) -> String {
        let mut people = People::new(self.leads.channel().await);
        people.imported(&self.world.music()).await;
        people.submit("r-1").await.job.unwrap().spec.unwrap().job
    }
}

/// Messages that say nothing.
struct Nothing;

impl Encoder for Nothing {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Nothing {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, _: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        Ok(None)
    }
}

impl Codec for Nothing {
    type Encode = ();
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

/// Where a refused writer is pointed to.
fn pointed(refused: Result<impl std::fmt::Debug, Status>) -> String {
    let status = refused.unwrap_err();
    assert_eq!(proto::problem::code(&status), Some(Code::NotLeader));
    proto::problem::leader(&status).unwrap()
}

pub(crate) fn get(job: &str) -> v1::GetJobRequest {
    v1::GetJobRequest {
        caller: caller(),
        job: job.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_through_the_leader_is_read_from_a_follower_at_once() {
    let pair = Pair::new().await;
    let mut here = People::new(pair.leads.channel().await);
    let mut there = People::new(pair.follows.channel().await);
    for round in 0..3 {
        here.imported(&pair.world.music()).await;
        let listed = v1::ListCatalogsRequest {
            caller: caller(),
            ..v1::ListCatalogsRequest::default()
        };
        let listed = there.catalogs.list_catalogs(listed).await.unwrap();
        assert_eq!(listed.into_inner().catalogs[0].name, "music");
        let answer = here.submit(&format!("r-{round}")).await;
        let job = answer.job.unwrap().spec.unwrap().job;
        let seen = there.jobs.get_job(get(&job)).await.unwrap().into_inner();
        assert_eq!(seen.job.unwrap().spec.unwrap().job, job);
        let pause = v1::PauseJobRequest {
            caller: caller(),
            job: job.clone(),
        };
        here.jobs.pause_job(pause).await.unwrap();
        let seen = there.jobs.get_job(get(&job)).await.unwrap().into_inner();
        assert_eq!(seen.job.unwrap().state(), v1::JobState::Paused);
    }
    let bundles = v1::ListBundlesRequest { caller: caller() };
    let bundles = there
        .bundles
        .list_bundles(bundles)
        .await
        .unwrap()
        .into_inner()
        .bundles;
    assert!(bundles[0].default, "{bundles:?}");
    pair.follows.stop().await.unwrap();
    pair.leads.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_points_writers_and_those_who_ask_for_what_only_the_leader_knows() {
    let pair = Pair::new().await;
    let job = pair.job().await;
    let mut there = People::new(pair.follows.channel().await);
    let leader = format!("http://{}", pair.leads.address);
    let submitted = there.jobs.submit_job(submission("r-2")).await;
    assert_eq!(pointed(submitted), leader);
    let imported = there.import(crate::people::import("/nowhere")).await;
    assert_eq!(pointed(imported), leader);
    let listed = there
        .nodes
        .list_nodes(v1::ListNodesRequest { caller: caller() })
        .await;
    assert_eq!(pointed(listed), leader);
    let explain = v1::ExplainJobRequest {
        caller: caller(),
        job,
        shard: String::new(),
    };
    assert_eq!(pointed(there.jobs.explain_job(explain).await), leader);
    let channel = pair.follows.channel().await;
    let joined = Agent::new(channel, pair.world.storage(), "n1").join().await;
    assert_eq!(pointed(joined), leader);
    pair.follows.stop().await.unwrap();
    pair.leads.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_hands_over_and_what_was_made_under_it_counts() {
    let pair = Pair::new().await;
    let job = pair.job().await;
    let mut agent = Agent::new(pair.leads.channel().await, pair.world.storage(), "n1");
    agent.join().await.unwrap();
    let pulled = agent.pull(16).await.unwrap();
    let grant = &pulled.grants[0];
    let offer = agent.make(brief(&pulled, grant), grant).await;

    pair.leads.stop().await.unwrap();
    let channel = pair.follows.channel().await;
    until(&channel, |said| said.here).await;
    agent.reconnect(channel.clone());
    agent.beat(&pulled.grants).await.unwrap();
    let counted = agent.commit(offer).await.unwrap();
    assert_eq!(counted.outcome(), v1::CommitOutcome::Counted);
    agent.work().await;

    let mut people = People::new(channel);
    let told = people.watch(&job).await;
    assert_eq!(told.last().unwrap().state(), v1::JobState::Published);
    let (findings, done) = people.verify(&job).await;
    assert_eq!((findings, done.rows_found), (Vec::new(), TRACKS as u64));
    pair.follows.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_watched_to_its_end_at_a_follower() {
    let pair = Pair::new().await;
    let job = pair.job().await;
    let mut there = People::new(pair.follows.channel().await);
    let watched = tokio::spawn(async move { there.watch(&job).await });
    let mut agent = Agent::new(pair.leads.channel().await, pair.world.storage(), "n1");
    agent.join().await.unwrap();
    agent.work().await;
    let told = watched.await.unwrap();
    assert_eq!(told.last().unwrap().state(), v1::JobState::Published);
    assert!(told.is_sorted_by_key(|job| job.revision));
    pair.follows.stop().await.unwrap();
    pair.leads.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_epoch_is_over_follows_in_the_same_process() {
    let pair = Pair::new().await;
    let (one, other) = (pair.leads.channel().await, pair.follows.channel().await);
    let old = leader(one.clone()).await.epoch;
    pair.store.resign(Epoch(old)).await.unwrap();
    // Either may lead next; both know, and the other follows.
    let ended = |said: &v1::GetLeaderResponse| said.epoch > old && said.revision > 0;
    let (first, second) = (until(&one, ended).await, until(&other, ended).await);
    assert_eq!((first.epoch, &first.leader), (second.epoch, &second.leader));
    assert!(first.here ^ second.here, "{first:?} {second:?}");
    let led = if first.here { one } else { other };
    let mut people = People::new(led);
    people.imported(&pair.world.music()).await;
    people.submit("r-1").await;
    pair.follows.stop().await.unwrap();
    pair.leads.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_hands_over_while_a_call_is_still_under_way() {
    let pair = Pair::new().await;
    let channel = pair.leads.channel().await;
    // A call whose request never ends: it is under way until the drain is over.
    let (goes, gone) = tokio::sync::oneshot::channel();
    let mut goes = Some(goes);
    let endless = futures::stream::poll_fn(move |_| {
        if let Some(goes) = goes.take() {
            goes.send(()).unwrap();
        }
        Poll::<Option<()>>::Pending
    });
    let mut client = tonic::client::Grpc::new(channel.clone());
    let begun = tokio::spawn(async move {
        client.ready().await.unwrap();
        let path = "/trackscan.v1.Jobs/GetJob".parse().unwrap();
        let answer = client.client_streaming(tonic::Request::new(endless), path, Nothing);
        answer.await.map(drop)
    });
    gone.await.unwrap();
    // A call behind it on the same connection is answered: the server has both.
    until(&channel, |said| said.here).await;
    pair.leads.ask();
    until(&pair.follows.channel().await, |said| said.here).await;
    assert!(
        !pair.leads.has_ended(),
        "the call keeps nobody from leading"
    );
    begun.abort();
    pair.leads.stop().await.unwrap();
    pair.follows.stop().await.unwrap();
}
