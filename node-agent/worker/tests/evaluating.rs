//! `trackscan-worker evaluate` and `calibrate` as processes: what they print, and when they end as failures.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

const RATE_HZ: u32 = 44_100;
/// Human tracks that a threshold of one in a hundred takes.
const HUMANS_TO_CALIBRATE: usize = 100;
/// For how many samples each value is held, in tracks of each class.
const HELD: [u32; 2] = [6, 1];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Two seconds of noise as a 16-bit mono WAV, each sample held for a while: what tells the classes apart here, to the screen and
/// to the guards alike.
fn wav(seed: u32, held: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 18) as i16 - 8_192).to_le_bytes()
    };
    let values = (0..2 * RATE_HZ / held).map(|_| noise());
    let samples: Vec<u8> = values
        .flat_map(|value| value.repeat(held as usize))
        .collect();
    let size = u32::try_from(samples.len()).unwrap();
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(RATE_HZ.to_le_bytes());
    file.extend((RATE_HZ * 2).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(size.to_le_bytes());
    file.extend(samples);
    file
}

/// Twelve short tracks and their labels: two of each class in each split, far too few to believe anything. And so many more human ones
/// to calibrate on.
fn labelled(folder: &Path, more: usize) -> PathBuf {
    let mut labels = "path,label,piece,split\n".to_owned();
    let twelve = (0..12).map(|number| (number, number % 2, number / 4));
    for (number, class, split) in twelve.chain((12..12 + more).map(|number| (number, 0, 1))) {
        let label = ["human", "ai"][class];
        let split = ["train", "calibrate", "test"][split];
        labels.push_str(&format!("{number}.wav,{label},piece-{number},{split}\n"));
        let file = folder.join(format!("{number}.wav"));
        std::fs::write(file, wav(u32::try_from(number).unwrap(), HELD[class])).unwrap();
    }
    let manifest = folder.join("labels.csv");
    std::fs::write(&manifest, labels).unwrap();
    manifest
}

/// Runs the worker; exit code, stdout, stderr.
fn run(arguments: &[&Path]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trackscan-worker"));
    let output = command.args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_table_whose_guards_fail_is_printed_and_ends_as_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = labelled(folder.path(), 0);
    let (code, table, words) = run(&[
        "evaluate".as_ref(),
        "--bundle".as_ref(),
        &repository("bundles/demo"),
        "--public-key".as_ref(),
        &repository("bundles/demo.pub"),
        "--manifest".as_ref(),
        &manifest,
    ]);
    assert!(table.contains("guard level"), "{table}{words}");
    assert!(words.contains("not to be believed"), "{words}");
    assert_eq!(code, Some(1), "{words}");
}

#[test]
fn a_bundle_whose_guards_fail_is_refused_and_what_stood_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = labelled(folder.path(), HUMANS_TO_CALIBRATE);
    let (out, public_key) = (folder.path().join("bundle"), folder.path().join("key.pub"));
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("manifest.json"), "an earlier bundle").unwrap();
    let (code, _, words) = run(&[
        "calibrate".as_ref(),
        "--manifest".as_ref(),
        &manifest,
        "--weights".as_ref(),
        &repository("bundles/demo/screen.safetensors"),
        "--decoders".as_ref(),
        &repository("bundles/decoders"),
        "--out".as_ref(),
        &out,
        "--public-key".as_ref(),
        &public_key,
    ]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("guard level"), "the table says why: {words}");
    let stands: Vec<_> = std::fs::read_dir(&out).unwrap().collect();
    assert_eq!(stands.len(), 1, "{stands:?}");
    let earlier = std::fs::read_to_string(out.join("manifest.json")).unwrap();
    assert_eq!(earlier, "an earlier bundle");
    assert!(!public_key.exists(), "no key of a bundle that is none");
}
