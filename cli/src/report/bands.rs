//! What the residual measured of a track: by band as a figure, against what the middle nine in ten of known-human tracks measure, and
//! all features as a table with what each adds to the residual's score.

use super::figure::{bar, label, place};
use super::rules::Rules;
use super::text::score as number;
use bundle::Spread;
use bundle::features::{BAND_EDGES_HZ, BANDS, FLOOR_POWER, QUOTIENT_MAX, RESIDUAL_V1, Unit};
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Decimals of a number in the table at most: of a value near one, single precision has no more.
const DECIMALS_MAX: usize = 8;
const ROW: f64 = 20.0;
const TOP: f64 = 26.0;
const HEIGHT: f64 = TOP + ROW * BANDS as f64 + 26.0;

/// The residual of one track.
#[derive(Debug, Clone)]
pub(crate) struct Residual {
    /// In the order of the feature vector.
    features: Vec<Measured>,
    /// How many segments it is the mean of.
    pub(crate) segments: usize,
    /// Whether the bundle says what known-human tracks measure.
    pub(crate) has_humans: bool,
}

#[derive(Debug, Clone)]
struct Measured {
    name: &'static str,
    unit: Unit,
    value: f64,
    humans: Option<Spread>,
    adds: Option<f64>,
}

/// A panel of the figure: one value a band.
struct Panel {
    title: &'static str,
    left: f64,
    right: f64,
    /// The feature of the lowest band.
    first: usize,
    /// From a value to a share of the width.
    share: fn(f64) -> f64,
    ticks: &'static [(f64, &'static str)],
}

const LEVELS: Panel = Panel {
    title: "residual below the mix, dB",
    left: 108.0,
    right: 496.0,
    first: 0,
    share: level_share,
    ticks: &[
        (-80.0, "-80"),
        (-60.0, "-60"),
        (-40.0, "-40"),
        (-20.0, "-20"),
        (0.0, "0"),
        (20.0, "+20"),
    ],
};

const DEVIATIONS: Panel = Panel {
    title: "energy lost or added, share of the band's",
    left: 534.0,
    right: 936.0,
    first: BANDS,
    share: deviation_share,
    ticks: &[
        (0.001, "0.1 %"),
        (0.01, "1 %"),
        (0.1, "10 %"),
        (1.0, "100 %"),
        (10.0, "×10"),
    ],
};

/// From the floor of the levels, 80 dB below, to 20 above.
fn level_share(decibels: f64) -> f64 {
    let low = 10.0 * FLOOR_POWER.log10();
    (decibels - low) / (20.0 - low)
}

/// By its logarithm, from a thousandth to the largest quotient.
fn deviation_share(ratio: f64) -> f64 {
    let (low, high) = (0.001f64.log10(), QUOTIENT_MAX.log10());
    (ratio.max(1e-9).log10() - low) / (high - low)
}

impl Residual {
    /// The residual of a row's feature vector; none where it is not one of this version.
    pub(crate) fn of(features: &[f32], segments: usize, rules: &Rules) -> Option<Self> {
        if features.len() != RESIDUAL_V1.len() {
            return None;
        }
        let known = RESIDUAL_V1.iter().zip(features).enumerate();
        let features = known.map(|(at, (feature, value))| Measured {
            name: feature.name,
            unit: feature.unit,
            value: f64::from(*value),
            humans: rules.spread(feature.name).cloned(),
            adds: rules.adds(at, f64::from(*value)),
        });
        let features: Vec<Measured> = features.collect();
        Some(Self {
            has_humans: features.iter().any(|feature| feature.humans.is_some()),
            features,
            segments,
        })
    }

    /// How many bands lie outside of what known-human tracks measure, and in how many something is known of those.
    pub(crate) fn outside(&self) -> (usize, usize) {
        let bands = self
            .features
            .iter()
            .take(2 * BANDS)
            .filter(|feature| feature.humans.is_some());
        let outside = bands.clone().filter(|feature| feature.is_outside());
        (outside.count(), bands.count())
    }

    /// The bands as SVG.
    pub(crate) fn draw(&self) -> Markup {
        let view = format!("0 0 960 {HEIGHT}");
        html! {
            svg.figure viewBox=(view) role="img" aria-label="residual by band against known-human tracks" {
                @for band in 0..BANDS {
                    (label("tick end", LEVELS.left - 10.0, middle(band) + 4.0, &band_name(band)))
                }
                (self.draw_panel(&LEVELS))
                (self.draw_panel(&DEVIATIONS))
            }
        }
    }

    fn draw_panel(&self, panel: &Panel) -> Markup {
        let bands = self.features.iter().skip(panel.first).take(BANDS);
        html! {
            (label("head", panel.left, TOP - 12.0, panel.title))
            (bar("plot", panel.left, TOP, panel.right - panel.left, ROW * BANDS as f64))
            @for (at, text) in panel.ticks {
                line.grid x1=(place(panel.x(*at))) x2=(place(panel.x(*at))) y1=(place(TOP)) y2=(place(TOP + ROW * BANDS as f64)) {}
                (label("tick middle", panel.x(*at), HEIGHT - 10.0, text))
            }
            @for (band, feature) in bands.enumerate() { (draw_band(panel, band, feature)) }
        }
    }

    /// All features as rows of a table.
    pub(crate) fn table(&self) -> Markup {
        html! {
            table.features {
                thead { tr {
                    th scope="col" { "feature" } th scope="col" { "this track" }
                    th scope="col" { "known-human tracks, 5 % – middle – 95 %" } th scope="col" { "adds to the residual's score" }
                } }
                tbody { @for feature in &self.features { (feature.row()) } }
            }
        }
    }
}

impl Measured {
    fn is_outside(&self) -> bool {
        let humans = self.humans.as_ref();
        humans.is_some_and(|humans| self.value < humans.low || self.value > humans.high)
    }

    fn shown(&self, value: f64, decimals: usize) -> String {
        match self.unit {
            Unit::Decibels => format!("{value:.decimals$} dB"),
            Unit::Ratio => format!("{value:.decimals$}"),
            Unit::FullScaleSquared => format!("{value:.decimals$e}"),
        }
    }

    /// The fewest decimals that tell the row's numbers apart, as far as anything does: a coherence differs from one in its fifth. A ratio
    /// has two digits that count, so that beside small ones a smaller one is not nought.
    fn decimals(&self) -> usize {
        let humans = self.humans.iter();
        let humans = humans.flat_map(|humans| [humans.low, humans.middle, humans.high]);
        let values: Vec<f64> = humans.chain([self.value]).collect();
        let least = match self.unit {
            Unit::Decibels => 2,
            Unit::FullScaleSquared => 3,
            Unit::Ratio => of_ratios(&values),
        };
        let told_apart = |decimals: usize| -> usize {
            let shown = values.iter().map(|value| self.shown(*value, decimals));
            shown.collect::<BTreeSet<String>>().len()
        };
        let most = told_apart(DECIMALS_MAX);
        let enough = |decimals: &usize| told_apart(*decimals) == most;
        (least..DECIMALS_MAX).find(enough).unwrap_or(DECIMALS_MAX)
    }

    fn row(&self) -> Markup {
        let decimals = self.decimals();
        let shown = |value: f64| self.shown(value, decimals);
        html! {
            tr {
                th scope="row" { code { (self.name) } }
                td.outside[self.is_outside()] { (shown(self.value)) }
                td {
                    @match &self.humans {
                        Some(humans) => { (shown(humans.low)) " – " (shown(humans.middle)) " – " (shown(humans.high)) }
                        None => { "not stated" }
                    }
                }
                td { @match self.adds { Some(adds) => { (number(adds)) } None => { "–" } } }
            }
        }
    }
}

impl Panel {
    fn x(&self, value: f64) -> f64 {
        let share = (self.share)(value);
        let share = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        };
        self.left + share * (self.right - self.left)
    }
}

/// Decimals by which each ratio has two digits that count: four, and more for small ones.
fn of_ratios(values: &[f64]) -> usize {
    let some = values
        .iter()
        .filter(|value| value.is_finite() && **value != 0.0);
    let decimals = some.map(|value| (1.0 - value.abs().log10().floor()).max(0.0) as usize);
    decimals.fold(4, usize::max).min(DECIMALS_MAX)
}

fn draw_band(panel: &Panel, band: usize, feature: &Measured) -> Markup {
    let (y, x) = (middle(band), panel.x(feature.value));
    html! {
        @if let Some(humans) = &feature.humans {
            (bar("humans", panel.x(humans.low), y - 5.0, panel.x(humans.high) - panel.x(humans.low), 10.0))
            (bar("median", panel.x(humans.middle) - 1.0, y - 7.0, 2.0, 14.0))
        }
        circle.track.outside[feature.is_outside()] cx=(place(x)) cy=(place(y)) r="4.5" {}
    }
}

fn middle(band: usize) -> f64 {
    TOP + ROW * (band as f64 + 0.5)
}

fn band_name(band: usize) -> String {
    match (BAND_EDGES_HZ[band], BAND_EDGES_HZ[band + 1]) {
        (low, high) if low >= 1_000.0 => format!("{}–{} kHz", low / 1_000.0, high / 1_000.0),
        (low, high) if high >= 1_000.0 => format!("{low} Hz–{} kHz", high / 1_000.0),
        (low, high) => format!("{low}–{high} Hz"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::rules::tests::{manifest, of, policy};
    use super::*;

    /// A vector of this version.
    pub(crate) fn features() -> Vec<f32> {
        let mut features = vec![-40.0; BANDS];
        features.extend([0.02; BANDS]);
        features.extend([38.0, 1.01, 0.02, 0.999, 0.97, 4.0, 1e-6]);
        features
    }

    #[test]
    fn a_vector_of_another_version_is_not_drawn_as_this_one_and_no_value_breaks_the_drawing() {
        let rules = of(&manifest(), policy());
        assert!(Residual::of(&[], 0, &rules).is_none());
        assert!(Residual::of(&[0.0; 20], 1, &rules).is_none());
        for value in [0.0, -1e30, 1e30, f32::NAN, f32::INFINITY] {
            let residual = Residual::of(&[value; 21], 3, &rules).unwrap();
            let drawn = residual.draw().into_string();
            assert!(
                !drawn.contains("NaN") && !drawn.contains("inf"),
                "{value}: {drawn}"
            );
        }
    }

    #[test]
    fn the_scales_hold_what_the_features_can_be() {
        assert_eq!([level_share(-80.0), level_share(20.0)], [0.0, 1.0]);
        assert!(
            deviation_share(0.001).abs() < 1e-12 && (deviation_share(10.0) - 1.0).abs() < 1e-12
        );
        assert_eq!(LEVELS.x(-500.0), LEVELS.left);
        assert_eq!(band_name(0), "20–60 Hz");
        assert_eq!(band_name(3), "500 Hz–2 kHz");
        assert_eq!(band_name(6), "8–16 kHz");
    }

    #[test]
    fn numbers_of_a_feature_that_differ_are_told_apart_in_its_row() {
        let row = |unit: Unit, [value, low, middle, high]: [f64; 4]| {
            let feature = Measured {
                name: "phase_coherence",
                unit,
                value,
                humans: Some(Spread {
                    feature: "phase_coherence".to_owned(),
                    low,
                    middle,
                    high,
                }),
                adds: None,
            };
            feature.row().into_string()
        };
        let close = row(Unit::Ratio, [0.999_98, 0.999_91, 0.999_984, 0.999_995]);
        for shown in ["0.999980<", "0.999910 – 0.999984 – 0.999995<"] {
            assert!(close.contains(shown), "{close}");
        }
        let apart = row(Unit::Decibels, [38.0, 30.0, 35.004, 40.0]);
        assert!(apart.contains("30.00 dB – 35.00 dB – 40.00 dB"), "{apart}");
        let same = row(Unit::Ratio, [f64::from(0.02f32), 0.02, 0.02, 0.02]);
        assert!(same.contains("0.0200 – 0.0200 – 0.0200"), "{same}");
        let small = row(Unit::Ratio, [0.000_03, 0.000_2, 0.000_9, 0.004]);
        for shown in [">0.000030<", "0.000200 – 0.000900 – 0.004000"] {
            assert!(small.contains(shown), "{small}");
        }
        let nought = row(Unit::Ratio, [0.0, 0.02, 0.03, 0.04]);
        assert!(nought.contains(">0.0000<"), "{nought}");
        let never = row(Unit::Ratio, [f64::NAN, 0.1, 0.2, 0.3]);
        assert!(never.contains("0.1000 – 0.2000 – 0.3000"), "{never}");
    }

    #[test]
    fn what_lies_outside_of_known_human_tracks_is_counted_where_those_are_known() {
        let measured = |value: f64, humans: bool| Measured {
            name: "snr_db",
            unit: Unit::Decibels,
            value,
            humans: humans.then(|| Spread {
                feature: "snr_db".to_owned(),
                low: 1.0,
                middle: 2.0,
                high: 3.0,
            }),
            adds: None,
        };
        let residual = Residual {
            features: vec![
                measured(0.5, true),
                measured(2.0, true),
                measured(9.0, true),
                measured(9.0, false),
            ],
            segments: 1,
            has_humans: true,
        };
        assert_eq!(residual.outside(), (2, 3));
    }
}
