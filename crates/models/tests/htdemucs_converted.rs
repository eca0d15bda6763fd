//! A network whose weights came through the reader of published files separates as the package does with the same file. The
//! files, the mix and the stems are those of `crates/checkpoint/golden`, with the tolerance and its reason of
//! `golden/htdemucs.py`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use bundle::Tensors;
use checkpoint::Stated;
use models::htdemucs::{self, Checkpoint};
use tch::{Device, Kind, Tensor};

/// Largest difference over largest reference value.
const TOLERANCE: f64 = 1e-4;

const NEWER: &[u8] = include_bytes!("../../checkpoint/golden/newer/7e57da7a.safetensors");
const OLDER: &[u8] = include_bytes!("../../checkpoint/golden/older/7e57da7a-544ae575.th");
const STEMS: &[u8] = include_bytes!("../../checkpoint/golden/stems.safetensors");

fn converted(file: &[u8]) -> Checkpoint {
    let mut bytes = Vec::new();
    Stated::read(file).unwrap().write(&mut bytes).unwrap();
    Checkpoint::parse(&bytes).unwrap()
}

fn golden(name: &str) -> Tensor {
    let all = Tensors::parse(STEMS).unwrap();
    let data = all.get(name).unwrap();
    let shape: Vec<i64> = data.shape.iter().map(|size| *size as i64).collect();
    Tensor::from_slice(&data.values).view(shape.as_slice())
}

#[test]
fn both_kinds_of_files_are_the_same_network() {
    let (newer, older) = (converted(NEWER), converted(OLDER));
    assert_eq!(newer.config, older.config);
    assert_eq!(newer.tensors, older.tensors);
    assert_eq!(newer.config.segment, 441);
    assert_eq!(newer.config.sources, ["drums", "bass", "other", "vocals"]);
    // The package's own reader and ours agree on a file that needs no conversion.
    assert_eq!(Checkpoint::parse(NEWER).unwrap().tensors, newer.tensors);
}

#[test]
fn stems_of_a_converted_network_are_the_package_s() {
    let (mix, stems) = (golden("mix"), golden("stems"));
    for (name, file) in [("safetensors", NEWER), ("torch archive", OLDER)] {
        let checkpoint = converted(file);
        let (device, kind) = (Device::Cpu, Kind::Float);
        let (_store, net) =
            htdemucs::load(&checkpoint.config, &checkpoint.tensors, device, kind).unwrap();
        let ours = tch::no_grad(|| net.forward(&mix.unsqueeze(0)).unwrap()).squeeze_dim(0);
        assert_eq!(ours.size(), stems.size());
        let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
        let found = largest(&(&ours - &stems)) / largest(&stems);
        println!("converted, {name}: {found:.1e}");
        assert!(found <= TOLERANCE, "{name}: {found:e}");
    }
}
