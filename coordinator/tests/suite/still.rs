//! One thread of another process, held still by the kernel's own means for tracing: what it has been asked to do stays under
//! way for as long as a test looks at it, and goes on when the test lets go. So a disk looks that takes its time.

use std::fs;
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// A thread that stands still until this is dropped.
pub(crate) struct Still {
    let_go: Option<mpsc::Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Still {
    /// Holds the thread of this name in a process that this one started.
    pub(crate) fn hold(process: u32, name: &str) -> Self {
        let thread = find(process, name);
        let (let_go, asked) = mpsc::channel::<()>();
        let (holds, held) = mpsc::channel();
        // Who began to trace a thread must be who ends it.
        let tracer = std::thread::spawn(move || {
            holds.send(stop(thread)).unwrap();
            // The other end is dropped, and nothing ever sent.
            let _ = asked.recv();
            resume(thread);
        });
        held.recv().unwrap().unwrap();
        Self {
            let_go: Some(let_go),
            tracer: Some(tracer),
        }
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.let_go.take();
        if let Some(tracer) = self.tracer.take() {
            tracer.join().unwrap();
        }
    }
}

/// The number of a process's thread of this name.
fn find(process: u32, name: &str) -> libc::pid_t {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut threads = threads.map(|thread| thread.unwrap().path());
    let found = threads.find(|thread| {
        let named = fs::read_to_string(thread.join("comm")).unwrap_or_default();
        named.trim_end() == name
    });
    let found = found.unwrap_or_else(|| panic!("process {process} has no thread `{name}`"));
    found
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

fn stop(thread: libc::pid_t) -> io::Result<()> {
    trace(libc::PTRACE_SEIZE, thread)?;
    trace(libc::PTRACE_INTERRUPT, thread)?;
    let mut status = 0;
    // SAFETY: the status outlives the call, and the thread is traced by this one.
    let stopped = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
    match stopped == thread && libc::WIFSTOPPED(status) {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}

/// Lets it go on. One whose process was killed is gone, and that is all right.
fn resume(thread: libc::pid_t) {
    let _ = trace(libc::PTRACE_DETACH, thread);
}

fn trace(request: libc::c_uint, thread: libc::pid_t) -> io::Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the requests made here reads or writes memory of this process or of the other.
    let done = unsafe { libc::ptrace(request, thread, nothing, nothing) };
    match done {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
