//! Scores labelled tracks as they would be scored in service: decoded, cut into windows, log-mel, folded network, the bundle's rule.
//!
//! Called by calibration and evaluation. Never looks at labels.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bundle::{
    Architecture, Evidence, Manifest as BundleManifest, Rules, Tensors, TrackWindow, WindowSpec,
    decide,
};
use corpus::manifest::{Entry, Manifest};
use corpus::shape::rms;
use tch::{Device, Kind, TchError, Tensor};
use types::{Dtype, Stages};

use super::facts::{Facts, measure};
use super::tracks::{TrackError, hear};
use crate::mel::{Mel, MelError};
use crate::params::{ParamError, values};
use crate::screen::{self, Folded};

/// Tracks that are scored at the same time: two cores.
const WORKERS: usize = 2;
/// Windows of one pass through the network.
const BATCH: usize = 8;
/// Tracks between two lines of progress.
const REPORT_EVERY: usize = 200;

/// Labelled tracks could not be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A track could not be heard.
    #[error(transparent)]
    Track(#[from] TrackError),
    /// The mel transform could not be made.
    #[error("making the mel transform")]
    Mel(#[from] MelError),
    /// The weights do not fit the network.
    #[error("loading the screen's weights")]
    Params(#[from] ParamError),
    /// libtorch refused.
    #[error("scoring labelled tracks")]
    Torch(#[from] TchError),
}

/// A scored track.
#[derive(Clone, Debug)]
pub struct Scored {
    /// What the manifest says of it.
    pub entry: Entry,
    /// What was measured of it.
    pub facts: Facts,
    /// The track score.
    pub score: f64,
}

/// Scores `entries` with the screen of `bundle` and `weights`, in their order. A track that is shorter than one window, or silent, has no
/// score and is left out with a warning.
pub fn score_all(
    manifest: &Manifest,
    entries: &[Entry],
    bundle: &BundleManifest,
    weights: &Tensors,
) -> Result<Vec<Scored>, ScoreError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::with_capacity(entries.len()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let worked = work(manifest, entries, bundle, weights, &next, &failed, &done);
                if let Err(error) = worked {
                    failed.store(true, Ordering::Relaxed);
                    done.lock()
                        .expect("no worker panics while it holds the lock")
                        .push((usize::MAX, Err(error)));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .expect("no worker panics while it holds the lock");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, scored)| scored).collect()
}

type Done = Mutex<Vec<(usize, Result<Scored, ScoreError>)>>;

fn work(
    manifest: &Manifest,
    entries: &[Entry],
    bundle: &BundleManifest,
    weights: &Tensors,
    next: &AtomicUsize,
    failed: &AtomicBool,
    done: &Done,
) -> Result<(), ScoreError> {
    // One track per worker: libtorch's own threads, counted per thread, would only fight over the same cores.
    tch::set_num_threads(1);
    let scorer = Scorer::new(bundle, weights)?;
    while !failed.load(Ordering::Relaxed) {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(entry) = entries.get(index) else {
            break;
        };
        let scored = scorer.track(&manifest.file(entry), entry)?;
        match scored {
            Some(scored) => done
                .lock()
                .expect("no worker panics while it holds the lock")
                .push((index, Ok(scored))),
            None => tracing::warn!(
                path = entry.path,
                "shorter than one window, or silent: left out"
            ),
        }
        if (index + 1).is_multiple_of(REPORT_EVERY) {
            tracing::info!(
                track = index + 1,
                of = entries.len(),
                "scoring labelled tracks"
            );
        }
    }
    Ok(())
}

/// The screen on the processor.
pub(super) struct Scorer<'a> {
    bundle: &'a BundleManifest,
    spec: WindowSpec,
    mel: Mel,
    net: Folded,
}

impl<'a> Scorer<'a> {
    pub(super) fn new(bundle: &'a BundleManifest, weights: &Tensors) -> Result<Self, ScoreError> {
        let Architecture::CnnV1(cnn) = &bundle.screen.architecture;
        let (_store, net) = screen::load(cnn, weights, Device::Cpu)?;
        Ok(Self {
            bundle,
            spec: WindowSpec::of(&bundle.screen),
            mel: Mel::new(&bundle.screen.preprocessing, Device::Cpu)?,
            net: Folded::new(&net, Kind::Float)?,
        })
    }

    /// Scores a file; none where it is shorter than one window, or silent.
    pub(super) fn track(&self, file: &Path, entry: &Entry) -> Result<Option<Scored>, ScoreError> {
        let track = hear(file, self.spec.rate_hz)?;
        let windows = self.windows(&track.pcm)?;
        let rules = Rules {
            stages: Stages::Screen,
            accept_demonstration: true,
            gate: None,
        };
        let decision = decide(
            self.bundle,
            &Evidence {
                windows: &windows,
                dtype: Dtype::F32,
            },
            rules,
        );
        Ok(decision.score.map(|score| Scored {
            entry: entry.clone(),
            facts: measure(entry, &track.pcm, track.bytes, self.spec.rate_hz),
            score: f64::from(score.logit),
        }))
    }

    fn windows(&self, pcm: &[f32]) -> Result<Vec<TrackWindow>, TchError> {
        let cut: Vec<Vec<f32>> = self
            .spec
            .starts(pcm.len() as u64)
            .map(|start| self.spec.cut(pcm, start))
            .collect();
        let mut windows = Vec::with_capacity(cut.len());
        for batch in cut.chunks(BATCH) {
            let rows = Tensor::f_from_slice(&batch.concat())?.f_view([batch.len() as i64, -1])?;
            let output = tch::no_grad(|| self.net.forward(&self.mel.windows(&rows)?))?;
            let logits = values(&output.logits)?;
            windows.extend(batch.iter().zip(logits).map(|(pcm, logit)| TrackWindow {
                logit,
                rms_db: 20.0 * rms(pcm).log10(),
            }));
        }
        Ok(windows)
    }
}
