//! Bad input: hostile files of every family, straight through the decoder and in one catalogue with good tracks between
//! them; keys that no snapshot may hold; bundles that nobody may register. Each ends as [`expected`] says, within its time
//! and memory, and `docs/reference/bad-input.md` says the same.
//!
//! `make bad-input` runs it and prints the table `family | case | outcome | seconds | peak MiB`. Seconds are processor time
//! of the decoder, so that a busy machine changes nothing.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

mod bundles;
mod catalogue;
mod document;
mod expected;
mod keys;
mod second_pass;
mod straight;
mod unguarded;

use corpus::hostile::{self, Hostile, Sound};
use std::sync::OnceLock;

/// Every hostile file, made once.
fn corpus() -> &'static [Hostile] {
    static FILES: OnceLock<Vec<Hostile>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        hostile::all(&Sound::encode(folder.path()).unwrap())
    })
}

#[test]
fn each_hostile_file_ends_in_its_documented_outcome_within_its_time_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let binary = tests::binaries().join("trackscan-decoder");
    let mut wrong = Vec::new();
    println!("family | case | outcome | seconds | peak MiB");
    for file in corpus() {
        let path = folder.path().join(&file.name);
        file.blob.write(&path).unwrap();
        let seen = straight::decode(&binary, &path);
        std::fs::remove_file(&path).unwrap();
        let (outcome, mib) = (expected::ending(&seen.outcome), seen.peak.div_ceil(1 << 20));
        println!(
            "{:>6} | {:<34} | {outcome} | {:.1} | {mib}",
            file.family, file.name, seen.seconds
        );
        let case = expected::of(file);
        if expected::of_decoder(file).to_string() != outcome
            || seen.seconds > f64::from(case.seconds)
            || mib > u64::from(case.mib)
        {
            wrong.push(format!(
                "{}: {:?} after {:.1} s with {mib} MiB, expected {case}",
                file.name, seen.outcome, seen.seconds
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_expectation_is_of_a_family_that_is_promised_and_has_a_file() {
    /// The families of files that this version answers for.
    const PROMISED: [std::ops::RangeInclusive<u8>; 5] = [1..=5, 7..=8, 10..=33, 35..=37, 41..=56];
    for case in expected::CASES {
        assert!(
            corpus()
                .iter()
                .any(|file| std::ptr::eq(expected::of(file), case)),
            "no file is `{}`",
            case.name
        );
    }
    let missing = PROMISED
        .into_iter()
        .flatten()
        .find(|family| !corpus().iter().any(|file| file.family == *family));
    assert_eq!(missing, None, "a family without a file");
}
