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

/// `calibrate` of the demonstration's screen on a manifest, into `bundle` beside it, which is a production bundle where it is so called.
fn calibrate(manifest: &Path, production: bool) -> (Option<i32>, String) {
    let folder = manifest.parent().unwrap();
    let (out, public_key) = (folder.join("bundle"), folder.join("key.pub"));
    let (weights, decoders) = (
        repository("bundles/demo/screen.safetensors"),
        repository("bundles/decoders"),
    );
    let mut arguments: Vec<&Path> = vec![
        "calibrate".as_ref(),
        "--manifest".as_ref(),
        manifest,
        "--weights".as_ref(),
        weights.as_path(),
        "--decoders".as_ref(),
        decoders.as_path(),
        "--out".as_ref(),
        out.as_path(),
        "--public-key".as_ref(),
        public_key.as_path(),
    ];
    if production {
        arguments.push("--production".as_ref());
    }
    let (code, _, words) = run(&arguments);
    (code, words)
}

/// The rows of a manifest that `keep` keeps, in their order.
fn keep_rows(manifest: &Path, keep: impl Fn(&str) -> bool) {
    let labels = std::fs::read_to_string(manifest).unwrap();
    let (header, rows) = labels.split_once('\n').unwrap();
    let kept = rows.lines().filter(|row| keep(row));
    let lines: Vec<&str> = std::iter::once(header).chain(kept).collect();
    std::fs::write(manifest, lines.join("\n") + "\n").unwrap();
}

/// A manifest that `spoil` spoiled is refused with these words, and no bundle and no key is left.
fn refused(spoil: impl Fn(&Path), production: bool, expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = labelled(folder.path(), 0);
    spoil(&manifest);
    let (code, words) = calibrate(&manifest, production);
    assert_eq!(code, Some(1), "{words}");
    for part in expected {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!folder.path().join("bundle").exists(), "{words}");
    assert!(!folder.path().join("key.pub").exists(), "{words}");
}

#[test]
fn the_same_bytes_in_two_splits_are_refused_with_both_rows() {
    let spoil = |manifest: &Path| {
        let folder = manifest.parent().unwrap();
        std::fs::copy(folder.join("0.wav"), folder.join("8.wav")).unwrap();
    };
    let rows = [
        "LABELS_LEAK: ",
        "row 1 (`0.wav`, train)",
        "row 9 (`8.wav`, test)",
    ];
    for production in [false, true] {
        refused(spoil, production, &rows);
    }
}

#[test]
fn one_file_in_two_splits_is_refused_under_whatever_piece() {
    let spoil = |manifest: &Path| {
        let labels = std::fs::read_to_string(manifest).unwrap();
        std::fs::write(manifest, labels.replace("\n8.wav", "\n./0.wav")).unwrap();
    };
    let rows = [
        "LABELS_LEAK: ",
        "row 1 (`0.wav`, train)",
        "row 9 (`./0.wav`, test)",
    ];
    refused(spoil, true, &rows);
}

#[test]
fn a_missing_file_is_named_with_its_row() {
    let spoil = |manifest: &Path| {
        std::fs::remove_file(manifest.with_file_name("5.wav")).unwrap();
    };
    let expected = ["LABELS_UNMATCHED: ", "row 6 (`5.wav`, calibrate)"];
    refused(spoil, false, &expected);
}

#[test]
fn labels_of_one_class_calibrate_nothing() {
    let spoil = |manifest: &Path| keep_rows(manifest, |row| row.contains("human"));
    let expected = ["LABELS_ONE_CLASS: ", "Calibrate split has no Ai track"];
    refused(spoil, false, &expected);
}

#[test]
fn a_split_without_tracks_is_too_few_and_not_one_class() {
    let spoil = |manifest: &Path| keep_rows(manifest, |row| !row.ends_with("calibrate"));
    let expected = ["LABELS_TOO_FEW: ", "Calibrate split has no track"];
    refused(spoil, false, &expected);
}

#[test]
fn ten_rows_calibrate_nothing_and_the_refusal_says_how_many_are_needed() {
    let spoil = |manifest: &Path| {
        keep_rows(manifest, |row| {
            !row.starts_with("2.wav") && !row.starts_with("3.wav")
        });
        let labels = std::fs::read_to_string(manifest).unwrap();
        assert_eq!(labels.lines().count(), 1 + 10);
    };
    let expected = [
        "LABELS_TOO_FEW: ",
        "Calibrate split has 2 human tracks",
        "100",
    ];
    refused(spoil, false, &expected);
}

#[test]
fn a_bundle_whose_guards_fail_is_refused_and_what_stood_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = labelled(folder.path(), HUMANS_TO_CALIBRATE);
    let (out, public_key) = (folder.path().join("bundle"), folder.path().join("key.pub"));
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("manifest.json"), "an earlier bundle").unwrap();
    let (code, words) = calibrate(&manifest, false);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("guard level"), "the table says why: {words}");
    let stands: Vec<_> = std::fs::read_dir(&out).unwrap().collect();
    assert_eq!(stands.len(), 1, "{stands:?}");
    let earlier = std::fs::read_to_string(out.join("manifest.json")).unwrap();
    assert_eq!(earlier, "an earlier bundle");
    assert!(!public_key.exists(), "no key of a bundle that is none");
}
