//! The rate of the whole path on small objects: coordinator on etcd, agent, decoders and storage as they ship, the stub in the engine's place,
//! and an S3 server in this process that counts what it is asked. Nothing is asserted of time; requests and memory have targets.

mod bucket;
mod memory;
mod server;
mod tone;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::TryStreamExt;
use proto::v1;
use store::server::{Cluster, Line, Options};
use tonic::transport::Channel;
use v1::catalogs_client::CatalogsClient;
use v1::jobs_client::JobsClient;

use self::memory::Seen;
use self::server::{Kind, SOUNDS, STORAGE, Server};
use crate::agent::{caller, channel};
use crate::coordinator::{self, Elsewhere, SOURCE, World};
use crate::machine;
use crate::report::{Report, Target};

const MIB: f64 = 1_048_576.0;
/// Between two looks at processes and progress.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// No track for so long: nothing goes on.
const STUCK_AFTER: Duration = Duration::from_secs(300);
/// Tracks of a shard: what a job of 200,000 has by default, also where fewer are tried.
const SHARD_TRACKS: u32 = 781;
/// What a process may have grown from the first half to the second, at its most: pages that an allocator keeps, and no list of tracks.
const GROWTH_MIB: f64 = 24.0;

/// What is scanned, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Objects.
    pub(crate) tracks: u32,
    /// Decoders of the agent.
    pub(crate) decoders: u32,
}

/// Imports, scans and publishes a catalogue of small objects.
///
/// # Errors
/// When a process does not start, the job does not end, or a track is not scanned.
pub(crate) fn measure(report: &mut Report, binaries: &Path, load: Load) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start this program's thread")?;
    runtime.block_on(path(report, binaries, load))
}

async fn path(report: &mut Report, binaries: &Path, load: Load) -> anyhow::Result<()> {
    report.section(&format!(
        "path: {} WAV objects of {} bytes, {} s each, from S3 to a published result; stub engine, {} decoders",
        load.tracks,
        tone::BYTES,
        tone::SECONDS,
        load.decoders
    ));
    let world = World::new(binaries, 0)?;
    let server = Server::start(load.tracks)?;
    let at = elsewhere(&world, server.address)?;
    let world = world.with(at);
    let etcd = Cluster::start(&world.folder().join("etcd"), Options::one(Line::V3_7)).await;
    let coordinator = world.start_on("coordinator", &etcd.endpoints())?;
    let channel = channel(coordinator.address).await?;
    import(report, &channel, &server, load).await?;
    let _agent = Agent::start(&world, binaries, coordinator.address, load)?;
    let mut seen = Seen::default();
    let begun = Instant::now();
    let own = machine::usage(std::process::id())?.cpu;
    let job = scan(&channel, &mut seen, load).await?;
    let took = begun.elapsed().as_secs_f64();
    let own = machine::usage(std::process::id())?.cpu - own;
    check(&job, load)?;
    let rate = f64::from(load.tracks) / took;
    report.note("tracks in a second, from submit to published", rate, "/s");
    report.note("from submit to published", took, "s");
    requests(report, &server, load);
    processes(report, &seen, load);
    let each = own.as_secs_f64() * 1e6 / f64::from(load.tracks);
    report.note("S3 server: processor time a track", each, "us");
    coordinator.kill()
}

/// Both buckets as URLs; the keys lie in a file.
fn elsewhere(world: &World, address: SocketAddr) -> anyhow::Result<Elsewhere> {
    let keys = world.folder().join("keys");
    let text = format!(
        "aws_access_key_id = {}\naws_secret_access_key = {}\n",
        server::ACCESS_KEY,
        server::SECRET_KEY
    );
    std::fs::write(&keys, text).context("write the keys")?;
    let url = |bucket: &str| {
        format!(
            "s3://{bucket}?endpoint=http://{address}&allow-http=true&credentials=file:{}",
            keys.display()
        )
    };
    Ok(Elsewhere {
        storage: url(STORAGE),
        source: url(SOUNDS),
    })
}

async fn import(
    report: &mut Report,
    channel: &Channel,
    server: &Server,
    load: Load,
) -> anyhow::Result<()> {
    // Nobody leads in the first moments.
    let until = Instant::now() + STUCK_AFTER;
    let begun = loop {
        let begun = Instant::now();
        let request = v1::ImportRequest {
            caller: caller(),
            catalog: "sounds".to_owned(),
            format: v1::ImportFormat::Folder.into(),
            source: SOURCE.to_owned(),
            ..v1::ImportRequest::default()
        };
        let events = CatalogsClient::new(channel.clone()).import(request).await;
        let ended = match events {
            Ok(events) => events.into_inner().try_collect::<Vec<_>>().await.map(drop),
            Err(status) => Err(status),
        };
        match ended {
            Ok(()) => break begun,
            Err(status) if Instant::now() > until => return Err(status).context("import"),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    let took = begun.elapsed().as_secs_f64();
    report.note(
        "import: objects in a second",
        f64::from(load.tracks) / took,
        "/s",
    );
    let asked: u64 = Kind::ALL
        .into_iter()
        .map(|kind| server.counts.sounds(kind))
        .sum();
    report.note("import: requests to the source", asked as f64, "");
    Ok(())
}

async fn scan(channel: &Channel, seen: &mut Seen, load: Load) -> anyhow::Result<v1::Job> {
    let mut jobs = JobsClient::new(channel.clone());
    let submission = v1::SubmitJobRequest {
        caller: caller(),
        request_id: "bench".to_owned(),
        catalog: "sounds".to_owned(),
        policy: Some(v1::Policy {
            stages: v1::Stages::Screen.into(),
            ..v1::Policy::default()
        }),
        shard_tracks: SHARD_TRACKS,
        ..v1::SubmitJobRequest::default()
    };
    let submitted = jobs.submit_job(submission).await?.into_inner().job;
    let job = submitted
        .and_then(|job| job.spec)
        .context("a job has a specification")?
        .job;
    let (mut moved, mut told) = ((Instant::now(), 0), 0);
    let mut found = v1::Job::default();
    loop {
        let request = v1::GetJobRequest {
            caller: caller(),
            job: job.clone(),
        };
        // On a busy machine a leadership may end; then nobody answers for some seconds.
        if let Ok(answer) = jobs.get_job(request).await {
            found = answer.into_inner().job.context("the job is known")?;
        }
        seen.look(found.tracks_done)?;
        if found.state() == v1::JobState::Published {
            return Ok(found);
        }
        if found.tracks_done > moved.1 {
            moved = (Instant::now(), found.tracks_done);
        }
        anyhow::ensure!(
            moved.0.elapsed() < STUCK_AFTER,
            "nothing went on at {} tracks for {STUCK_AFTER:?}",
            moved.1
        );
        let tenth = found.tracks_done * 10 / u64::from(load.tracks);
        if tenth > told {
            told = tenth;
            eprintln!("bench-scheduler: {} tracks are done", found.tracks_done);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn check(job: &v1::Job, load: Load) -> anyhow::Result<()> {
    let verdicts = job.verdicts.unwrap_or_default();
    anyhow::ensure!(
        job.tracks_done == u64::from(load.tracks) && verdicts.unscannable == 0,
        "{} of {} tracks are done, {} of them unscannable",
        job.tracks_done,
        load.tracks,
        verdicts.unscannable
    );
    Ok(())
}

fn requests(report: &mut Report, server: &Server, load: Load) {
    let (counts, tracks) = (&server.counts, f64::from(load.tracks));
    let read = counts.sounds(Kind::Get) + counts.sounds(Kind::Head);
    report.add(
        "requests to read a track",
        read as f64 / tracks,
        "",
        Target::AtMost(2.0),
    );
    let written = [Kind::Put, Kind::Upload].map(|kind| counts.storage(kind));
    report.add(
        "requests to write, a track",
        written.iter().sum::<u64>() as f64 / tracks,
        "",
        Target::AtMost(0.1),
    );
    for kind in Kind::ALL {
        report.note(
            format!("storage: {} requests", kind.name()),
            counts.storage(kind) as f64,
            "",
        );
    }
    report.note(
        "connections to the S3 server",
        counts.connections() as f64,
        "",
    );
}

fn processes(report: &mut Report, seen: &Seen, load: Load) {
    for (kind, course) in seen.kinds(load.tracks.into()) {
        let grown = course.late_most.saturating_sub(course.early_most) as f64 / MIB;
        report.note(
            format!("{kind}: memory at its most, first half"),
            course.early_most as f64 / MIB,
            "MiB",
        );
        let target = match kind {
            // Its history stays until it is compacted.
            "etcd" => Target::None,
            _ => Target::AtMost(GROWTH_MIB),
        };
        report.add(
            format!("{kind}: grown by in the second half"),
            grown,
            "MiB",
            target,
        );
        for tenth in [1, 4, 7, 10] {
            let bytes = course.tenths[tenth - 1] as f64;
            report.note(
                format!("{kind}: memory after {tenth} tenths"),
                bytes / MIB,
                "MiB",
            );
        }
        let each = course.cpu.as_secs_f64() * 1e6 / f64::from(load.tracks);
        report.note(format!("{kind}: processor time a track"), each, "us");
    }
    report.note("decoders, one after another", seen.decoders() as f64, "");
}

/// A running node agent, killed with this value.
struct Agent(Child);

impl Agent {
    fn start(
        world: &World,
        binaries: &Path,
        coordinator: SocketAddr,
        load: Load,
    ) -> anyhow::Result<Self> {
        let log = std::fs::File::create(world.folder().join("agent.log"));
        let at = world.addresses();
        let mut command = Command::new(coordinator::binary(binaries, "node-agent")?);
        command.args(["--coordinator", &format!("http://{coordinator}")]);
        command.args(["--metrics", "off", "--storage", &at.storage]);
        command.args(["--source", &format!("{SOURCE}={}", at.source)]);
        command.args(["--decoders", &load.decoders.to_string()]);
        command.args(["--trusted-key", &bundle::sample::key().public().to_string()]);
        command.arg("--data").arg(world.folder().join("node"));
        command
            .arg("--worker")
            .arg(coordinator::binary(binaries, "stub-worker")?);
        command
            .arg("--decoder")
            .arg(coordinator::binary(binaries, "trackscan-decoder")?);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log.context("open the agent's log")?);
        let child = machine::bound(&mut command)
            .spawn()
            .context("start the agent")?;
        Ok(Self(child))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Its children end with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
