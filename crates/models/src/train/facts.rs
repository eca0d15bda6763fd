//! What is measured of a labelled track besides its score: level, coarse spectrum, bytes per second, where the spectrum ends.
//!
//! These are the inputs of the guards and of the coarse baseline. Measured on the decoded mono signal that the screen hears.

use corpus::manifest::Entry;
use corpus::shape::{BANDS, crest_db, rms, third_octaves};
use serde::{Deserialize, Serialize};

/// A third-octave band this far below the loudest counts as cut off (-75 dB lies under any encoder's noise in a band that it keeps).
const EDGE_DB: f32 = -75.0;

/// Measured facts of one track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Mono samples decoded.
    pub samples: u64,
    /// Root mean square in dB against full scale.
    pub rms_db: f32,
    /// Peak in dB against full scale.
    pub peak_db: f32,
    /// Peak against root mean square in dB.
    pub crest_db: f32,
    /// Third-octave levels in dB against the root mean square.
    pub thirds: Vec<f32>,
    /// Bytes of the file per second of sound.
    pub bytes_per_second: f32,
    /// Highest third-octave band that holds sound.
    pub edge: usize,
    /// Codec named by the manifest.
    pub codec: String,
}

/// Measures a track.
pub fn measure(entry: &Entry, mono: &[f32], bytes: u64, rate_hz: u32) -> Facts {
    let level = rms(mono).max(1e-6);
    let peak = mono.iter().fold(1e-6_f32, |peak, x| peak.max(x.abs()));
    let rms_db = 20.0 * level.log10();
    let bands = third_octaves(mono);
    let loudest = bands.iter().copied().fold(-120.0, f32::max);
    Facts {
        samples: mono.len() as u64,
        rms_db,
        peak_db: 20.0 * peak.log10(),
        crest_db: crest_db(mono),
        thirds: bands.iter().map(|band| band - rms_db).collect(),
        bytes_per_second: (bytes as f64 * f64::from(rate_hz) / mono.len().max(1) as f64) as f32,
        edge: bands
            .iter()
            .rposition(|&band| band > loudest + EDGE_DB)
            .unwrap_or(0),
        codec: entry.codec.clone().unwrap_or_default(),
    }
}

/// A set of facts that a guard or baseline is allowed to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Root mean square and peak.
    Level,
    /// Codec, bytes per second, where the spectrum ends.
    Codec,
    /// Third-octave spectrum and crest factor.
    Coarse,
}

impl View {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Codec => "codec",
            Self::Coarse => "coarse",
        }
    }

    /// The numbers of a track under this view; always as many for the same view.
    pub fn row(self, facts: &Facts) -> Vec<f64> {
        match self {
            Self::Level => vec![facts.rms_db.into(), facts.peak_db.into()],
            Self::Codec => {
                let is = |name: &str| f64::from(u8::from(facts.codec == name));
                let rate = f64::from(facts.bytes_per_second);
                // The rate counts per codec too: what it means differs between them.
                vec![
                    is("mp3"),
                    is("aac"),
                    rate,
                    facts.edge as f64,
                    is("mp3") * rate,
                    is("aac") * rate,
                    is("vorbis") * rate,
                ]
            }
            Self::Coarse => {
                let mut row: Vec<f64> = facts
                    .thirds
                    .iter()
                    .map(|&band| f64::from(band.max(-100.0)))
                    .collect();
                row.resize(BANDS, -100.0);
                row.push(facts.crest_db.into());
                row
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corpus::manifest::{Label, Split};

    fn entry() -> Entry {
        Entry {
            path: "a.mp3".into(),
            label: Label::Human,
            piece: "a".into(),
            split: Split::Test,
            seconds: None,
            codec: Some("mp3".into()),
            kbps: None,
            snr_db: None,
            decoder: None,
            unseen: None,
        }
    }

    #[test]
    fn gain_moves_the_level_and_nothing_coarse() {
        let mut noise = corpus::dice::Dice::new(1).noise();
        let wave: Vec<f32> = (0..44_100).map(|_| 0.5 * noise.sample()).collect();
        let quiet: Vec<f32> = wave.iter().map(|x| 0.1 * x).collect();
        let (loud, quiet) = (
            measure(&entry(), &wave, 16_000, 44_100),
            measure(&entry(), &quiet, 16_000, 44_100),
        );
        assert!((loud.rms_db - quiet.rms_db - 20.0).abs() < 0.01);
        for (a, b) in View::Coarse.row(&loud).iter().zip(View::Coarse.row(&quiet)) {
            assert!((a - b).abs() < 0.05, "{a} {b}");
        }
        assert_eq!(loud.bytes_per_second, 16_000.0);
    }

    #[test]
    fn the_edge_is_where_the_spectrum_ends() {
        let mut noise = corpus::dice::Dice::new(1).noise();
        let bright: Vec<f32> = (0..44_100).map(|_| noise.sample()).collect();
        assert_eq!(measure(&entry(), &bright, 1, 44_100).edge, BANDS - 1);
        let sine: Vec<f32> = (0..65_536)
            .map(|i| (std::f32::consts::TAU * 1_024.0 * i as f32 / 65_536.0).sin())
            .collect();
        assert!(measure(&entry(), &sine, 1, 44_100).edge < BANDS - 4);
    }

    #[test]
    fn silence_is_measured_without_a_number_that_is_none() {
        let facts = measure(&entry(), &[0.0; 1_000], 10, 44_100);
        for view in [View::Level, View::Codec, View::Coarse] {
            assert!(view.row(&facts).iter().all(|x| x.is_finite()), "{view:?}");
        }
    }
}
