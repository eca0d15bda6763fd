//! Numbers that nobody else draws: what a store is named by. Called where a store is made; never where anything is decided.

use std::fs::File;
use std::io::{self, Read};

/// A number from the system's own source.
pub(crate) fn number() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
