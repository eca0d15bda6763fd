//! The pure core alone: how many events it takes in a second, what its state weighs, and how long it takes to bring a
//! hundred million tracks from submit to published with a thousand devices around it.

use std::time::Instant;

use anyhow::Context;
use scheduler::invariants;
use types::Millis;

use crate::fleet::Fleet;
use crate::machine;
use crate::report::{Report, Target};
use crate::shell::{Kind, Spent, WRITE_TAKES};

/// The largest catalogue that the product is made for.
pub(crate) const TRACKS: u32 = 100_000_000;
/// The largest fleet, one device a node.
pub(crate) const NODES: usize = 1_000;

/// A whole scan in virtual time.
///
/// # Errors
/// When it does not end in a published job with every track once.
pub(crate) fn scan(report: &mut Report, tracks: u32, nodes: usize) -> anyhow::Result<()> {
    report.section(&format!(
        "scan: {tracks} tracks, {nodes} devices, the real core, agents as a cost model at grant grain"
    ));
    let own = std::process::id();
    let mut fleet = Fleet::new(nodes, tracks, WRITE_TAKES)?;
    let (begun, before) = (Instant::now(), machine::usage(own)?.cpu);
    fleet.scan()?;
    let wall = begun.elapsed().as_secs_f64();
    let cpu = (machine::usage(own)?.cpu - before).as_secs_f64();
    check(&fleet, tracks)?;
    let (shell, most) = (&fleet.shell, Target::AtMost(60.0));
    report.add("from submit to published, wall", wall, "s", most);
    report.note("the same, processor time with the agents' model", cpu, "s");
    report.note("the same in virtual time", shell.now.0 as f64 / 1e3, "s");
    transitions(report, &fleet, cpu / wall);
    let (puts, shards) = (shell.puts as f64, f64::from(fleet.job()?.totals.shards));
    report.note("records written, a shard", puts / shards, "");
    report.note(
        "records in one group of writes",
        puts / shell.groups as f64,
        "",
    );
    Ok(())
}

fn check(fleet: &Fleet, tracks: u32) -> anyhow::Result<()> {
    let done = fleet.job()?.totals.done;
    anyhow::ensure!(
        done == u64::from(tracks),
        "{done} of {tracks} tracks are done"
    );
    let broken = fleet.shell.core.violations();
    anyhow::ensure!(broken.is_empty(), "an invariant was broken: {broken:?}");
    let manifest = fleet.shell.manifest.as_ref();
    let manifest = manifest.context("a published job has a manifest")?;
    invariants::manifest_is_whole(manifest)?;
    Ok(())
}

/// What the core does in a second of a core's time. Its share of the wall time is measured call by call, and counted with
/// the share of the processor that this process had: neighbours then weigh little.
///
/// An event is one call of `Core::handle`: a pull, a beat, a commit, or a group of writes that came back, with every action
/// that follows. A transition is one grant or shard whose state it changes: each grant that a beat renews, each record that
/// a pull or a commit stages, each record that is installed when it is stored.
fn transitions(report: &mut Report, fleet: &Fleet, processor: f64) {
    let shell = &fleet.shell;
    let add = |sum: Spent, one: &Spent| Spent {
        events: sum.events + one.events,
        time: sum.time + one.time,
    };
    let all = shell.spent.values().fold(Spent::default(), add);
    let seconds = all.time.as_secs_f64() * processor;
    let transitions = fleet.renewed + 2 * shell.puts;
    report.note("core: events", all.events as f64, "");
    report.note(
        "core: events in a second",
        all.events as f64 / seconds,
        "/s",
    );
    report.note("core: transitions", transitions as f64, "");
    report.add(
        "core: transitions in a second",
        transitions as f64 / seconds,
        "/s",
        Target::AtLeast(1e6),
    );
    for (kind, name) in [
        (Kind::Pull, "pull"),
        (Kind::Beat, "beat"),
        (Kind::Commit, "commit"),
        (Kind::Written, "write that came back"),
    ] {
        let spent = shell.spent.get(&kind).copied().unwrap_or_default();
        let mean = spent.time.as_secs_f64() * processor * 1e6 / spent.events.max(1) as f64;
        report.note(format!("core: {name}, how many"), spent.events as f64, "");
        report.note(format!("core: {name}, mean"), mean, "us");
    }
}

/// What the state of a job weighs as it goes from queued to done: allocated bytes with what the allocator adds, less what the
/// nodes' model takes.
///
/// # Errors
/// When the core refuses a pull or a commit.
pub(crate) fn memory(report: &mut Report, tracks: u32, nodes: usize) -> anyhow::Result<()> {
    report.section(&format!(
        "memory: {tracks} tracks, {nodes} devices, the real core"
    ));
    let mut scale = Scale {
        empty: machine::allocated(),
        stored: 0,
    };
    // No time passes: nobody falls silent, and nothing held is asked back.
    let mut fleet = Fleet::new(nodes, tracks, Millis(0))?;
    let shards = f64::from(fleet.job()?.totals.shards);
    report.note("shards", shards, "");
    scale.weigh(report, "all queued", &fleet)?;
    fleet.take_all()?;
    let granted = fleet.job()?.totals.granted;
    // The last of a job is cut ever smaller, for all nodes, until each holds as many grants as it may.
    let left = u64::from(tracks) - granted;
    anyhow::ensure!(
        left <= u64::from(tracks) / 1_000,
        "{granted} of {tracks} tracks are granted"
    );
    scale.weigh(report, "all but the last thousandth granted", &fleet)?;
    fleet.flush_all(512)?;
    scale.weigh(
        report,
        "half of every shard in one part, the rest granted",
        &fleet,
    )?;
    fleet.flush_all(511)?;
    scale.weigh(report, "two parts a shard, a track still granted", &fleet)
}

/// What was there before, to be taken off.
struct Scale {
    empty: u64,
    stored: u64,
}

impl Scale {
    fn weigh(&mut self, report: &mut Report, state: &str, fleet: &Fleet) -> anyhow::Result<()> {
        let shards = f64::from(fleet.job()?.totals.shards);
        let bytes = machine::allocated() - self.empty - fleet.model_bytes();
        let written = fleet.shell.put_bytes - self.stored;
        self.stored = fleet.shell.put_bytes;
        let most = Target::AtMost(200.0);
        report.add(format!("{state}: memory"), bytes as f64 / 1e6, "MB", most);
        report.note(
            format!("{state}: memory a shard"),
            bytes as f64 / shards,
            "B",
        );
        report.note(
            format!("{state}: written since, a shard"),
            written as f64 / shards,
            "B",
        );
        Ok(())
    }
}
