//! A signed bundle with a real residual: the sample's screen, and the small separator that the package itself published for
//! `crates/checkpoint`.

use bundle::{
    Epsilon, FORMAT_RESIDUAL, Manifest, Overlap, Residual, ResidualCanary, Segments, Separator,
    Tensors, sample,
};
use models::htdemucs::Checkpoint;
use models::residual::known_features;
use std::path::Path;
use types::Digest;

pub(crate) const CHECKPOINT: &[u8] =
    include_bytes!("../../../../crates/checkpoint/golden/newer/7e57da7a.safetensors");
pub(crate) const WEIGHTS: &str = "separator.safetensors";

fn epsilon(f32: f64) -> Epsilon {
    Epsilon {
        f32,
        tf32: None,
        bf16: None,
        f16: None,
    }
}

pub(crate) fn section(checkpoint: &Checkpoint) -> Residual {
    let mut residual = Residual {
        architecture: Separator::HtDemucs(checkpoint.config.clone()),
        weights: WEIGHTS.to_owned(),
        origin: None,
        epsilon: epsilon(1e-4),
        segments: Segments::All,
        overlap: Overlap::default(),
        canary: None,
        calibration: None,
    };
    let clip = bundle::Clip::parse(&sample::contents()["canary.s16"]).unwrap();
    let features = known_features(&residual, &checkpoint.tensors, &clip).unwrap();
    residual.canary = Some(ResidualCanary {
        features: features.unwrap(),
        epsilon: epsilon(1e-3),
    });
    residual
}

/// A signed bundle in `dir` whose section and weights may have been changed.
pub(crate) fn make_bundle(dir: &Path, change: impl FnOnce(&mut Residual, &mut Tensors)) -> Digest {
    let mut checkpoint = Checkpoint::parse(CHECKPOINT).unwrap();
    let mut residual = section(&checkpoint);
    change(&mut residual, &mut checkpoint.tensors);
    let manifest = Manifest {
        format: FORMAT_RESIDUAL,
        residual: Some(residual),
        ..sample::manifest()
    };
    let mut contents = sample::contents();
    contents.insert(WEIGHTS.to_owned(), checkpoint.tensors.to_bytes());
    bundle::write(dir, manifest, &contents, &sample::key()).unwrap()
}
