//! What happens to files on their way: nothing left, cut off, flipped bits, two in one, under another name.

use super::{Blob, Hostile, Piece, Sound};

/// Bytes between two flipped bits.
const FLIP_EVERY: usize = 4096;
/// Bytes of junk before the first frame.
const JUNK_BYTES: usize = 10_000_000;

/// Families 41 to 50.
pub fn files(sound: &Sound) -> Vec<Hostile> {
    let mut files = vec![
        Hostile::new(41, "empty.mp3", vec![]),
        Hostile::new(42, "one-byte.mp3", vec![0xff]),
        Hostile::new(43, "zeros-1mb.mp3", Blob::of(vec![Piece::Zeros(1_000_000)])),
        Hostile::new(44, "random-5mb.mp3", random(5_000_000)),
        Hostile::new(49, "junk-10mb.mp3", junk(sound.of("mp3"))),
    ];
    for (format, file) in sound.formats() {
        for tenth in 1..10 {
            let cut = file[..file.len() * tenth / 10].to_vec();
            files.push(Hostile::new(45, format!("cut-at-{tenth}0.{format}"), cut));
        }
        files.push(Hostile::new(46, format!("flipped.{format}"), flipped(file)));
        files.push(Hostile::new(
            47,
            format!("twice.{format}"),
            [file, file].concat(),
        ));
    }
    let [mp3, flac, wav] = ["mp3", "flac", "wav"].map(|format| sound.of(format));
    files.extend([
        Hostile::new(47, "mp3-then-flac.mp3", [mp3, flac].concat()),
        Hostile::new(48, "mp3-named.wav", mp3.to_vec()),
        Hostile::new(48, "flac-named.mp3", flac.to_vec()),
        Hostile::new(48, "wav-named.txt", wav.to_vec()),
        Hostile::new(50, "changes.mp3", [mp3, sound.of("low.mp3")].concat()),
        Hostile::new(
            50,
            "changes.flac",
            [flac, frames_of(sound.of("low.flac"))].concat(),
        ),
    ]);
    files
}

/// Bytes that no format made, the same each time.
fn random(count: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn junk(mp3: &[u8]) -> Blob {
    Blob::of(vec![
        Piece::Bytes(random(JUNK_BYTES)),
        Piece::Bytes(mp3.to_vec()),
    ])
}

fn flipped(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    for (i, byte) in file
        .iter_mut()
        .skip(FLIP_EVERY)
        .step_by(FLIP_EVERY)
        .enumerate()
    {
        *byte ^= 1 << (i % 8);
    }
    file
}

/// A FLAC file without its metadata.
fn frames_of(flac: &[u8]) -> &[u8] {
    let mut at = 4;
    loop {
        let length = u32::from_be_bytes([0, flac[at + 1], flac[at + 2], flac[at + 3]]);
        let last = flac[at] & 0x80 != 0;
        at += 4 + length as usize;
        if last {
            return &flac[at..];
        }
    }
}
