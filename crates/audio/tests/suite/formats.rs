//! Every supported format against the system's own decoder, and what is refused by name.

use crate::common::{encode, folder, reference, signal, wav_f32};
use audio::decode::{Decoded, Refused, decode_to_vec};
use audio::protocol::{ChannelRule, OutputSpec};
use types::Code;

const NATIVE: OutputSpec = OutputSpec {
    rate_hz: None,
    channels: ChannelRule::Native,
};

fn decoded(file: &[u8], name: &str) -> Result<(Decoded, Vec<f32>), Refused> {
    decode_to_vec(file, name, NATIVE)
}

/// The shift in frames at which two decodes agree best, and the worst difference there. Decoders differ in how much of
/// the encoder's delay they cut.
fn compare(ours: &[f32], theirs: &[f32], channels: usize) -> (i64, f32) {
    let differences =
        (-3000i64..=3000).map(|shift| (shift, worst(ours, theirs, channels, shift, 4096)));
    let (shift, _) = differences
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .expect("a range of shifts");
    (shift, worst(ours, theirs, channels, shift, usize::MAX))
}

fn worst(ours: &[f32], theirs: &[f32], channels: usize, shift: i64, limit: usize) -> f32 {
    let skip = 10_000i64 * channels as i64;
    let at = |i: i64| usize::try_from(i).expect("shifts are smaller than what is skipped");
    let ours = &ours[at(skip)..];
    let theirs = &theirs[at(skip + shift * channels as i64)..];
    ours.iter()
        .zip(theirs)
        .take(limit)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// File, codec, encoder's arguments, rate, channels, tolerance.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    u32,
    usize,
    f32,
);

#[test]
fn every_supported_format_decodes_as_ffmpeg_decodes_it() {
    let folder = folder();
    // Lossless formats must agree to the last bit of their integers; AAC and MP3 within float rounding of two
    // implementations of the same transforms (-100 dB); Vorbis likewise.
    #[rustfmt::skip]
    let rows: &[Row] = &[
        ("a.mp3", "mp3", &["-c:a", "libmp3lame", "-b:a", "192k"], 44_100, 2, 1e-5),
        ("v.mp3", "mp3", &["-c:a", "libmp3lame", "-q:a", "2"], 48_000, 1, 1e-5),
        ("l.mp3", "mp3", &["-c:a", "libmp3lame", "-b:a", "64k"], 22_050, 1, 1e-5),
        ("x.mp3", "mp3", &["-c:a", "libmp3lame", "-b:a", "128k", "-write_xing", "0"], 44_100, 2, 1e-5),
        ("a.m4a", "aac", &["-c:a", "aac", "-b:a", "160k"], 44_100, 2, 1e-5),
        ("f.m4a", "aac", &["-c:a", "aac", "-b:a", "96k", "-movflags", "+faststart"], 48_000, 1, 1e-5),
        ("a.aac", "aac", &["-c:a", "aac", "-b:a", "160k"], 44_100, 2, 1e-5),
        ("a.flac", "flac", &["-c:a", "flac", "-sample_fmt", "s16"], 44_100, 2, 0.0),
        ("b.flac", "flac", &["-c:a", "flac", "-sample_fmt", "s32"], 96_000, 2, 0.0),
        ("c.flac", "flac", &["-c:a", "flac", "-sample_fmt", "s16"], 48_000, 6, 0.0),
        ("alac.m4a", "alac", &["-c:a", "alac", "-sample_fmt", "s16p"], 44_100, 2, 0.0),
        ("alac.caf", "alac", &["-c:a", "alac", "-sample_fmt", "s16p"], 44_100, 2, 0.0),
        ("a.ogg", "vorbis", &["-c:a", "libvorbis", "-q:a", "5"], 44_100, 2, 1e-5),
        ("m.ogg", "vorbis", &["-c:a", "libvorbis", "-q:a", "1"], 32_000, 1, 1e-5),
        ("a.wav", "pcm_s16le", &["-c:a", "pcm_s16le"], 44_100, 2, 0.0),
        ("b.wav", "pcm_s24le", &["-c:a", "pcm_s24le"], 48_000, 2, 0.0),
        ("c.wav", "pcm_f32le", &["-c:a", "pcm_f32le"], 44_100, 2, 0.0),
        ("d.wav", "pcm_u8", &["-c:a", "pcm_u8"], 8_000, 1, 0.0),
        ("e.wav", "pcm_s32le", &["-c:a", "pcm_s32le"], 192_000, 2, 0.0),
        ("f.wav", "pcm_alaw", &["-c:a", "pcm_alaw"], 8_000, 1, 0.0),
        ("g.wav", "pcm_s16le", &["-c:a", "pcm_s16le", "-rf64", "always"], 44_100, 2, 0.0),
        ("h.wav", "pcm_s16le", &["-c:a", "pcm_s16le"], 48_000, 6, 0.0),
        ("a.aiff", "pcm_s16be", &["-c:a", "pcm_s16be"], 44_100, 2, 0.0),
        ("b.aiff", "pcm_s24be", &["-c:a", "pcm_s24be"], 96_000, 1, 0.0),
        ("a.caf", "pcm_s16le", &["-c:a", "pcm_s16le"], 44_100, 2, 0.0),
        ("b.caf", "pcm_s24be", &["-c:a", "pcm_s24be"], 48_000, 2, 0.0),
    ];
    let mut failures = Vec::new();
    for (name, codec, args, rate, channels, tolerance) in rows {
        let source = wav_f32(*rate, *channels, &signal(*rate, *channels, 2.0));
        let file = encode(folder.path(), &source, name, args);
        let theirs = reference(folder.path(), &file, name, &[]);
        match decoded(&file, name) {
            Ok((summary, ours)) => {
                let (shift, difference) = compare(&ours, &theirs, *channels);
                let described = (
                    summary.codec.as_str(),
                    summary.source_rate_hz,
                    usize::from(summary.source_channels),
                );
                // ffmpeg plays the last packet of an MP4 to its end; the edit list says where the recording ends.
                let behind = (theirs.len() / channels) as i64 - summary.frames as i64;
                let whole = !name.ends_with(".m4a")
                    || (summary.frames == 2 * u64::from(*rate)
                        && shift == 0
                        && (0..1024).contains(&behind));
                let sound = described == (codec, *rate, *channels)
                    && whole
                    && difference <= *tolerance
                    && summary.warnings.is_empty();
                println!(
                    "{name}: shift {shift}, worst {difference:e}, {} frames, theirs {}, {:?} {:?}",
                    summary.frames,
                    theirs.len() / channels,
                    summary.warnings,
                    summary.provenance
                );
                if !sound {
                    failures.push(format!(
                        "{name}: {described:?} {difference:e} {:?}, {} frames at {shift}",
                        summary.warnings, summary.frames
                    ));
                }
            }
            Err(refused) => failures.push(format!("{name}: {:?}", refused.fault)),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn what_is_not_decoded_is_refused_by_name() {
    let folder = folder();
    #[rustfmt::skip]
    let rows: &[(&str, &[&str])] = &[
        ("a.opus", &["-c:a", "libopus"]),
        ("b.ogg", &["-c:a", "libopus"]),
        ("a.wv", &["-c:a", "wavpack"]),
        ("a.mkv", &["-c:a", "libmp3lame"]),
        ("a.webm", &["-c:a", "libopus"]),
        ("a.mp2", &["-c:a", "mp2"]),
        ("a.ac3", &["-c:a", "ac3"]),
        ("a.wma", &["-c:a", "wmav2"]),
        ("a.tta", &["-c:a", "tta"]),
        ("a.au", &["-c:a", "pcm_s16be"]),
        ("adpcm.wav", &["-c:a", "adpcm_ms"]),
        ("low.aac", &["-c:a", "aac", "-ar", "22050"]),
        ("low.m4a", &["-c:a", "aac", "-ar", "24000"]),
        ("opus.mp4", &["-c:a", "libopus"]),
        ("ac3.mp4", &["-c:a", "ac3"]),
        ("video.mp4", &["-f", "lavfi", "-i", "testsrc=d=1", "-map", "1:v", "-c:v", "mpeg4"]),
    ];
    let source = wav_f32(48_000, 2, &signal(48_000, 2, 1.0));
    for (name, args) in rows {
        let file = encode(folder.path(), &source, name, args);
        let refused = decoded(&file, name).map(|(summary, _)| summary);
        assert_eq!(
            refused.map_err(|refused| refused.fault.code),
            Err(Code::UnsupportedCodec),
            "{name}"
        );
    }
}

#[test]
fn a_track_for_its_residual_has_two_channels_at_the_asked_rate_whatever_the_file_has() {
    let spec = OutputSpec {
        rate_hz: Some(44_100),
        channels: ChannelRule::Stereo,
    };
    for (rate, channels) in [
        (44_100, 1),
        (22_050, 1),
        (44_100, 2),
        (48_000, 2),
        (48_000, 6),
    ] {
        let file = wav_f32(rate, channels, &signal(rate, channels, 1.0));
        let (decoded, pcm) = decode_to_vec(file.as_slice(), "a.wav", spec).unwrap();
        let what = format!("{rate} Hz, {channels} channels");
        assert_eq!((decoded.rate_hz, decoded.channels), (44_100, 2), "{what}");
        assert_eq!((decoded.frames, pcm.len()), (44_100, 88_200), "{what}");
        let alike = pcm.chunks(2).all(|frame| frame[0] == frame[1]);
        assert_eq!(
            alike,
            channels == 1,
            "{what}: mono is doubled and nothing else"
        );
    }
}
