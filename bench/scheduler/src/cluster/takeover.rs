//! What a new leader does before it grants: the records of a job of a hundred million tracks lie in etcd, one coordinator leads, another
//! follows, the first is told to end. The clock runs from the moment at which etcd has the other's name to the first grant that the
//! other answers with.

use std::time::{Duration, Instant};

use anyhow::Context;
use store::server::Cluster;
use store::{Etcd, Store};
use tonic::transport::Channel;

use super::shards::median;
use super::weight::{self, Shape};
use super::{LOOK_EVERY, PATIENCE, PREFIX, etcd, runtime, until};
use crate::agent::{Agent, channel};
use crate::coordinator::{Coordinator, World};
use crate::report::{Report, Target};
use crate::wire;

const MIB: f64 = 1_048_576.0;
/// What a new leader may have besides the state twice: pages and groups of records on their way, connections, and what the allocator keeps.
const BESIDES_MIB: f64 = 64.0;
/// Tracks of a second job, of which some are always left to be granted.
pub(crate) const TRACKS: u32 = 1_000;
/// The agent that asks for them.
const AGENT: usize = 900_000;

/// Takes over so many times.
///
/// # Errors
/// When a coordinator does not start, or nobody grants.
pub(crate) fn measure(
    report: &mut Report,
    world: &World,
    (tracks, nodes): (u32, usize),
    repeats: usize,
) -> anyhow::Result<()> {
    let runtime = runtime()?;
    for shape in [Shape::Screen, Shape::Both] {
        let records = weight::records(shape, tracks, nodes)?;
        report.section(&format!(
            "takeover: {} records of {tracks} tracks ({}), {repeats} times, medians",
            records.len(),
            shape.name()
        ));
        let folder = world.folder().join(format!("takeover-{shape:?}"));
        runtime.block_on(async {
            let etcd = etcd(&folder, 1).await;
            let first = Seat::take(world, &etcd, "first", |said| said.here).await?;
            wire::submit(first.coordinator.address).await?;
            first.end()?;
            weight::write(&etcd, &records).await?;
            turns(report, world, &etcd, repeats, shape).await
        })?;
        std::fs::remove_dir_all(world.storage()).context("remove what storage has seen of it")?;
    }
    Ok(())
}

/// A coordinator and a connection to it.
struct Seat {
    coordinator: Coordinator,
    channel: Channel,
}

impl Seat {
    async fn take(
        world: &World,
        etcd: &Cluster,
        name: &str,
        wanted: impl Fn(&proto::v1::GetLeaderResponse) -> bool,
    ) -> anyhow::Result<Self> {
        let coordinator = world.start_on(name, &etcd.endpoints())?;
        let channel = channel(coordinator.address).await?;
        until(&channel, wanted).await?;
        Ok(Self {
            coordinator,
            channel,
        })
    }

    fn end(self) -> anyhow::Result<()> {
        self.coordinator.terminate()?;
        self.coordinator.wait()
    }
}

/// What one take-over came to.
struct Turn {
    wall: Duration,
    cpu: Duration,
    before: u64,
    most: u64,
}

async fn turns(
    report: &mut Report,
    world: &World,
    etcd: &Cluster,
    repeats: usize,
    shape: Shape,
) -> anyhow::Result<()> {
    let store = Etcd::open(etcd.settings(PREFIX)).await?;
    let begun = Instant::now();
    let mut leads = Seat::take(world, etcd, "even", |said| said.here).await?;
    report.note(
        "from exec to leading, without a mirror",
        begun.elapsed().as_secs_f64(),
        "s",
    );
    let mut turns = Vec::new();
    for number in 0..repeats {
        let name = if number % 2 == 0 { "odd" } else { "even" };
        let follows = Seat::take(world, etcd, name, |said| said.revision > 0).await?;
        let agent = Agent::join_by(world.storage(), leads.channel.clone(), AGENT + number).await?;
        turns.push(turn(&store, leads, &follows, agent).await?);
        leads = follows;
    }
    let target = match shape {
        Shape::Screen => Target::AtMost(3.0),
        Shape::Both | Shape::Apart => Target::None,
    };
    let of = |figure: fn(&Turn) -> f64| median(turns.iter().map(figure));
    report.add(
        "from the leadership to the first grant, wall",
        of(|turn| turn.wall.as_secs_f64()),
        "s",
        target,
    );
    report.add(
        "the same, the new leader's processor time",
        of(|turn| turn.cpu.as_secs_f64()),
        "s",
        target,
    );
    let slowest = turns
        .iter()
        .map(|turn| turn.wall.as_secs_f64())
        .fold(0.0, f64::max);
    report.note("the slowest, wall", slowest, "s");
    let follower = of(|turn| turn.before as f64) / MIB;
    report.note("memory of a follower", follower, "MiB");
    report.add(
        "memory of the new leader at its most",
        of(|turn| turn.most as f64) / MIB,
        "MiB",
        Target::AtMost(most_mib(follower)),
    );
    leads.coordinator.kill()
}

/// What a new leader may have at its most where a follower has so much: the state twice, since the follower's mirror answers readers until all of it
/// has been read anew.
fn most_mib(follower: f64) -> f64 {
    2.0 * follower + BESIDES_MIB
}

async fn turn(store: &Etcd, leads: Seat, follows: &Seat, mut agent: Agent) -> anyhow::Result<Turn> {
    let known = store.led_by().await?.context("somebody leads")?.epoch;
    leads.coordinator.terminate()?;
    let mut known = Some(known);
    // The key goes, and then it is there again with another name.
    let begun = loop {
        let now = store.leader_other_than(known).await?;
        match now {
            Some(_) => break Instant::now(),
            None => known = None,
        }
    };
    let before = follows.coordinator.usage()?;
    agent.reconnect(follows.coordinator.address).await?;
    while agent.pull(1).await.map_or(true, |grants| grants.is_empty()) {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "the new leader grants nothing");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let wall = begun.elapsed();
    let after = follows.coordinator.usage()?;
    leads.coordinator.wait()?;
    Ok(Turn {
        wall,
        cpu: after.cpu - before.cpu,
        before: before.resident,
        most: after.resident_most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_leader_may_have_the_state_twice_and_not_three_times() {
        // What docs/benchmarks/cluster.md says of the screen alone and of both engines.
        for (follower, most) in [(332.0, 643.0), (895.0, 1_769.0)] {
            assert!(most <= most_mib(follower));
            assert!(3.0 * follower > most_mib(follower));
        }
    }
}
