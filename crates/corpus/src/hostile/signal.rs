//! Sound files in order whose samples are not: no numbers, nothing, all at full scale, hardly any, or cancelling out.

use super::Hostile;
use super::shapes::Wav;

const RATE: u32 = 44_100;
/// Frames of five seconds.
const FRAMES: usize = 5 * RATE as usize;

/// Families 51 to 55.
pub fn files() -> Vec<Hostile> {
    let of_number = |x: f32| stereo(FRAMES, |_| [x; 2]);
    vec![
        Hostile::new(51, "nan-inf-denormal.wav", stereo(FRAMES, strange)),
        Hostile::new(51, "all-nan.wav", of_number(f32::NAN)),
        Hostile::new(51, "denormal.wav", of_number(f32::MIN_POSITIVE / 4.0)),
        Hostile::new(51, "huge.wav", stereo(FRAMES, |i| [tone(i) * 1e6; 2])),
        Hostile::new(52, "digital-silence.wav", of_number(0.0)),
        Hostile::new(53, "dc-full-scale.wav", of_number(1.0)),
        Hostile::new(53, "square-full-scale.wav", stereo(FRAMES, square)),
        Hostile::new(
            54,
            "10-ms.wav",
            stereo(RATE as usize / 100, |i| [tone(i); 2]),
        ),
        Hostile::new(54, "one-frame.wav", stereo(1, |i| [tone(i + 1); 2])),
        Hostile::new(54, "no-frame.wav", stereo(0, |i| [tone(i); 2])),
        Hostile::new(
            55,
            "mono-in-one-channel.wav",
            stereo(FRAMES, |i| [tone(i), 0.0]),
        ),
        Hostile::new(
            55,
            "phase-inverted.wav",
            stereo(FRAMES, |i| [tone(i), -tone(i)]),
        ),
    ]
}

fn tone(i: usize) -> f32 {
    let t = i as f32 / RATE as f32;
    0.4 * (t * 440.0 * std::f32::consts::TAU).sin()
        + 0.2 * (t * 3100.0 * std::f32::consts::TAU).sin()
}

/// At full scale all the time, 441 times a second from one end to the other.
fn square(i: usize) -> [f32; 2] {
    [if (i / 50).is_multiple_of(2) {
        1.0
    } else {
        -1.0
    }; 2]
}

fn strange(i: usize) -> [f32; 2] {
    let right = match i % 97 {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => f32::NEG_INFINITY,
        3 => f32::MIN_POSITIVE / 2.0,
        _ => tone(i),
    };
    [tone(i), right]
}

fn stereo(frames: usize, sample: impl Fn(usize) -> [f32; 2]) -> Vec<u8> {
    let data: Vec<u8> = (0..frames)
        .flat_map(sample)
        .flat_map(f32::to_le_bytes)
        .collect();
    Wav::of_f32(2, RATE, &data).file()
}
