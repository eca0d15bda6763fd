//! How long nobody leads: a coordinator leads on an etcd of one member, another follows, the first is told to end or killed. The clock runs
//! from just before the signal to the first write that the other acknowledges, a join; another one is started in the place of the first
//! each time.

use std::time::{Duration, Instant};

use anyhow::Context;
use store::server::Cluster;
use tonic::transport::Channel;

use super::{PATIENCE, etcd, runtime, until};
use crate::agent::{Agent, channel};
use crate::coordinator::{Coordinator, World};
use crate::report::{Report, Target};
use crate::wire;

/// Between two tries of the write: short beside what is measured.
const TRY_EVERY: Duration = Duration::from_millis(2);
/// Tracks of the job that lies there meanwhile.
pub(crate) const TRACKS: u32 = 1_000;

/// How a leader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    Told,
    Killed,
}

/// Lets leaders go so many times, by either signal.
///
/// # Errors
/// When a coordinator does not start, or no other leads.
pub(crate) fn measure(
    report: &mut Report,
    world: &World,
    (told, killed): (usize, usize),
) -> anyhow::Result<()> {
    report.section(&format!(
        "failover: etcd of one member, leadership of 5 s; {told} leaders told to end, {killed} killed"
    ));
    runtime()?.block_on(async {
        let etcd = etcd(&world.folder().join("etcd"), 1).await;
        let mut scene = Scene::new(world, &etcd).await?;
        let times = scene.go(Going::Told, told).await?;
        tell(report, "SIGTERM", &times, (1.0, 1.0));
        let times = scene.go(Going::Killed, killed).await?;
        tell(report, "SIGKILL", &times, (7.0, 12.0));
        anyhow::Ok(())
    })
}

fn tell(report: &mut Report, signal: &str, times: &[Duration], (half, most): (f64, f64)) {
    let at = |share: f64| {
        let last = times.len().saturating_sub(1);
        let at = (share * last as f64).ceil() as usize;
        times.get(at).map_or(f64::NAN, Duration::as_secs_f64)
    };
    let name = |what: &str| format!("{signal} to the first write acknowledged, {what}");
    report.add(name("p50"), at(0.5), "s", Target::AtMost(half));
    report.note(name("p90"), at(0.9), "s");
    report.add(name("p99"), at(0.99), "s", Target::AtMost(most));
    report.note(name("least"), at(0.0), "s");
    report.note(name("most"), at(1.0), "s");
}

/// A leader and a follower.
struct Scene<'a> {
    world: &'a World,
    etcd: &'a Cluster,
    leads: Coordinator,
    follows: Coordinator,
    /// Coordinators started so far.
    started: usize,
    /// Nodes that have joined so far: each write is another one's join.
    joined: usize,
}

impl<'a> Scene<'a> {
    async fn new(world: &'a World, etcd: &'a Cluster) -> anyhow::Result<Self> {
        let leads = world.start_on("0", &etcd.endpoints())?;
        until(&channel(leads.address).await?, |said| said.here).await?;
        wire::submit(leads.address).await?;
        let follows = world.start_on("1", &etcd.endpoints())?;
        Ok(Self {
            world,
            etcd,
            leads,
            follows,
            started: 2,
            joined: 0,
        })
    }

    /// The times that nobody led, ascending.
    async fn go(&mut self, going: Going, repeats: usize) -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(repeats);
        for _ in 0..repeats {
            let channel = channel(self.follows.address).await?;
            until(&channel, |said| {
                said.revision > 0 && !said.here && !said.leader.is_empty()
            })
            .await?;
            times.push(self.once(going, channel).await?);
        }
        times.sort_unstable();
        Ok(times)
    }

    async fn once(&mut self, going: Going, channel: Channel) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        match going {
            Going::Told => self.leads.terminate()?,
            Going::Killed => self.leads.strike()?,
        }
        loop {
            self.joined += 1;
            let storage = self.world.storage();
            if Agent::join_by(storage, channel.clone(), self.joined)
                .await
                .is_ok()
            {
                break;
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "nobody leads");
            tokio::time::sleep(TRY_EVERY).await;
        }
        let took = begun.elapsed();
        let name = self.started.to_string();
        self.started += 1;
        let next = self.world.start_on(&name, &self.etcd.endpoints())?;
        let last = std::mem::replace(&mut self.leads, std::mem::replace(&mut self.follows, next));
        last.wait().context("wait for the last leader's end")?;
        Ok(took)
    }
}
