//! The real decoder binary under test: its sandbox, damaged and hostile files, and a walk through mutations.

mod bombs;
mod common;
mod damage;
mod mutation;
mod provenance;
mod sandbox;
