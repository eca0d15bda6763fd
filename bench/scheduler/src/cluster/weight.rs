//! What a hundred million tracks weigh on etcd: the records that the real core writes for them, written into a real etcd.
//!
//! Shard records are in the brief form, as a coordinator writes them there. Keys and values are summed as etcd has them, prefix
//! included; what its file has in use besides is its own tree. Parts are cut at half the shard or less, and the tracks that go on lie
//! scattered.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use futures::stream::{self, StreamExt, TryStreamExt};
use store::server::Cluster;
use store::{Outcome, Store, Txn};
use types::Stages;

use super::{PREFIX, etcd, runtime};
use crate::fleet::Fleet;
use crate::node::Ends;
use crate::report::{Report, Target};

/// Records in one transaction: what etcd takes by default.
const KEYS_PER_WRITE: usize = 128;
/// Transactions under way at once: they share etcd's syncs.
const WRITES_AT_ONCE: usize = 16;
/// What etcd puts between the prefix and a key of ours.
const BETWEEN: usize = "/data/".len();
/// etcd brings what was written into its file every tenth of a second.
const IN_FILE_WITHIN: Duration = Duration::from_secs(2);
/// About one track in so many goes on to the residual.
const ONWARD: Ends = Ends::AllButOneIn(16);
/// More than any shard has.
const ALL: u32 = u32::MAX;

/// A way in which a job's parts may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The screen alone, four flushes of a shard.
    Screen,
    /// Both engines: two flushes of a shard, each with an escalation part, whose shard is one part.
    Both,
    /// Both engines: one flush of a shard, whose escalation shard is two parts.
    Apart,
}

impl Shape {
    /// Each of them.
    const EACH: [Self; 3] = [Self::Screen, Self::Both, Self::Apart];

    /// In words.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Screen => "screen alone, four parts a shard",
            Self::Both => "both engines, four parts a shard and two escalation shards of one part",
            Self::Apart => "both engines, two parts a shard and an escalation shard of two parts",
        }
    }

    const fn stages(self) -> Stages {
        match self {
            Self::Screen => Stages::Screen,
            Self::Both | Self::Apart => Stages::Both,
        }
    }
}

/// The records of a job of so many tracks, nearly done: what one node holds stays open, so that the job does not end.
///
/// # Errors
/// When the core refuses a pull or a commit.
pub(super) fn records(
    shape: Shape,
    tracks: u32,
    nodes: usize,
) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut fleet = Fleet::kept(nodes, tracks, shape.stages())?;
    fleet.take_all()?;
    match shape {
        Shape::Screen => {
            for flush in [256, 256, 256, ALL] {
                fleet.flush_from(1, flush, Ends::All)?;
            }
        }
        Shape::Both => {
            for flush in [512, ALL] {
                fleet.flush_from(1, flush, ONWARD)?;
            }
            onward(&mut fleet, &[ALL])?;
        }
        Shape::Apart => {
            fleet.flush_from(1, ALL, ONWARD)?;
            onward(&mut fleet, &[512, ALL])?;
        }
    }
    fleet.shell.records.take().context("the records are kept")
}

/// Lets escalation shards be taken and done, until the nodes take no more.
fn onward(fleet: &mut Fleet, flushes: &[u32]) -> anyhow::Result<()> {
    let mut before = u64::MAX;
    while fleet.open()? < before {
        before = fleet.open()?;
        fleet.take_all()?;
        for flush in flushes {
            fleet.flush_from(1, *flush, Ends::All)?;
        }
    }
    Ok(())
}

/// Weighs every shape in an etcd of its own.
///
/// # Errors
/// When the core refuses a call, or etcd a write.
pub(crate) fn measure(
    report: &mut Report,
    folder: &Path,
    tracks: u32,
    nodes: usize,
) -> anyhow::Result<()> {
    let runtime = runtime()?;
    report.section(&format!(
        "weight: {tracks} tracks on etcd, the records of the real core, one in 16 escalated where both engines run"
    ));
    for (number, shape) in Shape::EACH.into_iter().enumerate() {
        let records = records(shape, tracks, nodes)?;
        let folder = folder.join(format!("weight-{number}"));
        runtime.block_on(weigh(report, shape, &folder, &records, tracks))?;
    }
    Ok(())
}

async fn weigh(
    report: &mut Report,
    shape: Shape,
    folder: &Path,
    records: &BTreeMap<String, Vec<u8>>,
    tracks: u32,
) -> anyhow::Result<()> {
    let size = |(key, value): (&String, &Vec<u8>)| PREFIX.len() + BETWEEN + key.len() + value.len();
    let bytes: usize = records.iter().map(size).sum();
    let name = shape.name();
    report.note(format!("{name}: records"), records.len() as f64, "");
    report.add(
        format!("{name}: keys and values"),
        bytes as f64 / 1e6,
        "MB",
        Target::AtMost(150.0 * f64::from(tracks) / 1e8),
    );
    let each = bytes as f64 / records.len() as f64;
    report.note(format!("{name}: a record with its key, mean"), each, "B");
    let etcd = etcd(folder, 1).await;
    let before = in_use(&etcd).await?;
    write(&etcd, records).await?;
    let used = in_use(&etcd).await? - before;
    report.note(format!("{name}: etcd's file in use"), used / 1e6, "MB");
    Ok(())
}

/// Bytes of etcd's file in use, once what was written is in it.
async fn in_use(etcd: &Cluster) -> anyhow::Result<f64> {
    tokio::time::sleep(IN_FILE_WITHIN).await;
    let status = etcd.client(0).await.status().await;
    let status = status.context("ask etcd for its size")?;
    Ok(status.raft_used_db_size() as f64)
}

/// Writes records as they are, under nobody's leadership.
///
/// # Errors
/// When a write is not applied.
pub(super) async fn write(
    etcd: &Cluster,
    records: &BTreeMap<String, Vec<u8>>,
) -> anyhow::Result<()> {
    let store = store::Etcd::open(etcd.settings(PREFIX)).await?;
    let records: Vec<_> = records.iter().collect();
    let writes = records.chunks(KEYS_PER_WRITE).map(|some| {
        let put = |txn: Txn, (key, value): &(&String, &Vec<u8>)| txn.put(*key, (*value).clone());
        store.write(some.iter().fold(Txn::default(), put))
    });
    let writes: Vec<_> = writes.collect();
    let written = stream::iter(writes)
        .buffer_unordered(WRITES_AT_ONCE)
        .map(anyhow::Ok);
    written
        .try_for_each(async |outcome| {
            let is_applied = matches!(outcome, Outcome::Applied { .. });
            anyhow::ensure!(is_applied, "write records into etcd: {outcome:?}");
            Ok(())
        })
        .await
}
