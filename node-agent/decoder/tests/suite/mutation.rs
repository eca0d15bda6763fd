//! A bounded walk through mutated files in the real sandbox, from a fixed seed: whatever a byte says, a track ends in a
//! result or a code, nobody but the decoder may die, and nothing takes longer than its limits.

use crate::common::{FORMATS, MONO_22K, decode_within, encoded, host};
use audio::host::Outcome;
use audio::limits::Limits;
use types::Code;

/// Mutated files per format: enough to reach every header field several times, in under a minute on two cores. A longer
/// walk: `TRACKSCAN_MUTATION_ROUNDS` and `TRACKSCAN_MUTATION_SEED`.
const ROUNDS: u64 = 600;
const SEED: u64 = 0x0dec_0de5_0ff1_ce00;

/// A small generator of numbers, the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below.max(1)
    }
}

/// Changes a file as damage and malice would: bits, bytes, extreme numbers, repeated, missing and foreign pieces.
fn mutate(dice: &mut Dice, file: &mut Vec<u8>) {
    for _ in 0..=dice.next(4) {
        // Headers matter most: half of all changes hit the first kilobyte.
        let reach = if dice.next(2) == 0 {
            file.len().min(1024)
        } else {
            file.len()
        };
        let at = dice.next(reach);
        let length = dice.next(64).min(file.len() - at);
        match dice.next(7) {
            0 => file[at] ^= 1 << dice.next(8),
            1 => file[at] = dice.next(256) as u8,
            2 => {
                let numbers: [&[u8]; 5] = [
                    &[0xff; 4],
                    &[0; 4],
                    &[0x7f, 0xff, 0xff, 0xff],
                    &[0x80, 0, 0, 0],
                    &[0xff; 8],
                ];
                let number = numbers[dice.next(numbers.len())];
                let end = (at + number.len()).min(file.len());
                file[at..end].copy_from_slice(&number[..end - at]);
            }
            3 => file.truncate(at.max(1)),
            4 => drop(file.drain(at..at + length)),
            5 => {
                let piece = file[at..at + length].to_vec();
                let to = dice.next(file.len());
                file.splice(to..to, piece);
            }
            _ => {
                let from = dice.next(file.len() - length);
                file.copy_within(from..from + length, at);
            }
        }
        if file.is_empty() {
            file.push(0);
        }
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

#[test]
fn mutated_files_end_in_results_or_codes_and_no_decoder_dies_without_a_word() {
    let mut host = host();
    let mut dice = Dice(from_environment("TRACKSCAN_MUTATION_SEED", SEED));
    let (mut decoded, mut failed, mut panicked, mut died) = (0, 0, 0, Vec::new());
    let limits = Limits {
        cpu_s: 5,
        duration_s: 600,
        ..Limits::default()
    };
    for (name, args) in FORMATS {
        let seed = encoded(name, &[&["-t", "0.4"], args].concat());
        for round in 0..from_environment("TRACKSCAN_MUTATION_ROUNDS", ROUNDS) {
            let mut file = seed.clone();
            mutate(&mut dice, &mut file);
            match decode_within(&mut host, &file, name, MONO_22K, limits).0 {
                Outcome::Done(_) => decoded += 1,
                // A parser's panic is caught and told; that decoder is replaced.
                Outcome::Failed(failure) if failure.code == Code::DecodeCrash => panicked += 1,
                Outcome::Failed(_) => failed += 1,
                Outcome::Died(code, how) => {
                    died.push(format!("{name} round {round}: {code} {how}"))
                }
            }
        }
    }
    println!(
        "{decoded} decoded, {failed} refused, {panicked} panicked, {} died: {died:#?}",
        died.len()
    );
    assert!(decoded > 0 && failed > 0);
    assert!(died.is_empty(), "{died:#?}");
}
