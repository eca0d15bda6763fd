//! `trackscan-worker evaluate` as a process: what it prints, and when it ends as a failure.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

const RATE_HZ: u32 = 44_100;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Two seconds of noise as a 16-bit mono WAV.
fn wav(seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 18) as i16 - 8_192).to_le_bytes()
    };
    let samples: Vec<u8> = (0..2 * RATE_HZ).flat_map(|_| noise()).collect();
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

#[test]
fn a_table_whose_guards_fail_is_printed_and_ends_as_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut labels = "path,label,piece,split\n".to_owned();
    for number in 0..8 {
        let (label, split) = (["human", "ai"][number % 2], ["train", "test"][number / 4]);
        labels.push_str(&format!("{number}.wav,{label},piece-{number},{split}\n"));
        let file = folder.path().join(format!("{number}.wav"));
        std::fs::write(file, wav(u32::try_from(number).unwrap())).unwrap();
    }
    let manifest = folder.path().join("labels.csv");
    std::fs::write(&manifest, labels).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_trackscan-worker"))
        .arg("evaluate")
        .arg("--bundle")
        .arg(repository("bundles/demo"))
        .arg("--public-key")
        .arg(repository("bundles/demo.pub"))
        .arg("--manifest")
        .arg(&manifest)
        .output()
        .unwrap();
    let (table, words) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(table.contains("guard level"), "{table}{words}");
    assert!(words.contains("not to be believed"), "{words}");
    assert_eq!(output.status.code(), Some(1), "{words}");
}
