//! Every bound of the core, with the sentence for its number.

use types::Millis;

/// Work kept on the node: so much that a pull's round trip is never felt and a lost node costs minutes, not hours.
pub const WORK_AHEAD: Millis = Millis(120_000);
/// Of that, the waiting share in percent on top, so that a grant is there when another ends.
pub const WORK_WAITING_PERCENT: u64 = 15;
/// Tracks wanted before anything was measured: enough to measure, few enough to lose.
pub const TRACKS_UNMEASURED: u32 = 32;
/// Most tracks held: what one answer to a pull may bring.
pub const TRACKS_HELD_MAX: u32 = 16_384;
/// Least time between two flushes of a grant unless configured.
pub const FLUSH_EVERY: Millis = Millis(60_000);
/// A flush comes no sooner than this part of the shard's expected time, so that a shard has few parts.
pub const FLUSHES_PER_SHARD: u64 = 32;
/// Parts that are made and not committed; beyond it no track is started, so that grants whose tracks are all made fit into a beat.
pub const PARTS_WAITING_MAX: usize = 64;
/// Bytes of such parts on the node's disk; from there on no track is started and nothing is flushed. The shell holds them in memory too: half of
/// what an agent may take.
pub const PARTS_BYTES_MAX: u64 = 64 << 20;
/// What a part counts for that is not on the disk yet: the largest shard's 1,024 tracks at a kilobyte each.
pub const PART_BYTES_ASSUMED: u64 = 1 << 20;
/// Commits without an answer at once: one per grant being flushed is the rule, more only after an outage.
pub const COMMITS_AT_ONCE_MAX: usize = 4;
/// Parts being written at once: writing is bound by storage, and each holds its rows in memory.
pub const WRITES_AT_ONCE_MAX: usize = 2;
/// Lone deaths on a proven device after which a track is given up.
pub const LONE_DEATHS_MAX: u8 = 2;
/// The same where somebody outside killed the worker each time: the kernel's out-of-memory killer is such a one, so
/// there must be an end, but no reaper at random hits one track so often.
pub const LONE_KILLS_MAX: u8 = 6;
/// Decoders that may die on a track: one retry on a fresh one.
pub const DECODER_DEATHS_MAX: u8 = 2;
/// The same where somebody outside killed the decoder.
pub const DECODER_KILLS_MAX: u8 = 6;
/// Times that a track's bytes may be out of reach before its grant is given back: about a minute of tries.
pub const UNREACHABLE_MAX: u8 = 12;
/// Times that a track's bytes may be out of reach, while others of its source are not, before it ends in a code: about a
/// minute of tries, in which a share that came back half has come back whole.
pub const UNREADABLE_MAX: u8 = 8;
/// Tracks given up in a row on one device; after that a track without suspicion is run first, and a death of that is the
/// device's own fault. Poisoned tracks come in small runs, a device that kills whatever it is given does so without end.
pub const CONVICTIONS_IN_A_ROW_MAX: u8 = 4;
/// Faults of a device within [`FAULTS_WITHIN`] that take it out.
pub const DEVICE_FAULTS_MAX: usize = 3;
/// Kills of a device's worker from outside within [`FAULTS_WITHIN`] that take it out: it cannot work here.
pub const DEVICE_KILLS_MAX: usize = 20;
/// How long a fault is remembered.
pub const FAULTS_WITHIN: Millis = Millis(600_000);
/// First wait after a failure; doubles with each.
pub const BACK_OFF_FIRST: Millis = Millis(500);
/// Longest wait after failures.
pub const BACK_OFF_MAX: Millis = Millis(30_000);
/// How often a grant's list may fail to be read before the grant is given back: about a minute of tries.
pub const PREPARES_MAX: u8 = 12;
/// How often in a row a bundle may be out of reach before its grants are given back: some eight seconds, in which every
/// other job of the device waits.
pub const BUNDLE_LATERS_MAX: u8 = 5;
/// Farewells tried before the agent ends without an answer: the coordinator's time-out does the rest.
pub const LEAVES_MAX: u8 = 3;
/// Busy time after which the measured rate forgets half, so that it follows the catalogue.
pub const RATE_WINDOW: Millis = Millis(240_000);
/// Busy time before a rate is believed: the first tracks pay for warming up.
pub const RATE_FROM: Millis = Millis(3_000);

/// Longest wait before a call that was not answered is made again, be it a join, a pull or a commit: two beats. Each node beats all the
/// time anyway, so that a coordinator that is back is asked no more by it, and work goes on within seconds however long it was away.
pub const CALL_BACK_OFF_MAX: Millis = Millis(4_000);
/// Longest wait before storage or a source is tried again: whoever speaks to a store sends it less by itself, so that to wait longer
/// would spare it nothing.
pub const STORAGE_BACK_OFF_MAX: Millis = Millis(8_000);

/// The wait before a call after `failures` in a row that were not answered, at least one.
pub fn call_back_off(failures: u8) -> Millis {
    back_off(failures).min(CALL_BACK_OFF_MAX)
}

/// The wait before storage or a source is tried after `failures` in a row, at least one.
pub fn storage_back_off(failures: u8) -> Millis {
    back_off(failures).min(STORAGE_BACK_OFF_MAX)
}

/// The wait after `failures` failures in a row, at least one.
pub fn back_off(failures: u8) -> Millis {
    let doubled = BACK_OFF_FIRST.0 << u32::from(failures.saturating_sub(1)).min(16);
    Millis(doubled.min(BACK_OFF_MAX.0))
}
