//! The coordinator over real gRPC: agents with a connection each pull shards of one track and commit a part for each, whose
//! object lies in storage already and holds nothing. Every answer rests on a synced commit of the embedded store.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::TryStreamExt;
use futures::future::try_join_all;
use futures::stream::{self, StreamExt};
use proto::v1;
use tonic::transport::Channel;
use v1::agents_client::AgentsClient;
use v1::catalogs_client::CatalogsClient;
use v1::jobs_client::JobsClient;

use crate::coordinator::{Coordinator, MANIFEST, SOURCE, World};
use crate::report::{Report, Target};
use crate::{machine, objects};

const MIB: f64 = 1_048_576.0;

/// Time between two beats: the product's default.
const BEAT_EVERY: Duration = Duration::from_secs(2);

/// How the agents go about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Agents, a connection each.
    pub(crate) agents: usize,
    /// Shards, of one track each.
    pub(crate) shards: u32,
    /// Shards asked for in one pull.
    pub(crate) per_pull: u32,
    /// Commits that an agent has under way at once.
    pub(crate) at_once: usize,
}

/// Pairs in a second, and what one costs; then a kill and the way back.
///
/// # Errors
/// When a call is refused, or a shard is lost.
pub(crate) fn measure(report: &mut Report, world: &World, load: Load) -> anyhow::Result<()> {
    // One thread plays all agents, so that they take no more than one core from the coordinator.
    let threads = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the agents' thread")?;
    threads.block_on(pairs(report, world, load))
}

async fn pairs(report: &mut Report, world: &World, load: Load) -> anyhow::Result<()> {
    report.section(&format!(
        "wire: {} shards over gRPC, {} agents, {} shards a pull, {} commits each under way, every answer synced",
        load.shards, load.agents, load.per_pull, load.at_once
    ));
    let synced = machine::synced_write(world.folder())?;
    report.note(
        "this disk: a synced write of 4 KiB, median",
        micros(synced),
        "us",
    );
    let coordinator = world.start()?;
    let spec = submit(coordinator.address).await?;
    objects::put_first(&world.storage(), &spec, load.shards)?;
    let mut agents = join(world, coordinator.address, load).await?;
    let (before, stored) = (coordinator.usage()?, world.store_bytes()?);
    let (begun, own) = (Instant::now(), machine::usage(std::process::id())?.cpu);
    // The last shard stays open, so that the job does not publish and its records stay.
    let done = work(&mut agents, load).await?;
    let took = begun.elapsed();
    let after = coordinator.usage()?;
    let pairs = f64::from(done);
    report.note("shards granted and committed", pairs, "");
    report.add(
        "pairs in a second",
        pairs / took.as_secs_f64(),
        "/s",
        Target::AtLeast(5_000.0),
    );
    report.note(
        "coordinator: processor time a pair",
        micros(after.cpu - before.cpu) / pairs,
        "us",
    );
    let own = machine::usage(std::process::id())?.cpu - own;
    report.note("agents: processor time a pair", micros(own) / pairs, "us");
    let grown = after.resident.saturating_sub(before.resident) as f64;
    report.note("coordinator: memory a shard, resident", grown / pairs, "B");
    report.note(
        "coordinator: memory at its most",
        after.resident_most as f64 / MIB,
        "MiB",
    );
    let stored = world.store_bytes()?.saturating_sub(stored) as f64;
    report.note("store: file a shard", stored / pairs, "B");
    coordinator.kill()?;
    restart(report, world, &mut agents, &spec.job, load).await
}

/// Kills have happened; the way back, and that nothing was lost: the open shard is committed, and the job is published.
async fn restart(
    report: &mut Report,
    world: &World,
    agents: &mut [Agent],
    job: &str,
    load: Load,
) -> anyhow::Result<()> {
    report.section(&format!(
        "restart: after kill -9, a job of {} shards with a record each",
        load.shards
    ));
    const KILLS: usize = 5;
    let mut times = Vec::with_capacity(KILLS);
    for _ in 1..KILLS {
        let coordinator = world.start()?;
        times.push(coordinator.started_in);
        coordinator.kill()?;
    }
    let coordinator = world.start()?;
    times.push(coordinator.started_in);
    times.sort_unstable();
    let median = times[KILLS / 2];
    report.add(
        "from exec to serving, median of 5",
        median.as_secs_f64(),
        "s",
        Target::AtMost(2.0),
    );
    report.note("the slowest", times[KILLS - 1].as_secs_f64(), "s");
    let usage = coordinator.usage()?;
    report.note("processor time", usage.cpu.as_secs_f64(), "s");
    report.note("memory after it", usage.resident as f64 / MIB, "MiB");
    finish(&coordinator, agents, job).await
}

async fn finish(coordinator: &Coordinator, agents: &mut [Agent], job: &str) -> anyhow::Result<()> {
    for agent in agents.iter_mut() {
        agent.reconnect(coordinator.address).await?;
        agent.beat().await?;
        let held = std::mem::take(&mut agent.held);
        for grant in held {
            agent.commit(grant).await?;
        }
    }
    let mut jobs = JobsClient::new(channel(coordinator.address).await?);
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let request = v1::GetJobRequest {
            caller: caller(),
            job: job.to_owned(),
        };
        let state = jobs.get_job(request).await?.into_inner().job;
        let state = state.context("the job is known")?.state();
        if state == v1::JobState::Published {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < until,
            "the job stands in {}",
            state.as_str_name()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Imports the manifest and submits a job of one track a shard.
async fn submit(address: SocketAddr) -> anyhow::Result<v1::JobSpec> {
    let channel = channel(address).await?;
    let import = v1::ImportRequest {
        caller: caller(),
        catalog: "bench".to_owned(),
        path: MANIFEST.to_owned(),
        format: v1::ImportFormat::Csv.into(),
        source: SOURCE.to_owned(),
    };
    let events = CatalogsClient::new(channel.clone()).import(import).await?;
    let _: Vec<v1::ImportEvent> = events.into_inner().try_collect().await?;
    let submission = v1::SubmitJobRequest {
        caller: caller(),
        request_id: "bench".to_owned(),
        catalog: "bench".to_owned(),
        policy: Some(v1::Policy {
            stages: v1::Stages::Screen.into(),
            ..v1::Policy::default()
        }),
        shard_tracks: 1,
        ..v1::SubmitJobRequest::default()
    };
    let submitted = JobsClient::new(channel).submit_job(submission).await?;
    let job = submitted.into_inner().job.and_then(|job| job.spec);
    job.context("a submitted job has a specification")
}

async fn join(world: &World, address: SocketAddr, load: Load) -> anyhow::Result<Vec<Agent>> {
    let agents = (0..load.agents).map(|number| Agent::join(world.storage(), address, number));
    try_join_all(agents).await
}

/// Lets all agents work until nothing but one shard is left; gives how many they have done.
async fn work(agents: &mut [Agent], load: Load) -> anyhow::Result<u32> {
    let working = agents.iter_mut().enumerate();
    let done = working.map(|(number, agent)| agent.work(load, number == 0));
    Ok(try_join_all(done).await?.into_iter().sum())
}

/// An agent without a device.
struct Agent {
    client: AgentsClient<Channel>,
    node: String,
    /// The folder that is the coordinator's storage.
    storage: PathBuf,
    session: u64,
    pulls: u64,
    beats: u64,
    last_beat: Instant,
    /// Grants kept for later.
    held: Vec<v1::Grant>,
}

impl Agent {
    async fn join(storage: PathBuf, address: SocketAddr, number: usize) -> anyhow::Result<Self> {
        let mut client = AgentsClient::new(channel(address).await?);
        let node = format!("node-{number:04}");
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

    async fn reconnect(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.client = AgentsClient::new(channel(address).await?);
        Ok(())
    }

    /// Pulls and commits until a pull brings nothing and the job has nothing left for this agent.
    async fn work(&mut self, load: Load, keeps_one: bool) -> anyhow::Result<u32> {
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

    async fn pull(&mut self, shards: u32) -> anyhow::Result<Vec<v1::Grant>> {
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
    async fn beat(&mut self) -> anyhow::Result<()> {
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
    fn commit(&self, grant: v1::Grant) -> impl Future<Output = anyhow::Result<()>> + use<> {
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

fn caller() -> Option<v1::Caller> {
    Some(v1::Caller {
        tenant: "default".to_owned(),
        actor: "bench".to_owned(),
    })
}

async fn channel(address: SocketAddr) -> anyhow::Result<Channel> {
    let channel = Channel::from_shared(format!("http://{address}"))?;
    channel
        .connect()
        .await
        .context("connect to the coordinator")
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
