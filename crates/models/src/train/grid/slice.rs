//! One slice: the same clips in one condition, with what every engine measures of each.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use corpus::Stereo;
use corpus::dice::{Dice, derive};
use corpus::manifest::{Entry, Label, Split};
use corpus::piece::compose;
use serde::{Deserialize, Serialize};

use super::{CONDITIONS, Condition, GridError, Slices, Subject, at};
use crate::train::decoder::{Architecture, Decoder, HELD_OUT, TRAINED};
use crate::train::facts::Facts;
use crate::train::positives::{self, SNR_DB};
use crate::train::score::Scorer;
use crate::train::separated::Separating;
use crate::train::tracks::hear_on;

/// Clips that are measured at the same time: two cores.
pub(super) const WORKERS: usize = 2;
/// Seconds that a piece is composed for, and of which the clip is the middle.
const PIECE_SECONDS: f32 = 6.0;
/// Seconds of a clip: played three percent faster it still holds a segment of three.
const CLIP_SECONDS: f32 = 3.2;
/// Error ratios of the claim in decibels.
const CLAIM_SNR_DB: (f32, f32) = (15.0, 30.0);
/// Clips between two lines of progress.
const REPORT_EVERY: usize = 100;

/// What a clip is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The piece as composed.
    Human,
    /// With the error of the decoder that training never met, 15 to 30 dB below it.
    HeldOut,
    /// With that of one which training met, 10 to 35 dB below it.
    Met,
}

/// Every kind, in the order in which slices are measured.
pub(super) const KINDS: [Kind; 3] = [Kind::Human, Kind::HeldOut, Kind::Met];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::HeldOut => "held-out",
            Self::Met => "met",
        }
    }
}

/// What is measured of a clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Clip {
    pub(super) piece: usize,
    /// Ratio of the piece to the decoder's error; none of a human clip.
    pub(super) snr_db: Option<f32>,
    pub(super) screen: f64,
    pub(super) features: Vec<f32>,
    pub(super) facts: Facts,
}

/// A slice that was measured.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slice {
    pub(super) condition: Condition,
    pub(super) kind: Kind,
    pub(super) measured: Measured,
}

/// The clips of a slice, as its file has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub(super) struct Measured {
    /// Seconds of wall time that they took; none where the file does not say.
    pub(super) seconds: Option<f64>,
    pub(super) clips: Vec<Clip>,
}

/// The two forms of a slice's file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    Timed {
        seconds: Option<f64>,
        clips: Vec<Clip>,
    },
    Clips(Vec<Clip>),
}

impl From<Kept> for Measured {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Timed { seconds, clips } => Self { seconds, clips },
            Kept::Clips(clips) => Self {
                seconds: None,
                clips,
            },
        }
    }
}

/// Slices of conditions and decoders that no claim is about are of so many times fewer pieces.
const FEWER: usize = 4;

fn pieces_of(kind: Kind, condition: Condition, pieces: usize) -> usize {
    match kind {
        Kind::Human | Kind::HeldOut if condition.is_claimed() => pieces,
        Kind::Human | Kind::HeldOut | Kind::Met => pieces.div_ceil(FEWER),
    }
}

/// Slices in the order in which they are measured: human and held-out clips of a condition together, so that a run that ends early has
/// whole lines of the claim.
fn order() -> Vec<(Kind, Condition)> {
    let all = KINDS.into_iter().flat_map(|kind| {
        CONDITIONS
            .into_iter()
            .map(move |condition| (kind, condition))
    });
    let mut order: Vec<(Kind, Condition)> = all.collect();
    order.sort_by_key(|(kind, condition)| {
        let place = CONDITIONS.iter().position(|one| one == condition);
        let claimed = condition.is_claimed();
        (*kind == Kind::Met, !claimed, place, *kind)
    });
    order
}

fn folder(subject: &Subject, cache: &Path, pieces: usize) -> PathBuf {
    cache.join(format!("{}-{pieces}", subject.engines().short()))
}

/// The slices that `cache` holds of the subject's engines.
///
/// # Errors
/// Where one cannot be read.
pub fn kept(subject: &Subject, cache: &Path, pieces: usize) -> Result<Slices, GridError> {
    let folder = folder(subject, cache, pieces);
    let mut slices = Vec::new();
    for (kind, condition) in order() {
        let measured = read(&folder.join(name(kind, condition)))?;
        slices.extend(measured.map(|measured| Slice {
            condition,
            kind,
            measured,
        }));
    }
    Ok(Slices(slices))
}

fn name(kind: Kind, condition: Condition) -> String {
    format!("{}-{condition}.json", kind.name())
}

/// Measures every slice that `cache` does not hold yet, of `pieces` pieces where the claim is decided and of a quarter elsewhere, for as long
/// as `more` says yes; returns all that it holds then.
///
/// # Errors
/// [`GridError`]; whole slices stay in the cache.
pub fn measure(
    subject: &Subject,
    decoders: &Path,
    cache: &Path,
    pieces: usize,
    more: &dyn Fn() -> bool,
) -> Result<Slices, GridError> {
    let folder = folder(subject, cache, pieces);
    std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    for (kind, condition) in order() {
        let path = folder.join(name(kind, condition));
        if read(&path)?.is_none() && more() {
            tracing::info!(%condition, kind = kind.name(), "measuring slice");
            let (begun, pieces) = (Instant::now(), pieces_of(kind, condition, pieces));
            let clips = clips(subject, decoders, cache, pieces, (kind, condition))?;
            let seconds = Some(begun.elapsed().as_secs_f64());
            write(&path, &Measured { seconds, clips })?;
        }
    }
    kept(subject, cache, pieces)
}

fn read(path: &Path) -> Result<Option<Measured>, GridError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| GridError::Form {
                path: path.display().to_string(),
            }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

fn write(path: &Path, measured: &Measured) -> Result<(), GridError> {
    let bytes = serde_json::to_vec(measured).expect("clips have no map keys that JSON cannot hold");
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, bytes)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(at(path))
}

fn clips(
    subject: &Subject,
    decoders: &Path,
    cache: &Path,
    pieces: usize,
    what: (Kind, Condition),
) -> Result<Vec<Clip>, GridError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::with_capacity(pieces));
    let push = |result| {
        done.lock()
            .expect("no worker panics while it holds the lock")
            .push(result);
    };
    let work = |worker: usize| -> Result<(), GridError> {
        // One clip per worker: libtorch's own threads, counted per thread, would only fight over the same cores.
        tch::set_num_threads(1);
        let studio = Studio::open(subject, decoders, cache, worker)?;
        while !failed.load(Ordering::Relaxed) {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                break;
            }
            if let Some(clip) = studio.clip(piece, what)? {
                push(Ok(clip));
            }
            if (piece + 1).is_multiple_of(REPORT_EVERY) {
                tracing::info!(clip = piece + 1, of = pieces, "measuring clips");
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (work, push, failed) = (&work, &push, &failed);
            scope.spawn(move || {
                if let Err(error) = work(worker) {
                    failed.store(true, Ordering::Relaxed);
                    push(Err(error));
                }
            });
        }
    });
    let done = done
        .into_inner()
        .expect("no worker panics while it holds the lock");
    let mut clips = done.into_iter().collect::<Result<Vec<Clip>, _>>()?;
    clips.sort_by_key(|clip| clip.piece);
    Ok(clips)
}

/// What one worker needs.
struct Studio<'a> {
    scorer: Scorer<'a>,
    separating: Separating<'a>,
    decoders: Vec<(Architecture, Decoder)>,
    /// Clips before any condition.
    clean: PathBuf,
    /// Where this worker's treated clip lies for a moment.
    treated: PathBuf,
}

impl<'a> Studio<'a> {
    fn open(
        subject: &'a Subject,
        decoders: &Path,
        cache: &Path,
        worker: usize,
    ) -> Result<Self, GridError> {
        let clean = cache.join("clips");
        std::fs::create_dir_all(&clean).map_err(at(&clean))?;
        let open = |architecture| -> Result<_, GridError> {
            Ok((architecture, Decoder::open(architecture, decoders)?))
        };
        let all = TRAINED.into_iter().chain([HELD_OUT]).map(open);
        Ok(Self {
            scorer: Scorer::new(&subject.manifest, &subject.screen)?,
            separating: Separating::new(&subject.manifest, &subject.separator)?,
            decoders: all.collect::<Result<_, GridError>>()?,
            treated: cache.join(format!("treated-{}-{worker}", std::process::id())),
            clean,
        })
    }

    /// A clip in a condition; none where the screen hears nothing of it.
    fn clip(&self, piece: usize, what: (Kind, Condition)) -> Result<Option<Clip>, GridError> {
        let (kind, condition) = what;
        let (audio, snr_db) = self.audio(piece, kind)?;
        let mut dice = Dice::new(derive(piece as u64, &format!("grid {condition}")));
        let file = condition.write(&audio, &mut dice, &self.treated)?;
        let measured = self.measured(piece, snr_db, condition, &file);
        std::fs::remove_file(&file).map_err(at(&file))?;
        measured
    }

    fn measured(
        &self,
        piece: usize,
        snr_db: Option<f32>,
        condition: Condition,
        file: &Path,
    ) -> Result<Option<Clip>, GridError> {
        let entry = Entry {
            path: String::new(),
            label: if snr_db.is_some() {
                Label::Ai
            } else {
                Label::Human
            },
            piece: piece.to_string(),
            split: Split::Test,
            seconds: None,
            codec: condition.codec().map(str::to_owned),
            kbps: None,
            snr_db,
            decoder: None,
            unseen: None,
        };
        let scored = self.scorer.track(file, &entry)?;
        let features = self.separating.track(file)?;
        Ok(scored.zip(features).map(|(scored, features)| Clip {
            piece,
            snr_db,
            screen: scored.score,
            features,
            facts: scored.facts,
        }))
    }

    /// The untreated clip, made once and kept; and its error ratio.
    fn audio(&self, piece: usize, kind: Kind) -> Result<(Stereo, Option<f32>), GridError> {
        let seed = piece_seed(piece);
        let mut dice = Dice::new(seed).child("grid error");
        let (architecture, snr_db) = match kind {
            Kind::Human => (None, None),
            Kind::HeldOut => {
                let snr = dice.uniform(CLAIM_SNR_DB.0, CLAIM_SNR_DB.1);
                (Some(HELD_OUT), Some(snr))
            }
            Kind::Met => {
                let snr = dice.uniform(SNR_DB.0, SNR_DB.1);
                (Some(TRAINED[piece % TRAINED.len()]), Some(snr))
            }
        };
        let path = self.clean.join(format!("{piece:05}-{}.wav", kind.name()));
        if !path.exists() {
            let original = middle(&compose(seed, PIECE_SECONDS).audio);
            let audio = match (architecture, snr_db) {
                (Some(architecture), Some(snr_db)) => {
                    let found = self.decoders.iter().find(|(one, _)| *one == architecture);
                    let (_, decoder) = found.expect("all are open");
                    positives::pair(&original, decoder, snr_db).positive
                }
                _ => original,
            };
            let unfinished = path.with_extension("unfinished");
            corpus::wav::write(&unfinished, &audio)?;
            std::fs::rename(&unfinished, &path).map_err(at(&path))?;
        }
        let pcm = hear_on(&path, corpus::RATE_HZ, 2)?.pcm;
        let side = |at: usize| pcm.iter().skip(at).step_by(2).copied().collect();
        let audio = Stereo {
            left: side(0),
            right: side(1),
        };
        Ok((audio, snr_db))
    }
}

/// Pieces of a stream of their own: none is in any split.
fn piece_seed(piece: usize) -> u64 {
    derive(derive(1, "grid pieces"), &piece.to_string())
}

/// The middle of a piece, as long as a clip.
fn middle(audio: &Stereo) -> Stereo {
    let frames = ((CLIP_SECONDS * corpus::RATE_HZ as f32) as usize).min(audio.frames());
    let first = (audio.frames() - frames) / 2;
    let cut = |channel: &[f32]| channel[first..first + frames].to_vec();
    Stereo {
        left: cut(&audio.left),
        right: cut(&audio.right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_s_file_keeps_its_seconds_and_one_of_clips_alone_is_read_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("human-wav.json");
        let clip = Clip {
            piece: 7,
            snr_db: Some(17.3),
            screen: 0.1,
            features: vec![0.2, -3.4],
            facts: Facts {
                samples: 1_000,
                rms_db: -20.1,
                peak_db: -6.0,
                crest_db: 10.0,
                thirds: vec![-20.3; 28],
                bytes_per_second: 1.0,
                edge: 27,
                codec: String::new(),
            },
        };
        assert_eq!(read(&path).unwrap(), None);
        let mut measured = Measured {
            seconds: Some(12.5),
            clips: vec![clip],
        };
        write(&path, &measured).unwrap();
        assert_eq!(read(&path).unwrap().as_ref(), Some(&measured));
        std::fs::write(&path, serde_json::to_vec(&measured.clips).unwrap()).unwrap();
        measured.seconds = None;
        assert_eq!(read(&path).unwrap().as_ref(), Some(&measured));
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(read(&path), Err(GridError::Form { .. })));
    }
}
