//! A store of a cluster that is gone, full, or not there yet: callers hear that and not merely that nobody leads, whichever coordinator they ask,
//! and all goes on by itself once it is back. The etcd is real; coordinators are processes.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use proto::v1;
use tonic::transport::Channel;
use tonic::{Response, Status};
use types::Code;

use crate::agent::brief;
use crate::etcd::Shared;
use crate::full::{is_full_store, reasons};
use crate::people::{People, caller, submission};
use crate::several::{get, leader, until};
use crate::world::{START_TIMEOUT, World};

/// Whether nobody leads, for a reason with this code.
fn says(said: &v1::GetLeaderResponse, code: Code) -> bool {
    !said.here && said.leader.is_empty() && is_of(&said.why, code)
}

fn is_of(told: &str, code: Code) -> bool {
    told.split(':').next() == Some(code.as_str())
}

/// The refusal names the code, and sends whoever asked to another coordinator.
#[track_caller]
fn check<T: std::fmt::Debug>(answer: Result<Response<T>, Status>, code: Code) {
    let refused = answer.unwrap_err();
    assert_eq!(proto::problem::code(&refused), Some(code), "{refused}");
    assert_eq!(proto::problem::leader(&refused).as_deref(), Some(""));
}

/// Only the leader answers these.
async fn check_leader_only(channel: &Channel, job: &str, code: Code) {
    let mut people = People::new(channel.clone());
    check(people.jobs.submit_job(submission("r-9")).await, code);
    let request = v1::ExplainJobRequest {
        caller: caller(),
        job: job.to_owned(),
        shard: String::new(),
    };
    check(people.jobs.explain_job(request).await, code);
    let request = v1::ListNodesRequest { caller: caller() };
    check(people.nodes.list_nodes(request).await, code);
}

/// Whichever of these leads.
async fn leading(channels: &[Channel]) -> Channel {
    let over = Instant::now() + START_TIMEOUT;
    loop {
        for channel in channels {
            if leader(channel.clone()).await.here {
                return channel.clone();
            }
        }
        assert!(Instant::now() < over, "nobody leads");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_etcd_is_gone_every_coordinator_says_so_and_the_job_ends_once_it_is_back() {
    let mut shared = Shared::new().await;
    let (leads, follows) = shared.pair().await;
    let begun = shared.begun(leads.channel().await).await;
    let channels = [leads.channel().await, follows.channel().await];
    shared.etcd.kill(0);
    for channel in &channels {
        let gone = |said: &v1::GetLeaderResponse| says(said, Code::StoreUnavailable);
        until(channel, gone).await;
        check_leader_only(channel, &begun.0, Code::StoreUnavailable).await;
        let read = People::new(channel.clone())
            .jobs
            .get_job(get(&begun.0))
            .await;
        check(read, Code::StoreUnavailable);
    }
    shared.etcd.restart(0).await;
    let channel = leading(&channels).await;
    until(&channel, |said| {
        said.why.is_empty() && said.unready.is_empty()
    })
    .await;
    shared.ends(channel, begun).await;
    assert!(leads.terminate() && follows.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_starts_on_a_full_etcd_says_so_and_the_job_ends_once_there_is_room() {
    let shared = Shared::new().await;
    let first = shared.spawn("one");
    let channel = first.channel().await;
    until(&channel, |said| said.here).await;
    let begun = shared.begun(channel).await;
    assert!(first.terminate());
    shared.etcd.raise_alarm(0).await;
    let one = shared.spawn("one");
    let channel = one.channel().await;
    let full = |said: &v1::GetLeaderResponse| says(said, Code::StoreFull) && said.revision > 0;
    until(&channel, full).await;
    check_leader_only(&channel, &begun.0, Code::StoreFull).await;
    // A full store reads, and so does who follows it.
    let read = People::new(channel.clone()).job(&begun.0).await;
    assert_eq!(read.state(), v1::JobState::Running);
    shared.etcd.lower_alarm(0).await;
    until(&channel, |said| said.here && said.why.is_empty()).await;
    shared.ends(channel, begun).await;
    assert!(one.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_etcd_is_full_leads_on_says_why_nothing_moves_and_the_job_ends_once_there_is_room()
 {
    let shared = Shared::new().await;
    let (leads, follows) = shared.pair().await;
    let channel = leads.channel().await;
    let reign = leader(channel.clone()).await;
    let (job, mut agent, pulled) = shared.begun(channel.clone()).await;
    let grant = &pulled.grants[0];
    let part = agent.make(brief(&pulled, grant), grant).await;

    shared.etcd.raise_alarm(0).await;
    let mut people = People::new(channel.clone());
    let over = Instant::now() + START_TIMEOUT;
    // What the core gives up it forgets after a while, and hears of again with the next refusal.
    loop {
        check_full(agent.commit(part.clone()).await);
        let why = reasons(&mut people, &job).await;
        if why.iter().any(is_full_store) {
            break;
        }
        assert!(Instant::now() < over, "it says {why:?}");
    }
    check_full(agent.pull(16).await);
    // Beats change no record, and no leadership ends: nobody could begin another one.
    agent.beat(&pulled.grants).await.unwrap();
    assert_eq!(people.job(&job).await.tracks_done, 0);
    let said = leader(channel.clone()).await;
    assert!(said.here && said.epoch == reign.epoch, "{said:?}");
    let follows_on = |said: &v1::GetLeaderResponse| !said.here && said.epoch == reign.epoch;
    until(&follows.channel().await, follows_on).await;

    shared.etcd.lower_alarm(0).await;
    shared
        .ends(channel.clone(), (job.clone(), agent, pulled))
        .await;
    assert_eq!(leader(channel).await.epoch, reign.epoch);
    let why = reasons(&mut people, &job).await;
    assert!(!why.iter().any(is_full_store), "{why:?}");
    assert!(leads.terminate() && follows.terminate());
}

/// The leader refuses it since its store is full.
#[track_caller]
fn check_full<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let refused = answer.unwrap_err();
    assert_eq!(
        proto::problem::code(&refused),
        Some(Code::StoreFull),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_starts_while_etcd_is_away_says_so_and_leads_once_it_is_there() {
    let mut shared = Shared::new().await;
    shared.etcd.kill(0);
    let one = shared.spawn("one");
    let channel = one.channel().await;
    let said = until(&channel, |said| says(said, Code::StoreUnavailable)).await;
    assert!(is_of(&said.unready, Code::StoreUnavailable), "{said:?}");
    check_leader_only(&channel, "1", Code::StoreUnavailable).await;
    shared.etcd.restart(0).await;
    until(&channel, |said| said.here && said.unready.is_empty()).await;
    assert!(one.terminate());
}

/// Where somebody takes connections and closes them without a word, for as long as the test lasts.
fn whoever_closes() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_closes_plain_connections_is_waited_for_until_the_end_is_asked_for() {
    let world = World::new(0);
    let mut flags = world.among_others("one");
    flags.extend(["--store", "etcd", "--etcd-endpoint"].map(str::to_owned));
    flags.push(whoever_closes());
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let one = world.spawn(&flags);
    let gone = |said: &v1::GetLeaderResponse| says(said, Code::StoreUnavailable);
    until(&one.channel().await, gone).await;
    assert!(one.terminate());
}
