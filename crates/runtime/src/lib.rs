//! What every process of Trackscan needs before it does its own work: configuration from one table, logs on stderr,
//! metrics over HTTP, and an orderly end.
//!
//! Called from `main` of the coordinator and the node agent. Nothing here knows what a process does, and nothing here
//! prints to stdout but the configuration that was asked for.

pub mod config;
pub mod process;
pub mod shutdown;
pub mod sources;
pub mod telemetry;
