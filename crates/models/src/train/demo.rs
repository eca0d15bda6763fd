//! Makes the demonstration catalogue: a few tracks of every kind with their truth beside them, from pieces that no split contains.
//!
//! Called by `trackscan-worker demo-tracks`; what it makes is committed. The same seed makes the same catalogue.

use std::path::Path;

use corpus::codec::{CODECS, Codec};
use corpus::dice::{Dice, derive};
use corpus::piece::compose;
use serde::Serialize;

use super::decoder::{self, Architecture};
use super::labelled::{LabelledError, create, encode_whole, open_all};
use super::positives::{SNR_DB, pair};

/// Length of a track in seconds.
const SECONDS: f32 = 20.0;
/// Originals, and positives per decoder.
const ORIGINALS: usize = 12;
const PER_DECODER: usize = 4;
/// Bitrates in kilobits per second: one that training meets, one that it does not. Both keep the catalogue below 8 MB.
const KBPS: [u32; 4] = [96, 96, 96, 112];
/// Bytes of the file that is no sound.
const NOISE_BYTES: usize = 40_000;
/// Share of the cut file that is left, in percent: its index, at the end, is lost.
const CUT_PERCENT: usize = 40;

/// Name of the folder of tracks, and of the file of truths beside it.
pub const TRACKS: &str = "tracks";
/// See [`TRACKS`].
pub const TRUTH: &str = "truth.csv";

/// One line of the truths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Truth {
    /// File in the folder of tracks.
    pub path: String,
    /// `human`, `ai` or `broken`.
    pub truth: &'static str,
    /// Neural decoder of a positive.
    pub decoder: Option<&'static str>,
    /// Ratio of the original to the decoder's error in decibels.
    pub snr_db: Option<f32>,
    /// Codec.
    pub codec: Option<&'static str>,
    /// Bitrate in kilobits per second.
    pub kbps: Option<u32>,
    /// What is special about it.
    pub note: Option<&'static str>,
}

/// What a track will be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Human,
    Positive(Architecture, f32),
    NoSound,
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Plan {
    piece: usize,
    kind: Kind,
    codec: Codec,
    kbps: u32,
}

/// Makes the catalogue in `folder` with decoder weights from `decoders`.
pub fn make(folder: &Path, decoders: &Path, seed: u64) -> Result<(), LabelledError> {
    let tracks = folder.join(TRACKS);
    create(&tracks)?;
    let stream = derive(seed, "demo");
    let decoders = open_all(decoders)?;
    let mut truths = Vec::new();
    for (index, plan) in plans(stream).into_iter().enumerate() {
        let name = format!("track-{:02}.{}", index + 1, plan.codec.extension());
        make_track(&plan, stream, &decoders, &tracks.join(&name))?;
        truths.push(truth(&plan, name));
    }
    write_truths(&truths, &folder.join(TRUTH))
}

fn plans(stream: u64) -> Vec<Plan> {
    let mut dice = Dice::new(stream).child("plan");
    let mut kinds = vec![Kind::Human; ORIGINALS];
    for architecture in decoder::ALL {
        for step in 0..PER_DECODER {
            // One from each quarter of the range, so that easy and hard ones are there.
            let quarter = (SNR_DB.1 - SNR_DB.0) / PER_DECODER as f32;
            let low = SNR_DB.0 + step as f32 * quarter;
            kinds.push(Kind::Positive(
                architecture,
                (10.0 * dice.uniform(low, low + quarter)).round() / 10.0,
            ));
        }
    }
    let positives_from = ORIGINALS;
    let mut plans: Vec<Plan> = kinds
        .into_iter()
        .enumerate()
        .map(|(at, kind)| Plan {
            // The first positives are versions of the originals, the rest of pieces of their own.
            piece: if at < positives_from {
                at
            } else {
                at - positives_from
            },
            kind,
            codec: CODECS[at % CODECS.len()],
            kbps: KBPS[(at / CODECS.len()) % KBPS.len()],
        })
        .collect();
    plans.push(Plan {
        piece: 0,
        kind: Kind::NoSound,
        codec: Codec::Mp3,
        kbps: KBPS[0],
    });
    plans.push(Plan {
        piece: 1,
        kind: Kind::Cut,
        codec: Codec::Aac,
        kbps: KBPS[0],
    });
    dice.shuffle(&mut plans);
    plans
}

fn make_track(
    plan: &Plan,
    stream: u64,
    decoders: &[(Architecture, decoder::Decoder)],
    path: &Path,
) -> Result<(), LabelledError> {
    let seed = derive(stream, &plan.piece.to_string());
    match plan.kind {
        Kind::Human => encode_whole(&compose(seed, SECONDS).audio, plan.codec, plan.kbps, path),
        Kind::Positive(architecture, snr_db) => {
            let (_, decoder) = decoders
                .iter()
                .find(|(known, _)| *known == architecture)
                .expect("all are open");
            encode_whole(
                &pair(&compose(seed, SECONDS).audio, decoder, snr_db).positive,
                plan.codec,
                plan.kbps,
                path,
            )
        }
        Kind::NoSound => write(path, &no_sound(stream)),
        Kind::Cut => {
            encode_whole(&compose(seed, SECONDS).audio, plan.codec, plan.kbps, path)?;
            let whole = std::fs::read(path).map_err(|source| LabelledError::Io {
                path: path.display().to_string(),
                source,
            })?;
            write(path, &whole[..whole.len() * CUT_PERCENT / 100])
        }
    }
}

fn no_sound(stream: u64) -> Vec<u8> {
    let mut noise = Dice::new(stream).child("no sound").noise();
    (0..NOISE_BYTES)
        .map(|_| (128.0 + 127.0 * noise.sample()) as u8)
        .collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), LabelledError> {
    std::fs::write(path, bytes).map_err(|source| LabelledError::Io {
        path: path.display().to_string(),
        source,
    })
}

fn truth(plan: &Plan, path: String) -> Truth {
    let sound = Truth {
        path,
        truth: "human",
        decoder: None,
        snr_db: None,
        codec: Some(plan.codec.name()),
        kbps: Some(plan.kbps),
        note: None,
    };
    match plan.kind {
        Kind::Human => sound,
        Kind::Positive(architecture, snr_db) => {
            let note =
                (architecture == decoder::HELD_OUT).then_some("decoder never met in training");
            Truth {
                truth: "ai",
                decoder: Some(architecture.name()),
                snr_db: Some(snr_db),
                note,
                ..sound
            }
        }
        Kind::NoSound => Truth {
            truth: "broken",
            codec: None,
            kbps: None,
            note: Some("random bytes"),
            ..sound
        },
        Kind::Cut => Truth {
            truth: "broken",
            note: Some("cut before its index"),
            ..sound
        },
    }
}

fn write_truths(truths: &[Truth], path: &Path) -> Result<(), LabelledError> {
    let header = "key,truth,decoder,snr_db,codec,kbps,note\n".to_owned();
    let lines = truths.iter().map(|truth| {
        let number = |value: Option<String>| value.unwrap_or_default();
        [
            truth.path.clone(),
            truth.truth.to_owned(),
            truth.decoder.unwrap_or_default().to_owned(),
            number(truth.snr_db.map(|snr| format!("{snr:.1}"))),
            truth.codec.unwrap_or_default().to_owned(),
            number(truth.kbps.map(|kbps| kbps.to_string())),
            truth.note.unwrap_or_default().to_owned(),
        ]
        .join(",")
            + "\n"
    });
    write(
        path,
        lines.fold(header, |text, line| text + &line).as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_has_every_kind_in_every_codec_and_two_broken_files() {
        let plans = plans(derive(1, "demo"));
        assert_eq!(plans.len(), 30);
        for architecture in decoder::ALL {
            assert_eq!(
                plans
                    .iter()
                    .filter(|plan| matches!(plan.kind, Kind::Positive(a, _) if a == architecture))
                    .count(),
                PER_DECODER
            );
        }
        for codec in CODECS {
            assert!(
                plans
                    .iter()
                    .any(|plan| plan.codec == codec && plan.kind == Kind::Human)
            );
            assert!(
                plans
                    .iter()
                    .any(|plan| plan.codec == codec && matches!(plan.kind, Kind::Positive(..)))
            );
        }
        assert_eq!(
            plans
                .iter()
                .filter(|plan| matches!(plan.kind, Kind::NoSound | Kind::Cut))
                .count(),
            2
        );
    }
}
