//! The wall clock of the fleet as this node knows it: the machine's own, set right by what the coordinator says the time is.
//! The client of the coordinator sets it, the node stamps parts with it, so that an operator who revokes a span of time
//! means the same span on every node. Never used to decide how long anything waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use types::UnixMillis;

/// A difference that is worth a word in the log, milliseconds: more than a slow answer makes.
const DIFFERENCE_TOLD_MS: u64 = 10_000;

/// The clock. Copies are one and the same.
#[derive(Clone, Debug, Default)]
pub struct FleetClock(Arc<AtomicI64>);

impl FleetClock {
    /// The time as the coordinator would say it, as far as is known; the machine's own before any answer.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        UnixMillis(own().saturating_add(self.0.load(Ordering::Relaxed)))
    }

    /// The coordinator says that it is `told`. An answer's way makes that late by less than a call may take; 0 is no time.
    pub fn set(&self, told: UnixMillis) {
        if told.0 == 0 {
            return;
        }
        let ahead = told.0.saturating_sub(own());
        let before = self.0.swap(ahead, Ordering::Relaxed);
        if before.abs_diff(ahead) > DIFFERENCE_TOLD_MS {
            tracing::warn!(
                seconds = ahead / 1_000,
                "this machine's clock and the coordinator's are apart; parts carry the coordinator's time"
            );
        }
    }
}

/// This machine's wall clock, milliseconds.
fn own() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_on_from_what_was_told_last() {
        let clock = FleetClock::default();
        let same = clock.clone();
        for hours in [1, -1, 0] {
            let told = UnixMillis(own() + hours * 3_600_000);
            clock.set(told);
            let apart = same.now().0 - told.0;
            assert!((0..60_000).contains(&apart), "{hours} h: {apart} ms");
        }
        let before = clock.now();
        clock.set(UnixMillis(0));
        assert!(clock.now().0 >= before.0, "0 is no time");
    }
}
