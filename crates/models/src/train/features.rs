//! The log-mel of every training track, computed once by the code that serves and kept in a cache folder, from which crops are read.
//!
//! One file per track: the length of its facts, the facts as JSON, then the log-mel in half precision, frame after frame. Memory stays with
//! the crops of one step, however large the manifest.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bundle::Preprocessing;
use corpus::manifest::{Entry, Manifest};
use half::f16;
use tch::{TchError, Tensor};
use types::Digest;

use super::facts::{Facts, measure};
use super::tracks::{TrackError, hear};
use crate::mel::{Mel, MelError};
use crate::params::values;

/// Tracks that are heard at the same time: two cores.
const WORKERS: usize = 2;
/// Longest facts that are believed: a hundred times what they need.
const FACTS_BYTES_MAX: u32 = 64 * 1024;
/// Tracks between two lines of progress.
const REPORT_EVERY: usize = 200;

/// Features could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum FeatureError {
    /// A track could not be heard.
    #[error(transparent)]
    Track(#[from] TrackError),
    /// The mel transform could not be made.
    #[error("making the mel transform")]
    Mel(#[from] MelError),
    /// libtorch refused.
    #[error("computing mel values")]
    Torch(#[from] TchError),
    /// A cache file could not be read or written.
    #[error("reading or writing cached features `{path}`")]
    Cache {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A cache file is not of this form.
    #[error("cached features `{path}` are not of this form: remove them")]
    Form {
        /// The file.
        path: String,
    },
}

/// A track's features in the cache.
#[derive(Clone, Debug)]
pub struct Features {
    /// The file.
    path: PathBuf,
    /// Where the log-mel begins in it.
    first_byte: u64,
    bands: usize,
    /// Frames of the track.
    pub frames: usize,
    /// What was measured of the track.
    pub facts: Facts,
}

/// Makes what is missing in `cache` and opens the features of `entries`, in their order.
pub fn open_all(
    manifest: &Manifest,
    entries: &[Entry],
    preprocessing: &Preprocessing,
    cache: &Path,
) -> Result<Vec<Features>, FeatureError> {
    std::fs::create_dir_all(cache).map_err(|source| FeatureError::Cache {
        path: cache.display().to_string(),
        source,
    })?;
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let made = Mutex::new(Vec::with_capacity(entries.len()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(entry) = entries.get(index) else {
                        break;
                    };
                    let one = open_or_make(&manifest.file(entry), entry, preprocessing, cache);
                    failed.fetch_or(one.is_err(), Ordering::Relaxed);
                    made.lock()
                        .expect("no worker panics while it holds the lock")
                        .push((index, one));
                    if (index + 1).is_multiple_of(REPORT_EVERY) {
                        tracing::info!(
                            track = index + 1,
                            of = entries.len(),
                            "hearing labelled tracks"
                        );
                    }
                }
            });
        }
    });
    let mut made = made
        .into_inner()
        .expect("no worker panics while it holds the lock");
    made.sort_by_key(|(index, _)| *index);
    made.into_iter().map(|(_, one)| one).collect()
}

fn open_or_make(
    file: &Path,
    entry: &Entry,
    preprocessing: &Preprocessing,
    cache: &Path,
) -> Result<Features, FeatureError> {
    let path = cache.join(format!("{}.mel", key(file, preprocessing)?));
    if !path.exists() {
        make(file, entry, preprocessing, &path)?;
    }
    open(path, preprocessing.mels as usize)
}

/// Names the features by the file, its length and change time, and the preprocessing.
fn key(file: &Path, preprocessing: &Preprocessing) -> Result<String, FeatureError> {
    let metadata = std::fs::metadata(file).map_err(|source| TrackError::Open {
        path: file.display().to_string(),
        source,
    })?;
    let text = format!(
        "{}\n{}\n{:?}\n{preprocessing:?}",
        file.display(),
        metadata.len(),
        metadata.modified().ok()
    );
    Ok(Digest::of(text.as_bytes()).to_string())
}

fn make(
    file: &Path,
    entry: &Entry,
    preprocessing: &Preprocessing,
    path: &Path,
) -> Result<(), FeatureError> {
    let track = hear(file, preprocessing.rate_hz)?;
    let facts = measure(entry, &track.pcm, track.bytes, preprocessing.rate_hz);
    let mel = Mel::new(preprocessing, tch::Device::Cpu)?;
    let log = tch::no_grad(|| {
        mel.track(&Tensor::f_from_slice(&track.pcm)?)?
            .f_transpose(0, 1)
    })?;
    let facts = serde_json::to_vec(&facts).expect("facts have no map keys that JSON cannot hold");
    let mut bytes = u32::try_from(facts.len())
        .expect("facts are short")
        .to_le_bytes()
        .to_vec();
    bytes.extend(facts);
    bytes.extend(
        values(&log)?
            .into_iter()
            .flat_map(|value| f16::from_f32(value).to_le_bytes()),
    );
    let unfinished = path.with_extension("unfinished");
    let written =
        std::fs::write(&unfinished, bytes).and_then(|()| std::fs::rename(&unfinished, path));
    written.map_err(|source| FeatureError::Cache {
        path: path.display().to_string(),
        source,
    })
}

fn open(path: PathBuf, bands: usize) -> Result<Features, FeatureError> {
    let named = path.display().to_string();
    let cache = |source| FeatureError::Cache {
        path: named.clone(),
        source,
    };
    let form = || FeatureError::Form {
        path: named.clone(),
    };
    let mut file = File::open(&path).map_err(cache)?;
    let mut length = [0; 4];
    file.read_exact(&mut length).map_err(cache)?;
    let length = u32::from_le_bytes(length);
    if length > FACTS_BYTES_MAX {
        return Err(form());
    }
    let mut facts = vec![0; length as usize];
    file.read_exact(&mut facts).map_err(cache)?;
    let facts: Facts = serde_json::from_slice(&facts).map_err(|_| form())?;
    let first_byte = 4 + u64::from(length);
    let rest = file.metadata().map_err(cache)?.len() - first_byte;
    let row = 2 * bands as u64;
    if !rest.is_multiple_of(row) {
        return Err(form());
    }
    Ok(Features {
        path,
        first_byte,
        bands,
        frames: usize::try_from(rest / row).map_err(|_| form())?,
        facts,
    })
}

impl Features {
    /// Its name in the cache, which follows from the sound file's name, length and change time and from the preprocessing.
    pub fn name(&self) -> &Path {
        self.path.file_name().map_or(Path::new(""), Path::new)
    }

    /// Appends `frames` frames from `start` on, band after band within a frame.
    pub fn crop(
        &self,
        start: usize,
        frames: usize,
        out: &mut Vec<f32>,
    ) -> Result<(), FeatureError> {
        let cache = |source| FeatureError::Cache {
            path: self.path.display().to_string(),
            source,
        };
        let mut file = File::open(&self.path).map_err(cache)?;
        file.seek(SeekFrom::Start(
            self.first_byte + (2 * start * self.bands) as u64,
        ))
        .map_err(cache)?;
        let mut bytes = vec![0; 2 * frames * self.bands];
        file.read_exact(&mut bytes).map_err(cache)?;
        out.extend(
            bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|pair| f16::from_le_bytes(*pair).to_f32()),
        );
        Ok(())
    }
}
