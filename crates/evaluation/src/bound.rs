//! How sure a counted rate is: the exact bounds of a binomial rate, and how many tracks a bound needs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is left over for being wrong: bounds hold at 95 % confidence.
const DOUBT: f64 = 0.05;

/// Upper bound at 95 % confidence (one-sided, exact binomial; Clopper and Pearson, Biometrika 26, 1934) of a rate counted as `hits` of
/// `trials`; with no hit it is close to three over the trials. Without trials it is 1.
#[must_use]
pub fn upper_bound_95(hits: u64, trials: u64) -> f64 {
    if hits >= trials {
        return 1.0;
    }
    let (mut low, mut high) = (hits as f64 / trials as f64, 1.0);
    // Halving sixty times ends below the spacing of double precision.
    for _ in 0..60 {
        let rate = 0.5 * (low + high);
        if at_most(hits, trials, rate) > DOUBT {
            low = rate
        } else {
            high = rate
        }
    }
    high
}

/// Lower bound at 95 % confidence (one-sided, exact binomial) of a rate counted as `hits` of `trials`. Without a hit it is 0.
#[must_use]
pub fn lower_bound_95(hits: u64, trials: u64) -> f64 {
    if hits == 0 || trials == 0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, hits.min(trials) as f64 / trials as f64);
    // As many halvings as above.
    for _ in 0..60 {
        let rate = 0.5 * (low + high);
        if at_most(hits - 1, trials, rate) >= 1.0 - DOUBT {
            low = rate
        } else {
            high = rate
        }
    }
    low
}

/// Chance of at most `hits` in `trials` at `rate`, summed from logarithms.
fn at_most(hits: u64, trials: u64, rate: f64) -> f64 {
    let mut term = trials as f64 * (1.0 - rate).ln();
    let mut sum = term.exp();
    for k in 1..=hits {
        term += ((trials - k + 1) as f64 / k as f64).ln() + (rate / (1.0 - rate)).ln();
        sum += term.exp();
    }
    sum
}

/// How many tracks without a single hit bound a rate below `rate`: the rule of three, exactly.
#[must_use]
pub fn trials_for(rate: f64) -> u64 {
    if rate >= 1.0 {
        return 1;
    }
    (DOUBT.ln() / (-rate.max(f64::MIN_POSITIVE)).ln_1p()).ceil() as u64
}

/// A rate as it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// How many did.
    pub hits: u64,
    /// Of how many.
    pub trials: u64,
    /// Upper bound of the rate at 95 % confidence (one-sided, exact binomial).
    pub bound_95: f64,
}

impl Counted {
    /// Counts those that `hit`.
    #[must_use]
    pub fn of<T>(all: impl IntoIterator<Item = T>, hit: impl Fn(T) -> bool) -> Self {
        let (mut hits, mut trials) = (0, 0);
        for one in all {
            trials += 1;
            hits += u64::from(hit(one));
        }
        Self::new(hits, trials)
    }

    /// A rate of `hits` in `trials`.
    #[must_use]
    pub fn new(hits: u64, trials: u64) -> Self {
        Self {
            hits,
            trials,
            bound_95: upper_bound_95(hits, trials),
        }
    }

    /// The share that did; none without trials.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.trials > 0).then(|| self.hits as f64 / self.trials as f64)
    }

    /// Most wrong ones that the bound allows among `tracks` on average, in whole tracks.
    #[must_use]
    pub fn allows(&self, tracks: u64) -> u64 {
        // Rounding of the bound's last digits must not make one track of none.
        (self.bound_95 * tracks as f64 - 1e-9).ceil().max(0.0) as u64
    }

    /// As people read it: `0 of 3,000: FPR < 0.10 % at 95 %`.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{} of {}: FPR < {} at 95 %",
            grouped(self.hits),
            grouped(self.trials),
            percent(self.bound_95)
        )
    }
}

/// A share in percent, with two digits that count, rounded up so that an upper bound stays one.
#[must_use]
pub fn percent(share: f64) -> String {
    rounded(share, |scaled| (scaled - 1e-6).ceil())
}

/// A share in percent, with two digits that count, rounded down so that a lower bound stays one.
#[must_use]
pub fn percent_down(share: f64) -> String {
    rounded(share, |scaled| (scaled + 1e-6).floor())
}

fn rounded(share: f64, whole: impl Fn(f64) -> f64) -> String {
    let percent = share * 100.0;
    let digits = match percent {
        p if p >= 9.95 => 1,
        p if p >= 0.0995 => 2,
        _ => 4,
    };
    let scale = 10f64.powi(digits);
    let shown = whole(percent * scale) / scale;
    format!("{:.*} %", digits as usize, shown.max(0.0))
}

/// A number with a comma at each thousand.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds the bound of so many hits among so many trials to the table's.
    #[track_caller]
    fn near(bound: fn(u64, u64) -> f64, [hits, trials]: [u64; 2], expected: f64) {
        let found = bound(hits, trials);
        assert!(
            (found - expected).abs() < 2e-4,
            "{hits} of {trials}: {found}"
        );
    }

    #[test]
    fn bounds_follow_the_rule_of_three_and_the_exact_table() {
        let check = |hits, trials, expected| near(upper_bound_95, [hits, trials], expected);
        check(0, 300, 0.00994);
        check(0, 3_000, 0.000_998);
        check(1, 100, 0.0466);
        check(5, 100, 0.1023);
        check(10, 10, 1.0);
        check(0, 0, 1.0);
        check(50, 1_000, 0.062_9);
    }

    #[test]
    fn a_lower_bound_lies_below_what_was_counted_as_the_exact_table_says() {
        let check = |hits, trials, expected| near(lower_bound_95, [hits, trials], expected);
        check(0, 300, 0.0);
        check(0, 0, 0.0);
        check(1, 100, 0.000_5);
        check(5, 100, 0.019_9);
        check(10, 10, 0.741_1);
        check(50, 1_000, 0.039_2);
    }

    #[test]
    fn so_many_tracks_as_are_asked_for_bound_a_rate_and_one_fewer_do_not() {
        for rate in [0.1, 0.03, 0.01, 1e-3, 1e-4] {
            let needed = trials_for(rate);
            assert!(upper_bound_95(0, needed) <= rate + 1e-12, "{rate}");
            assert!(upper_bound_95(0, needed - 1) > rate, "{rate}");
        }
        assert_eq!([trials_for(0.01), trials_for(1e-3)], [299, 2_995]);
    }

    #[test]
    fn a_bound_reads_as_people_say_it_and_is_never_rounded_down() {
        assert_eq!(
            Counted::new(0, 3_000).text(),
            "0 of 3,000: FPR < 0.10 % at 95 %"
        );
        assert_eq!(percent(0.123_41), "12.4 %");
        assert_eq!(percent(0.010_001), "1.01 %");
        assert_eq!(percent(0.000_5), "0.0500 %");
        assert_eq!(percent_down(0.123_49), "12.3 %");
        assert_eq!(percent_down(0.010_009), "1.00 %");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(grouped(999), "999");
    }

    #[test]
    fn a_bound_allows_wrong_ones_by_how_many_are_screened() {
        let none = Counted::new(0, 3_000);
        assert_eq!([none.allows(0), none.allows(1_000)], [0, 1]);
        assert_eq!(none.allows(1_000_000), 999);
        assert_eq!(Counted::new(0, 0).allows(7), 7);
    }
}
