//! Reasons that last only as long as something is being written: of a job, a shard and a node. The thread that writes to the
//! store is held still, or a pipe stands in the place of an object, and people ask meanwhile; then it goes on and so does the
//! work. And what people hear who ask before a coordinator leads.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use proto::v1;
use tonic::transport::Endpoint;
use types::Blocking;
use v1::jobs_client::JobsClient;

use crate::agent::{Agent, brief};
use crate::people::{caller, submission};
use crate::scene::{Scene, TRACKS, codes};
use crate::still::Still;
use crate::world::START_TIMEOUT;

/// The thread of the coordinator through which every change of a record goes.
const WRITER: &str = "store-writer";

impl Scene {
    fn hold_the_writer(&self) -> Still {
        Still::hold(self.coordinator.id(), WRITER)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_shard_or_a_job_is_said_to_be_written_until_it_is_stored() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let job = scene.job(submission("r-1")).await;
    let mut agent = scene.agent("n1").await;
    let first = agent.pull(8).await.unwrap();
    assert_eq!(first.grants[0].shard, "0");

    let still = scene.hold_the_writer();
    let pulling = tokio::spawn(async move { (agent.pull(8).await.unwrap(), agent) });
    scene.comes_to(&job, "0", Blocking::WriteUnderWay).await;
    drop(still);
    let (second, _agent) = pulling.await.unwrap();
    assert_eq!(second.grants[0].shard, "0");
    scene.shard_waits(&job, "0", Blocking::InHand).await;

    let still = scene.hold_the_writer();
    let mut jobs = scene.people.jobs.clone();
    let pause = v1::PauseJobRequest {
        caller: caller(),
        job: job.clone(),
    };
    let pausing = tokio::spawn(async move { jobs.pause_job(pause).await });
    scene.comes_to(&job, "", Blocking::WriteUnderWay).await;
    drop(still);
    pausing.await.unwrap().unwrap();
    scene.job_waits(&job, Blocking::JobPaused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_on_its_way_is_said_of_its_job() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let job = scene.job(submission("r-1")).await;
    let still = scene.hold_the_writer();
    let mut jobs = scene.people.jobs.clone();
    let cancel = v1::CancelJobRequest {
        caller: caller(),
        job: job.clone(),
        reason: "no longer wanted".to_owned(),
    };
    let cancelling = tokio::spawn(async move { jobs.cancel_job(cancel).await });
    scene.comes_to(&job, "", Blocking::JobCancelling).await;
    drop(still);
    cancelling.await.unwrap().unwrap();
    scene.job_waits(&job, Blocking::JobCancelled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_on_its_way_is_said_of_its_job_and_of_its_node() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let job = scene.job(submission("r-1")).await;
    let mut agent = scene.agent("n1").await;
    let pulled = agent.pull(16).await.unwrap();
    let made = agent.make(&pulled.jobs[0], &pulled.grants[0]).await;
    agent.commit(made).await.unwrap();

    let still = scene.hold_the_writer();
    let mut nodes = scene.people.nodes.clone();
    let revoke = v1::RevokeRequest {
        caller: caller(),
        revocation: "xid-79".to_owned(),
        node: "n1".to_owned(),
        device: "cpu:0".to_owned(),
        from_ms: 0,
        to_ms: 10,
        reason: "the device fell off the bus".to_owned(),
    };
    let revoking = tokio::spawn(async move { nodes.revoke(revoke).await });
    scene.comes_to(&job, "", Blocking::JobRevoking).await;
    scene.node_waits("n1", Blocking::NodeRevoked).await;
    drop(still);
    assert_eq!(revoking.await.unwrap().unwrap().into_inner().jobs, 1);
    works_to_the_end(&mut scene, &mut agent, &job).await;
    let (findings, done) = scene.people.verify(&job).await;
    assert_eq!((findings, done.rows_found), (vec![], TRACKS as u64));
}

/// Pulls and works, also after pulls that brought nothing, until the job is published.
async fn works_to_the_end(scene: &mut Scene, agent: &mut Agent, job: &str) {
    let until = Instant::now() + START_TIMEOUT;
    while scene.people.job(job).await.state() != v1::JobState::Published {
        assert!(Instant::now() < until);
        agent.work().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_in_the_making_is_said_until_it_is_written() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let music = scene.world.music();
    std::fs::write(music.join("broken-1.wav"), "no audio").unwrap();
    scene.people.imported(&music).await;
    let first = scene.job(submission("r-1")).await;
    let mut agent = scene.agent("n1").await;
    agent.work().await;
    let published = scene.people.watch(&first).await.pop().unwrap();
    let base = published.manifest.unwrap().object;
    let base = scene.world.storage_folder().join(base);

    // The retry's manifest is made of the first one, in whose place a pipe says nothing.
    let retry = v1::RetryJobRequest {
        caller: caller(),
        request_id: "again".to_owned(),
        job: first,
        rank: None,
    };
    let retry = scene.people.jobs.retry_job(retry).await.unwrap();
    let retry = retry.into_inner().job.unwrap().spec.unwrap().job;
    let pulled = agent.pull(16).await.unwrap();
    let grant = &pulled.grants[0];
    let made = agent.make(brief(&pulled, grant), grant).await;
    let (aside, pipe) = (base.with_extension("aside"), base.with_extension("pipe"));
    std::fs::rename(&base, &aside).unwrap();
    make_pipe(&base);
    agent.commit(made).await.unwrap();
    for _ in 0..3 {
        scene.comes_to(&retry, "", Blocking::JobPublishing).await;
    }

    std::fs::rename(&base, &pipe).unwrap();
    std::fs::rename(&aside, &base).unwrap();
    let until = Instant::now() + START_TIMEOUT;
    while scene.people.job(&retry).await.state() != v1::JobState::Published {
        assert!(Instant::now() < until);
        end_reading(&pipe);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (findings, done) = scene.people.verify(&retry).await;
    assert_eq!((findings, done.rows_found), (vec![], TRACKS as u64 + 1));
}

fn make_pipe(path: &Path) {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the path ends with a NUL and outlives the call.
    let made = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
}

/// Whoever waits for the pipe's other end finds that it says nothing. Where nobody waits, opening it is refused.
fn end_reading(pipe: &Path) {
    let mut writes = std::fs::OpenOptions::new();
    let _ = writes.write(true).custom_flags(libc::O_NONBLOCK).open(pipe);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_before_it_leads_is_answered_once_it_does_and_never_that_it_does_not() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let job = scene.job(submission("r-1")).await;
    let (world, mut process) = (scene.world, scene.coordinator);
    for _ in 0..5 {
        process.kill();
        let address = free_address();
        let asking = tokio::spawn(first_answer(address, job.clone()));
        let listen = address.to_string();
        let flags = ["--folder-sources", "--listen", &listen];
        process = tokio::task::block_in_place(|| world.spawn(&flags));
        assert_eq!(asking.await.unwrap(), [Blocking::NoNode.as_str()]);
    }
}

/// Why the job waits, in the first answer that comes from an address where nobody may listen yet.
async fn first_answer(address: SocketAddr, job: String) -> Vec<String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let until = Instant::now() + START_TIMEOUT;
    loop {
        assert!(Instant::now() < until, "nobody answers");
        let Ok(channel) = endpoint.connect().await else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let request = v1::ExplainJobRequest {
            caller: caller(),
            job,
            shard: String::new(),
        };
        let explained = JobsClient::new(channel).explain_job(request).await;
        return codes(explained.unwrap().into_inner().reasons);
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
