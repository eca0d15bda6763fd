//! What the machine says of processes and memory: resident bytes, processor time, bytes that the allocator has given out,
//! and how long one synced write takes here. Linux and glibc only, as everything here.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Bytes that the main thread has allocated and not freed, with what the allocator adds to each.
#[must_use]
pub(crate) fn allocated() -> u64 {
    // SAFETY: mallinfo2 only reads the allocator's own counters.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as u64
}

/// What one process uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time, user and system.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    /// The most that it has been.
    pub(crate) resident_most: u64,
}

/// What a process uses now.
///
/// # Errors
/// When it is gone.
pub(crate) fn usage(pid: u32) -> anyhow::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read a process's times")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read its memory")?;
    let (_, rest) = stat.rsplit_once(')').context("a process has a name")?;
    let ticks = |at: usize| rest.split_whitespace().nth(at).and_then(|n| n.parse().ok());
    let ticks: u64 = ticks(11)
        .zip(ticks(12))
        .map_or(0, |(user, system): (u64, u64)| user + system);
    // SAFETY: sysconf reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }
        .max(1)
        .cast_unsigned();
    Ok(Usage {
        cpu: Duration::from_millis(ticks * 1_000 / per_second),
        resident: kib(&status, "VmRSS:") * 1_024,
        resident_most: kib(&status, "VmHWM:") * 1_024,
    })
}

fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Bytes of all files in a folder.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).context("read a folder")? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// Processes that ran or waited to, averaged over the last minute.
#[must_use]
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// Median time of a write of 4 KiB in place with its sync, in this folder.
///
/// # Errors
/// When the folder takes no file.
pub(crate) fn synced_write(folder: &Path) -> anyhow::Result<Duration> {
    const TRIES: usize = 201;
    let path = folder.join("synced-write");
    let mut file = File::create(&path).context("make a file to sync")?;
    let mut times = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        let begun = Instant::now();
        file.rewind()?;
        file.write_all(&[7; 4_096])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    fs::remove_file(&path).context("remove it again")?;
    times.sort_unstable();
    Ok(times[TRIES / 2])
}
