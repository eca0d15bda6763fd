//! The package's own files, of both kinds, give the same checkpoint; what they hold is what the package reads from them.
//! `golden/make.py` made them.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use checkpoint::{Bag, Format, Refusal, Stated};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

const NEWER: &[u8] = include_bytes!("../golden/newer/7e57da7a.safetensors");
const OLDER: &[u8] = include_bytes!("../golden/older/7e57da7a-544ae575.th");
const WHOLE: &str = include_str!("../golden/whole.json");
const BAG: &str = include_str!("../golden/newer/tiny.yaml");

fn written(file: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Stated::read(file).unwrap().write(&mut bytes).unwrap();
    bytes
}

/// SHA-256 of each tensor's values in a written file.
fn digests(file: &[u8]) -> BTreeMap<String, String> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let digest = |data: &[u8]| hex::encode(Sha256::digest(data));
    tensors
        .iter()
        .map(|(name, view)| (name.to_owned(), digest(view.data())))
        .collect()
}

#[test]
fn both_kinds_hold_bit_by_bit_what_the_package_reads_from_them() {
    let expected: BTreeMap<String, String> = serde_json::from_str(WHOLE).unwrap();
    assert_eq!(digests(&written(NEWER)), expected, "safetensors");
    assert_eq!(digests(&written(OLDER)), expected, "torch archive");
}

#[test]
fn both_kinds_state_the_same_class_and_arguments() {
    let (newer, older) = (Stated::read(NEWER).unwrap(), Stated::read(OLDER).unwrap());
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(older.class, "demucs.htdemucs.HTDemucs");
    assert_eq!(newer.class, older.class);
    assert_eq!(parsed(&newer.args), parsed(&older.args));
    assert_eq!(parsed(&newer.kwargs), parsed(&older.kwargs));
    let fraction = json!({"_type": "fraction", "numerator": 1, "denominator": 100});
    assert_eq!(parsed(&older.kwargs)["segment"], fraction);
}

#[test]
fn what_is_written_is_read_back_as_the_same_bytes() {
    let once = written(OLDER);
    assert_eq!(written(&once), once);
    assert_eq!(Format::of(&once), Ok(Format::Safetensors));
    assert_eq!(Format::of(OLDER), Ok(Format::TorchArchive));
    let tensors = Stated::read(&once).unwrap();
    assert_eq!(tensors.tensors().count(), digests(&once).len());
}

#[test]
fn the_bag_names_the_file() {
    assert_eq!(Bag::parse(BAG).unwrap().model, "7e57da7a");
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    for (name, file) in [("newer", NEWER), ("older", OLDER)] {
        for length in (0..file.len()).step_by(97) {
            let read = Stated::read(&file[..length]);
            assert!(read.is_err(), "{name}: {length} of {} bytes", file.len());
        }
    }
    assert!(matches!(Stated::read(b""), Err(Refusal::Unknown(_))));
}

#[test]
fn a_changed_byte_of_an_archive_is_found_wherever_it_matters() {
    let good = digests(&written(OLDER));
    for at in (0..OLDER.len()).step_by(61) {
        let mut spoiled = OLDER.to_vec();
        spoiled[at] ^= 0x10;
        // Where the byte is one that nothing is read from, such as a date, the checkpoint is the same.
        if let Ok(stated) = Stated::read(&spoiled) {
            let mut bytes = Vec::new();
            stated.write(&mut bytes).unwrap();
            assert_eq!(digests(&bytes), good, "byte {at}");
        }
    }
}
