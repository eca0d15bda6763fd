//! The harness held against stand-ins: whether hosts, cuts, relays, signals, disks and clocks do what they promise to the suites, and
//! whether nothing is left of them. It starts real processes in real namespaces; a machine that allows none fails it by name.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is a failure message of a test, in its helpers too"
)]

mod alarms;
mod clocks;
mod cuts;
mod disks;
mod hosts;
mod processes;
mod relays;
mod stages;
mod survivors;
mod town;
