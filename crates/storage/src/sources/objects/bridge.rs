//! From threads that block to the network: a small runtime of the sources' own, so that a read works from any thread and never
//! takes one from the process's own work.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Threads that move bytes: two fill the line of any node, since decoding is what takes time.
const THREADS: usize = 2;

/// Runs a future there and waits for it, and not for longer than `deadline`.
pub(super) fn wait<T: Send + 'static>(
    deadline: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<T> {
    let (answer, answered) = sync_channel(1);
    let task = runtime()?.spawn(async move {
        let _nobody_waits_any_more = answer.send(work.await);
    });
    match answered.recv_timeout(deadline) {
        Ok(done) => Ok(done),
        Err(RecvTimeoutError::Timeout) => {
            task.abort();
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the deadline passed",
            ))
        }
        Err(RecvTimeoutError::Disconnected) => {
            Err(io::Error::other("reading ended without an answer"))
        }
    }
}

fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        let builder = builder.worker_threads(THREADS).thread_name("source-io");
        builder.enable_all().build().ok()
    });
    made.as_ref()
        .ok_or_else(|| io::Error::other("start threads for reading sources"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_in_time_is_late_and_what_panics_is_an_error() {
        let never = wait(Duration::from_millis(10), std::future::pending::<()>());
        assert_eq!(never.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let panics = wait::<u8>(Duration::from_secs(60), async { panic!("a bug") });
        assert!(panics.is_err());
        assert_eq!(wait(Duration::from_secs(60), async { 7 }).unwrap(), 7);
    }

    #[tokio::test]
    async fn a_thread_of_another_runtime_may_wait_here_too() {
        assert_eq!(wait(Duration::from_secs(60), async { 7 }).unwrap(), 7);
    }
}
