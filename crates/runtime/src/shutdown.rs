//! How a process ends: SIGTERM or SIGINT asks for it once, work drains up to a deadline, a second signal waits for
//! nothing. Parts of the process hold a [`Shutdown`] and watch it; whoever notices a fatal fault may ask as well.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit status of a process that a second signal ended: 128 and the number of SIGINT, as a shell says it.
const SECOND_SIGNAL_STATUS: i32 = 130;

/// A wish to end that many can watch and anyone who holds it can utter. Once uttered it stays.
#[derive(Debug, Clone)]
pub struct Shutdown {
    wish: watch::Sender<bool>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained<T> {
    /// All was done in time.
    Done(T),
    /// The deadline came first; what was under way was dropped.
    TimedOut,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A shutdown that only [`Shutdown::ask`] brings about.
    #[must_use]
    pub fn new() -> Self {
        Self {
            wish: watch::Sender::new(false),
        }
    }

    /// A shutdown that SIGTERM and SIGINT bring about; the second signal ends the process at once.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let asked = shutdown.clone();
        tokio::spawn(async move {
            let mut next = async || tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            let name = next().await;
            asked.ask();
            tracing::info!(signal = name, "draining; a second signal ends at once");
            let name = next().await;
            tracing::warn!(signal = name, "ended by a second signal");
            std::process::exit(SECOND_SIGNAL_STATUS);
        });
        Ok(shutdown)
    }

    /// Asks for the end.
    pub fn ask(&self) {
        self.wish.send_replace(true);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.wish.borrow()
    }

    /// Waits until the end is asked for.
    pub async fn asked(&self) {
        let mut wish = self.wish.subscribe();
        // The sender lives in `self`, so the wait ends only with the wish.
        let _ = wish.wait_for(|asked| *asked).await;
    }
}

/// Lets work finish within a deadline.
pub async fn drain<T>(deadline: Duration, work: impl Future<Output = T>) -> Drained<T> {
    tokio::time::timeout(deadline, work)
        .await
        .map_or(Drained::TimedOut, Drained::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_watches_late_still_learns_of_the_wish() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_asked());
        let early = shutdown.clone();
        let watcher = tokio::spawn(async move { early.asked().await });
        shutdown.ask();
        watcher.await.unwrap();
        shutdown.asked().await;
        assert!(shutdown.is_asked());
    }

    #[tokio::test]
    async fn a_drain_ends_with_its_work_or_with_its_deadline() {
        assert_eq!(
            drain(Duration::from_secs(3600), async { 7 }).await,
            Drained::Done(7)
        );
        let endless = std::future::pending::<()>();
        assert_eq!(
            drain(Duration::from_millis(1), endless).await,
            Drained::TimedOut
        );
    }
}
