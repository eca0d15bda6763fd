//! Several coordinators as processes on a real etcd: what a kill, a pause and an end do to who leads, and that nothing of a job is lost by it.
//! And what a coordinator's log says of the etcd that it is on.

use std::path::Path;
use std::time::{Duration, Instant};

use proto::v1;
use serde_json::Value;
use store::server::{Cluster, Line, Options};
use tempfile::TempDir;
use tonic::transport::Channel;
use types::Code;

use crate::agent::{Agent, brief};
use crate::people::{People, submission};
use crate::several::{leader, until};
use crate::world::{Process, START_TIMEOUT, World};

const TRACKS: usize = 40;

/// An etcd of one member, and coordinators on it.
struct Shared {
    world: World,
    etcd: Cluster,
    _folder: TempDir,
}

impl Shared {
    async fn new() -> Self {
        Self::on(Line::V3_7).await
    }

    async fn on(line: Line) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files: &Path = folder.path();
        Self {
            world: World::new(TRACKS),
            etcd: Cluster::start(files, Options::one(line)).await,
            _folder: folder,
        }
    }

    fn spawn(&self, name: &str) -> Process {
        let mut flags = self.world.among_others(name);
        flags.extend(["--store", "etcd", "--etcd-endpoint"].map(str::to_owned));
        flags.extend(self.etcd.endpoints().into_iter().take(1));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.world.spawn(&flags)
    }

    /// A coordinator that leads, and one that follows it.
    async fn pair(&self) -> (Process, Process) {
        let leads = self.spawn("one");
        until(&leads.channel().await, |said| said.here).await;
        let follows = self.spawn("other");
        until(&follows.channel().await, |said| said.revision > 0).await;
        (leads, follows)
    }

    /// A job, and an agent that holds some of it.
    async fn begun(&self, channel: Channel) -> (String, Agent, v1::PullResponse) {
        let mut people = People::new(channel.clone());
        people.imported(&self.world.music()).await;
        let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
        let mut agent = Agent::new(channel, self.world.storage(), "n1");
        agent.join().await.unwrap();
        let pulled = agent.pull(16).await.unwrap();
        (job, agent, pulled)
    }

    /// The agent goes on at another leader with what it holds, and the job ends whole.
    async fn ends(&self, channel: Channel, begun: (String, Agent, v1::PullResponse)) {
        let (job, mut agent, pulled) = begun;
        agent.reconnect(channel.clone());
        agent.beat(&pulled.grants).await.unwrap();
        for grant in &pulled.grants {
            let offer = agent.make(brief(&pulled, grant), grant).await;
            let answer = agent.commit(offer).await.unwrap();
            assert_eq!(answer.outcome(), v1::CommitOutcome::Counted);
        }
        agent.work().await;
        let mut people = People::new(channel);
        let told = people.watch(&job).await;
        assert_eq!(told.last().unwrap().state(), v1::JobState::Published);
        let (findings, done) = people.verify(&job).await;
        assert_eq!((findings, done.rows_found), (Vec::new(), TRACKS as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_another_leads_and_the_agent_goes_on_with_what_it_holds() {
    let shared = Shared::new().await;
    let (leads, follows) = shared.pair().await;
    let begun = shared.begun(leads.channel().await).await;
    leads.kill();
    let channel = follows.channel().await;
    until(&channel, |said| said.here).await;
    shared.ends(channel, begun).await;
    assert!(follows.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_lets_a_waiting_one_lead() {
    let shared = Shared::new().await;
    let (leads, follows) = shared.pair().await;
    let begun = shared.begun(leads.channel().await).await;
    assert!(leads.terminate());
    let channel = follows.channel().await;
    until(&channel, |said| said.here).await;
    shared.ends(channel, begun).await;
    assert!(follows.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stood_still_until_another_led_writes_and_shows_nothing_any_more() {
    let shared = Shared::new().await;
    let (leads, follows) = shared.pair().await;
    let begun = shared.begun(leads.channel().await).await;
    let old = leads.channel().await;
    leads.pause();
    let channel = follows.channel().await;
    let reign = until(&channel, |said| said.here).await;
    let mut people = People::new(channel.clone());
    let later = people.submit("r-2").await.job.unwrap().spec.unwrap().job;

    leads.go_on();
    let mut stale = People::new(old.clone());
    let status = stale.jobs.submit_job(submission("r-3")).await.unwrap_err();
    assert_eq!(proto::problem::code(&status), Some(Code::NotLeader));
    // It follows, and shows what the other has written.
    until(&old, |said| said.epoch == reign.epoch && said.revision > 0).await;
    assert!(!leader(old).await.here);
    let seen = stale
        .jobs
        .get_job(crate::several::get(&later))
        .await
        .unwrap();
    assert_eq!(seen.into_inner().job.unwrap().spec.unwrap().job, later);
    shared.ends(channel, begun).await;
    assert!(leads.terminate() && follows.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_coordinators_one_leads_whichever_are_killed() {
    let shared = Shared::new().await;
    let (leads, follows) = shared.pair().await;
    let third = shared.spawn("third");
    until(&third.channel().await, |said| said.revision > 0).await;
    let begun = shared.begun(leads.channel().await).await;
    leads.kill();
    let (one, other) = (follows.channel().await, third.channel().await);
    let led =
        |said: &v1::GetLeaderResponse| said.here || said.revision > 0 && !said.leader.is_empty();
    let old = begun.2.grants[0].epoch;
    let first = until(&one, |said| led(said) && said.epoch > old).await;
    let second = until(&other, |said| led(said) && said.epoch > old).await;
    assert_eq!(first.epoch, second.epoch);
    let (killed, last, channel) = match first.here {
        true => (follows, third, other),
        false => (third, follows, one),
    };
    killed.kill();
    until(&channel, |said| said.here && said.epoch > first.epoch).await;
    shared.ends(channel, begun).await;
    assert!(last.terminate());
}

/// What a coordinator has logged so far of a member's version.
fn version_said(process: &Process, endpoint: &str) -> Option<Value> {
    let lines = process.lines.lock().unwrap();
    let mut lines = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find(|line| line["endpoint"] == endpoint && line["version"].is_string())
}

/// What a coordinator that leads on an etcd of that line has logged of it.
async fn logged_on(line: Line) -> Value {
    let shared = Shared::on(line).await;
    let process = shared.spawn("one");
    until(&process.channel().await, |said| said.here).await;
    let over = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(said) = version_said(&process, &shared.etcd.endpoint(0)) {
            return said;
        }
        assert!(Instant::now() < over, "its log names no member's version");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_on_an_etcd_with_known_faults_leads_and_its_log_warns_of_the_member() {
    let old = logged_on(Line::OsPackage).await;
    let why = "the OS package's etcd is to be one below the floor";
    assert_eq!(old["level"], "WARN", "{why}: {old}");
    let message = old["message"].as_str().unwrap();
    assert!(message.contains("known faults"), "{old}");
    let current = logged_on(Line::V3_7).await;
    assert_eq!(current["level"], "INFO", "{current}");
}
