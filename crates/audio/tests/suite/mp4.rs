//! MP4 files whose index lies or is odd: edit lists, and tables that would cost hours.

use crate::common::{encode, folder, signal, wav_f32};
use audio::decode::{Decoded, Refused, decode_to_vec};
use audio::protocol::{ChannelRule, OutputSpec};
use types::Warning;

const RATE: u32 = 44_100;
/// Frames of the recording: three seconds, and no multiple of a packet.
const FRAMES: u64 = 3 * RATE as u64;
/// Frames that AAC's encoder puts before it.
const DELAY: usize = 1024;

fn aac() -> Vec<u8> {
    let source = wav_f32(RATE, 1, &signal(RATE, 1, 3.0));
    encode(folder().path(), &source, "a.m4a", &["-c:a", "aac"])
}

fn decoded(file: &[u8]) -> Result<(Decoded, Vec<f32>), Refused> {
    let output = OutputSpec {
        rate_hz: None,
        channels: ChannelRule::Native,
    };
    decode_to_vec(file, "a.m4a", output)
}

fn find(file: &[u8], kind: &[u8; 4]) -> usize {
    let at = file.windows(4).position(|four| four == kind);
    at.expect("ffmpeg writes this box")
}

/// The file with its list of one entry rewritten: length on the movie's clock, start on the stream's, speed.
fn edited(file: &[u8], length: u32, start: i32, speed: u32) -> Vec<u8> {
    let mut file = file.to_vec();
    let at = find(&file, b"elst") + 12;
    file[at..at + 4].copy_from_slice(&length.to_be_bytes());
    file[at + 4..at + 8].copy_from_slice(&start.to_be_bytes());
    file[at + 8..at + 12].copy_from_slice(&speed.to_be_bytes());
    file
}

#[test]
fn a_plain_edit_list_cuts_to_the_frame_and_any_other_leaves_the_stream_whole() {
    const ONE: u32 = 0x1_0000;
    let file = aac();
    let mut without = file.clone();
    let at = find(&file, b"edts");
    without[at..at + 4].copy_from_slice(b"free");
    let (whole, samples) = decoded(&without).unwrap();
    assert!(whole.frames >= FRAMES + DELAY as u64);
    assert_eq!(whole.warnings, []);
    let cut = |start: usize, frames: usize| (&samples[start..][..frames], None);
    let left = (&samples[..], Some(Warning::LengthDisagrees));
    #[rustfmt::skip]
    let rows = [
        ("as it is", file.clone(), cut(DELAY, FRAMES as usize)),
        ("a second from the middle", edited(&file, 1000, 44_100, ONE), cut(44_100, 44_100)),
        ("no end", edited(&file, 0, 2112, ONE), cut(2112, samples.len() - 2112)),
        ("an end behind the file's", edited(&file, u32::MAX, 1024, ONE), cut(1024, samples.len() - 1024)),
        ("a start behind the end", edited(&file, 3000, i32::MAX, ONE), left),
        ("a start before the start", edited(&file, 3000, -2, ONE), left),
        ("silence alone", edited(&file, 3000, -1, ONE), left),
        ("half speed", edited(&file, 3000, 1024, ONE / 2), left),
        ("backwards", edited(&file, 3000, 1024, -1i32 as u32), left),
    ];
    for (what, file, (expected, warning)) in rows {
        let (summary, found) = decoded(&file).unwrap();
        assert!(found == expected, "{what}: {} frames", summary.frames);
        assert_eq!(summary.warnings, Vec::from_iter(warning), "{what}");
        assert_eq!(
            summary.duration_ms,
            found.len() as u64 * 1000 / u64::from(RATE),
            "{what}"
        );
    }
}

#[test]
fn a_list_that_claims_entries_it_has_not_leaves_the_stream_whole() {
    let file = aac();
    let at = find(&file, b"elst");
    for (what, offset, bytes) in [
        ("two entries", 8, [0, 0, 0, 2]),
        ("version 1", 4, [1, 0, 0, 0]),
        ("version 200", 4, [200, 0, 0, 0]),
        ("four billion entries", 8, [0xff; 4]),
    ] {
        let mut file = file.clone();
        file[at + offset..at + offset + 4].copy_from_slice(&bytes);
        // The parser may refuse such a list by itself.
        if let Ok((summary, _)) = decoded(&file) {
            assert!(summary.frames > FRAMES, "{what}");
            assert_eq!(summary.warnings, [Warning::LengthDisagrees], "{what}");
        }
    }
}

#[test]
fn a_fragmented_file_states_no_length_and_disagrees_with_none() {
    let source = wav_f32(RATE, 1, &signal(RATE, 1, 3.0));
    let flags = "+frag_keyframe+delay_moov";
    let args = ["-c:a", "aac", "-movflags", flags];
    let file = encode(folder().path(), &source, "f.m4a", &args);
    let (summary, _) = decoded(&file).unwrap();
    assert_eq!(summary.warnings, []);
    assert!((FRAMES..FRAMES + 1024).contains(&summary.frames));
}
