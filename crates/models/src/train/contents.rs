//! The files of a bundle that is made, its known results, and its folder.
//!
//! Called by `calibrate` once everything is decided, and by `evaluate-grid` for a card that is to tell of the grid. Nothing is judged here.

use std::path::{Path, PathBuf};

use bundle::{
    Bundle, CanaryScore, Clip, Contents, Manifest as BundleManifest, SecretKey, Tensors, WindowSpec,
};
use corpus::dice::derive;
use types::Digest;

use super::calibrate::{CalibrateError, Judgement, Making};
use super::card;
use super::decoder::{Decoder, TRAINED};
use super::grid::Grid;
use super::positives;
use super::second;
use crate::canary::{CanaryError, known_scores};

/// Weights, canary clip, card, table and recipe in the bundle's folder.
pub(super) const WEIGHTS: &str = "screen.safetensors";
pub(super) const CLIP: &str = "canary.pcm";
pub(super) const CARD: &str = "model-card.md";
const TABLE: &str = "evaluation.json";
const RECIPE: &str = "recipe.json";
/// The second engine's table, its separator's recipe.
const ENGINES: &str = "engines.json";
const SEPARATOR_RECIPE: &str = "separator-recipe.json";
/// How well the separator takes held-out pieces apart.
const SEPARATOR_QUALITY: &str = "separator-quality.json";
/// The grid of conditions.
const GRID: &str = "grid.json";

/// Error ratio of the canary's second half in decibels.
const CANARY_SNR_DB: f32 = 12.0;

pub(super) fn contents(
    making: &Making<'_>,
    bundle: &mut BundleManifest,
    judgement: &Judgement,
) -> Result<Contents, CalibrateError> {
    let clip = canary_clip(making)?;
    bundle.canary.scores = canary_scores(bundle, making.weights, &clip)?;
    let mut files = vec![
        (WEIGHTS, making.weights.to_bytes()),
        (CLIP, Clip::bytes_of(&clip.0)),
        (CARD, card::card(making, bundle, judgement).into_bytes()),
        (TABLE, pretty(&judgement.report)),
        (RECIPE, making.recipe.to_json().into_bytes()),
    ];
    if let (Some(separator), Some(residual)) = (&making.separator, &mut bundle.residual) {
        residual.canary = Some(second::canary(residual, separator.weights, &clip)?);
        files.extend([
            (second::WEIGHTS, separator.weights.to_bytes()),
            (ENGINES, pretty(&judgement.engines)),
            (SEPARATOR_RECIPE, separator.recipe.to_json().into_bytes()),
        ]);
        let quality = judgement.quality.iter();
        files.extend(quality.map(|quality| (SEPARATOR_QUALITY, pretty(quality))));
        files.extend(judgement.grid.iter().map(|grid| (GRID, pretty(grid))));
    }
    Ok(files
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect())
}

/// Puts the grid beside and into the card of a bundle, which becomes its next version and replaces it; all else stays as it was measured.
pub(super) fn add_grid(
    bundle: &Bundle,
    grid: &Grid,
    key: &SecretKey,
) -> Result<Digest, CalibrateError> {
    let mut contents = Contents::new();
    for entry in &bundle.manifest.files {
        let path = bundle.dir.join(&entry.name);
        let read = std::fs::read(&path);
        let bytes = read.map_err(|source| CalibrateError::Replace {
            path: path.display().to_string(),
            source,
        })?;
        contents.insert(entry.name.clone(), bytes);
    }
    let mut next = bundle.manifest.clone();
    next.version += 1;
    let old = contents
        .get(&next.model_card)
        .map(|bytes| String::from_utf8_lossy(bytes));
    let card = card::with_grid(&old.unwrap_or_default(), &next, grid);
    contents.insert(next.model_card.clone(), card.into_bytes());
    contents.insert(GRID.to_owned(), pretty(grid));
    replace(&bundle.dir, next, &contents, key)
}

/// A table as JSON for people.
pub(super) fn pretty(table: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(table).expect("a table has no map keys that JSON cannot hold")
}

/// Two windows of sound: a piece, then its positive. Rounded to 16 bits, as the bundle keeps it.
fn canary_clip(making: &Making<'_>) -> Result<Clip, CalibrateError> {
    let spec = WindowSpec {
        rate_hz: making.recipe.preprocessing.rate_hz,
        n_fft: making.recipe.preprocessing.n_fft,
        hop: making.recipe.preprocessing.hop,
        frames: making.recipe.windows.frames,
        stride: making.recipe.windows.stride,
    };
    let half = spec.frames as usize * spec.hop as usize;
    let piece = corpus::piece::compose(
        derive(making.recipe.fitting.seed, "canary"),
        half as f32 / corpus::RATE_HZ as f32 + 0.1,
    )
    .audio;
    let pair = positives::pair(
        &piece,
        &Decoder::open(TRAINED[0], making.decoders)?,
        CANARY_SNR_DB,
    );
    let mono = |audio: &corpus::Stereo| -> Vec<f32> {
        audio
            .left
            .iter()
            .zip(&audio.right)
            .take(half)
            .map(|(l, r)| 0.5 * (l + r))
            .collect()
    };
    let samples = [mono(&pair.human), mono(&pair.positive)].concat();
    let clip = Clip::parse(&Clip::bytes_of(&samples)).expect("the clip is whole samples");
    Ok(clip)
}

fn canary_scores(
    bundle: &BundleManifest,
    weights: &Tensors,
    clip: &Clip,
) -> Result<Vec<CanaryScore>, CanaryError> {
    known_scores(&bundle.screen, weights, clip)
}

/// Writes the bundle beside `out` and puts it in its place, so that no file of an older one stays.
pub(super) fn replace(
    out: &Path,
    bundle: BundleManifest,
    contents: &Contents,
    key: &SecretKey,
) -> Result<Digest, CalibrateError> {
    let fresh = beside(out, "new");
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |source| CalibrateError::Replace { path, source }
    };
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(at(&fresh))?;
    }
    let digest = bundle::write(&fresh, bundle, contents, key)?;
    if out.exists() {
        std::fs::remove_dir_all(out).map_err(at(out))?;
    }
    std::fs::rename(&fresh, out).map_err(at(out))?;
    Ok(digest)
}

fn beside(out: &Path, ending: &str) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!(".{name}.{ending}"))
}
