//! What the client makes of answers, and how it joins coordinators of either version, which the tests play.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use types::Problem;
use v1::agents_server::{Agents, AgentsServer};

use super::*;

/// A coordinator that takes agents of one version alone, and notes under which they come.
#[derive(Clone, Default)]
struct Picky {
    takes: String,
    came: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl Agents for Picky {
    async fn join(
        &self,
        call: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let version = call.into_inner().version;
        self.came.lock().unwrap().push(version.clone());
        if version != self.takes {
            let problem = Problem::new(Code::VersionMismatch, "join another version");
            return Err(proto::problem::status(&problem));
        }
        Ok(Response::new(v1::JoinResponse {
            session: 5,
            ..v1::JoinResponse::default()
        }))
    }

    async fn pull(
        &self,
        _: Request<v1::PullRequest>,
    ) -> Result<Response<v1::PullResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn beat(
        &self,
        _: Request<v1::BeatRequest>,
    ) -> Result<Response<v1::BeatResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn commit(
        &self,
        _: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn leave(
        &self,
        _: Request<v1::LeaveRequest>,
    ) -> Result<Response<v1::LeaveResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }
}

/// Joins a coordinator that takes one version alone: what came of it, and the versions under which it was tried.
async fn joined(takes: &str) -> (Result<Joined, CallError>, Vec<String>) {
    let picky = Picky {
        takes: takes.to_owned(),
        ..Picky::default()
    };
    let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = Server::builder().add_service(AgentsServer::new(picky.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    let known = Coordinators::parse("coordinator", &address.to_string()).unwrap();
    let node = NodeId::new("n").unwrap();
    let client = GrpcCoordinator::new(known, node, Vec::new(), FleetClock::default()).unwrap();
    let introduction = Introduction {
        devices: Vec::new(),
        stages: vec![Stage::Decode, Stage::Screen],
        decoders: 1,
        sources: Vec::new(),
        accepts_sources: true,
        nonce: 7,
    };
    let answer = client.join(&introduction).await;
    let came = picky.came.lock().unwrap().clone();
    (answer, came)
}

#[tokio::test]
async fn a_coordinator_of_the_version_before_is_joined_under_its_name() {
    let (answer, came) = joined(VERSION_BEFORE).await;
    assert_eq!(answer.unwrap().session, Session(5));
    assert_eq!(came, [VERSION, VERSION_BEFORE]);
    let (answer, came) = joined(VERSION).await;
    assert_eq!(answer.unwrap().session, Session(5));
    assert_eq!(came, [VERSION]);
}

#[tokio::test]
async fn a_coordinator_that_takes_neither_version_is_not_asked_again() {
    let (answer, came) = joined("0.0.9").await;
    let refused = answer.unwrap_err();
    assert_eq!(refused, CallError::Refused(Code::VersionMismatch));
    assert_eq!(came, [VERSION, VERSION_BEFORE]);
}

#[test]
fn a_grant_of_an_escalation_shard_names_the_part_that_it_is_made_of_and_no_other_does() {
    let sha256 = Digest::of(b"part");
    let part = |first| v1::EscalationPart {
        root: 17,
        attempt: 3,
        first,
        sha256: sha256.to_string(),
    };
    let (root, shard) = ("17".parse().unwrap(), "17.3-512".parse().unwrap());
    assert_eq!(escalation(root, None), Ok(None));
    assert_eq!(escalation(shard, Some(part(512))), Ok(Some(sha256)));
    let refused = [
        (root, Some(part(512))),
        (shard, None),
        (shard, Some(part(513))),
        (
            shard,
            Some(v1::EscalationPart {
                sha256: "x".to_owned(),
                ..part(512)
            }),
        ),
    ];
    for (shard, part) in refused {
        let told = escalation(shard, part.clone());
        assert!(told.is_err(), "{shard} {part:?}: {told:?}");
    }
}
