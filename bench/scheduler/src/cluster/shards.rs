//! Shards a second of a coordinator on its own store, on an etcd of one member and on one of three, in turns and with medians; and what
//! one transaction on etcd holds, as a follower of the store sees it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context;
use futures::future::try_join_all;
use store::server::Cluster;
use store::{Change, Seen, Store};

use super::{LOOK_EVERY, PREFIX, etcd, runtime, until};
use crate::agent::{Agent, channel};
use crate::coordinator::{Coordinator, World};
use crate::report::{Report, Target};
use crate::wire::{self, Load, micros};
use crate::{machine, objects};

/// What etcd takes by default in one transaction.
const OPERATIONS_MAX: f64 = 128.0;
/// And in one request.
const REQUEST_BYTES_MAX: f64 = 1.5 * 1_048_576.0;

/// The stores that are held beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    Embedded,
    Members(usize),
}

const SIDES: [On; 3] = [On::Embedded, On::Members(1), On::Members(3)];

impl On {
    fn name(self) -> String {
        match self {
            Self::Embedded => "embedded".to_owned(),
            Self::Members(1) => "etcd, one member".to_owned(),
            Self::Members(count) => format!("etcd, {count} members"),
        }
    }
}

/// What one round came to.
#[derive(Clone, Copy, Debug)]
struct Round {
    rate: f64,
    cpu_us: f64,
}

/// Rounds of all sides in turns, then what transactions hold.
///
/// # Errors
/// When a call is refused, or a shard is lost.
pub(crate) fn measure(
    report: &mut Report,
    world: impl Fn() -> anyhow::Result<World>,
    load: Load,
    rounds: usize,
) -> anyhow::Result<()> {
    let runtime = runtime()?;
    report.section(&format!(
        "shards: {} shards over gRPC, {} agents, {} shards a pull, {} commits each under way; {rounds} rounds, medians",
        load.shards, load.agents, load.per_pull, load.at_once
    ));
    let mut seen: BTreeMap<On, Vec<Round>> = BTreeMap::new();
    for _ in 0..rounds {
        for on in SIDES {
            let round = runtime.block_on(round(&world()?, load, on))?;
            seen.entry(on).or_default().push(round);
        }
    }
    for on in SIDES {
        tell(report, &seen, on);
    }
    runtime.block_on(transactions(report, &world()?, load))
}

fn tell(report: &mut Report, seen: &BTreeMap<On, Vec<Round>>, on: On) {
    let rounds = seen.get(&on).map_or(&[][..], Vec::as_slice);
    let base = seen.get(&On::Embedded).map_or(&[][..], Vec::as_slice);
    let rate = median(rounds.iter().map(|round| round.rate));
    report.note(format!("{}: shards in a second", on.name()), rate, "/s");
    let cpu = median(rounds.iter().map(|round| round.cpu_us));
    report.note(
        format!("{}: coordinator's processor time a shard", on.name()),
        cpu,
        "us",
    );
    if on != On::Embedded {
        let ratios = rounds
            .iter()
            .zip(base)
            .map(|(own, base)| own.rate / base.rate);
        let name = format!("{}: against embedded, median of the pairs", on.name());
        report.note(name, median(ratios), "");
    }
}

/// The middle of some figures.
pub(super) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn round(world: &World, load: Load, on: On) -> anyhow::Result<Round> {
    let (coordinator, _etcd) = start(world, on).await?;
    let mut agents = ready(world, &coordinator, load).await?;
    let (begun, before) = (Instant::now(), coordinator.usage()?.cpu);
    let done = f64::from(wire::work(&mut agents, load).await?);
    let took = begun.elapsed().as_secs_f64();
    Ok(Round {
        rate: done / took,
        cpu_us: micros(coordinator.usage()?.cpu - before) / done,
    })
}

async fn start(world: &World, on: On) -> anyhow::Result<(Coordinator, Option<Cluster>)> {
    let On::Members(members) = on else {
        return Ok((world.start()?, None));
    };
    let etcd = etcd(&world.folder().join("etcd"), members).await;
    let coordinator = world.start_on("one", &etcd.endpoints())?;
    until(&channel(coordinator.address).await?, |said| said.here).await?;
    Ok((coordinator, Some(etcd)))
}

/// A job with every part's object in place, and agents that have joined.
async fn ready(world: &World, coordinator: &Coordinator, load: Load) -> anyhow::Result<Vec<Agent>> {
    let spec = wire::submit(coordinator.address).await?;
    objects::put_first(&world.storage(), &spec, load.shards)?;
    wire::join(world, coordinator.address, load).await
}

/// What the transactions of some batches held.
#[derive(Debug, Default)]
struct Seized {
    transactions: f64,
    keys_most: f64,
    bytes_most: f64,
    keys: f64,
}

impl Seized {
    fn take(&mut self, changes: &[Change]) {
        let bytes = |change: &Change| {
            let value = change.value.as_ref().map_or(0, Vec::len);
            PREFIX.len() + change.key.len() + value
        };
        self.transactions += 1.0;
        self.keys += changes.len() as f64;
        self.keys_most = self.keys_most.max(changes.len() as f64);
        let bytes: usize = changes.iter().map(bytes).sum();
        self.bytes_most = self.bytes_most.max(bytes as f64);
    }
}

/// Batches one at a time, each between two looks at the store's revision, which every transaction raises by one; then all agents at once.
async fn transactions(report: &mut Report, world: &World, load: Load) -> anyhow::Result<()> {
    let etcd = etcd(&world.folder().join("etcd"), 1).await;
    let coordinator = world.start_on("one", &etcd.endpoints())?;
    until(&channel(coordinator.address).await?, |said| said.here).await?;
    let store = store::Etcd::open(etcd.settings(PREFIX))
        .await
        .context("open the store beside the coordinator")?;
    let mut agents = ready(world, &coordinator, load).await?;
    let mut pulls = Vec::new();
    let mut commits = Vec::new();
    for _ in 0..BATCHES {
        let agent = agents.first_mut().context("there is an agent")?;
        let before = store.status().await?.revision;
        let grants = agent.pull(load.per_pull).await?;
        let granted = store.status().await?.revision;
        pulls.push((granted.0 - before.0) as f64);
        let calls: Vec<_> = grants
            .into_iter()
            .take(1)
            .map(|grant| agent.commit(grant))
            .collect();
        try_join_all(calls).await?;
        commits.push((store.status().await?.revision.0 - granted.0) as f64);
    }
    report.add(
        format!("transactions for a pull of {} shards", load.per_pull),
        pulls.iter().copied().fold(0.0, f64::max),
        "",
        Target::AtMost(1.0),
    );
    report.add(
        "transactions for a commit",
        commits.iter().copied().fold(0.0, f64::max),
        "",
        Target::AtMost(1.0),
    );
    crowd(report, &store, &mut agents, load).await?;
    coordinator.kill()
}

/// Batches that are looked at one by one.
const BATCHES: usize = 20;

/// All agents at once, with a follower of the store that counts what each transaction held.
async fn crowd(
    report: &mut Report,
    store: &store::Etcd,
    agents: &mut [Agent],
    load: Load,
) -> anyhow::Result<()> {
    let mut watch = store.watch("", store.status().await?.revision).await?;
    let (mut seen, end) = (Seized::default(), Cell::new(None));
    let working = async {
        let done = wire::work(agents, load).await;
        end.set(Some(store.status().await?.revision));
        done
    };
    let counting = async {
        let mut come = None;
        while end.get().is_none() || come < end.get() {
            let Ok(next) = tokio::time::timeout(LOOK_EVERY, watch.next()).await else {
                continue;
            };
            let next = next?;
            come = Some(next.revision());
            if let Seen::Changed { changes, .. } = next {
                seen.take(&changes);
            }
        }
        anyhow::Ok(())
    };
    let own = machine::usage(std::process::id())?.cpu;
    let (done, counted) = futures::join!(working, counting);
    counted?;
    let done = f64::from(done?);
    let own = machine::usage(std::process::id())?.cpu - own;
    report.note(
        "all at once: transactions a shard",
        seen.transactions / done,
        "",
    );
    report.note(
        "all at once: keys a transaction, mean",
        seen.keys / seen.transactions,
        "",
    );
    report.add(
        "all at once: keys a transaction, most",
        seen.keys_most,
        "",
        Target::AtMost(OPERATIONS_MAX),
    );
    report.add(
        "all at once: keys and values of a transaction, most",
        seen.bytes_most,
        "B",
        Target::AtMost(REQUEST_BYTES_MAX),
    );
    report.note(
        "all at once: agents and follower a shard",
        micros(own) / done,
        "us",
    );
    Ok(())
}
