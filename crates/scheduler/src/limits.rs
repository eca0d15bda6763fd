//! Every bound of the core, with the sentence for its number. Read by the core and by shells that size their
//! buffers after it; nothing here is configuration.

use types::Millis;

/// Live grants in one shard. Sixteen nodes may share the last shard of a job; a record stays small.
pub const GRANTS_PER_SHARD_MAX: usize = 16;
/// Nodes that are asked to share at once: what a look over all nodes may set off.
pub const SPLITS_MAX: usize = 64;
/// Orphans that wait to be seen again: about 4 MiB; more are marked once these have gone.
pub const MARKED_MAX: usize = 16_384;
/// Loaded bundles remembered of a node: more than its workers can hold.
pub const BUNDLES_PER_NODE_MAX: usize = 64;
/// Jobs that a node shuns: more than one holds grants of at once; beyond it the first to be over is forgotten.
pub const SHUNNED_PER_NODE_MAX: usize = 64;
/// Grants in one answer to a pull. Small shards must add up to two minutes of work on a fast node without an
/// answer outgrowing one write group.
pub const GRANTS_PER_PULL_MAX: usize = 64;
/// Grants that one node may hold: the answer to a pull, one being flushed, and one pulled ahead.
pub const GRANTS_PER_NODE_MAX: usize = 3 * GRANTS_PER_PULL_MAX;
/// Tracks in one answer to a pull: what a fast device screens in two minutes, with room.
pub const TRACKS_PER_PULL_MAX: u32 = 16_384;
/// From this many parts on, a grant of the shard flushes once, at its end.
pub const PARTS_BEFORE_FLUSH_ONCE: usize = 48;
/// Parts aimed at per shard. Never a reason to refuse a commit: kills and splits must not keep a job from ending.
pub const PARTS_AIMED: usize = 64;
/// Bytes of a part's coverage as stored: a bitmap of 1,024 tracks is 128, its form and first ordinal take up to 6.
pub const COVERAGE_BYTES_MAX: usize = 134;
/// Parts in one commit: a terminal part and an escalation part of one flush.
pub const PARTS_PER_COMMIT_MAX: usize = 2;
/// Devices and stages that may have made one part: eight devices, each with decode, screen and residual.
pub const MAKERS_PER_PART_MAX: usize = 24;
/// Runs of suspect tracks kept per shard; beyond it neighbouring runs are joined, which isolates later, not worse.
pub const SUSPECT_RUNS_MAX: usize = 64;
/// Silent deaths with one track alone in hand after which a grant names it as `reject`, on two machines where there are
/// two: a sick one may go whatever it has in hand.
pub const ALONE_SILENT_MAX: usize = 2;
/// Deaths of any kind with one track alone in hand after which it is rejected. An agent that is back at once may have
/// been killed by anybody: five such hits on one short trial, after the halvings before, are no chance.
pub const ALONE_DEATHS_MAX: usize = 5;
/// Tracks of a shard that is not divided that answer for the first death before any beat named one: what a few decoders begin
/// within a beat.
pub const BEGUN_UNNAMED: usize = 16;
/// Deaths after which no more of them do: all of the largest shard.
pub const BEGUN_DOUBLED_MAX: u16 = 6;
/// Failures of one cause in one shard after which it is tried only now and then; see [`BACK_OFF_SPENT`].
pub const FAILURES_PER_CAUSE: u16 = 16;
/// Sessions that one node may have in one generation: a join each second for a century.
pub const SESSIONS_PER_GENERATION: u64 = 1 << 32;
/// Devices of one node: twice the sixteen that the largest machines hold.
pub const DEVICES_PER_NODE_MAX: usize = 32;
/// Bytes of a device's name on its node, such as `cuda:0`: it stands in every part's record.
pub const DEVICE_NAME_BYTES_MAX: usize = 64;
/// Nodes known to one coordinator: ten times the fleet planned for.
pub const NODES_MAX: usize = 10_000;
/// Lines by node, device and stage that the plan of a manifest tells: those of five thousand nodes with a device each, and 4 MiB as
/// storage keeps them.
pub const USES_TOLD_MAX: usize = 16_384;
/// Jobs known to one coordinator, closed ones included: a record is about 1 KiB.
pub const JOBS_MAX: usize = 10_000;
/// Revocations known to one coordinator, closed ones included: a record is below 16 KiB, and people make few.
pub const REVOCATIONS_MAX: usize = 1_000;
/// Closed revocations are dropped, the oldest first, where more than this many are known.
pub const REVOCATIONS_KEPT: usize = REVOCATIONS_MAX / 2;
/// Jobs that one revocation may name: with its own record they must fit one transaction.
pub const REVOKED_JOBS_MAX: usize = GROUP_OPS_MAX - 1;
/// Shards under revocation at once, so that it never crowds out work: two groups.
pub const REVOKING_MAX: usize = 2 * GROUP_OPS_MAX;
/// Tombstones in one write, beside their root's record: far below a group's bounds, since a unit is never cut.
pub const TOMBSTONES_PER_WRITE_MAX: usize = 32;
/// Keys compared in one transaction, and keys changed: the store takes 128 compares (etcd's default), and one of them
/// is the leadership.
pub const GROUP_OPS_MAX: usize = 127;
/// Bytes of one group of records, below the store's 1.5 MiB so that keys and framing fit.
pub const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Write groups under way at once. While they are, further changes gather into the next group, so that one synced
/// write carries many grants and commits under load and one alone waits for nobody.
pub const GROUPS_IN_FLIGHT_MAX: usize = 4;
/// Calls that wait for one busy record; a further one is told `OVERLOADED` and comes again.
pub const WAITING_PER_RECORD_MAX: usize = 256;
/// Calls that wait altogether: two for each node at the most, and people.
pub const WAITING_MAX: usize = 4 * NODES_MAX;
/// Entries in one page of recovery.
pub const PAGE_ENTRIES: usize = 1_000;
/// Reasons in one explanation: what fits a screen.
pub const REASONS_MAX: usize = 32;
/// Shards of one job that one pull looks at before it goes on to the next job: bounds one call's work. Eight answers'
/// worth, so that a few shards that wait hide nothing behind them.
pub const SHARDS_SEEN_PER_PULL_MAX: usize = 512;
/// Shards of all jobs that one pull looks at: sixteen jobs whose shards all wait hide nothing behind them, and a look at
/// a shard is microseconds.
pub const SHARDS_SEEN_IN_ALL_MAX: usize = 16 * SHARDS_SEEN_PER_PULL_MAX;

/// Time between two beats of an agent.
pub const BEAT_EVERY: Millis = Millis(2_000);
/// A join is `IDENTITY_IN_USE` while the last session has beaten within this time: three beats.
pub const IDENTITY_HELD: Millis = Millis(6_000);
/// Where no agent was heard for this long the coordinator takes itself for the deaf one: three beats of the last node,
/// and far below [`GRANT_LIVES`], so that a deafness that books nobody as dead is not waited out either.
pub const DEAF_AFTER: Millis = Millis(6_000);
/// A grant not renewed for this long may be withdrawn.
pub const GRANT_LIVES: Millis = Millis(20_000);
/// Work that one answer to a pull aims at.
pub const WORK_PER_PULL: Millis = Millis(120_000);
/// How soon a node that found nothing may ask again.
pub const PULL_AGAIN: Millis = Millis(2_000);
/// How soon a node that was given work may ask for more: it asks only when it is short, as one is that has short tracks
/// and no measured rate, and a few synced writes a second for it are nothing.
pub const FED_AGAIN: Millis = Millis(50);
/// First wait after a failure that costs; doubles with each.
pub const BACK_OFF_FIRST: Millis = Millis(500);
/// Longest wait between tries while the budget lasts.
pub const BACK_OFF_MAX: Millis = Millis(30_000);
/// Wait between tries once a shard's budget is spent.
pub const BACK_OFF_SPENT: Millis = Millis(60_000);
/// How long tracks that a node was asked for on behalf of a more urgent job count as on their way to it: two beats, an
/// answer and a pull, with room.
pub const PREEMPT_COUNTS: Millis = Millis(10_000);
/// A node that will be through with what it holds within this time is not asked to share it: a beat, a pull and the list
/// to be read cost nearly as much.
pub const SPLIT_WORTH: Millis = Millis(10_000);
/// Answers that carry one wish to yield before an agent that gives no more is taken to have no more to give: one may be
/// lost.
pub const YIELD_TOLD_MAX: u8 = 2;
/// What a track is taken to need on a node that has not measured itself.
pub const TRACK_UNMEASURED: Millis = Millis(10_000);
/// Tracks of the residual that a node may hold however slow it is: what a few decoders have in hand, with as many waiting.
pub const RESIDUAL_LEAST: u32 = 4;
/// How many times longer than another a grant of an escalation shard may stand before it counts as making no progress. One
/// track may have 4,096 segments, which a processor's one thread separates in 5 s each: 5.7 hours, within 24 times the
/// quarter of an hour that a screened one is given.
pub const RESIDUAL_STANDS: u64 = 24;
/// How often nodes are counted and lapsed grants looked for, both of which walk over all nodes: a fraction of a beat.
pub const COUNT_NODES_EVERY: Millis = Millis(500);
/// Hungry nodes for which the tail is looked at together, until something is found for one: each look walks over all nodes.
pub const TAIL_LOOKS_MAX: usize = 8;
/// A node that nothing was heard of for this long may be forgotten where too many are known: longer than a reboot.
pub const NODE_GONE: Millis = Millis(3_600_000);
/// How long a suspect that died alone on one node waits for another to take it, before the same one may.
pub const OTHER_NODE_WAIT: Millis = Millis(300_000);
/// Wait before a write or read is repeated that was not applied or whose outcome is unknown; doubles up to
/// [`STORE_RETRY_MAX`].
pub const STORE_RETRY_FIRST: Millis = Millis(100);
/// Longest wait before such a repetition: below the leadership time, so that a store that comes back finds its leader.
pub const STORE_RETRY_MAX: Millis = Millis(2_000);
/// Wait before a failed manifest or cancel marker is repeated; doubles up to [`STORAGE_RETRY_MAX`].
pub const STORAGE_RETRY_FIRST: Millis = Millis(500);
/// Longest such wait: storage that is back ends a job within seconds, and whoever speaks to it sends less by itself while it is not.
pub const STORAGE_RETRY_MAX: Millis = Millis(8_000);

/// Tracks granted to a node whose rate is not known yet: enough to measure it, small enough to lose.
pub const TRACKS_UNMEASURED: u32 = 16;
