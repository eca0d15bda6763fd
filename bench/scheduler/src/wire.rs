//! The coordinator over real gRPC: agents with a connection each pull shards of one track and commit a part for each, whose
//! object lies in storage already and holds nothing. Every answer rests on a synced commit of the embedded store.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::TryStreamExt;
use futures::future::try_join_all;
use proto::v1;
use v1::catalogs_client::CatalogsClient;
use v1::jobs_client::JobsClient;

use crate::agent::{Agent, caller, channel};
use crate::coordinator::{Coordinator, MANIFEST, SOURCE, World};
use crate::report::{Report, Target};
use crate::{machine, objects};

const MIB: f64 = 1_048_576.0;

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
///
/// # Errors
/// When the coordinator refuses either.
pub(crate) async fn submit(address: SocketAddr) -> anyhow::Result<v1::JobSpec> {
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

/// So many agents, joined.
///
/// # Errors
/// When the coordinator cannot be reached or refuses.
pub(crate) async fn join(
    world: &World,
    address: SocketAddr,
    load: Load,
) -> anyhow::Result<Vec<Agent>> {
    let agents = (0..load.agents).map(|number| Agent::join(world.storage(), address, number));
    try_join_all(agents).await
}

/// Lets all agents work until nothing but one shard is left; gives how many they have done.
///
/// # Errors
/// When a call is refused, or a commit does not count.
pub(crate) async fn work(agents: &mut [Agent], load: Load) -> anyhow::Result<u32> {
    let working = agents.iter_mut().enumerate();
    let done = working.map(|(number, agent)| agent.work(load, number == 0));
    Ok(try_join_all(done).await?.into_iter().sum())
}

/// A span in microseconds.
pub(crate) fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
