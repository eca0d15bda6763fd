//! Separates labelled tracks as they would be separated in service: scaled by the first pass, cut where the bundle says, features of each
//! segment, their mean as the track's vector.
//!
//! Called by calibration and evaluation. Vectors are kept in a cache folder, one small file per track, so that a stopped run goes on where it
//! was. Never looks at labels.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bundle::features::{DEVIATION_LEAST, RESIDUAL_V1};
use bundle::{Grid, Heard, Loudness, Manifest as BundleManifest, Residual, Tensors, WindowSpec};
use corpus::manifest::{Entry, Manifest};
use corpus::shape::rms;
use engine::{ResidualInfo, Segment};
use tch::TchError;
use types::Digest;

use super::tracks::{TrackError, hear, hear_on};
use crate::params::ParamError;
use crate::residual::{self, Measured};

/// Tracks that are separated at the same time: two cores.
const WORKERS: usize = 2;
/// Tracks between two lines of progress.
const REPORT_EVERY: usize = 100;

/// Labelled tracks could not be separated.
#[derive(Debug, thiserror::Error)]
pub enum SeparateError {
    /// The bundle has no residual, or one that no worker could serve.
    #[error("separating labelled tracks: no worker could serve this separator")]
    NotServed,
    /// A track could not be heard.
    #[error(transparent)]
    Track(#[from] TrackError),
    /// The weights do not fit the network.
    #[error("loading the separator's weights")]
    Params(#[from] ParamError),
    /// libtorch refused.
    #[error("separating labelled tracks")]
    Torch(#[from] TchError),
    /// A file of the cache could not be read or written.
    #[error("reading or writing cached features `{path}`")]
    Cache {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The feature vectors of `entries`, in their order; none of a track without a sample.
///
/// # Errors
/// [`SeparateError`]; what is done stays in `cache`.
pub fn separate_all(
    manifest: &Manifest,
    entries: &[Entry],
    bundle: &BundleManifest,
    weights: &Tensors,
    cache: &Path,
) -> Result<Vec<Option<Vec<f32>>>, SeparateError> {
    std::fs::create_dir_all(cache).map_err(at(cache))?;
    let pinned = Digest::of(&weights.to_bytes());
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::with_capacity(entries.len()));
    let work = || -> Result<(), SeparateError> {
        // One track per worker: libtorch's own threads, counted per thread, would only fight over the same cores.
        tch::set_num_threads(1);
        let separating = Separating::new(bundle, weights)?;
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(entry) = entries.get(index) else {
                break;
            };
            let vector = separating.kept(&manifest.file(entry), pinned, cache)?;
            lock(&done).push((index, Ok(vector)));
            if (index + 1).is_multiple_of(REPORT_EVERY) {
                tracing::info!(
                    track = index + 1,
                    of = entries.len(),
                    "separating labelled tracks"
                );
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                if let Err(error) = work() {
                    failed.store(true, Ordering::Relaxed);
                    lock(&done).push((usize::MAX, Err(error)));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .expect("no worker panics while it holds the lock");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, vector)| vector).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no worker panics while it holds the lock")
}

/// The separator of a bundle on the processor.
#[derive(Debug)]
pub struct Separating<'a> {
    residual: &'a Residual,
    info: ResidualInfo,
    spec: WindowSpec,
    net: Measured,
}

impl<'a> Separating<'a> {
    /// The separator of `bundle` with these weights.
    ///
    /// # Errors
    /// Where there is none that could be served, or the weights do not fit.
    pub fn new(bundle: &'a BundleManifest, weights: &Tensors) -> Result<Self, SeparateError> {
        let residual = bundle.residual.as_ref().ok_or(SeparateError::NotServed)?;
        Ok(Self {
            residual,
            info: residual::info(residual, 1).ok_or(SeparateError::NotServed)?,
            spec: WindowSpec::of(&bundle.screen),
            net: Measured::on_processor(residual, weights)?,
        })
    }

    /// The vector of a file: that of the cache where it is of this file, separator and choice of segments.
    fn kept(
        &self,
        file: &Path,
        weights: Digest,
        cache: &Path,
    ) -> Result<Option<Vec<f32>>, SeparateError> {
        let path = cache.join(format!("{}.json", self.key(file, weights)?));
        if let Ok(bytes) = std::fs::read(&path)
            && let Ok(vector) = serde_json::from_slice(&bytes)
        {
            return Ok(vector);
        }
        let vector = self.track(file)?;
        let bytes = serde_json::to_vec(&vector).expect("finite numbers become JSON");
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, bytes)
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .map_err(at(&path))?;
        Ok(vector)
    }

    fn key(&self, file: &Path, weights: Digest) -> Result<String, SeparateError> {
        let metadata = std::fs::metadata(file).map_err(|source| TrackError::Open {
            path: file.display().to_string(),
            source,
        })?;
        let text = format!(
            "{}\n{}\n{:?}\n{weights}\n{:?}\n{:?}\n{:?}\n{:?}",
            file.display(),
            metadata.len(),
            metadata.modified().ok(),
            self.residual.architecture,
            self.residual.segments,
            self.residual.overlap,
            self.spec
        );
        Ok(Digest::of(text.as_bytes()).to_string())
    }

    /// The feature vector of a file; none without a sample.
    ///
    /// # Errors
    /// When the file cannot be decoded, or libtorch refuses.
    pub fn track(&self, file: &Path) -> Result<Option<Vec<f32>>, SeparateError> {
        let first = hear(file, self.spec.rate_hz)?.pcm;
        let same = self.info.rate_hz == self.spec.rate_hz && self.info.channels == 1;
        let own = if same {
            None
        } else {
            Some(hear_on(file, self.info.rate_hz, self.info.channels)?.pcm)
        };
        Ok(self.pcm(&first, own.as_deref().unwrap_or(&first))?)
    }

    /// As [`Separating::track`], of samples: those that the screen hears, and those that the separator does.
    fn pcm(&self, first: &[f32], own: &[f32]) -> Result<Option<Vec<f32>>, TchError> {
        let (mean, deviation) = moments(first);
        let deviation = deviation.max(DEVIATION_LEAST);
        let channels = self.info.channels as usize;
        let mut sum = [0.0_f64; RESIDUAL_V1.len()];
        let mut count = 0;
        for start in self.starts(first) {
            let from = usize::try_from(start)
                .unwrap_or(usize::MAX)
                .saturating_mul(channels);
            let heard = own.get(from..).unwrap_or_default();
            let heard = &heard[..heard.len().min(self.info.values())];
            let samples = heard.len() / channels;
            if samples == 0 {
                continue;
            }
            let before = (self.info.segment - samples) / 2;
            let mut pcm = vec![0.0; before * channels];
            pcm.extend(
                heard
                    .iter()
                    .map(|value| ((f64::from(*value) - mean) / deviation) as f32),
            );
            pcm.resize(self.info.values(), 0.0);
            let segment = Segment {
                before,
                samples,
                mean,
                deviation,
            };
            for vector in self.net.features(&pcm, &[segment])? {
                sum.iter_mut()
                    .zip(&vector)
                    .for_each(|(slot, value)| *slot += f64::from(*value));
                count += 1;
            }
        }
        let mean = |sum: f64| (sum / f64::from(count)) as f32;
        Ok((count > 0).then(|| sum.map(mean).to_vec()))
    }

    /// First frames of the segments that the bundle takes, at the separator's rate.
    fn starts(&self, first: &[f32]) -> Vec<u64> {
        let samples = first.len() as u64;
        let windows: Vec<Loudness> = self
            .spec
            .starts(samples)
            .map(|start| Loudness {
                start: start.frame * u64::from(self.spec.hop),
                rms_db: 20.0 * rms(&self.spec.cut(first, start)).log10(),
            })
            .collect();
        let grid = Grid {
            rate_hz: self.info.rate_hz,
            segment: self.info.segment as u64,
            overlap: self.residual.overlap,
        };
        let heard = Heard {
            samples,
            rate_hz: self.spec.rate_hz,
            windows: &windows,
        };
        self.residual.segments.choose(grid, &heard)
    }
}

/// Mean and standard deviation of samples.
fn moments(pcm: &[f32]) -> (f64, f64) {
    let count = pcm.len().max(1) as f64;
    let mean = pcm.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares: f64 = pcm
        .iter()
        .map(|value| (f64::from(*value) - mean).powi(2))
        .sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> SeparateError {
    let path: PathBuf = path.to_owned();
    move |source| SeparateError::Cache {
        path: path.display().to_string(),
        source,
    }
}
