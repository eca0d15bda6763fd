//! The program that keeps one network namespace: it makes it, sends signals to all that live there, and when its stdin closes, kills
//! what is left. The world starts one per host and one for the switch. It never starts anything and outlives the suite only
//! until its namespace is empty.

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs;
use std::io::{BufRead, Write};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// What the keeper of a namespace says first.
pub(crate) const IN_USER_NAMESPACE: &str = "made in a user namespace";
/// The same where the caller's own rights were enough.
pub(crate) const AS_ROOT: &str = "made as root";

/// How often a sweep looks again: for ten seconds, since killed processes on a busy machine take their time to go.
const SWEEPS_MAX: u32 = 1_000;
/// Between two looks.
const SWEEP_EVERY: Duration = Duration::from_millis(10);

/// Makes a namespace and keeps it until stdin ends. `with_user` allows a user namespace around it.
///
/// # Errors
/// Where the kernel allows none; the text says what is missing.
pub fn keep(with_user: bool) -> Result<()> {
    let said = make(with_user)?;
    // Changing credentials hides a process from its own user, who is to open its namespaces.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .context("let the suite open this namespace")?;
    say(said)?;
    let own = network("self").context("look at the keeper's own namespace")?;
    for line in std::io::stdin().lock().lines() {
        let number: i32 = line?.trim().parse().context("read a signal's number")?;
        say(&send_all(own, number)?.to_string())?;
    }
    sweep(own)
}

fn make(with_user: bool) -> Result<&'static str> {
    match unshare(UnshareFlags::NEWNET) {
        Ok(()) => return Ok(AS_ROOT),
        Err(Errno::PERM) if with_user => {}
        Err(why) => bail!(
            "make a network namespace: {why}; the kernel needs CONFIG_NET_NS, and user.max_net_namespaces above what is in use"
        ),
    }
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET).context(
        "make a network namespace in a user namespace: it takes root with CAP_SYS_ADMIN and CAP_NET_ADMIN, or a kernel that gives \
         everybody user namespaces (user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 and \
         kernel.apparmor_restrict_unprivileged_userns=0 where they exist)",
    )?;
    fs::write("/proc/self/setgroups", "deny").context("write /proc/self/setgroups")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).context("write /proc/self/uid_map")?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).context("write /proc/self/gid_map")?;
    Ok(IN_USER_NAMESPACE)
}

fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the table of open files is not among the flags.
    unsafe { unshare_unsafe(flags) }
}

/// stdout is this program's answer to the world.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("answer the suite")
}

/// Sends a signal to everything in the namespace but the keeper; 0 only counts.
fn send_all(own: u64, number: i32) -> Result<usize> {
    let signal = match number {
        0 => None,
        _ => Some(Signal::from_named_raw(number).context("read a signal's number")?),
    };
    let found = others(own)?;
    for pid in found.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // Whatever ended in between needs no signal.
        let _ = signal.map(|signal| rustix::process::kill_process(pid, signal));
    }
    Ok(found.len())
}

fn sweep(own: u64) -> Result<()> {
    for _ in 0..SWEEPS_MAX {
        if send_all(own, Signal::KILL.as_raw())? == 0 {
            return Ok(());
        }
        std::thread::sleep(SWEEP_EVERY);
    }
    bail!(
        "processes of a host still live after SIGKILL: {:?}",
        others(own)?
    )
}

/// The living processes of a namespace but this one. A process that has ended has no namespace any more.
fn others(own: u64) -> Result<Vec<i32>> {
    let me = i32::try_from(std::process::id())?;
    let names = fs::read_dir("/proc").context("list /proc")?;
    let pids = names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    Ok(pids
        .filter(|pid| *pid != me && network(&pid.to_string()).is_some_and(|net| net == own))
        .collect())
}

/// The network namespace of a process, as the number that the kernel gives it.
fn network(pid: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/net"))
        .ok()
        .map(|found| found.ino())
}
