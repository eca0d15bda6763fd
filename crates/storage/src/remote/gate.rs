//! How many requests one store is sent at once: more while it serves, fewer when it says that it is too much or falls silent
//! (additive increase, multiplicative decrease). And how long to wait before a request is sent again.
//!
//! Called by the wire. One gate for each store of a process; it decides nothing but pace.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests at once at first: what one connection pool serves without anybody noticing.
const START: f64 = 16.0;
/// Most requests at once of one process: a store that serves this many has no need to be asked by more.
const MOST: f64 = 256.0;
/// Fewest: with none, nobody would find out that the store serves again.
const FEWEST: f64 = 1.0;
/// What is left of the limit after a cut.
const CUT: f64 = 0.75;
/// Least time between two cuts: a store that counts by the second or less refuses all that comes until its next span begins, and
/// all of that says one thing.
const CUT_EVERY: Duration = Duration::from_millis(250);
/// First wait before a request is sent again, and the longest; each is twice as long as the one before.
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_LONGEST: Duration = Duration::from_secs(3);

/// How a request went, as far as pace is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered, be the answer welcome or not.
    Served,
    /// The store said that it is too much.
    Throttled,
    /// The store said nothing.
    Silent,
    /// It failed for another reason, which says nothing of pace.
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Throttled => "throttled",
            Self::Silent => "silent",
            Self::Failed => "failed",
        }
    }
}

/// The gate of one store.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The store's name in metrics.
    name: Arc<str>,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    limit: f64,
    under_way: usize,
    /// Requests begun so far.
    begun: u64,
    /// Requests with a lower number belong to the time before the last cut and cut no more: one storm, one cut.
    cut_before: u64,
    cut_at: Option<Instant>,
    rng: ChaCha8Rng,
}

/// The right to one request.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Gate {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        let state = State {
            limit: START,
            under_way: 0,
            begun: 0,
            cut_before: 0,
            cut_at: None,
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        Self {
            name: name.into(),
            state: Mutex::new(state),
            freed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole, so that what a panicking thread left is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the right to a request.
    pub(crate) async fn enter(&self) -> Permit<'_> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(number) = self.state().begin() {
                return Permit { gate: self, number };
            }
            freed.await;
        }
    }

    /// How long to wait before the attempt after this one, from 1: between half and the whole of a span that doubles, so that
    /// those who were refused together do not come back together.
    pub(crate) fn wait(&self, attempt: u32) -> Duration {
        let doubled = WAIT_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let share = self.state().rng.random_range(0.5..=1.0);
        doubled.min(WAIT_LONGEST).mul_f64(share)
    }

    /// Requests so far, each attempt counted.
    #[cfg(test)]
    pub(crate) fn begun(&self) -> u64 {
        self.state().begun
    }

    /// Requests at once at this moment.
    #[cfg(test)]
    pub(crate) fn limit(&self) -> usize {
        self.state().limit as usize
    }
}

impl Permit<'_> {
    /// Says how the request went.
    pub(crate) fn done(self, outcome: Outcome) {
        let limit = self.gate.state().learn(self.number, outcome);
        let store = self.gate.name.to_string();
        metrics::counter!("trackscan_storage_requests_total", "store" => store.clone(), "outcome" => outcome.as_str())
            .increment(1);
        metrics::gauge!("trackscan_storage_requests_limit", "store" => store).set(limit.floor());
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.gate.state().under_way -= 1;
        self.gate.freed.notify_waiters();
    }
}

impl State {
    fn begin(&mut self) -> Option<u64> {
        if self.under_way >= self.limit as usize {
            return None;
        }
        self.under_way += 1;
        self.begun += 1;
        Some(self.begun)
    }

    fn learn(&mut self, number: u64, outcome: Outcome) -> f64 {
        match outcome {
            Outcome::Served => self.limit = (self.limit + 1.0 / self.limit).min(MOST),
            Outcome::Throttled | Outcome::Silent if number > self.cut_before => self.cut(),
            Outcome::Throttled | Outcome::Silent | Outcome::Failed => {}
        }
        self.limit
    }

    fn cut(&mut self) {
        let now = Instant::now();
        if self.cut_at.is_none_or(|at| now - at >= CUT_EVERY) {
            self.limit = (self.limit * CUT).max(FEWEST);
            self.cut_before = self.begun;
            self.cut_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_that_were_refused_together_cut_the_limit_once_and_service_raises_it_again() {
        let gate = Gate::new("test", 1);
        let mut permits = Vec::new();
        for _ in 0..START as usize {
            permits.push(gate.enter().await);
        }
        for permit in permits {
            permit.done(Outcome::Throttled);
        }
        gate.enter().await.done(Outcome::Throttled);
        assert_eq!(gate.limit(), (START * CUT) as usize);
        tokio::time::advance(CUT_EVERY).await;
        gate.enter().await.done(Outcome::Silent);
        assert_eq!(gate.limit(), (START * CUT * CUT) as usize);
        for _ in 0..100 {
            tokio::time::advance(CUT_EVERY).await;
            gate.enter().await.done(Outcome::Throttled);
        }
        assert_eq!(gate.limit(), FEWEST as usize);
        for _ in 0..100_000 {
            gate.enter().await.done(Outcome::Served);
        }
        assert_eq!(gate.limit(), MOST as usize);
    }

    #[tokio::test]
    async fn no_more_requests_are_under_way_than_the_limit_and_one_given_up_makes_room() {
        let gate = Gate::new("test", 1);
        let mut permits = Vec::new();
        for _ in 0..START as usize {
            permits.push(gate.enter().await);
        }
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, gate.enter()).await.is_err());
        permits.pop();
        assert!(
            tokio::time::timeout(Duration::from_secs(30), gate.enter())
                .await
                .is_ok()
        );
    }

    #[test]
    fn waits_grow_stay_bounded_and_follow_from_the_seed() {
        let waits = |seed| {
            let gate = Gate::new("test", seed);
            (1..40)
                .map(|attempt| gate.wait(attempt))
                .collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
        assert!(
            waits(1)
                .iter()
                .all(|wait| *wait >= WAIT_FIRST / 2 && *wait <= WAIT_LONGEST)
        );
        assert!(waits(1)[20] >= WAIT_LONGEST / 2);
    }
}
