//! The engine on a random network: every tensor and every part of the preprocessing counts, batches do not, and what does
//! not fit is refused.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use bundle::separator::Shapes;
use bundle::{
    Architecture, Bundle, Contents, Embedding, Manifest, Pooling, TensorData, Tensors, Trust,
    sample,
};
use engine::{Engine, EngineError, Load, WindowScore};
use models::TorchEngine;
use models::screen::{Folded, Mode, ScreenNet};
use models::train::calibrate::draft;
use models::train::recipe::Recipe;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use types::{DeviceKind, Digest, Dtype, Purpose};

const WEIGHTS: &str = "screen.safetensors";

/// What a test changes of a manifest.
type Change = fn(&mut Manifest);

fn architecture(manifest: &Manifest) -> bundle::CnnV1 {
    let Architecture::CnnV1(cnn) = &manifest.screen.architecture;
    cnn.clone()
}

/// Random weights with running statistics that are not those of a fresh network.
fn weights(manifest: &Manifest) -> Tensors {
    tch::manual_seed(7);
    let store = VarStore::new(Device::Cpu);
    ScreenNet::new(&store.root(), &architecture(manifest)).unwrap();
    let mut tensors = models::params::save(&store).unwrap();
    for (at, value) in tensors
        .0
        .iter_mut()
        .flat_map(|t| t.values.iter_mut())
        .enumerate()
    {
        *value += 0.05 + 0.1 * (at as f32).sin().abs();
    }
    tensors
}

fn signed(dir: &Path, manifest: &Manifest, weights: &Tensors) -> Digest {
    let mut contents: Contents = sample::contents();
    contents.insert(WEIGHTS.to_owned(), weights.to_bytes());
    bundle::write(dir, manifest.clone(), &contents, &sample::key()).unwrap()
}

fn wanted(dir: &Path, bundle: Digest) -> Load {
    Load {
        bundle_dir: dir.display().to_string(),
        bundle,
        device: DeviceKind::Cpu,
        index: 0,
        dtype: None,
        slots: 1,
        max_batch: None,
    }
}

fn loaded(manifest: &Manifest, weights: &Tensors) -> Result<TorchEngine, EngineError> {
    let dir = tempfile::tempdir().unwrap();
    let digest = signed(dir.path(), manifest, weights);
    TorchEngine::load(&wanted(dir.path(), digest), None)
}

fn engine() -> TorchEngine {
    let manifest = sample::manifest();
    loaded(&manifest, &weights(&manifest)).unwrap()
}

/// Windows that differ: tones of rising pitch over a little noise.
fn pcm(engine: &TorchEngine, windows: usize) -> Vec<f32> {
    let samples = engine.info().window.samples();
    let tone = |at: usize| {
        let (window, n) = (at / samples, at % samples);
        let noise = ((at as u32).wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0 - 0.5;
        0.3 * (n as f32 * 0.02 * (window + 1) as f32).sin() + 0.02 * noise
    };
    (0..windows * samples).map(tone).collect()
}

fn screened(engine: &mut TorchEngine, pcm: &[f32], batch: usize) -> Vec<WindowScore> {
    let size = engine.info().window.samples() * batch;
    pcm.chunks(size)
        .flat_map(|part| engine.screen(part, part.len() / (size / batch)).unwrap())
        .collect()
}

#[test]
fn scores_do_not_depend_on_the_batch_or_the_neighbours() {
    let mut engine = engine();
    let pcm = pcm(&engine, 12);
    let epsilon = 1e-4;
    let alone = screened(&mut engine, &pcm, 1);
    let mut backwards: Vec<f32> = Vec::new();
    pcm.chunks(engine.info().window.samples())
        .rev()
        .for_each(|window| backwards.extend_from_slice(window));
    let mut turned = screened(&mut engine, &backwards, 12);
    turned.reverse();
    for scores in [
        screened(&mut engine, &pcm, 5),
        screened(&mut engine, &pcm, 12),
        turned,
    ] {
        for (alone, beside) in alone.iter().zip(&scores) {
            assert!(
                (alone.logit - beside.logit).abs() <= epsilon,
                "{} and {}",
                alone.logit,
                beside.logit
            );
            let pairs = alone.features.iter().zip(&beside.features);
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-3));
            let steps = alone
                .picture
                .iter()
                .zip(&beside.picture)
                .map(|(a, b)| a.abs_diff(*b))
                .max();
            assert!(steps <= Some(1), "a picture moves by rounding at most");
        }
    }
    let spread = alone
        .iter()
        .map(|score| score.logit)
        .fold(0.0, |most: f32, l| most.max((l - alone[0].logit).abs()));
    assert!(
        spread > 100.0 * epsilon,
        "the windows must be told apart for this to mean anything: {spread}"
    );
}

#[test]
fn the_same_batch_gives_the_same_bits() {
    let mut engine = engine();
    let pcm = pcm(&engine, 4);
    assert_eq!(
        screened(&mut engine, &pcm, 4),
        screened(&mut engine, &pcm, 4)
    );
}

#[test]
fn every_tensor_moves_the_score() {
    let manifest = sample::manifest();
    let weights = weights(&manifest);
    let mut engine = loaded(&manifest, &weights).unwrap();
    let pcm = pcm(&engine, 2);
    let before = screened(&mut engine, &pcm, 2);
    for at in 0..weights.0.len() {
        let mut changed = weights.clone();
        changed.0[at]
            .values
            .iter_mut()
            .for_each(|value| *value = *value * 1.3 + 0.01);
        let after = screened(&mut loaded(&manifest, &changed).unwrap(), &pcm, 2);
        let moved = before
            .iter()
            .zip(&after)
            .any(|(a, b)| (a.logit - b.logit).abs() > 1e-3);
        assert!(moved, "`{}` moves nothing", weights.0[at].name);
    }
}

#[test]
fn every_value_of_the_preprocessing_moves_the_score() {
    let manifest = sample::manifest();
    let weights = weights(&manifest);
    let mut engine = loaded(&manifest, &weights).unwrap();
    let pcm = pcm(&engine, 1);
    let before = screened(&mut engine, &pcm, 1)[0].logit;
    let changes: [(&str, Change); 7] = [
        ("rate_hz", |m| m.screen.preprocessing.rate_hz = 16_100),
        ("low_hz", |m| m.screen.preprocessing.low_hz = 300.0),
        ("high_hz", |m| m.screen.preprocessing.high_hz = 6_000.0),
        ("floor", |m| m.screen.preprocessing.floor = 1e-2),
        ("shift", |m| m.screen.preprocessing.shift = -3.0),
        ("gain", |m| m.screen.preprocessing.gain = 0.3),
        ("norm", |m| {
            m.screen.preprocessing.norm = bundle::MelNorm::WindowMean
        }),
    ];
    for (name, change) in changes {
        let mut changed = sample::manifest();
        change(&mut changed);
        let after = screened(&mut loaded(&changed, &weights).unwrap(), &pcm, 1)[0].logit;
        assert!(
            (before - after).abs() > 1e-3,
            "`{name}` moves nothing: {before} and {after}"
        );
    }
}

#[test]
fn serving_is_the_trained_network_in_inference() {
    let manifest = sample::manifest();
    let (_store, net) =
        models::screen::load(&architecture(&manifest), &weights(&manifest), Device::Cpu).unwrap();
    let folded = Folded::new(&net, Kind::Float).unwrap();
    let mel = Tensor::rand([5, 16, 32], (Kind::Float, Device::Cpu));
    let trained = net.forward(&mel, Mode::Infer).unwrap();
    let served = folded.forward(&mel).unwrap();
    let difference = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    assert!(difference(&trained.logits, &served.logits) < 1e-4);
    assert!(difference(&trained.pooled, &served.pooled) < 1e-4);
}

#[test]
fn in_bfloat16_the_network_says_nearly_the_same() {
    let manifest = sample::manifest();
    let (_store, net) =
        models::screen::load(&architecture(&manifest), &weights(&manifest), Device::Cpu).unwrap();
    let mel = Tensor::rand([5, 16, 32], (Kind::Float, Device::Cpu));
    let logits = |kind| {
        Folded::new(&net, kind)
            .unwrap()
            .forward(&mel)
            .unwrap()
            .logits
    };
    let (single, half) = (logits(Kind::Float), logits(Kind::BFloat16));
    assert_eq!(half.kind(), Kind::Float);
    let relative = ((&single - &half) / &single).abs().max().double_value(&[]);
    assert!(relative > 0.0 && relative < 0.05, "off by {relative}");
}

#[test]
fn a_screen_has_the_tensors_that_its_description_lists() {
    let check = |channels: &[u32], pooling: Pooling| {
        let mut manifest = sample::manifest();
        let Architecture::CnnV1(cnn) = &mut manifest.screen.architecture;
        (cnn.channels, cnn.pooling) = (channels.to_vec(), pooling);
        let listed = cnn.shapes();
        let tensors = weights(&manifest).0.into_iter();
        let made: Shapes = tensors.map(|tensor| (tensor.name, tensor.shape)).collect();
        assert_eq!(made, listed, "{channels:?} {pooling:?}");
    };
    check(&[2, 3], Pooling::MeanMax);
    check(&[2, 3], Pooling::Mean);
    check(&[5], Pooling::MeanMax);
    check(&[4, 2, 7], Pooling::Mean);
}

#[test]
fn weights_that_do_not_fit_exactly_are_refused() {
    let manifest = sample::manifest();
    let check = |spoil: fn(&mut Tensors), words: &str| {
        let mut spoiled = weights(&manifest);
        spoil(&mut spoiled);
        let Err(EngineError::Bundle { detail, .. }) = loaded(&manifest, &spoiled) else {
            panic!("{words}: was loaded")
        };
        assert!(detail.contains(words), "{detail}");
    };
    let extra = || TensorData {
        name: "z.weight".into(),
        shape: vec![1],
        values: vec![0.0],
    };
    check(|t| drop(t.0.pop()), "have no tensor");
    check(
        |t| t.0[0].name = "blocks.0.conv.other".into(),
        "does not know",
    );
    check(|t| t.0[0].shape.swap(0, 1), "has shape [1, 2, 3, 3]");
    let mut more = weights(&manifest);
    more.0.push(extra());
    assert!(matches!(
        loaded(&manifest, &more),
        Err(EngineError::Bundle { .. })
    ));
}

#[test]
fn an_engine_refuses_what_its_bundle_or_device_does_not_allow() {
    let dir = tempfile::tempdir().unwrap();
    let digest = signed(
        dir.path(),
        &sample::manifest(),
        &weights(&sample::manifest()),
    );
    let load = |change: &dyn Fn(&mut Load)| {
        let mut load = wanted(dir.path(), digest);
        change(&mut load);
        TorchEngine::load(&load, None).map(|_| ())
    };
    assert!(load(&|_| ()).is_ok());
    assert!(matches!(
        load(&|l| l.bundle = Digest::of(b"other")),
        Err(EngineError::Bundle { .. })
    ));
    assert!(matches!(
        load(&|l| l.bundle_dir = "/nowhere".into()),
        Err(EngineError::Bundle { .. })
    ));
    assert!(matches!(
        load(&|l| l.index = 7),
        Err(EngineError::Device { .. })
    ));
    assert!(matches!(
        load(&|l| l.dtype = Some(Dtype::F16)),
        Err(EngineError::Device { .. })
    ));
    assert!(matches!(
        TorchEngine::load(&wanted(dir.path(), digest), None)
            .unwrap()
            .screen(&[0.0; 3], 1),
        Err(EngineError::Device { .. })
    ));
}

#[test]
fn what_a_window_gives_has_the_bundle_s_shape() {
    let mut manifest = sample::manifest();
    manifest.screen.embedding = Some(Embedding { values: 6 });
    let mut engine = loaded(&manifest, &weights(&manifest)).unwrap();
    let pcm = pcm(&engine, 3);
    for score in screened(&mut engine, &pcm, 3) {
        assert_eq!(score.picture.len(), 8 * 4);
        assert_eq!(score.features.len(), 2);
        assert_eq!(score.embedding.map(|e| e.len()), Some(6));
    }
    assert_eq!(engine.info().picture_rows, 8);
    assert_eq!(engine.info().max_batch, 4);
}

#[test]
fn a_recipe_that_asks_for_embeddings_gives_a_bundle_whose_tracks_have_them_as_wide_as_it_states() {
    let mut manifest = sample::manifest();
    let screen = manifest.screen.clone();
    for (asked, expected) in [(false, None), (true, Some(6))] {
        let recipe = Recipe {
            architecture: screen.architecture.clone(),
            preprocessing: screen.preprocessing.clone(),
            windows: screen.windows.clone(),
            features: screen.features.clone(),
            embedding: asked,
            ..Recipe::default()
        };
        manifest.screen = draft(&recipe, Purpose::Demonstration).screen;
        let stated = manifest.screen.embedding.as_ref();
        assert_eq!(stated.map(|embedding| embedding.values), expected);
        let mut engine = loaded(&manifest, &weights(&manifest)).unwrap();
        let pcm = pcm(&engine, 2);
        for score in screened(&mut engine, &pcm, 2) {
            let width = score.embedding.map(|values| values.len());
            assert_eq!(width, expected.map(|values| values as usize));
        }
    }
}

#[test]
fn digital_silence_and_full_scale_have_finite_scores() {
    let mut engine = engine();
    let samples = engine.info().window.samples();
    for value in [0.0, 1.0, -1.0, 1e-38, 1e6] {
        let score = &screened(&mut engine, &vec![value; samples], 1)[0];
        assert!(
            score.logit.is_finite() && score.features.iter().all(|f| f.is_finite()),
            "{value}: {score:?}"
        );
    }
}

#[test]
fn a_bundle_made_with_its_known_scores_passes_its_own_canary() {
    let mut manifest = sample::manifest();
    let weights = weights(&manifest);
    let clip = bundle::Clip::parse(&sample::contents()["canary.s16"]).unwrap();
    manifest.canary.scores =
        models::canary::known_scores(&manifest.screen, &weights, &clip).unwrap();
    assert!(
        manifest
            .canary
            .scores
            .iter()
            .any(|score| score.logit != 0.0)
    );
    let dir = tempfile::tempdir().unwrap();
    let digest = signed(dir.path(), &manifest, &weights);
    let mut engine = TorchEngine::load(&wanted(dir.path(), digest), None).unwrap();
    let opened = Bundle::open(dir.path(), &Trust::new([sample::key().public()])).unwrap();
    let windows = opened.canary_windows();
    let found = engine.screen(&windows.concat(), windows.len()).unwrap();
    let canary = engine.canary().clone();
    assert_eq!(found.len(), canary.logits.len());
    for (found, known) in found.iter().zip(&canary.logits) {
        assert!(
            (found.logit - known).abs() <= canary.epsilon,
            "{} is not {known}",
            found.logit
        );
    }
}
