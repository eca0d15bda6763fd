//! Training that was stopped, started again, ends in the same weights. In a process of its own: libtorch has one random generator per process,
//! and tests beside this one would draw from it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use std::path::Path;

use bundle::{Architecture, CnnV1, Pooling, Windows};
use corpus::Stereo;
use corpus::dice::Dice;
use corpus::manifest::{Manifest, Split};
use models::train::fitting::{train, train_for};
use models::train::recipe::Recipe;

/// Eight pieces, half a second each: tones as human tracks, noise as positives.
fn labelled(folder: &Path) -> Manifest {
    let mut csv = "path,label,piece,split\n".to_owned();
    for piece in 0..8_u16 {
        let mut noise = Dice::new(piece.into()).noise();
        let step = 0.02 * f32::from(piece + 2);
        let tone = (0..22_050_u16)
            .map(|i| 0.3 * (f32::from(i) * step).sin())
            .collect();
        let hiss = (0..22_050).map(|_| 0.3 * noise.sample()).collect();
        write(&folder.join(format!("{piece}-human.wav")), tone);
        write(&folder.join(format!("{piece}-ai.wav")), hiss);
        csv += &format!("{piece}-human.wav,human,{piece},train\n{piece}-ai.wav,ai,{piece},train\n");
    }
    let path = folder.join("labels.csv");
    std::fs::write(&path, csv).unwrap();
    Manifest::read(&path).unwrap()
}

fn write(path: &Path, wave: Vec<f32>) {
    let audio = Stereo {
        left: wave.clone(),
        right: wave,
    };
    corpus::wav::write(path, &audio).unwrap();
}

fn small() -> Recipe {
    let mut recipe = Recipe::default();
    recipe.preprocessing.mels = 32;
    recipe.windows = Windows {
        frames: 32,
        stride: 32,
    };
    recipe.architecture = Architecture::CnnV1(CnnV1 {
        channels: vec![4, 4],
        pooling: Pooling::Mean,
        hidden: 8,
        dropout: 0.1,
    });
    recipe.fitting.epochs = 4;
    recipe.fitting.pieces_per_step = 4;
    recipe
}

/// Removes checkpoints and leaves the features: libtorch's products may differ in their last bit from one hearing of a track to the next.
fn forget_passes(cache: &Path) {
    for entry in std::fs::read_dir(cache).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_run_that_was_stopped_ends_in_the_weights_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, recipe, cache) = (
        labelled(folder.path()),
        small(),
        folder.path().join("cache"),
    );
    assert_eq!(manifest.of(Split::Train).count(), 16);
    let whole = train(&manifest, &recipe, &cache).unwrap();
    forget_passes(&cache);
    let half = train_for(&manifest, &recipe, &cache, 2).unwrap();
    assert_ne!(whole, half);
    assert_eq!(whole, train(&manifest, &recipe, &cache).unwrap());
}
