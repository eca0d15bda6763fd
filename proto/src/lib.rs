//! The wire contract of Trackscan: generated messages, clients and servers, and their conversions to the domain.
//!
//! Processes call it at their doors and nowhere else: a wire type never reaches a core. Conversions from the wire are
//! fallible and refuse `UNSPECIFIED` by name; conversions to the wire cannot fail. Nothing here does I/O.
#![allow(
    clippy::allow_attributes_without_reason,
    reason = "tonic writes such attributes into the servers that it generates"
)]

pub mod backup;
mod convert;
pub mod field;
pub mod leader;
pub mod problem;
mod row;

pub use convert::{Caller, caller, ledger, ranges, stage_use, track_set, uses};
pub use field::FieldError;

/// Generated from `trackscan/v1/*.proto`; the comments of those files are its documentation.
#[expect(missing_docs, reason = "prost documents neither modules nor oneofs")]
pub mod v1 {
    tonic::include_proto!("trackscan.v1");

    /// Encoded descriptor set of the package, for the reflection service.
    pub const DESCRIPTORS: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/trackscan_descriptors.bin"));
}
