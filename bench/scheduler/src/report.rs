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

/// Three digits that matter, thousands apart.
fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        let text = format!("{value:.2}");
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
            (99.994, "99.99"),
            (100.4, "100"),
            (1_234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
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
