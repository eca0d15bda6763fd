//! A process's own clock: it starts anywhere, runs at its own rate, and may stand still while its machine is frozen.

use types::Millis;

/// Thousandths of the true rate.
const TRUE_RATE: u64 = 1_000;

/// A monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// True time at which it showed `shown`.
    at: Millis,
    shown: Millis,
    /// In thousandths.
    rate: u64,
}

impl Clock {
    pub(crate) const fn new(at: Millis, shown: Millis, rate: u64) -> Self {
        Self { at, shown, rate }
    }

    /// What it shows at a true time.
    pub(crate) fn show(&self, now: Millis) -> Millis {
        self.shown + Millis(now.since(self.at).0 * self.rate / TRUE_RATE)
    }

    /// The first true time at which it shows at least `shown`.
    pub(crate) fn when(&self, shown: Millis) -> Millis {
        self.at + Millis((shown.since(self.shown).0 * TRUE_RATE).div_ceil(self.rate))
    }

    /// The true span of what it shows as `span`.
    pub(crate) fn span(&self, span: Millis) -> Millis {
        Millis((span.0 * TRUE_RATE).div_ceil(self.rate))
    }

    /// It stood still until `to` since `from`.
    pub(crate) fn stood_still(&mut self, from: Millis, to: Millis) {
        self.shown = self.show(from);
        self.at = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_met_early_at_any_rate() {
        for rate in [500, 777, 1_000, 1_999, 2_000] {
            let clock = Clock::new(Millis(13), Millis(1_000), rate);
            for shown in [1_000, 1_001, 4_321, 99_999] {
                let at = clock.when(Millis(shown));
                assert!(clock.show(at) >= Millis(shown), "{rate} {shown}");
                let before = Millis(at.0.saturating_sub(1));
                assert!(
                    at == Millis(13) || clock.show(before) < Millis(shown),
                    "{rate} {shown}"
                );
            }
        }
    }
}
