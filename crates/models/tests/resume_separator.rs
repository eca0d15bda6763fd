//! The separator's training: some steps lower the loss, and a run that was stopped, started again, ends in the same weights, bit by bit in
//! one thread. In a process of its own: libtorch has one random generator per process, and tests beside this one would draw from it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use std::path::Path;

use bundle::separator::Config;
use corpus::stems::STEMS;
use models::train::separator::{SeparatorRecipe, Sources, Trained, judge, train_while};

/// A network and pieces so small that a step takes milliseconds.
fn small(rounds: u32) -> SeparatorRecipe {
    let mut recipe = SeparatorRecipe::default();
    recipe.architecture = Config {
        segment: 8_192,
        nfft: 512,
        depth: 2,
        channels: 8,
        bottom_channels: Some(16),
        ..recipe.architecture
    };
    recipe.fitting.pieces = 2;
    recipe.fitting.seconds = 1.0;
    recipe.fitting.rounds = rounds;
    recipe.fitting.steps_per_round = 15;
    recipe.fitting.batch = 2;
    recipe.fitting.average = 0.9;
    recipe.fitting.gives_back = false;
    (recipe.fitting.error, recipe.fitting.labelled) = (0.0, 0.0);
    recipe
}

/// No decoder is heard, and no labelled piece.
fn sources(cache: &Path) -> Sources<'_> {
    Sources {
        cache,
        decoders: Path::new("/"),
        labelled: None,
    }
}

/// Removes checkpoints and leaves the stems.
fn forget_rounds(cache: &Path) {
    for entry in std::fs::read_dir(cache).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
}

fn train(recipe: &SeparatorRecipe, cache: &Path, rounds: u32) -> Trained {
    train_while(recipe, sources(cache), |done| done < rounds).unwrap()
}

#[test]
fn steps_lower_the_loss_and_a_stopped_run_ends_in_the_weights_of_one_that_was_not() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let (cache, recipe) = (folder.path(), small(6));
    let first = train(&recipe, cache, 1);
    let whole = train(&recipe, cache, 6);
    let (before, after) = (first.loss.unwrap(), whole.loss.unwrap());
    assert!(after < 0.9 * before, "{before} became {after}");
    assert_ne!(first.weights, whole.weights);
    assert_eq!(whole.rounds, 6);
    let [one, all] = [&first, &whole].map(|run| run.seconds.unwrap());
    assert!(one > 0.0 && all > one, "both runs count: {one}, {all}");

    forget_rounds(cache);
    assert_eq!(train(&recipe, cache, 6).weights, whole.weights);
    let done = train(&recipe, cache, 6);
    assert_eq!((done.rounds, done.loss), (6, None), "nothing is left to do");
    assert!(done.seconds.unwrap() > 0.0, "and nothing was forgotten");
    assert_eq!(done.weights, whole.weights);

    let quality = judge(&recipe, &whole.weights, sources(cache)).unwrap();
    assert!(quality.sum_db.is_finite(), "{quality}");
    let named: Vec<&str> = quality.stems.iter().map(|stem| &stem.name[..]).collect();
    assert_eq!(named, STEMS);
    assert_eq!(quality.under_errors, None, "no decoder was heard");
    assert_eq!(
        quality,
        judge(&recipe, &whole.weights, sources(cache)).unwrap()
    );
}
