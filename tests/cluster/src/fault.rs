//! What can go wrong: the closed list of faults, what each is aimed at, how long it usually lasts and how hard it usually is. Pure words;
//! `schedule` draws them, `stage` carries them out.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A way in which something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// SIGKILL; started again at the end.
    Kill,
    /// SIGKILL to whoever leads its role at that moment; started again at the end.
    KillLeader,
    /// SIGSTOP to a process and its children, past every time-out; SIGCONT at the end.
    Stop,
    /// The same to whoever leads its role at that moment.
    StopLeader,
    /// SIGTERM; started again at the end.
    Terminate,
    /// SIGTERM to whoever leads its role at that moment; started again at the end.
    TerminateLeader,
    /// SIGTERM; started again at the end from the other build.
    Upgrade,
    /// Nothing passes from one host to another, everything the other way.
    CutOneWay,
    /// Nothing passes between two hosts.
    CutBothWays,
    /// Nothing passes between a host and all others.
    Isolate,
    /// A share of the packets is lost; the amount is in thousandths.
    Loss,
    /// Everything comes late both ways; the amount is in milliseconds each way.
    Delay,
    /// A relay takes nothing more from one side, and both stay connected.
    Stall,
    /// A relay loses what it is given, and both sides stay connected: a black hole that ends with resets.
    Swallow,
    /// A relay resets all connections, once.
    Reset,
    /// Each sync takes longer; the amount is in milliseconds.
    SlowSync,
    /// The time of day jumps and jumps back; the amount is in milliseconds and may be negative.
    ClockStep,
    /// Storage answers 503; the amount is the share of requests in thousandths.
    StorageRefuses,
    /// Storage does what it is asked and does not answer; the amount is the share of requests in thousandths.
    StorageLate,
    /// The store raises its alarm that it is full.
    StoreFull,
}

impl Kind {
    /// All of them, in the order of this list.
    pub const ALL: [Self; 20] = [
        Self::Kill,
        Self::KillLeader,
        Self::Stop,
        Self::StopLeader,
        Self::Terminate,
        Self::TerminateLeader,
        Self::Upgrade,
        Self::CutOneWay,
        Self::CutBothWays,
        Self::Isolate,
        Self::Loss,
        Self::Delay,
        Self::Stall,
        Self::Swallow,
        Self::Reset,
        Self::SlowSync,
        Self::ClockStep,
        Self::StorageRefuses,
        Self::StorageLate,
        Self::StoreFull,
    ];

    /// What it is aimed at.
    #[must_use]
    pub fn aim(self) -> Aim {
        match self {
            Self::Kill | Self::Stop | Self::Terminate => Aim::Process,
            Self::Upgrade => Aim::Upgradable,
            Self::KillLeader | Self::StopLeader | Self::TerminateLeader => Aim::Leader,
            Self::CutOneWay | Self::CutBothWays | Self::Loss => Aim::Link,
            Self::Delay | Self::Stall | Self::Swallow | Self::Reset => Aim::Relay,
            Self::Isolate => Aim::Host,
            Self::SlowSync => Aim::Disk,
            Self::ClockStep => Aim::Clock,
            Self::StorageRefuses | Self::StorageLate => Aim::Storage,
            Self::StoreFull => Aim::Store,
        }
    }

    /// How often, how long and how hard it is unless a plan says otherwise.
    #[must_use]
    pub fn usual(self) -> Usual {
        let short = (2_000, 8_000);
        // Longer than every time-out of a call and than a leadership, which is 5 seconds; about half outlive a grant's 20 seconds as well.
        let past_time_outs = (8_000, 30_000);
        // Longer than every time-out of the product, the longest of which is a grant's 20 seconds: whoever stood still finds its work another's.
        let past_a_grant = (21_000, 35_000);
        let (weight, held_ms, amount) = match self {
            Self::Kill => (10, short, (0, 0)),
            Self::KillLeader => (4, short, (0, 0)),
            Self::Stop => (6, past_a_grant, (0, 0)),
            Self::StopLeader => (3, past_time_outs, (0, 0)),
            Self::Terminate => (5, short, (0, 0)),
            Self::TerminateLeader => (3, short, (0, 0)),
            Self::Upgrade => (4, short, (0, 0)),
            Self::CutOneWay => (6, past_time_outs, (0, 0)),
            Self::CutBothWays => (6, past_time_outs, (0, 0)),
            Self::Isolate => (3, past_time_outs, (0, 0)),
            // Enough that some of the few packets of a quiet way are among them.
            Self::Loss => (5, past_time_outs, (100, 300)),
            Self::Delay => (5, past_time_outs, (20, 800)),
            Self::Stall => (3, past_time_outs, (0, 0)),
            Self::Swallow => (3, past_time_outs, (0, 0)),
            Self::Reset => (4, (100, 200), (0, 0)),
            Self::SlowSync => (4, past_time_outs, (50, 1_500)),
            // Ten minutes either way: far beyond every deadline.
            Self::ClockStep => (3, past_time_outs, (-600_000, 600_000)),
            Self::StorageRefuses => (4, past_time_outs, (200, 1_000)),
            Self::StorageLate => (3, past_time_outs, (100, 500)),
            // An alarm is raised, stands and is seen within a few looks at the store.
            Self::StoreFull => (2, (5_000, 10_000), (0, 0)),
        };
        Usual {
            weight,
            held_ms,
            amount,
        }
    }
}

/// What a fault needs to be aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Any process.
    Process,
    /// A process of which there is another build.
    Upgradable,
    /// A role that has a leader.
    Leader,
    /// Two hosts.
    Link,
    /// Two hosts with a relay between them.
    Relay,
    /// One host.
    Host,
    /// A process whose syncs can be slowed.
    Disk,
    /// A process whose clock can be stepped.
    Clock,
    /// Storage as a whole.
    Storage,
    /// The store as a whole.
    Store,
}

/// How a fault usually is; spans are from least to most, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usual {
    /// How often, against the others; 0 is never.
    pub weight: u32,
    /// How long until it is undone.
    pub held_ms: (u64, u64),
    /// How hard, in the unit of its kind.
    pub amount: (i64, i64),
}

/// What a fault hits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A process by name.
    Process(String),
    /// Whoever leads a role when the fault begins.
    Leader(String),
    /// The way from the first host to the second.
    Link(String, String),
    /// A host by name.
    Host(String),
    /// Storage.
    Storage,
    /// The store.
    Store,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(name) | Self::Host(name) => f.write_str(name),
            Self::Leader(role) => write!(f, "leader of {role}"),
            Self::Link(from, to) => write!(f, "{from} to {to}"),
            Self::Storage => f.write_str("storage"),
            Self::Store => f.write_str("store"),
        }
    }
}

/// One fault of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its number in the schedule.
    pub number: u32,
    /// What goes wrong.
    pub kind: Kind,
    /// Where.
    pub target: Target,
    /// How hard, in the unit of its kind.
    pub amount: i64,
    /// When it begins, from the start of the run.
    pub at_ms: u64,
    /// When it is undone.
    pub until_ms: u64,
}
