//! The Slaney mel filter bank, in double precision: triangles on the Slaney scale, each with area 2 over its width in
//! hertz. Pure; agrees with librosa's `filters.mel(htk=False, norm="slaney")`.

use bundle::Preprocessing;

/// Hertz per mel below the break: the Slaney scale is linear there.
const HZ_PER_MEL: f64 = 200.0 / 3.0;
/// Where the scale turns logarithmic, in hertz.
const BREAK_HZ: f64 = 1_000.0;
/// The same place in mel.
const BREAK_MEL: f64 = BREAK_HZ / HZ_PER_MEL;
/// Mel per natural logarithm above the break: 27 steps take 1 kHz to 6.4 kHz.
const MELS_PER_LN: f64 = 27.0 / 1.856_297_990_365_626;

/// The filter bank over the transform's bins from `first_bin` on; bins that no band reaches are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Filters {
    /// The first bin that any band reaches.
    pub first_bin: usize,
    /// How many bins from there.
    pub bins: usize,
    /// How many bands.
    pub bands: usize,
    /// `bins` rows of `bands` weights.
    pub weights: Vec<f64>,
}

/// A band so narrow that it reaches no bin: it would always be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("mel band {band} reaches no bin of the transform; take fewer bands or a longer transform")]
pub struct EmptyBand {
    /// From 0, lowest first.
    pub band: usize,
}

/// A frequency on the Slaney scale.
#[must_use]
pub fn hz_to_mel(hz: f64) -> f64 {
    if hz < BREAK_HZ {
        hz / HZ_PER_MEL
    } else {
        BREAK_MEL + (hz / BREAK_HZ).ln() * MELS_PER_LN
    }
}

/// The inverse of [`hz_to_mel`].
#[must_use]
pub fn mel_to_hz(mel: f64) -> f64 {
    if mel < BREAK_MEL {
        mel * HZ_PER_MEL
    } else {
        BREAK_HZ * ((mel - BREAK_MEL) / MELS_PER_LN).exp()
    }
}

impl Filters {
    /// The bank that a bundle's preprocessing names.
    ///
    /// # Errors
    /// [`EmptyBand`] when a band reaches no bin.
    pub fn new(mel: &Preprocessing) -> Result<Self, EmptyBand> {
        let edges = edges(mel);
        let all_bins = mel.n_fft as usize / 2 + 1;
        let bands = mel.mels as usize;
        let hz = |bin: usize| bin as f64 * f64::from(mel.rate_hz) / f64::from(mel.n_fft);
        let column = |band: usize| {
            (0..all_bins)
                .map(|bin| weight(&edges[band..band + 3], hz(bin)))
                .collect::<Vec<_>>()
        };
        let columns: Vec<Vec<f64>> = (0..bands).map(column).collect();
        if let Some(band) = columns
            .iter()
            .position(|column| column.iter().all(|weight| *weight == 0.0))
        {
            return Err(EmptyBand { band });
        }
        let reached = |bin: &usize| columns.iter().any(|column| column[*bin] != 0.0);
        let first_bin = (0..all_bins).find(reached).unwrap_or(0);
        let bins = (0..all_bins)
            .rfind(reached)
            .map_or(0, |last| last + 1 - first_bin);
        let weights = (first_bin..first_bin + bins)
            .flat_map(|bin| columns.iter().map(move |c| c[bin]))
            .collect();
        Ok(Self {
            first_bin,
            bins,
            bands,
            weights,
        })
    }
}

/// The corners of the triangles in hertz: two more than there are bands, evenly spaced on the scale.
fn edges(mel: &Preprocessing) -> Vec<f64> {
    let (low, high) = (hz_to_mel(mel.low_hz), hz_to_mel(mel.high_hz));
    let steps = f64::from(mel.mels + 1);
    (0..mel.mels + 2)
        .map(|at| mel_to_hz(low + (high - low) * f64::from(at) / steps))
        .collect()
}

/// The weight of a frequency in the triangle with these three corners.
fn weight(corners: &[f64], hz: f64) -> f64 {
    let (low, peak, high) = (corners[0], corners[1], corners[2]);
    let rising = (hz - low) / (peak - low);
    let falling = (high - hz) / (high - peak);
    rising.min(falling).max(0.0) * 2.0 / (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::MelNorm;

    fn mel(mels: u32, n_fft: u32) -> Preprocessing {
        Preprocessing {
            rate_hz: 16_000,
            n_fft,
            hop: n_fft / 4,
            mels,
            low_hz: 50.0,
            high_hz: 7_000.0,
            floor: 1e-10,
            shift: 0.0,
            gain: 1.0,
            norm: MelNorm::None,
        }
    }

    #[test]
    fn the_scale_is_linear_to_one_kilohertz_and_27_steps_take_it_to_6_4() {
        for (hz, expected) in [(0.0, 0.0), (500.0, 7.5), (1_000.0, 15.0), (6_400.0, 42.0)] {
            assert!((hz_to_mel(hz) - expected).abs() < 1e-12, "{hz} Hz");
            assert!((mel_to_hz(expected) - hz).abs() < 1e-9, "{expected} mel");
        }
    }

    #[test]
    fn each_band_has_the_area_of_slaney_s_norm() {
        let filters = Filters::new(&mel(20, 8_192)).unwrap();
        for band in 0..filters.bands {
            let area: f64 = (0..filters.bins)
                .map(|bin| filters.weights[bin * filters.bands + band])
                .sum();
            assert!(
                (area * 16_000.0 / 8_192.0 - 1.0).abs() < 0.02,
                "band {band}: {area}"
            );
        }
    }

    #[test]
    fn nothing_above_the_kept_range_is_heard() {
        let filters = Filters::new(&mel(20, 1_024)).unwrap();
        let last_hz = (filters.first_bin + filters.bins - 1) as f64 * 16_000.0 / 1_024.0;
        assert!(last_hz < 7_000.0 && last_hz > 6_900.0);
    }

    #[test]
    fn a_band_without_a_bin_is_refused() {
        assert_eq!(Filters::new(&mel(200, 256)), Err(EmptyBand { band: 1 }));
    }
}
