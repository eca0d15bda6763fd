//! The operator's path on real processes: up, import, scan, read, export, verify, stop. One cluster serves the tests that
//! change nothing for each other; those about starting and dying have their own.

#![expect(
    clippy::unwrap_used,
    reason = "a suite's helpers fail loudly, as its tests do"
)]

mod budget;
mod calibrating;
mod calibrating_both;
mod card;
mod escalation;
mod labelled_folder;
mod life;
mod path;
mod probing;
mod reading;
mod readme;
mod report;
mod restoring;
mod schemas;
mod waiting;
mod world;
