//! An agent without a device, over real gRPC: it joins, pulls, beats and commits claims whose objects lie in storage already and hold
//! nothing. Used by whatever measures a coordinator as a process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use proto::v1;
use tonic::transport::Channel;
use v1::agents_client::AgentsClient;

use crate::objects;
use crate::wire::Load;

/// Time between two beats: the product's default.
const BEAT_EVERY: Duration = Duration::from_secs(2);

/// An agent without a device.
pub(crate) struct Agent {
    client: AgentsClient<Channel>,
    node: String,
    /// The folder that is the coordinator's storage.
    storage: PathBuf,
    session: u64,
    pulls: u64,
    beats: u64,
    last_beat: Instant,
    /// Grants kept for later.
    pub(crate) held: Vec<v1::Grant>,
}

impl Agent {
    /// Joins a coordinator as the node of that number.
    ///
    /// # Errors
    /// When it cannot be reached or refuses.
    pub(crate) async fn join(
        storage: PathBuf,
        address: SocketAddr,
        number: usize,
    ) -> anyhow::Result<Self> {
        Self::join_by(storage, channel(address).await?, number).await
    }

    /// The same over a connection that stands.
    ///
    /// # Errors
    /// When the coordinator does not answer or refuses.
    pub(crate) async fn join_by(
        storage: PathBuf,
        channel: Channel,
        number: usize,
    ) -> anyhow::Result<Self> {
        let mut client = AgentsClient::new(channel);
        let node = format!("agent-{number:06}");
        let device = v1::Device {
            kind: v1::DeviceKind::Cuda.into(),
            index: 0,
            name: "none".to_owned(),
            memory_bytes: 24 << 30,
        };
        let request = v1::JoinRequest {
            caller: caller(),
            node: node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            devices: vec![device],
            stages: vec![v1::Stage::Decode.into(), v1::Stage::Screen.into()],
            decoders: 1,
            sources: Vec::new(),
            accepts_sources: true,
            nonce: 1,
        };
        let session = client.join(request).await?.into_inner().session;
        Ok(Self {
            client,
            node,
            storage,
            session,
            pulls: 0,
            beats: 0,
            last_beat: Instant::now(),
            held: Vec::new(),
        })
    }

    /// Goes on at another coordinator, or at one that was started again.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(crate) async fn reconnect(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.client = AgentsClient::new(channel(address).await?);
        Ok(())
    }

    /// Pulls and commits until a pull brings nothing and the job has nothing left for this agent.
    ///
    /// # Errors
    /// When a call is refused, or a commit does not count.
    pub(crate) async fn work(&mut self, load: Load, keeps_one: bool) -> anyhow::Result<u32> {
        let mut done = 0;
        let mut idle = 0;
        // A pull may find the first shards in line under way to other agents; it is told so and comes again.
        while idle < 20 {
            if self.last_beat.elapsed() >= BEAT_EVERY {
                self.beat().await?;
            }
            let mut grants = self.pull(load.per_pull).await?;
            if grants.is_empty() {
                idle += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            idle = 0;
            if keeps_one && self.held.is_empty() {
                self.held.extend(grants.pop());
            }
            let commits = grants.into_iter().map(|grant| self.commit(grant));
            let commits: Vec<_> = commits.collect();
            let committed = stream::iter(commits).buffer_unordered(load.at_once);
            done += committed.try_fold(0, async |sum, ()| Ok(sum + 1)).await?;
        }
        Ok(done)
    }

    /// Asks for so many tracks.
    ///
    /// # Errors
    /// When the coordinator refuses.
    pub(crate) async fn pull(&mut self, shards: u32) -> anyhow::Result<Vec<v1::Grant>> {
        self.pulls += 1;
        let request = v1::PullRequest {
            caller: caller(),
            node: self.node.clone(),
            session: self.session,
            pull: self.pulls,
            tracks_per_1000_seconds: Some(1_000_000),
            want_tracks: shards,
            bundles: Vec::new(),
        };
        let pulled = self.client.pull(request).await.context("pull")?;
        Ok(pulled.into_inner().grants)
    }

    /// Says what is kept for later; all else is committed whenever this is called.
    ///
    /// # Errors
    /// When the coordinator refuses.
    pub(crate) async fn beat(&mut self) -> anyhow::Result<()> {
        self.beats += 1;
        self.last_beat = Instant::now();
        let held = |grant: &v1::Grant| v1::Held {
            job: grant.job.clone(),
            shard: grant.shard.clone(),
            attempt: grant.attempt,
            in_hand: grant.tracks.clone(),
            ..v1::Held::default()
        };
        let request = v1::BeatRequest {
            caller: caller(),
            node: self.node.clone(),
            session: self.session,
            beat: self.beats,
            held: self.held.iter().map(held).collect(),
            ..v1::BeatRequest::default()
        };
        self.client.beat(request).await.context("beat")?;
        Ok(())
    }

    /// Commits a part of the whole grant.
    pub(crate) fn commit(
        &self,
        grant: v1::Grant,
    ) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let mut client = self.client.clone();
        let part = part(&grant);
        let put = match grant.attempt {
            1 => Ok(()),
            _ => objects::put_again(&self.storage, &grant),
        };
        let request = v1::CommitRequest {
            caller: caller(),
            node: self.node.clone(),
            session: self.session,
            job: grant.job,
            generation: grant.generation,
            shard: grant.shard,
            attempt: grant.attempt,
            parts: vec![part],
        };
        async move {
            put?;
            let answer = client.commit(request).await.context("commit")?.into_inner();
            let outcome = answer.outcome();
            anyhow::ensure!(
                outcome == v1::CommitOutcome::Counted,
                "a commit ended as {}",
                outcome.as_str_name()
            );
            Ok(())
        }
    }
}

/// A claim such as a flush makes: decode and screen of one device, and its canary.
fn part(grant: &v1::Grant) -> v1::Part {
    let rows: u32 = grant
        .tracks
        .iter()
        .map(|range| range.end - range.first)
        .sum();
    let made = |stage: v1::Stage| v1::Made {
        stage: stage.into(),
        device: "cuda:0".to_owned(),
        from_ms: 1_700_000_000_000,
        to_ms: 1_700_000_060_000,
    };
    let used = |stage: v1::Stage| v1::StageUse {
        stage: stage.into(),
        device_us: 27_000,
        tracks: rows.into(),
        audio_ms: 200_000,
        bytes: 8_000_000,
        cpu_us: 30_000,
        ..v1::StageUse::default()
    };
    v1::Part {
        kind: v1::PartKind::Terminal.into(),
        tracks: grant.tracks.clone(),
        sha256: objects::sha256(&grant.shard, grant.attempt).to_string(),
        rows,
        bytes: objects::PART_BYTES as u64,
        verdicts: Some(v1::VerdictCounts {
            no_evidence: rows.into(),
            ..v1::VerdictCounts::default()
        }),
        ledger: vec![used(v1::Stage::Decode), used(v1::Stage::Screen)],
        made: vec![made(v1::Stage::Decode), made(v1::Stage::Screen)],
        canaries: vec![v1::Canary {
            stage: v1::Stage::Screen.into(),
            device: "cuda:0".to_owned(),
            good: true,
        }],
    }
}

/// On whose behalf everything here is asked.
pub(crate) fn caller() -> Option<v1::Caller> {
    Some(v1::Caller {
        tenant: "default".to_owned(),
        actor: "bench".to_owned(),
    })
}

/// A connection to a coordinator.
///
/// # Errors
/// When it cannot be reached.
pub(crate) async fn channel(address: SocketAddr) -> anyhow::Result<Channel> {
    let channel = Channel::from_shared(format!("http://{address}"))?;
    channel
        .connect()
        .await
        .context("connect to the coordinator")
}
