//! Figures, as a table for people and as JSON for programs.

use serde::Serialize;

/// A bound that a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// As large as this or larger.
    AtLeast(f64),
    /// As small as this or smaller.
    AtMost(f64),
    /// None: context.
    None,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// What it says.
    pub(crate) name: String,
    /// The number.
    pub(crate) value: f64,
    /// Of what.
    pub(crate) unit: &'static str,
    /// What it is to be.
    pub(crate) target: Target,
}

/// All that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// In the order in which they were measured.
    pub(crate) figures: Vec<Figure>,
}

impl Figure {
    /// Whether its target is met; one without has none to miss.
    #[must_use]
    pub(crate) fn is_met(&self) -> bool {
        match self.target {
            Target::AtLeast(least) => self.value >= least,
            Target::AtMost(most) => self.value <= most,
            Target::None => true,
        }
    }

    fn line(&self) -> String {
        let target = match self.target {
            Target::AtLeast(least) => format!("at least {}", number(least)),
            Target::AtMost(most) => format!("at most {}", number(most)),
            Target::None => String::new(),
        };
        let missed = if self.is_met() { "" } else { "  MISSED" };
        let (value, unit) = (number(self.value), self.unit);
        let line = format!("  {:<62} {value:>13} {unit:<6} {target}{missed}", self.name);
        line.trim_end().to_owned()
    }
}

impl Report {
    /// Notes a figure and prints its line.
    #[expect(clippy::print_stdout, reason = "figures are this program's data")]
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: Target,
    ) {
        let name = name.into();
        let figure = Figure {
            name,
            value,
            unit,
            target,
        };
        println!("{}", figure.line());
        self.figures.push(figure);
    }

    /// Notes a figure that has no target.
    pub(crate) fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.add(name, value, unit, Target::None);
    }

    /// Prints a headline.
    #[expect(clippy::print_stdout, reason = "figures are this program's data")]
    pub(crate) fn section(&self, title: &str) {
        println!("{title}");
    }

    /// Figures that missed their target.
    pub(crate) fn missed(&self) -> impl Iterator<Item = &Figure> {
        self.figures.iter().filter(|figure| !figure.is_met())
    }
}

/// Most decimals of a number: whatever is less than a millionth of its unit is as good as none.
const DECIMALS_MAX: f64 = 7.0;

/// Two decimals, and more where the first two digits that matter come later; thousands apart.
fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        let decimals = 1.0 - value.abs().log10().floor();
        let decimals = decimals.clamp(2.0, DECIMALS_MAX) as usize;
        let text = format!("{value:.decimals$}");
        let short = text.trim_end_matches('0').trim_end_matches('.');
        return short.to_owned();
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_their_thousands_stand_apart() {
        for (value, expected) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (0.126, "0.13"),
            (99.994, "99.99"),
            (100.4, "100"),
            (1_234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_small_ratio_is_not_said_to_be_none() {
        for (value, expected) in [
            (579.0 / 200_000.0, "0.0029"),
            (0.0996, "0.1"),
            (0.05, "0.05"),
            (1.23e-6, "0.0000012"),
            (1.2e-8, "0"),
            (-0.0029, "-0.0029"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_figure_on_its_bound_meets_it() {
        let met = |value, target| {
            let figure = Figure {
                name: String::new(),
                value,
                unit: "s",
                target,
            };
            figure.is_met()
        };
        assert!(met(5.0, Target::AtLeast(5.0)) && met(5.0, Target::AtMost(5.0)));
        assert!(!met(4.9, Target::AtLeast(5.0)) && !met(5.1, Target::AtMost(5.0)));
        assert!(met(5.0, Target::None));
    }
}
