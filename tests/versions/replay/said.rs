//! What the version before asks of this one: each question that was recorded, byte for byte, against the records that it is about, and an
//! agent amid its session. Each answer is read by the words of the version before.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use prost::Message;
use proto::v1;
use tonic::Status;
use types::Code;

use crate::raw::Raw;
use crate::words::{method, read, theirs, told, unknown_values};
use crate::{exchanges, site, taken_over};

/// Questions that change nothing, so that they can be asked again: by method, fields of the recorded answer that another moment does not
/// have. A node that has not beaten since a coordinator began has no last beat.
const QUESTIONS: [(&str, &[&str]); 17] = [
    ("Bundles/GetBundle", &[]),
    ("Bundles/ListBundles", &[]),
    ("Catalogs/GetCatalog", &[]),
    ("Catalogs/ListCatalogs", &[]),
    ("Catalogs/ListRejected", &[]),
    ("Jobs/ExplainJob", &[]),
    ("Jobs/GetJob", &[]),
    ("Jobs/ListJobs", &[]),
    ("Jobs/WatchJob", &[]),
    ("Nodes/GetNode", &["node.last_beat_ms"]),
    ("Nodes/ListNodes", &["nodes.last_beat_ms"]),
    ("Nodes/ListRevocations", &[]),
    ("Results/Export", &[]),
    ("Results/GetRow", &[]),
    ("Results/ListRows", &[]),
    ("Results/Summarize", &[]),
    ("Results/Verify", &[]),
];

/// The answer as the version before reads it: no word in it is strange, and none is missing that it used to be told.
fn check(path: &str, recorded: &[u8], answer: &[u8], absent: &[&str]) {
    let words = method(&theirs(), path).output();
    let (recorded, answer) = (read(words.clone(), recorded), read(words, answer));
    assert_eq!(unknown_values(&answer), [""; 0], "{path}");
    let (wanted, found) = (told(&recorded), told(&answer));
    let mut missing = wanted.difference(&found);
    let gone = missing.find(|field| !absent.contains(&field.as_str()));
    assert_eq!(gone, None, "{path}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_of_the_version_before_is_answered_in_its_own_words() {
    let site = site();
    let (_, coordinator) = taken_over(&site);
    let raw = Raw::to(coordinator.address).await;
    let questions: BTreeMap<_, _> = QUESTIONS.into();
    let mut asked = BTreeMap::new();
    for call in exchanges() {
        let name = call.method.trim_start_matches("/trackscan.v1.");
        let Some(absent) = questions.get(name).filter(|_| call.status == Some(0)) else {
            continue;
        };
        let request = hex::decode(&call.request).unwrap();
        let answers = raw.call(&call.method, &request).await;
        let answers = answers.unwrap_or_else(|why| panic!("{name}: {why}"));
        let (first, last) = (answers.first(), answers.last());
        let recorded = call.answers.first().zip(call.answers.last());
        if let Some((recorded, (first, last))) = recorded.zip(first.zip(last)) {
            check(
                &call.method,
                &hex::decode(recorded.0).unwrap(),
                first,
                absent,
            );
            check(
                &call.method,
                &hex::decode(recorded.1).unwrap(),
                last,
                absent,
            );
        }
        asked.insert(name.to_owned(), ());
    }
    assert_eq!(asked.len(), questions.len(), "{asked:?}");
}

/// The last request of a method that was answered.
fn last(name: &str) -> (String, Vec<u8>) {
    let path = format!("/trackscan.v1.Agents/{name}");
    let mut calls = exchanges().into_iter().rev();
    let call = calls.find(|call| call.method == path && call.status == Some(0));
    (path, hex::decode(call.unwrap().request).unwrap())
}

/// Sends what an agent of the version before said, and gives the answer as it reads it.
async fn said(raw: &Raw, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (path, mut request) = last(name);
    change(&mut request);
    let answers = raw.call(&path, &request).await.unwrap();
    let answer = answers.first().unwrap();
    let words = method(&theirs(), &path).output();
    assert_eq!(unknown_values(&read(words, answer)), [""; 0], "{name}");
    answer.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_the_version_before_goes_on_amid_its_session_and_its_parts_still_count() {
    let site = site();
    let (_, coordinator) = taken_over(&site);
    let raw = Raw::to(coordinator.address).await;
    let committed = said(&raw, "Commit", |_| {}).await;
    let committed = v1::CommitResponse::decode(committed.as_slice()).unwrap();
    assert_eq!(committed.outcome(), v1::CommitOutcome::DoneAlready);
    let beaten = said(&raw, "Beat", |request| {
        let mut beat = v1::BeatRequest::decode(request.as_slice()).unwrap();
        beat.beat += 1;
        assert!(!beat.held.is_empty(), "a grant was in hand");
        *request = beat.encode_to_vec();
    });
    let beaten = v1::BeatResponse::decode(beaten.await.as_slice()).unwrap();
    let goes_on = |order: &v1::GrantOrder| {
        let order = order.order.as_ref();
        let order = order.and_then(|order| order.order.as_ref());
        matches!(order, Some(v1::order::Order::Continue(_)))
    };
    assert!(beaten.orders.iter().any(goes_on), "{beaten:?}");
    let again = said(&raw, "Pull", |_| {}).await;
    let again = v1::PullResponse::decode(again.as_slice()).unwrap();
    let (_, pull) = last("Pull");
    assert_eq!(
        again.pull,
        v1::PullRequest::decode(pull.as_slice()).unwrap().pull
    );
    let session = v1::BeatRequest::decode(last("Beat").1.as_slice()).unwrap();
    said(&raw, "Leave", |request| {
        let mut leave = v1::LeaveRequest::decode(request.as_slice()).unwrap();
        (leave.node, leave.session) = (session.node, session.session);
        *request = leave.encode_to_vec();
    })
    .await;
    let joined = said(&raw, "Join", |_| {}).await;
    let joined = v1::JoinResponse::decode(joined.as_slice()).unwrap();
    assert_eq!(joined.version, types::VERSION);
}

/// Joins as the recorded agent did, but under another version.
async fn join_as(address: SocketAddr, version: &str) -> Result<(), Status> {
    let mut join = v1::JoinRequest::decode(last("Join").1.as_slice()).unwrap();
    join.version = version.to_owned();
    let mut agents = Raw::to(address).await.agents();
    agents.join(join).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_two_versions_back_is_refused_and_told_what_to_install() {
    let site = site();
    let (_, coordinator) = taken_over(&site);
    let refused = join_as(coordinator.address, "0.0.9").await.unwrap_err();
    let problem = proto::problem::problem(&refused);
    assert_eq!(problem.code, Code::VersionMismatch.as_str());
    for part in [
        "`0.0.9`",
        types::VERSION,
        types::VERSION_BEFORE,
        "put one of these on the node",
    ] {
        assert!(problem.cause.contains(part), "{}", problem.cause);
    }
    assert_eq!(problem.fix, Code::VersionMismatch.fix());
    join_as(coordinator.address, types::VERSION_BEFORE)
        .await
        .unwrap();
}
