//! A catalogue of small real audio, written by the suite itself: WAV files of noise over a tone, drawn from a seed, and now and then one that is no
//! audio at all. Same count and seed, same bytes.

use anyhow::{Context, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::path::Path;

/// The rate at which the stub engine hears.
const RATE_HZ: u32 = 16_000;

/// Frames that a track must have to be heard in a window of the stub: 64 frames of its mel, 256 apart.
const WINDOW: u32 = 16_384;

/// Every so many-th track is shorter than a window, and ends without a score.
const SHORT_EVERY: usize = 8;
/// Every so many-th has two windows. All others have one, since a track costs by its length what its scheduling does not need.
const LONG_EVERY: usize = 16;

/// One track of so many is broken, so that a sound one that ends unscannable is told from one that must.
const BROKEN_EVERY: usize = 61;

/// The name of a track's file.
pub(crate) fn key(number: usize) -> String {
    format!("track-{number:05}.wav")
}

/// Whether a track is no audio, so that it must end unscannable.
pub(crate) fn is_broken(number: usize) -> bool {
    number % BROKEN_EVERY == BROKEN_EVERY - 1
}

/// Writes `count` tracks.
pub(crate) fn write(folder: &Path, count: usize) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("make the folder `{}`", folder.display()))?;
    for number in 0..count {
        let path = folder.join(key(number));
        std::fs::write(&path, track(number))
            .with_context(|| format!("write the track `{}`", path.display()))?;
    }
    Ok(())
}

fn track(number: usize) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(number as u64);
    if is_broken(number) {
        let mut noise = vec![0; 4_096];
        rng.fill_bytes(&mut noise);
        // No frame of any codec begins with such a byte, so that nobody hears audio in it.
        noise.iter_mut().for_each(|byte| *byte &= 0x7f);
        return noise;
    }
    let frames = frames(number) + rng.next_u32() % (WINDOW / 16);
    let pitch = 80 + rng.next_u32() % 900;
    let samples = (0..frames).map(|at| {
        // A saw of the pitch, and noise of an eighth of it.
        let saw = (at * pitch % RATE_HZ) * 16_000 / RATE_HZ;
        let value = i64::from(saw) - 8_000 + i64::from(rng.next_u32() % 2_000);
        i16::try_from(value).unwrap_or(0)
    });
    wav(samples.collect())
}

/// Frames of a track, but for the sixteenth of a window that is drawn.
fn frames(number: usize) -> u32 {
    match (number % SHORT_EVERY, number % LONG_EVERY) {
        (3, _) => WINDOW / 4,
        (_, 5) => 2 * WINDOW,
        _ => WINDOW,
    }
}

/// A WAV file of one channel of 16 bits.
fn wav(samples: Vec<i16>) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(data.len() + 44);
    file.extend(b"RIFF");
    file.extend((length + 36).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    for half in [1_u16, 1] {
        file.extend(half.to_le_bytes());
    }
    file.extend(RATE_HZ.to_le_bytes());
    file.extend((RATE_HZ * 2).to_le_bytes());
    for half in [2_u16, 16] {
        file.extend(half.to_le_bytes());
    }
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(data);
    file
}

#[test]
fn tracks_are_short_long_and_in_between_as_often_as_said_and_the_same_each_time() {
    let lengths: Vec<u32> = (0..160).map(|number| frames(number) / WINDOW).collect();
    let count = |windows: u32| lengths.iter().filter(|found| **found == windows).count();
    assert_eq!((count(0), count(1), count(2)), (20, 130, 10));
    assert_eq!(track(7), track(7));
    assert!(track(7) != track(8));
}
