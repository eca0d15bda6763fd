//! What a process gives up before it sees a byte of an untrusted file: privileges, resources, and nearly every system call.
//! Called once by the decoder and by the converter's reader, each with its own [`Limits`]; there is no way back.
//!
//! The filter allows what parsing needs of the kernel: reading and writing open descriptors, waiting, memory that is
//! never executable, clocks, and the end. Everything else kills the process at once, so an attempt is also an alarm.
//! It opens nothing and starts nothing, and it never grants more to one process than to another.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{Resource, Rlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Seconds from the signal that tells of too much processor time to the end that no handler escapes.
const GRACE_S: u64 = 5;

/// What a process may use of its machine for the rest of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Address space in bytes, with all that is mapped already; beyond it an allocation fails.
    pub address_space: u64,
    /// Descriptor numbers below this one may exist; what is open from here on is closed.
    pub descriptors: u32,
    /// Processor time in seconds, counted from the process's start.
    pub cpu_s: u64,
}

/// Enters the sandbox; there is no way back. The filter holds for the calling thread and those it starts, so whoever
/// has threads already keeps them out of it.
///
/// # Errors
/// The system's, where it refuses a limit or the filter; the process is then to end.
pub fn enter(limits: Limits) -> io::Result<()> {
    close_from(limits.descriptors)?;
    for (resource, limit) in [
        (Resource::As, limits.address_space),
        (Resource::Nofile, limits.descriptors.into()),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Memlock, 0),
    ] {
        set(resource, limit, limit)?;
    }
    // The soft limit comes first, with a signal of its own that tells what happened.
    set(Resource::Cpu, limits.cpu_s, limits.cpu_s + GRACE_S)?;
    rustix::thread::set_no_new_privs(true)?;
    seccompiler::apply_filter(&filter().map_err(io::Error::other)?).map_err(io::Error::other)
}

/// Closes every descriptor from a number on: whatever a parent left open by mistake would be read and written through the filter.
fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: nothing in a process that is about to shut itself in uses a descriptor that it is not to have.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if closed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(soft),
        maximum: Some(hard),
    };
    Ok(rustix::process::setrlimit(resource, limit)?)
}

fn filter() -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    let protection = not_executable(2)?;
    rules.insert(
        libc::SYS_mprotect,
        vec![SeccompRule::new(vec![protection.clone()])?],
    );
    rules.insert(
        libc::SYS_mmap,
        vec![SeccompRule::new(vec![protection, of_no_file()?])?],
    );
    rules.insert(
        libc::SYS_tgkill,
        vec![SeccompRule::new(abort_of_itself()?)?],
    );
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::x86_64,
    )?;
    Ok(BpfProgram::try_from(filter)?)
}

/// Allowed whatever their arguments.
const ALLOWED: [i64; 25] = [
    // Sockets, pipes, eventfds, files. Descriptors cannot be made, so those that are open are all there is.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_close,
    // Memory; `mmap` and `mprotect` have rules of their own.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_madvise,
    // Clocks, hash seeds, locks of the standard library.
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // Signals that were set up before, and the end.
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The C library asks for these when it aborts.
    libc::SYS_gettid,
    libc::SYS_getpid,
];

/// An abort, so that one looks like one and not like an attempt.
fn abort_of_itself() -> Result<Vec<SeccompCondition>, seccompiler::Error> {
    let is = |argument, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
    };
    Ok(vec![
        is(0, u64::from(std::process::id()))?,
        is(2, libc::SIGABRT as u64)?,
    ])
}

fn not_executable(argument: u8) -> Result<SeccompCondition, seccompiler::Error> {
    let bit = u64::from(libc::PROT_EXEC.unsigned_abs());
    Ok(SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(bit),
        0,
    )?)
}

/// The descriptor argument of `mmap` is -1.
fn of_no_file() -> Result<SeccompCondition, seccompiler::Error> {
    Ok(SeccompCondition::new(
        4,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        u64::from(u32::MAX),
    )?)
}
