//! Folders of music to scan: many short tracks cut from a few seeded pieces, so that a catalogue of hundreds costs
//! seconds to make. Same count and seed, same bytes.

use corpus::{RATE_HZ, Stereo, piece, wav};
use std::fs;
use std::path::Path;

/// Seconds of each composed piece.
const PIECE_SECONDS: f32 = 20.0;
/// Tracks cut from one piece; their starts lie apart, so that no two are equal.
const TRACKS_PER_PIECE: usize = 60;

/// Writes `count` WAV tracks of `seconds` each as `NNNN.wav`.
///
/// # Panics
/// When the folder cannot be written.
pub fn folder(path: &Path, count: usize, seconds: f32) {
    folder_with(path, count, |_| seconds);
}

/// Writes `count` WAV tracks as `NNNN.wav`, each as long in seconds as `length` says of its number, at most a piece's length.
///
/// # Panics
/// When the folder cannot be written.
pub fn folder_with(path: &Path, count: usize, length: impl Fn(usize) -> f32) {
    fs::create_dir_all(path).expect("the folder can be made");
    for first in (0..count).step_by(TRACKS_PER_PIECE) {
        let seed = u64::try_from(first).expect("small") + 77;
        let whole = piece::compose(seed, PIECE_SECONDS).audio;
        for at in first..count.min(first + TRACKS_PER_PIECE) {
            let track = cut(&whole, at - first, length(at));
            wav::write(&path.join(format!("{at:04}.wav")), &track)
                .expect("the track can be written");
        }
    }
}

fn cut(whole: &Stereo, nth: usize, seconds: f32) -> Stereo {
    let frames = (seconds * RATE_HZ as f32) as usize;
    let room = whole.frames() - frames;
    let start = room * nth / TRACKS_PER_PIECE;
    let piece = |channel: &[f32]| channel[start..start + frames].to_vec();
    Stereo {
        left: piece(&whole.left),
        right: piece(&whole.right),
    }
}
