//! The real decoder binary under test: its sandbox, damaged and hostile files, and a walk through mutations.

mod common;
mod damage;
mod mutation;
mod sandbox;
