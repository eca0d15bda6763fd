//! The residual's feature vector, version [`RESIDUAL_VERSION`]: which numbers say what the stems leave of a segment, in
//! which order, in which unit, and how each follows from sums over the segment. Whoever separates brings the [`Sums`];
//! calibration, verdict, canary and report name the features by this table. Pure, in double precision; knows no spectrum.
//!
//! A segment enters with the track's mean taken off and divided by the track's deviation, both from the first pass, so
//! that loudness falls out; only `mse` goes back to full scale, and no calibration may use it. The floors below make
//! silence, a constant and an empty band finite: where there is neither mix nor residual, levels are 0 dB and ratios 1.

/// The version of the vector. Another formula, order or constant is another version.
pub const RESIDUAL_VERSION: &str = "residual-v1";

/// Edges of the bands, Hz: band `b` holds the frequencies from edge `b` up to edge `b + 1`, the upper one left out.
pub const BAND_EDGES_HZ: [f64; BANDS + 1] = [
    20.0, 60.0, 250.0, 500.0, 2_000.0, 4_000.0, 8_000.0, 16_000.0,
];
/// Number of bands.
pub const BANDS: usize = 7;
/// Added to both sides of a quotient of powers: 80 dB below the track's own power. Weaker than that is what a low-pass, a
/// codec or 16 bits leave of a band, of which no separator says anything.
pub const FLOOR_POWER: f64 = 1e-8;
/// Added to both sides of a quotient of magnitudes: the root of [`FLOOR_POWER`].
pub const FLOOR_MAGNITUDE: f64 = 1e-4;
/// Largest quotient: where a band of the mix is nearly empty, how much a separator adds to it means nothing beyond this.
pub const QUOTIENT_MAX: f64 = 10.0;
/// Least deviation that a track is divided by, of full scale: below it there is rounding noise, which is not to become music.
pub const DEVIATION_LEAST: f64 = 1e-5;

/// Samples of a transform of the spectrum, at the residual's rate: at 44,100 Hz a bin is 5.4 Hz wide and the lowest band has eight.
pub const TRANSFORM: usize = 8_192;
/// Samples from one transform to the next: half of one, under a periodic Hann window. The first begins with the segment; zeros
/// follow the segment as far as the last one needs.
pub const TRANSFORM_STEP: usize = 4_096;
/// Samples of a frame of which the residual's regularity is taken, at the residual's rate: 46 ms. What fills none is left out.
pub const FRAME: usize = 2_048;

/// What a feature counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Ten times a decimal logarithm of a quotient of powers.
    Decibels,
    /// A quotient.
    Ratio,
    /// A power against full scale.
    FullScaleSquared,
}

/// One number of the vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Feature {
    /// Its name in manifests, rows and reports.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// The range that music covers, in its unit: differences between devices are measured in shares of it.
    pub span: f64,
    /// Whether a calibration may use it.
    pub calibrates: bool,
}

const fn decibels(name: &'static str) -> Feature {
    Feature {
        name,
        unit: Unit::Decibels,
        span: 100.0,
        calibrates: true,
    }
}

const fn ratio(name: &'static str, span: f64) -> Feature {
    Feature {
        name,
        unit: Unit::Ratio,
        span,
        calibrates: true,
    }
}

/// The vector, in order.
pub const RESIDUAL_V1: [Feature; 21] = [
    decibels("band_db_20_60"),
    decibels("band_db_60_250"),
    decibels("band_db_250_500"),
    decibels("band_db_500_2000"),
    decibels("band_db_2000_4000"),
    decibels("band_db_4000_8000"),
    decibels("band_db_8000_16000"),
    ratio("deviation_20_60", QUOTIENT_MAX),
    ratio("deviation_60_250", QUOTIENT_MAX),
    ratio("deviation_250_500", QUOTIENT_MAX),
    ratio("deviation_500_2000", QUOTIENT_MAX),
    ratio("deviation_2000_4000", QUOTIENT_MAX),
    ratio("deviation_4000_8000", QUOTIENT_MAX),
    ratio("deviation_8000_16000", QUOTIENT_MAX),
    decibels("snr_db"),
    ratio("energy_ratio", QUOTIENT_MAX),
    ratio("l1_ratio", QUOTIENT_MAX),
    ratio("phase_coherence", 2.0),
    ratio("high_ratio", QUOTIENT_MAX),
    decibels("regularity_db"),
    Feature {
        name: "mse",
        unit: Unit::FullScaleSquared,
        span: 1.0,
        calibrates: false,
    },
];

/// The features that a calibration may use, each with its place and with what `epsilon` of its span comes to, in its unit.
pub fn calibrating(epsilon: f64) -> impl Iterator<Item = (usize, f64)> {
    let usable = RESIDUAL_V1.iter().enumerate();
    usable
        .filter(|(_, feature)| feature.calibrates)
        .map(move |(place, feature)| (place, epsilon * feature.span))
}

/// The place of a feature in the vector.
#[must_use]
pub fn place(name: &str) -> Option<usize> {
    RESIDUAL_V1.iter().position(|feature| feature.name == name)
}

/// Mean powers of one segment, in units of the track's own: of its mix, of the sum of its stems, and of what is left
/// when the sum is taken off the mix.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Powers {
    /// Of the mix.
    pub mix: f64,
    /// Of the sum of the stems.
    pub sum: f64,
    /// Of the residual.
    pub rest: f64,
}

/// What a segment's features follow from: means over its samples or frames, and over its channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    /// Powers by band, from the spectrum.
    pub bands: [Powers; BANDS],
    /// Powers over all samples.
    pub whole: Powers,
    /// Mean magnitude of the mix's samples.
    pub mix_magnitude: f64,
    /// Mean magnitude of the residual's samples.
    pub rest_magnitude: f64,
    /// Real part of the mix's spectrum times the sum's conjugate, on the scale of [`Sums::bands`].
    pub in_phase: f64,
    /// Product of both spectra's magnitudes, on the same scale.
    pub magnitudes: f64,
    /// The residual's power in each of a row of short frames.
    pub frames: Vec<f64>,
    /// What the track was divided by, of full scale.
    pub deviation: f64,
}

impl Sums {
    /// The feature vector of a segment, in the order of [`RESIDUAL_V1`]. Finite for finite sums.
    #[must_use]
    pub fn features(&self) -> [f64; RESIDUAL_V1.len()] {
        let mut vector = [0.0; RESIDUAL_V1.len()];
        let (levels, others) = vector.split_at_mut(BANDS);
        let (deviations, others) = others.split_at_mut(BANDS);
        for ((band, level), deviation) in self.bands.iter().zip(levels).zip(deviations) {
            *level = level_db(band.rest, band.mix);
            *deviation = ((band.sum - band.mix).abs() / (band.mix + FLOOR_POWER)).min(QUOTIENT_MAX);
        }
        let high = self.bands[BANDS - 1];
        others.copy_from_slice(&[
            level_db(self.whole.mix, self.whole.rest),
            quotient(self.whole.sum, self.whole.mix, FLOOR_POWER),
            quotient(self.rest_magnitude, self.mix_magnitude, FLOOR_MAGNITUDE),
            quotient(self.in_phase, self.magnitudes, FLOOR_POWER),
            quotient(high.sum, high.mix, FLOOR_POWER),
            spread_db(&self.frames),
            self.whole.rest * self.deviation * self.deviation,
        ]);
        vector
    }
}

fn level_db(power: f64, against: f64) -> f64 {
    10.0 * ((power + FLOOR_POWER) / (against + FLOOR_POWER)).log10()
}

fn quotient(value: f64, against: f64, floor: f64) -> f64 {
    ((value + floor) / (against + floor)).min(QUOTIENT_MAX)
}

/// The sample standard deviation of powers in dB; 0 for fewer than two.
fn spread_db(powers: &[f64]) -> f64 {
    if powers.len() < 2 {
        return 0.0;
    }
    let levels = || powers.iter().map(|power| level_db(*power, 1.0));
    let mean = levels().sum::<f64>() / powers.len() as f64;
    let squares: f64 = levels().map(|level| (level - mean).powi(2)).sum();
    (squares / (powers.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn silence() -> Sums {
        Sums {
            bands: [Powers::default(); BANDS],
            whole: Powers::default(),
            mix_magnitude: 0.0,
            rest_magnitude: 0.0,
            in_phase: 0.0,
            magnitudes: 0.0,
            frames: vec![0.0; 4],
            deviation: DEVIATION_LEAST,
        }
    }

    fn value(sums: &Sums, name: &str) -> f64 {
        sums.features()[place(name).unwrap()]
    }

    #[test]
    fn each_feature_has_a_name_of_its_own_and_only_the_raw_error_follows_loudness() {
        for (at, feature) in RESIDUAL_V1.iter().enumerate() {
            assert_eq!(place(feature.name), Some(at), "{}", feature.name);
            assert_eq!(feature.calibrates, feature.name != "mse");
            assert!(feature.span > 0.0);
        }
        assert_eq!(place("loudness"), None);
    }

    #[test]
    fn bands_are_named_by_their_edges() {
        for (edges, feature) in BAND_EDGES_HZ.windows(2).zip(RESIDUAL_V1) {
            assert_eq!(feature.name, format!("band_db_{}_{}", edges[0], edges[1]));
        }
    }

    #[test]
    fn silence_has_levels_of_zero_and_ratios_of_one() {
        let sums = silence();
        for (feature, value) in RESIDUAL_V1.iter().zip(sums.features()) {
            let expected = match feature.name {
                "energy_ratio" | "l1_ratio" | "phase_coherence" | "high_ratio" => 1.0,
                _ => 0.0,
            };
            assert_eq!(value, expected, "{}", feature.name);
        }
    }

    #[test]
    fn a_residual_is_measured_against_the_mix_of_its_own_band() {
        let mut sums = silence();
        sums.bands[1] = Powers {
            mix: 0.5,
            sum: 0.4,
            rest: 0.005,
        };
        assert!((value(&sums, "band_db_60_250") + 20.0).abs() < 1e-5);
        assert!((value(&sums, "deviation_60_250") - 0.2).abs() < 1e-6);
        assert_eq!(value(&sums, "band_db_20_60"), 0.0);
        sums.bands[BANDS - 1] = Powers {
            mix: 0.1,
            sum: 0.095,
            rest: 0.0,
        };
        assert!((value(&sums, "high_ratio") - 0.95).abs() < 1e-6);
    }

    #[test]
    fn what_a_separator_adds_to_an_empty_band_counts_up_to_a_bound() {
        let mut sums = silence();
        sums.bands[0].sum = 1.0;
        sums.whole.sum = 1.0;
        assert_eq!(value(&sums, "deviation_20_60"), QUOTIENT_MAX);
        assert_eq!(value(&sums, "energy_ratio"), QUOTIENT_MAX);
    }

    #[test]
    fn regularity_is_the_spread_of_frame_levels_and_nothing_for_a_single_frame() {
        let mut sums = silence();
        sums.frames = vec![1.0, 0.1];
        assert!((value(&sums, "regularity_db") - 50f64.sqrt()).abs() < 1e-5);
        for frames in [vec![], vec![0.3], vec![0.3; 9]] {
            sums.frames = frames;
            assert!(value(&sums, "regularity_db").abs() < 1e-12);
        }
    }

    proptest! {
        #[test]
        fn finite_sums_give_finite_features(
            powers in prop::collection::vec(prop_oneof![Just(0.0), 1e-30f64..1e-6, 0.0f64..1e20], 24),
            frames in prop::collection::vec(0.0f64..1e20, 0..9),
            sign in -1.0f64..1.0,
        ) {
            let at = |index: usize| Powers { mix: powers[index], sum: powers[index + 1], rest: powers[index + 2] };
            let sums = Sums {
                bands: std::array::from_fn(|band| at(3 * band)),
                whole: at(21),
                mix_magnitude: powers[0],
                rest_magnitude: powers[1],
                in_phase: powers[2] * sign,
                magnitudes: powers[2],
                frames,
                deviation: 0.1,
            };
            prop_assert!(sums.features().iter().all(|value| value.is_finite()), "{sums:?}");
        }
    }
}
