//! The server's edge: health, reflection, limits, audit, and how it ends.

use futures::StreamExt;
use proto::v1;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::people::{People, caller, code, submission};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer_for_every_service() {
    let world = World::new(0);
    let coordinator = world.start(&[]).await;
    let mut health = HealthClient::new(coordinator.channel().await);
    let mut reflection = ServerReflectionClient::new(coordinator.channel().await);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection
        .server_reflection_info(futures::stream::iter([list]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers
        .next()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer else {
        panic!("{answer:?}")
    };
    let ours: Vec<_> = listed
        .service
        .into_iter()
        .map(|s| s.name)
        .filter(|name| name.starts_with("trackscan."))
        .collect();
    assert_eq!(ours.len(), 7, "{ours:?}");
    for service in ours {
        let status = health
            .check(HealthCheckRequest { service })
            .await
            .unwrap()
            .into_inner()
            .status();
        assert_eq!(status, ServingStatus::Serving);
    }
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_the_limit_is_refused_and_the_connection_lives_on() {
    let world = World::new(1);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    let request = v1::CancelJobRequest {
        caller: caller(),
        job: "x".to_owned(),
        reason: "y".repeat(2 << 20),
    };
    let refused = people.jobs.cancel_job(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused:?}");
    assert_eq!(code(&refused), "INVALID_REQUEST");
    people.imported(&world.music()).await;
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_watchers_by_name_and_keeps_what_was_answered() {
    let world = World::new(1);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let request = v1::WatchJobRequest {
        caller: caller(),
        job: job.clone(),
        after_revision: 0,
    };
    let mut watch = people.jobs.watch_job(request).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    coordinator.stop().await.unwrap();
    assert_eq!(code(&watch.message().await.unwrap_err()), "NOT_LEADER");
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    assert_eq!(people.job(&job).await.state(), v1::JobState::Running);
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_leaves_a_line_in_the_audit_trail_and_sigterm_ends_the_process_well() {
    let world = World::new(1);
    let process = world.spawn(&["--folder-sources"]);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    people.submit("r-1").await;
    let other = v1::SubmitJobRequest {
        shard_tracks: 17,
        ..submission("r-1")
    };
    people.jobs.submit_job(other).await.unwrap_err();
    let cancel = v1::CancelJobRequest {
        caller: caller(),
        job: "last".to_owned(),
        reason: String::new(),
    };
    let unknown = v1::CancelJobRequest {
        job: "nowhere".to_owned(),
        ..cancel.clone()
    };
    people.jobs.cancel_job(unknown).await.unwrap_err();
    people.jobs.cancel_job(cancel.clone()).await.unwrap();
    people.jobs.cancel_job(cancel).await.unwrap();
    let lines = process.lines.clone();
    let audit = process.audit();
    assert!(process.terminate(), "{:#?}", lines.lock().unwrap());
    let expected = [
        "RegisterFolder OK",
        "Import OK",
        "SubmitJob OK",
        "SubmitJob ALREADY_EXISTS",
        "CancelJob NOT_FOUND",
        "CancelJob OK",
    ];
    assert_eq!(audit, expected, "{:#?}", lines.lock().unwrap());
}
