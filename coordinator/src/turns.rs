//! Waiting for storage within bounds: so many at once, so long each. Called for what a call or the core waits for; where storage hangs,
//! whoever asked is told in time, and the turn stays taken until the work itself has ended.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use types::{Code, Problem};

/// Turns to wait for storage, held by what waits and not by who asked.
#[derive(Clone)]
pub(crate) struct Turns {
    free: Arc<Semaphore>,
    most: usize,
    within: Duration,
}

impl Turns {
    /// At most `most` waits for storage at once. A turn comes free within `within`, and what it is for is done within as long again.
    pub(crate) fn new(most: usize, within: Duration) -> Self {
        let free = Arc::new(Semaphore::new(most));
        Self { free, most, within }
    }

    /// Does the work in a turn of its own, once one is free.
    ///
    /// # Errors
    /// `OVERLOADED` where no turn comes free in time, `STORAGE_UNAVAILABLE` where the work takes too long; it goes on, and may still be
    /// done.
    pub(crate) async fn take<T: Send + 'static>(
        &self,
        what: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = timeout(self.within, self.free.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let said = format!("{what}: {} others wait for storage", self.most);
            return Err(Problem::new(Code::Overloaded, said));
        };
        let working = tokio::spawn(async move {
            let done = work.await;
            drop(turn);
            done
        });
        let late = |_| {
            let said = format!("{what}: storage did not answer within {:?}", self.within);
            Problem::new(Code::StorageUnavailable, said)
        };
        let lost = |error| Problem::new(Code::Internal, format!("{what}: {error}"));
        timeout(self.within, working)
            .await
            .map_err(late)?
            .map_err(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_told_of_in_time_and_keeps_its_turn() {
        let turns = Turns::new(1, Duration::from_secs(3));
        let code = |taken: Result<(), Problem>| taken.map_err(|problem| problem.code);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let hangs = turns.take("put", async { drop(ended.await) }).await;
        assert_eq!(code(hangs), Err(Code::StorageUnavailable));
        let next = turns.take("put", async {}).await;
        assert_eq!(code(next), Err(Code::Overloaded));
        end.send(()).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(code(turns.take("put", async {}).await), Ok(()));
    }
}
