//! What a file could try on its reader: programs, endless claims, nesting without end, names that lead elsewhere. Each ends
//! in a typed refusal. That a program does not run is shown where there is a process that could: in the worker's suite.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

mod archives;
mod changes;
mod make;
mod pickles;
