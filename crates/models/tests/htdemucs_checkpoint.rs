//! Checkpoints as the package publishes them, made here from the golden networks: what is read, and what is refused.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use bundle::{Tensors, TensorsError};
use half::f16;
use models::htdemucs::{ArgumentError, Checkpoint, CheckpointError};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

const GOLDEN: &[u8] = include_bytes!("../golden/htdemucs.safetensors");
const CASE: &str = "variant";

fn golden_weights() -> Tensors {
    let prefix = format!("{CASE}.weights.");
    let mut all = Tensors::parse(GOLDEN).unwrap();
    all.0.retain(|tensor| tensor.name.starts_with(&prefix));
    for tensor in &mut all.0 {
        tensor.name = tensor.name[prefix.len()..].to_owned();
    }
    all
}

fn metadata() -> HashMap<String, String> {
    let (_, header) = SafeTensors::read_metadata(GOLDEN).unwrap();
    let arguments = header.metadata().as_ref().unwrap()[CASE].clone();
    [
        ("klass", "demucs.htdemucs.HTDemucs".to_owned()),
        ("args", "[]".to_owned()),
        ("kwargs", arguments),
    ]
    .map(|(key, text)| (key.to_owned(), text))
    .into()
}

/// A file in half precision, as the published ones are.
fn file(metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let weights = golden_weights();
    let data: Vec<Vec<u8>> = weights
        .0
        .iter()
        .map(|tensor| {
            let halves = tensor.values.iter().map(|value| f16::from_f32(*value));
            halves.flat_map(f16::to_le_bytes).collect()
        })
        .collect();
    let views = weights.0.iter().zip(&data).map(|(tensor, data)| {
        let view = TensorView::new(Dtype::F16, tensor.shape.clone(), data);
        (tensor.name.as_str(), view.unwrap())
    });
    safetensors::serialize(views, metadata).unwrap()
}

fn changed(key: &str, text: Option<&str>) -> Vec<u8> {
    let mut metadata = metadata();
    match text {
        Some(text) => drop(metadata.insert(key.to_owned(), text.to_owned())),
        None => drop(metadata.remove(key)),
    }
    file(Some(metadata))
}

#[test]
fn a_checkpoint_in_half_precision_is_a_network_in_single_precision() {
    let checkpoint = Checkpoint::parse(&file(Some(metadata()))).unwrap();
    assert_eq!(checkpoint.config.sources, ["voice", "rest"]);
    for (found, golden) in checkpoint.tensors.0.iter().zip(golden_weights().0) {
        assert_eq!(found.name, golden.name);
        for (found, golden) in found.values.iter().zip(golden.values) {
            assert_eq!(*found, f16::from_f32(golden).to_f32(), "{}", golden);
        }
    }
    let (device, kind) = (tch::Device::Cpu, tch::Kind::Float);
    models::htdemucs::load(&checkpoint.config, &checkpoint.tensors, device, kind).unwrap();
}

#[test]
fn files_that_are_no_checkpoint_of_this_class_are_refused_by_name() {
    use CheckpointError as E;
    let check = |case: &str, bytes: &[u8], expected: fn(&E) -> bool| {
        let refused = Checkpoint::parse(bytes).expect_err(case);
        assert!(expected(&refused), "{case}: {refused:?}");
    };
    let lacks = |key: &'static str| -> Box<dyn Fn(&E) -> bool> {
        Box::new(move |error| matches!(error, E::Metadata(found) if *found == key))
    };
    for key in ["klass", "args", "kwargs"] {
        let refused = Checkpoint::parse(&changed(key, None)).unwrap_err();
        assert!(lacks(key)(&refused), "without {key}: {refused:?}");
    }
    check("no metadata", &file(None), |e| {
        matches!(e, E::Metadata("klass"))
    });
    check(
        "another class",
        &changed("klass", Some("demucs.hdemucs.HDemucs")),
        |e| matches!(e, E::Class(name) if name == "demucs.hdemucs.HDemucs"),
    );
    check(
        "quantised",
        &changed("structure", Some("{\"_dict\": []}")),
        |e| matches!(e, E::Quantised),
    );
    check(
        "arguments of no form",
        &changed("kwargs", Some("[]")),
        |e| matches!(e, E::Metadata("kwargs")),
    );
    check("no arguments", &changed("kwargs", Some("{}")), |e| {
        matches!(e, E::Arguments(ArgumentError::Missing(_)))
    });
    check(
        "a zip, such as a pickle lies in",
        b"PK\x03\x04 and so on",
        |e| matches!(e, E::Tensors(TensorsError::HeaderTooLarge { .. })),
    );
    let mut short = file(Some(metadata()));
    short.pop();
    check("cut off", &short, |e| {
        matches!(e, E::Tensors(TensorsError::Offsets { .. }))
    });
}
