//! What the machine says of processes and memory: resident bytes, processor time, bytes that the allocator has given out,
//! and how long one synced write takes here. Linux and glibc only, as everything here.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
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

/// A command whose process ends with this one, however this one ends.
pub(crate) fn bound(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(
            || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            },
        )
    }
}

/// Asks a process to end.
///
/// # Errors
/// When it is gone.
pub(crate) fn terminate(pid: u32) -> anyhow::Result<()> {
    let pid = libc::pid_t::try_from(pid).context("a process has a small number")?;
    // SAFETY: kill takes two plain numbers.
    let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
    anyhow::ensure!(
        sent == 0,
        "signal process {pid}: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

/// Every process below this one, by number, with its name. One whose parent is gone is not found.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn below(pid: u32) -> anyhow::Result<Vec<(u32, String)>> {
    let processes: Vec<(u32, u32, String)> = fs::read_dir("/proc")
        .context("read the processes")?
        .filter_map(|entry| process(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut found = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for (child, _, name) in processes.iter().filter(|(_, above, _)| *above == parent) {
            parents.push(*child);
            found.push((*child, name.clone()));
        }
    }
    Ok(found)
}

/// A process's number, its parent's and its name.
fn process(pid: u32) -> Option<(u32, u32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, rest) = stat.rsplit_once(')')?;
    let name = start.split_once('(')?.1.to_owned();
    let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
    Some((pid, parent, name))
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
