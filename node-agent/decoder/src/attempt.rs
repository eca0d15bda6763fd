//! Tries, inside the real sandbox, what a file that took over the decoder would try. For the sandbox's own test, which
//! starts one process for each and expects the kernel to kill it. Decodes nothing.

use std::process::ExitCode;

use crate::watchdog;

/// The exit status of an attempt that the kernel let pass.
const PASSED: u8 = 42;
/// The exit status for an attempt of an unknown name.
const UNKNOWN: u8 = 43;

/// Makes the attempt called `what`.
pub(crate) fn run(what: &str) -> ExitCode {
    match ATTEMPTS.iter().find(|(name, _)| *name == what) {
        Some((_, attempt)) => {
            attempt();
            ExitCode::from(PASSED)
        }
        None => ExitCode::from(UNKNOWN),
    }
}

/// Name and act of each attempt. `allocate` must pass: it shows that the others end for the right reason.
const ATTEMPTS: [(&str, fn()); 18] = [
    ("open", || {
        call(libc::SYS_open, [c"/etc/passwd".as_ptr() as usize, 0, 0])
    }),
    ("openat", || {
        call(
            libc::SYS_openat,
            [AT_FDCWD, c"/etc/passwd".as_ptr() as usize, 0],
        )
    }),
    ("socket", || {
        call(
            libc::SYS_socket,
            [libc::AF_INET as usize, libc::SOCK_STREAM as usize, 0],
        )
    }),
    ("connect", || call(libc::SYS_connect, [3, 0, 0])),
    ("execve", || {
        call(libc::SYS_execve, [c"/bin/true".as_ptr() as usize, 0, 0])
    }),
    ("fork", || call(libc::SYS_fork, [0; 3])),
    ("clone", || {
        call(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0])
    }),
    ("kill", || call(libc::SYS_kill, [1, 0, 0])),
    ("ptrace", || call(libc::SYS_ptrace, [0; 3])),
    ("fcntl", || {
        call(libc::SYS_fcntl, [5, libc::F_SETFL as usize, 0])
    }),
    ("ftruncate", || call(libc::SYS_ftruncate, [4, 0, 0])),
    ("recvmsg", || call(libc::SYS_recvmsg, [3, 0, 0])),
    ("io_uring", || call(libc::SYS_io_uring_setup, [1, 0, 0])),
    ("executable memory", || {
        // SAFETY: a null mapping request; the filter ends the process before the kernel looks at it.
        let _refused =
            unsafe { libc::mmap(std::ptr::null_mut(), 4096, EXECUTABLE, PRIVATE, -1, 0) };
    }),
    ("prlimit", || {
        call(libc::SYS_prlimit64, [0, libc::RLIMIT_AS as usize, 0])
    }),
    ("spin", || {
        watchdog::allow(1);
        loop {
            std::hint::spin_loop();
        }
    }),
    ("allocate", || {
        drop(std::hint::black_box(vec![1u8; 64 << 20]))
    }),
    ("allocate too much", || {
        drop(std::hint::black_box(vec![1u8; 1 << 30]))
    }),
];

const AT_FDCWD: usize = libc::AT_FDCWD as usize;
const EXECUTABLE: i32 = libc::PROT_READ | libc::PROT_EXEC;
const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

fn call(number: i64, [a, b, c]: [usize; 3]) {
    // SAFETY: each attempt passes numbers, null, or a constant string; should the kernel run one, it harms only this process.
    let _refused = unsafe { libc::syscall(number, a, b, c) };
}
