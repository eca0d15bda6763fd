//! How long a coordinator leaves the leadership to others after it could not begin to lead, or a store alone that did not answer at its start:
//! longer with each failure in a row, and not for ever. Called by `terms` and `opening`; it waits for nothing itself.

use std::time::Duration;

use tokio::time::Instant;
use types::Digest;

/// The longest wait after a first failure: as long as a store that did not answer is left alone.
const WAIT_FIRST: Duration = Duration::from_millis(500);

/// The longest wait of all: a storage that is back is led over again within it, and a handful of writes in that time is nothing to a store.
const WAIT_LONGEST: Duration = Duration::from_secs(10);

/// The failures in a row of one coordinator.
#[derive(Debug)]
pub(crate) struct Tries {
    /// Whose they are: waits of different processes must not fall together, and need not be secret.
    name: String,
    failed: u32,
    due: Option<Instant>,
}

impl Tries {
    /// No failure yet.
    pub(crate) const fn new(name: String) -> Self {
        Self {
            name,
            failed: 0,
            due: None,
        }
    }

    /// A reign began well: what was before it does not count.
    pub(super) fn went_well(&mut self) {
        (self.failed, self.due) = (0, None);
    }

    /// One more failure; how long is to be waited.
    pub(crate) fn went_wrong(&mut self) -> Duration {
        self.failed = self.failed.saturating_add(1);
        let wait = self.wait();
        self.due = Some(Instant::now() + wait);
        wait
    }

    /// Failures in a row.
    pub(super) const fn failed(&self) -> u32 {
        self.failed
    }

    /// When the leadership may be asked for again, where that is not yet.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|due| *due > Instant::now())
    }

    /// Between half and the whole of a span that doubles, so that those who failed together do not come back together.
    fn wait(&self) -> Duration {
        let doublings = self.failed.saturating_sub(1).min(16);
        let span = WAIT_FIRST.saturating_mul(1 << doublings).min(WAIT_LONGEST);
        span.mul_f64(0.5 + self.draw() / 2.0)
    }

    /// From 0 to 1, another one for each process and each failure.
    fn draw(&self) -> f64 {
        let Digest(bytes) = Digest::of(format!("{} {}", self.name, self.failed).as_bytes());
        let [first, second, ..] = bytes;
        f64::from(u16::from_le_bytes([first, second])) / f64::from(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(name: &str) -> Vec<Duration> {
        let mut tries = Tries::new(name.to_owned());
        (0..40).map(|_| tries.went_wrong()).collect()
    }

    #[test]
    fn waits_double_up_to_a_bound_and_those_of_two_processes_do_not_fall_together() {
        let waits_of_one = waits("http://10.0.0.2:7700 coordinator 1");
        for (n, wait) in waits_of_one.iter().enumerate() {
            let span = WAIT_FIRST * (1 << n.min(10));
            let span = span.min(WAIT_LONGEST);
            assert!(*wait >= span / 2 && *wait <= span, "{n}: {wait:?}");
        }
        assert_ne!(waits_of_one, waits("http://10.0.0.3:7700 coordinator 1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leadership_is_due_once_the_wait_is_over_and_at_once_after_a_reign_that_began_well() {
        let mut tries = Tries::new("one".to_owned());
        assert_eq!(tries.due(), None);
        tries.went_wrong();
        let wait = tries.went_wrong();
        assert_eq!(tries.due(), Some(Instant::now() + wait));
        tokio::time::advance(wait).await;
        assert_eq!(tries.due(), None);
        tries.went_wrong();
        tries.went_well();
        assert_eq!((tries.due(), tries.failed()), (None, 0));
        assert!(tries.went_wrong() <= WAIT_FIRST);
    }
}
