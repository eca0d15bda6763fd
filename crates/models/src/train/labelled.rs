//! Makes the labelled data of the demonstration bundle: pieces, their positives, and both through the same codec at the same bitrate.
//!
//! Called by `trackscan-worker corpus`. What is made depends on the seed alone; a file that is already there is not made again, so the same
//! command goes on where it was stopped. Writes under the folder it is given and nowhere else.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use corpus::Stereo;
use corpus::codec::{CODECS, Codec, CodecError, encode};
use corpus::dice::{Dice, derive};
use corpus::manifest::{Entry, Label, Manifest, ManifestError, Split};
use corpus::piece::compose;

use super::decoder::{self, Architecture, Decoder, DecoderError};
use super::positives::{self, SNR_DB};

/// Bitrates in kilobits per second that training meets, and those that only the test split has.
pub const SEEN_KBPS: [u32; 3] = [96, 128, 192];
/// See [`SEEN_KBPS`].
pub const UNSEEN_KBPS: [u32; 2] = [112, 160];

/// Name of the manifest in the folder.
pub const MANIFEST: &str = "labels.csv";

/// Pieces between two lines of progress.
const REPORT_EVERY: usize = 50;

/// How much to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amounts {
    /// Pieces for training.
    pub train: usize,
    /// Pieces for the calibration.
    pub calibrate: usize,
    /// Pieces for the final table; at least 400, or the guards cannot be scored.
    pub test: usize,
    /// Length of each piece in seconds.
    pub seconds: f32,
}

impl Default for Amounts {
    /// What the demonstration bundle is made from.
    fn default() -> Self {
        Self {
            train: 900,
            calibrate: 240,
            test: 420,
            seconds: 6.0,
        }
    }
}

/// Labelled data could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LabelledError {
    /// A decoder's weights are missing or broken.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// A codec pass failed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The manifest could not be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The folder holds music of another seed or length.
    #[error(
        "the folder `{folder}` holds music made from {found}, not {wanted}: name another folder"
    )]
    OtherMusic {
        /// The folder.
        folder: String,
        /// What its files were made from.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// A folder or file could not be made.
    #[error("making `{path}`")]
    Io {
        /// What was to be made.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What will be made of one piece.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PiecePlan {
    name: String,
    seed: u64,
    split: Split,
    architecture: Architecture,
    codec: Codec,
    kbps: u32,
    snr_db: f32,
}

/// Makes all of it under `folder` with two workers, from decoder weights in `decoders`; returns the manifest's path.
pub fn make(
    folder: &Path,
    decoders: &Path,
    amounts: Amounts,
    seed: u64,
) -> Result<PathBuf, LabelledError> {
    let plans = plan(amounts, seed);
    create(folder)?;
    stamp(folder, amounts, seed)?;
    for split in [Split::Train, Split::Calibrate, Split::Test] {
        create(&folder.join(split_folder(split)))?;
    }
    let (next, failed, first_error) = (
        AtomicUsize::new(0),
        AtomicBool::new(false),
        Mutex::new(None),
    );
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                if let Err(error) = work(&plans, &next, &failed, folder, decoders, amounts.seconds)
                {
                    failed.store(true, Ordering::Relaxed);
                    first_error
                        .lock()
                        .expect("no worker panics while it holds the lock")
                        .get_or_insert(error);
                }
            });
        }
    });
    if let Some(error) = first_error
        .into_inner()
        .expect("no worker panics while it holds the lock")
    {
        return Err(error);
    }
    let entries: Vec<Entry> = plans
        .iter()
        .flat_map(|plan| entries(plan, amounts.seconds))
        .collect();
    let manifest = folder.join(MANIFEST);
    Manifest::write(&entries, &manifest)?;
    Ok(manifest)
}

/// Notes what a folder's files are made from, beside them.
const STAMP: &str = "made-from";

/// Claims the folder for this seed and length: files are told by their names alone, which hold neither.
fn stamp(folder: &Path, amounts: Amounts, seed: u64) -> Result<(), LabelledError> {
    let path = folder.join(STAMP);
    let wanted = format!("seed {seed}, {} s a piece\n", amounts.seconds);
    let failed = |source| LabelledError::Io {
        path: path.display().to_string(),
        source,
    };
    match std::fs::read_to_string(&path) {
        Ok(found) if found == wanted => Ok(()),
        Ok(found) => Err(LabelledError::OtherMusic {
            folder: folder.display().to_string(),
            found: found.trim().to_owned(),
            wanted: wanted.trim().to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::write(&path, wanted).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Workers of [`make`]: each holds about 200 MB, and two keep a machine of two cores busy. What they make does not depend on
/// their number.
const WORKERS: usize = 2;

fn work(
    plans: &[PiecePlan],
    next: &AtomicUsize,
    failed: &AtomicBool,
    folder: &Path,
    decoders: &Path,
    seconds: f32,
) -> Result<(), LabelledError> {
    // Each worker is one thread's work; libtorch's own threads would only fight over the same cores.
    tch::set_num_threads(1);
    let decoders = open_all(decoders)?;
    while !failed.load(Ordering::Relaxed) {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(plan) = plans.get(index) else { break };
        make_pair(plan, folder, &decoders, seconds)?;
        if (index + 1).is_multiple_of(REPORT_EVERY) {
            tracing::info!(piece = index + 1, of = plans.len(), "making labelled data");
        }
    }
    Ok(())
}

/// Opens every decoder in `folder`.
pub(super) fn open_all(folder: &Path) -> Result<Vec<(Architecture, Decoder)>, DecoderError> {
    decoder::ALL
        .into_iter()
        .map(|architecture| Ok((architecture, Decoder::open(architecture, folder)?)))
        .collect()
}

fn make_pair(
    plan: &PiecePlan,
    folder: &Path,
    decoders: &[(Architecture, Decoder)],
    seconds: f32,
) -> Result<(), LabelledError> {
    let [human, positive] =
        [Label::Human, Label::Ai].map(|label| folder.join(file_of(plan, label)));
    if human.exists() && positive.exists() {
        return Ok(());
    }
    let (_, decoder) = decoders
        .iter()
        .find(|(architecture, _)| *architecture == plan.architecture)
        .expect("all are open");
    let pair = positives::pair(&compose(plan.seed, seconds).audio, decoder, plan.snr_db);
    encode_whole(&pair.human, plan.codec, plan.kbps, &human)?;
    encode_whole(&pair.positive, plan.codec, plan.kbps, &positive)
}

/// Encodes to a neighbour and renames, so that a file that is there is whole.
pub(super) fn encode_whole(
    audio: &Stereo,
    codec: Codec,
    kbps: u32,
    path: &Path,
) -> Result<(), LabelledError> {
    let unfinished = path.with_extension("unfinished");
    encode(audio, codec, kbps, &unfinished)?;
    std::fs::rename(&unfinished, path).map_err(|source| LabelledError::Io {
        path: path.display().to_string(),
        source,
    })
}

pub(super) fn create(folder: &Path) -> Result<(), LabelledError> {
    std::fs::create_dir_all(folder).map_err(|source| LabelledError::Io {
        path: folder.display().to_string(),
        source,
    })
}

fn entries(plan: &PiecePlan, seconds: f32) -> [Entry; 2] {
    [Label::Human, Label::Ai].map(|label| {
        let positive = label == Label::Ai;
        let bitrate = UNSEEN_KBPS.contains(&plan.kbps).then_some("bitrate");
        let decoder = (positive && plan.architecture == decoder::HELD_OUT).then_some("decoder");
        let unseen: Vec<&str> = bitrate.into_iter().chain(decoder).collect();
        Entry {
            path: file_of(plan, label),
            label,
            piece: plan.name.clone(),
            split: plan.split,
            seconds: Some(seconds),
            codec: Some(plan.codec.name().to_owned()),
            kbps: Some(plan.kbps),
            snr_db: positive.then_some(plan.snr_db),
            decoder: positive.then(|| plan.architecture.name().to_owned()),
            unseen: (!unseen.is_empty()).then(|| unseen.join("+")),
        }
    })
}

fn split_folder(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Calibrate => "calibrate",
        Split::Test => "test",
    }
}

fn file_of(plan: &PiecePlan, label: Label) -> String {
    let class = match label {
        Label::Human => "human",
        Label::Ai => "ai",
    };
    format!(
        "{}/{}-{class}.{}",
        split_folder(plan.split),
        plan.name,
        plan.codec.extension()
    )
}

/// Draws what will be made. The test split comes first, so that a corpus with more training pieces has the same test.
fn plan(amounts: Amounts, seed: u64) -> Vec<PiecePlan> {
    let splits = [
        (Split::Test, amounts.test),
        (Split::Calibrate, amounts.calibrate),
        (Split::Train, amounts.train),
    ];
    splits
        .into_iter()
        .flat_map(|(split, count)| plan_split(split, count, seed))
        .collect()
}

fn plan_split(split: Split, count: usize, seed: u64) -> Vec<PiecePlan> {
    let stream = derive(seed, split_folder(split));
    let (architectures, bitrates): (&[Architecture], Vec<u32>) = match split {
        Split::Train | Split::Calibrate => (&decoder::TRAINED, SEEN_KBPS.to_vec()),
        Split::Test => (
            &decoder::ALL,
            SEEN_KBPS.into_iter().chain(UNSEEN_KBPS).collect(),
        ),
    };
    // Blocks of every combination in a shuffled order: no factor travels with another, and a shorter corpus is the start of a longer one.
    let cells: Vec<(Architecture, Codec, u32)> = architectures
        .iter()
        .flat_map(|&a| CODECS.into_iter().map(move |c| (a, c)))
        .flat_map(|(a, c)| bitrates.iter().map(move |&b| (a, c, b)))
        .collect();
    let mut dice = Dice::new(stream).child("plan");
    let mut order = Vec::with_capacity(count);
    while order.len() < count {
        let mut block = cells.clone();
        dice.shuffle(&mut block);
        order.extend(block);
    }
    let mut dice = Dice::new(stream).child("snr");
    order
        .into_iter()
        .take(count)
        .enumerate()
        .map(|(index, (architecture, codec, kbps))| PiecePlan {
            name: format!("{}-{index:05}", split_folder(split)),
            seed: derive(stream, &index.to_string()),
            split,
            architecture,
            codec,
            kbps,
            snr_db: dice.uniform(SNR_DB.0, SNR_DB.1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_other_music_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let amounts = Amounts::default();
        let longer = Amounts {
            seconds: 7.0,
            ..amounts
        };
        stamp(folder.path(), amounts, 1).unwrap();
        stamp(folder.path(), amounts, 1).unwrap();
        for (amounts, seed) in [(amounts, 2), (longer, 1)] {
            let refused = stamp(folder.path(), amounts, seed).unwrap_err();
            assert!(
                matches!(refused, LabelledError::OtherMusic { .. }),
                "{refused}"
            );
        }
        stamp(folder.path(), amounts, 1).unwrap();
    }

    #[test]
    fn training_never_meets_the_held_out_decoder_or_bitrates() {
        for plan in plan(Amounts::default(), 5) {
            let unseen = plan.architecture == decoder::HELD_OUT || UNSEEN_KBPS.contains(&plan.kbps);
            assert!(!unseen || plan.split == Split::Test, "{plan:?}");
        }
    }

    #[test]
    fn both_versions_of_a_piece_share_codec_bitrate_and_split() {
        for plan in plan(Amounts::default(), 5) {
            let [human, positive] = entries(&plan, 6.0);
            assert_eq!(
                (human.codec, human.kbps, human.split),
                (positive.codec, positive.kbps, positive.split)
            );
            assert_eq!((human.snr_db, human.decoder), (None, None));
            assert!(
                positive
                    .snr_db
                    .is_some_and(|snr| (SNR_DB.0..=SNR_DB.1).contains(&snr))
            );
        }
    }

    #[test]
    fn a_shorter_corpus_is_the_start_of_a_longer_one() {
        let (short, long) = (
            plan_split(Split::Train, 40, 5),
            plan_split(Split::Train, 400, 5),
        );
        assert_eq!(short, long[..40]);
    }

    #[test]
    fn a_larger_training_split_changes_no_test_piece() {
        let test = |train| {
            plan(
                Amounts {
                    train,
                    ..Amounts::default()
                },
                5,
            )
            .into_iter()
            .filter(|plan| plan.split == Split::Test)
            .collect::<Vec<_>>()
        };
        assert_eq!(test(10), test(1_000));
    }
}
