//! Damaged and hostile files through the real sandboxed decoder: each ends in a result or a typed code, and the same
//! process serves the next track.

use crate::common::{MONO_22K, NATIVE, decode, decode_within, host, one_of_each};
use audio::host::{Host, Outcome};
use audio::limits::Limits;
use audio::protocol::{ChannelRule, OutputSpec, Summary};
use types::{Code, Warning};

fn summary(outcome: Outcome, what: &str) -> Summary {
    match outcome {
        Outcome::Done(ref summary) => summary.clone(),
        Outcome::Failed(_) | Outcome::Died(..) => panic!("{what}: {outcome:?}"),
    }
}

/// The code, or none when it was decoded.
fn code(host: &mut Host, file: &[u8], name: &str) -> Option<Code> {
    decode(host, file, name, MONO_22K).0.code()
}

#[test]
fn every_format_passes_through_the_sandbox_and_out_of_one_process() {
    let mut host = host();
    let pid = host.pid();
    for (name, file) in one_of_each() {
        let (outcome, pcm) = decode(&mut host, &file, name, MONO_22K);
        let summary = summary(outcome, name);
        assert_eq!(
            (summary.rate_hz, summary.channels, summary.frames),
            (22_050, 1, pcm.len() as u64),
            "{name}"
        );
        assert!(
            summary.warnings.is_empty(),
            "{name}: {:?}",
            summary.warnings
        );
        assert!(
            (summary.duration_ms as i64 - 3000).abs() < 60,
            "{name}: {} ms",
            summary.duration_ms
        );
        let claims = summary
            .provenance
            .iter()
            .any(|claim| claim.value.contains("suno"));
        assert_eq!(claims, name == "a.mp3", "{name}: {:?}", summary.provenance);
    }
    assert_eq!(host.pid(), pid);
}

#[test]
fn the_same_file_gives_the_same_samples_in_the_sandbox_and_outside() {
    let mut host = host();
    for (name, file) in one_of_each() {
        for output in [MONO_22K, NATIVE] {
            let (_, inside) = decode(&mut host, &file, name, output);
            let (_, outside) = audio::decode::decode_to_vec(file.as_slice(), name, output).unwrap();
            assert!(inside == outside, "{name} {output:?}");
        }
    }
}

#[test]
fn a_file_cut_at_any_tenth_ends_in_a_result_or_a_typed_code() {
    let mut host = host();
    let pid = host.pid();
    for (name, file) in one_of_each() {
        for tenth in 0..10 {
            let cut = &file[..file.len() * tenth / 10];
            let (outcome, pcm) = decode(&mut host, cut, name, MONO_22K);
            let what = format!("{name} at {tenth}0 %");
            match (name, tenth, outcome) {
                (_, 0, outcome) => assert_eq!(outcome.code(), Some(Code::Empty), "{what}"),
                // An index at the end is gone with the end.
                ("a.m4a" | "alac.m4a", _, outcome) => {
                    assert_eq!(outcome.code(), Some(Code::Damaged), "{what}")
                }
                // Its packet table lies behind the samples.
                ("alac.caf", _, outcome) => {
                    assert!(outcome.code().is_some(), "{what}: {outcome:?}")
                }
                // Its headers and its first page of a second take half of so short a file.
                ("a.ogg", 1..=5, outcome) => {
                    assert!(
                        matches!(outcome.code(), None | Some(Code::Damaged)),
                        "{what}: {outcome:?}"
                    );
                }
                // ADTS frames state no total.
                ("a.aac", _, outcome) => drop(summary(outcome, &what)),
                (_, _, outcome) => {
                    let summary = summary(outcome, &what);
                    assert!(
                        summary.warnings.contains(&Warning::Truncated),
                        "{what}: {:?}",
                        summary.warnings
                    );
                    let share = pcm.len() as f64 / (3.0 * 22_050.0);
                    // A cut Ogg loses its last page, which holds more than a second here.
                    let tolerance = if name == "a.ogg" { 0.4 } else { 0.1 };
                    assert!(
                        (share - tenth as f64 / 10.0).abs() < tolerance,
                        "{what}: {share}"
                    );
                }
            }
        }
    }
    assert_eq!(host.pid(), pid);
}

#[test]
fn a_few_flipped_bits_cost_frames_and_not_the_track() {
    let mut host = host();
    let pid = host.pid();
    for (name, mut file) in one_of_each() {
        let step = file.len() / 6;
        for (i, byte) in file.iter_mut().enumerate().skip(3 * step).step_by(step) {
            *byte ^= 1 << (i % 8);
        }
        let (outcome, pcm) = decode(&mut host, &file, name, MONO_22K);
        // The index of an MP4 at its end, and of a CAF, may be hit; the samples of the others may not be lost.
        let may_fail = ["a.m4a", "alac.m4a", "alac.caf"].contains(&name);
        match outcome {
            Outcome::Done(_) => assert!(pcm.len() > 22_050, "{name}: {} samples", pcm.len()),
            Outcome::Failed(failure) => assert!(may_fail, "{name}: {failure:?}"),
            Outcome::Died(code, how) => panic!("{name}: {code} {how}"),
        }
    }
    assert_eq!(host.pid(), pid);
}

#[test]
fn a_flac_with_no_frame_left_intact_is_damaged() {
    let (_, mut file) = one_of_each()
        .into_iter()
        .find(|(name, _)| *name == "a.flac")
        .unwrap();
    for byte in file.iter_mut().skip(9000).step_by(512) {
        *byte ^= 0x10;
    }
    assert_eq!(code(&mut host(), &file, "a.flac"), Some(Code::Damaged));
}

#[test]
fn what_is_no_audio_is_called_so() {
    let mut host = host();
    let mut state = 1u64;
    let random: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(5 << 20)
    .collect();
    #[rustfmt::skip]
    let rows: [(&str, Vec<u8>, Code); 10] = [
        ("empty.mp3", vec![], Code::Empty),
        ("one.mp3", vec![0xff], Code::NotAudio),
        ("zeros.mp3", vec![0; 1 << 20], Code::NotAudio),
        ("random.mp3", random, Code::NotAudio),
        ("page.mp3", b"<!doctype html><p>404".to_vec(), Code::NotAudio),
        ("tag.mp3", b"ID3\x03\0\0\x7f\x7f\x7f\x7fTXXX".to_vec(), Code::NotAudio),
        ("song.mid", b"MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk".to_vec(), Code::UnsupportedCodec),
        ("a.dsf", [b"DSD ".as_slice(), &[0; 100]].concat(), Code::UnsupportedCodec),
        ("a.flac", b"fLaC".to_vec(), Code::Damaged),
        ("a.wav", b"RIFF\0\0\0\0WAVE".to_vec(), Code::Damaged),
    ];
    for (name, file, expected) in rows {
        assert_eq!(code(&mut host, &file, name), Some(expected), "{name}");
    }
}

/// What the lie is, the file, the code it ends in, the warning it gives otherwise.
type Lie = (&'static str, Vec<u8>, Option<Code>, Option<Warning>);

#[test]
fn headers_that_lie_end_in_their_own_codes() {
    let mut host = host();
    let files = one_of_each();
    let pid = host.pid();
    let of = |wanted: &str| {
        files
            .iter()
            .find(|(name, _)| *name == wanted)
            .unwrap()
            .1
            .clone()
    };
    let patched = |name: &str, at: usize, bytes: &[u8]| {
        let mut file = of(name);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let find = |file: &[u8], what: &[u8]| {
        file.windows(what.len())
            .position(|window| window == what)
            .unwrap()
    };
    // Fields of the WAV header that ffmpeg writes: channels at 22, rate at 24.
    let wav = of("a.wav");
    let flac = of("a.flac");
    let aiff = of("a.aiff");
    let caf = of("a.caf");
    let comm = find(&aiff, b"COMM") + 8;
    let desc = find(&caf, b"desc") + 12;
    let wav_data = find(&wav, b"data") + 4;
    #[rustfmt::skip]
    let rows: Vec<Lie> = vec![
        ("rate 0", patched("a.wav", 24, &[0; 4]), Some(Code::SampleRateLimit), None),
        ("rate 2^32-1", patched("a.wav", 24, &[0xff; 4]), Some(Code::SampleRateLimit), None),
        ("no channel", patched("a.wav", 22, &[0, 0]), Some(Code::ChannelLimit), None),
        ("65,535 channels", patched("a.wav", 22, &[0xff, 0xff]), Some(Code::ChannelLimit), None),
        ("4 GB of data", patched("a.wav", wav_data, &[0xfe, 0xff, 0xff, 0xff]), None, Some(Warning::Truncated)),
        ("no data length", patched("a.wav", wav_data, &[0xff; 4]), None, None),
        ("data length 0", patched("a.wav", wav_data, &[0; 4]), None, None),
        ("2^36-1 samples", patched("a.flac", 21, &[flac[21] | 15, 0xff, 0xff, 0xff, 0xff]), None, Some(Warning::Truncated)),
        ("AIFF rate infinite", patched("a.aiff", comm + 8, &[0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]), Some(Code::SampleRateLimit), None),
        ("AIFF rate 0", patched("a.aiff", comm + 8, &[0; 10]), Some(Code::SampleRateLimit), None),
        ("CAF frames per packet", patched("a.caf", desc + 20, &[0x40, 0, 0, 1]), Some(Code::Damaged), None),
        ("CAF rate NaN", patched("a.caf", desc, &f64::NAN.to_be_bytes()), Some(Code::SampleRateLimit), None),
    ];
    for (what, file, expected, warning) in rows {
        let (outcome, _) = decode(&mut host, &file, "a", MONO_22K);
        assert_eq!(outcome.code(), expected, "{what}: {outcome:?}");
        if let (Some(warning), Outcome::Done(summary)) = (warning, &outcome) {
            assert_eq!(summary.warnings, [warning], "{what}");
        }
    }
    assert_eq!(host.pid(), pid);
}

#[test]
fn limits_end_a_track_in_their_own_codes() {
    let mut host = host();
    let (_, file) = one_of_each().swap_remove(0);
    let default = Limits::default();
    #[rustfmt::skip]
    let rows = [
        (Limits { file_bytes: 100, ..default }, Code::TooManyBytes),
        (Limits { duration_s: 2, ..default }, Code::TooLong),
        (Limits { sample_values: 10_000, ..default }, Code::TooManySamples),
        (Limits { rate_min_hz: 48_000, ..default }, Code::SampleRateLimit),
        (Limits { channels: 1, ..default }, Code::ChannelLimit),
        (Limits { cpu_s: 0, cpu_s_per_1000_s: 0, ..default }, Code::DecodeCpuLimit),
    ];
    for (limits, expected) in rows {
        let (outcome, _) = decode_within(&mut host, &file, "a.mp3", NATIVE, limits);
        assert_eq!(outcome.code(), Some(expected), "{outcome:?}");
    }
}

#[test]
fn samples_that_are_no_numbers_are_silenced_and_told() {
    let mut host = host();
    let wav = |samples: &[f32]| {
        let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut file = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x03\0\x01\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x20\0data".to_vec();
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    };
    let bad: Vec<f32> = (0..4410)
        .map(|i| {
            [
                0.25,
                f32::NAN,
                f32::INFINITY,
                -0.25,
                1e30,
                f32::MIN_POSITIVE / 2.0,
            ][i % 6]
        })
        .collect();
    let (outcome, pcm) = decode(&mut host, &wav(&bad), "a.wav", NATIVE);
    assert_eq!(
        summary(outcome, "bad samples").warnings,
        [Warning::NonFinite]
    );
    assert_eq!(
        &pcm[..6],
        [0.25, 0.0, 0.0, -0.25, 0.0, f32::MIN_POSITIVE / 2.0]
    );
    #[rustfmt::skip]
    let rows: [(Vec<f32>, Option<Code>, &[Warning]); 5] = [
        (vec![f32::NAN; 1000], Some(Code::NonFiniteSamples), &[]),
        (vec![], Some(Code::NoSamples), &[]),
        (vec![0.0; 1000], None, &[Warning::Silent]),
        (vec![-1.5; 1000], None, &[Warning::Clipped]),
        (vec![1.0; 441], None, &[]),
    ];
    for (samples, code, warnings) in rows {
        let (outcome, _) = decode(&mut host, &wav(&samples), "a.wav", NATIVE);
        assert_eq!(outcome.code(), code);
        if let Outcome::Done(summary) = outcome {
            assert_eq!(summary.warnings, warnings);
        }
    }
}

/// What stands around the audio, the file's name, the file, its warnings or its code.
type Surrounded = (
    &'static str,
    &'static str,
    Vec<u8>,
    Result<Vec<Warning>, Code>,
);

#[test]
fn what_comes_before_after_or_instead_of_the_audio_is_told() {
    let mut host = host();
    let files = one_of_each();
    let of = |wanted: &str| {
        files
            .iter()
            .find(|(name, _)| *name == wanted)
            .unwrap()
            .1
            .clone()
    };
    let (mp3, ogg) = (of("a.mp3"), of("a.ogg"));
    let other =
        crate::common::encoded("m.mp3", &["-c:a", "libmp3lame", "-ac", "1", "-ar", "22050"]);
    let picture = [
        b"ID3\x03\0\0\x06\x20\0\0APIC\0\xc7\xff\xf6\0\0".as_slice(),
        &vec![7; 0xc8_0000 - 10],
    ]
    .concat();
    let trailer = [b"TAG".as_slice(), &[b' '; 125]].concat();
    #[rustfmt::skip]
    let rows: Vec<Surrounded> = vec![
        ("another extension", "a.wav", mp3.clone(), Ok(vec![Warning::WrongExtension])),
        ("no extension", "a", mp3.clone(), Ok(vec![])),
        ("junk before", "a.mp3", [vec![0; 300_000], mp3.clone()].concat(), Ok(vec![Warning::JunkSkipped])),
        ("10 MB of junk before", "a.mp3", [vec![0; 10 << 20], mp3.clone()].concat(), Err(Code::NotAudio)),
        ("a tag behind", "a.mp3", [mp3.clone(), trailer].concat(), Ok(vec![])),
        ("a picture of 12 MB", "a.mp3", [picture, mp3.clone()].concat(), Ok(vec![Warning::TagsSkipped])),
        ("twice the same", "a.mp3", [mp3.clone(), mp3.clone()].concat(), Ok(vec![Warning::LengthDisagrees])),
        ("another format behind", "a.mp3", [mp3.clone(), other].concat(), Ok(vec![Warning::FormatChanged])),
        ("a chained stream", "a.ogg", [ogg.clone(), ogg.clone()].concat(), Ok(vec![Warning::ChainedStreams])),
    ];
    for (what, name, file, expected) in rows {
        let found = match decode(&mut host, &file, name, MONO_22K).0 {
            Outcome::Done(summary) => Ok(summary.warnings),
            Outcome::Failed(failure) => Err(failure.code),
            Outcome::Died(code, _) => Err(code),
        };
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn what_follows_the_end_of_a_recording_is_told_unless_it_is_tags_or_padding() {
    let mut host = host();
    let small = [b'x'; 1000];
    let id3 = [b"ID3\x04\0\0\0\0\x10\0".as_slice(), &[1; 0x800]].concat();
    let id3v1 = [b"TAG".as_slice(), &[b' '; 125]].concat();
    let ape_footer = b"APETAGEX\xd0\x07\0\0\x20\x0f\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let ape = [&[b'y'; 3840], ape_footer.as_slice()].concat();
    let mp3 = [0xff, 0xfb, 0x90, 0x44].repeat(4000);
    let names = [
        "a.wav", "a.aiff", "a.caf", "alac.caf", "a.m4a", "f.m4a", "alac.m4a",
    ];
    for (name, file) in one_of_each() {
        if !names.contains(&name) {
            continue;
        }
        #[rustfmt::skip]
        let rows: [(&str, &[u8], bool); 9] = [
            ("nothing", &[], false),
            ("less than 1 KiB", &small, false),
            ("an ID3v2 tag", &id3, false),
            ("an ID3v1 tag", &id3v1, false),
            ("an APE tag", &ape, false),
            ("zeros", &[0; 100_000], false),
            ("itself", &file, true),
            ("frames of MP3", &mp3, true),
            ("a tag, then frames", &[&id3[..], &mp3].concat(), true),
        ];
        for (what, tail, is_told) in rows {
            let (outcome, pcm) = decode(&mut host, &[&file[..], tail].concat(), name, NATIVE);
            let expected: &[Warning] = if is_told {
                &[Warning::TrailingData]
            } else {
                &[]
            };
            assert_eq!(summary(outcome, what).warnings, expected, "{name}, {what}");
            let alone = decode(&mut host, &file, name, NATIVE).1;
            assert!(pcm == alone, "{name}, {what}: other samples");
        }
    }
}

#[test]
fn what_follows_a_flac_stream_is_told_and_so_is_another_format() {
    let mut host = host();
    let find = |name: &str| one_of_each().into_iter().find(|(found, _)| *found == name);
    let flac = find("a.flac").unwrap().1;
    let low = crate::common::encoded("low.flac", &["-c:a", "flac", "-ac", "1", "-ar", "22050"]);
    let frames = |file: &[u8]| file[file.len() / 2..].to_vec();
    #[rustfmt::skip]
    let rows: [(&str, Vec<u8>, &[Warning]); 6] = [
        ("nothing", vec![], &[]),
        ("zeros", vec![0; 100_000], &[]),
        ("an ID3v1 tag", [b"TAG".as_slice(), &[b' '; 125]].concat(), &[]),
        ("itself", flac.clone(), &[Warning::FramesLost, Warning::TrailingData]),
        ("another format", low.clone(), &[Warning::FramesLost, Warning::FormatChanged]),
        ("half of another format", frames(&low), &[Warning::FramesLost, Warning::TrailingData]),
    ];
    for (what, tail, expected) in rows {
        let (outcome, _) = decode(&mut host, &[&flac[..], &tail].concat(), "a.flac", NATIVE);
        assert_eq!(summary(outcome, what).warnings, expected, "{what}");
    }
    // Damage to its last frame is no trailing data.
    let mut damaged = flac.clone();
    let at = damaged.len() - 20;
    damaged[at] ^= 1;
    let (outcome, _) = decode(&mut host, &damaged, "a.flac", NATIVE);
    assert_eq!(summary(outcome, "damaged").warnings, [Warning::Truncated]);
}

#[test]
fn chunks_that_tools_add_without_correcting_the_size_are_no_trailing_data() {
    let mut host = host();
    let tag = [b"id3 \0\x10\0\0".as_slice(), &[b'z'; 4096]].concat();
    let free = [b"\0\0\x10\0free".as_slice(), &[b'z'; 4088]].concat();
    let chunk = [b"peak\0\0\0\0\0\0\x10\0".as_slice(), &[b'z'; 4096]].concat();
    let cases = [("a.wav", tag), ("a.m4a", free), ("a.caf", chunk)];
    for (name, file) in one_of_each() {
        for (_, added) in cases.iter().filter(|(of, _)| *of == name) {
            let (outcome, _) = decode(&mut host, &[&file[..], added].concat(), name, NATIVE);
            assert_eq!(summary(outcome, name).warnings, [], "{name}");
        }
    }
}

#[test]
fn memory_stays_far_below_its_limit() {
    let mut host = host();
    let loud: Vec<u8> = (0..384_000u32 * 8)
        .flat_map(|i| (i as i16).to_le_bytes())
        .collect();
    let mut wide = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x08\0\0\xdc\x05\0\0\xc0\x5d\0\x10\0\x10\0data".to_vec();
    wide.extend((loud.len() as u32).to_le_bytes());
    wide.extend(loud);
    // The longest filter: two rates without a common divisor, over all channels.
    let output = OutputSpec {
        rate_hz: Some(383_999),
        channels: ChannelRule::Native,
    };
    let (outcome, _) = decode(&mut host, &wide, "wide.wav", output);
    assert_eq!(summary(outcome, "wide").channels, 8);
    for (name, file) in one_of_each() {
        summary(decode(&mut host, &file, name, MONO_22K).0, name);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid().unwrap())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmPeak:"))
        .unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{peak_kib} KiB of address space at most");
    assert!(peak_kib < 384 * 1024, "{peak_kib} KiB");
}
