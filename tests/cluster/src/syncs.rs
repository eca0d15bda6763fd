//! The kernel's side of a slow disk: a filter by which a child's syncs wait for an answer, and its listener on our side. Programs without a
//! C library (etcd) obey it as ours do. Used by `disk` alone, which decides on the answers.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What `seccomp_data.arch` says of a process of 64 bits, from `linux/audit.h`.
const AUDIT_ARCH_X86_64: u32 = 0xC000_003E;

/// Where `seccomp_data` has the number of the call.
const AT_NUMBER: u32 = 0;
/// Where it has the architecture.
const AT_ARCH: u32 = 4;

fn statement(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    // The codes of BPF fit 16 bits by definition.
    let code = code as u16;
    libc::sock_filter { code, jt, jf, k }
}

/// Lets every call pass but syncs, of which the listener hears.
fn filter() -> [libc::sock_filter; 7] {
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    [
        statement(load, AT_ARCH, 0, 0),
        statement(equal, AUDIT_ARCH_X86_64, 0, 3),
        statement(load, AT_NUMBER, 0, 0),
        statement(equal, libc::SYS_fsync as u32, 2, 0),
        statement(equal, libc::SYS_fdatasync as u32, 1, 0),
        statement(answer, libc::SECCOMP_RET_ALLOW, 0, 0),
        statement(answer, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
    ]
}

/// In the child: installs the filter and sends its listener to the parent.
pub(crate) fn hand_over(parent: &UnixStream) -> std::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    // A sync that somebody waits for is not begun again by the signals that Go sends to its threads; kernels before 5.19 lack that.
    let unbroken =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let listener =
        install(unbroken).or_else(|_| install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER))?;
    let fds = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    message.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(
        parent,
        &[IoSlice::new(b".")],
        &mut message,
        SendFlags::empty(),
    )?;
    Ok(())
}

fn install(flags: libc::c_ulong) -> std::io::Result<OwnedFd> {
    let mut filter = filter();
    let program = libc::sock_fprog {
        len: filter.len() as libc::c_ushort,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its filter live through the call, and the kernel copies them.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made it for us.
        Ok(fd @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(std::io::Error::last_os_error()),
    }
}

pub(crate) fn receive(child: &UnixStream) -> Result<Listener> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut byte)];
    recvmsg(child, into, &mut message, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = message.drain().filter_map(|part| {
        if let RecvAncillaryMessage::ScmRights(mut fds) = part {
            return fds.next();
        }
        None
    });
    fds.next()
        .map(Listener)
        .context("the child sent no listener")
}

/// What a listener has to say.
pub(crate) enum Next {
    /// A sync of this number waits for its answer.
    Sync(u64),
    /// None came in time.
    Nothing,
    /// Everybody below the filter has ended.
    Over,
}

/// Hears of syncs and answers them.
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// Waits for the next sync, at most `limit`.
    pub(crate) fn next(&self, limit: Duration) -> Next {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let limit = Timespec::try_from(limit).ok();
        // A signal to this thread is no news.
        let _ = poll(&mut fds, limit.as_ref());
        let seen = fds[0].revents();
        match seen.contains(PollFlags::IN) {
            true => self.take().map_or(Next::Nothing, Next::Sync),
            false if seen.intersects(PollFlags::HUP | PollFlags::ERR) => Next::Over,
            false => Next::Nothing,
        }
    }

    /// The number of the next sync; none where its process was killed meanwhile.
    fn take(&self) -> Option<u64> {
        // SAFETY: all zeros is a value of this struct of numbers, and the one that the kernel asks for.
        let mut found: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one such struct, which lives through the call.
        let done = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut found,
            )
        };
        (done == 0).then_some(found.id)
    }

    /// Lets a sync go its way, or fails it; whoever was killed meanwhile needs no answer.
    pub(crate) fn answer(&self, id: u64, fails: bool) {
        let answer = libc::seccomp_notif_resp {
            id,
            val: 0,
            error: if fails { -libc::EIO } else { 0 },
            flags: if fails { 0 } else { CONTINUE },
        };
        // SAFETY: the kernel reads one such struct, which lives through the call.
        let _ = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw const answer,
            )
        };
    }
}

/// The kernel is to make the call itself.
const CONTINUE: u32 = 1;
