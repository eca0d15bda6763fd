//! What the suites of the decoder share: the real binary behind a plain parent, and files made by the system's ffmpeg.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use audio::host::{Host, Outcome};
use audio::limits::Limits;
use audio::protocol::{ChannelRule, Decode, OutputSpec};
use audio::ring::SAMPLES_MIN;

/// What a screen asks for.
pub(crate) const MONO_22K: OutputSpec = OutputSpec {
    rate_hz: Some(22_050),
    channels: ChannelRule::Mono,
};
/// What a bench asks for.
pub(crate) const NATIVE: OutputSpec = OutputSpec {
    rate_hz: None,
    channels: ChannelRule::Native,
};

/// A parent with a small ring, so that the decoder often waits.
pub(crate) fn host() -> Host {
    Host::start(
        Path::new(env!("CARGO_BIN_EXE_trackscan-decoder")),
        SAMPLES_MIN,
    )
    .expect("the decoder starts")
}

/// Decodes bytes and returns how it ended and what came.
pub(crate) fn decode(
    host: &mut Host,
    file: &[u8],
    name: &str,
    output: OutputSpec,
) -> (Outcome, Vec<f32>) {
    decode_within(host, file, name, output, Limits::default())
}

/// As [`decode`], within other limits.
pub(crate) fn decode_within(
    host: &mut Host,
    file: &[u8],
    name: &str,
    output: OutputSpec,
    limits: Limits,
) -> (Outcome, Vec<f32>) {
    let job = Decode {
        token: 7,
        bytes: file.len() as u64,
        name: name.into(),
        output,
        limits,
    };
    let mut pcm = Vec::new();
    let outcome = host.decode(&mut &*file, &job, &mut |samples| {
        pcm.extend_from_slice(samples)
    });
    (outcome.expect("the system lets the parent wait"), pcm)
}

/// Encodes three seconds of two moving tones and seeded noise with ffmpeg, or what `-t` in the arguments cuts them to.
pub(crate) fn encoded(name: &str, args: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join(name);
    let tones = "aevalsrc='0.3*sin(440*2*PI*t)+0.1*sin(3000*2*PI*t+2*sin(5*t))+0.05*(random(0)-0.5)|0.3*sin(660*2*PI*t)+0.05*(random(1)-0.5)':s=44100:d=3";
    let mut command = Command::new("ffmpeg");
    command
        .args([
            "-v",
            "error",
            "-nostdin",
            "-y",
            "-bitexact",
            "-f",
            "lavfi",
            "-i",
            tones,
        ])
        .args(args)
        .arg(&path);
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is installed");
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read(&path).expect("ffmpeg wrote its output")
}

/// One file of each supported format, made once for all tests of a suite.
pub(crate) fn one_of_each() -> Vec<(&'static str, Vec<u8>)> {
    static FILES: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(encode_one_of_each).clone()
}

/// Names and encoders of the supported formats.
#[rustfmt::skip]
pub(crate) const FORMATS: [(&str, &[&str]); 12] = [
        (
            "a.mp3",
            &[
                "-c:a",
                "libmp3lame",
                "-b:a",
                "128k",
                "-metadata",
                "comment=made with suno",
            ],
        ),
        ("a.m4a", &["-c:a", "aac", "-b:a", "128k"]),
        (
            "f.m4a",
            &["-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"],
        ),
        ("a.aac", &["-c:a", "aac", "-b:a", "128k"]),
        ("a.flac", &["-c:a", "flac", "-sample_fmt", "s16"]),
        ("alac.m4a", &["-c:a", "alac"]),
        ("a.ogg", &["-c:a", "libvorbis", "-q:a", "3"]),
        ("a.wav", &["-c:a", "pcm_s16le"]),
        ("f32.wav", &["-c:a", "pcm_f32le"]),
        ("a.aiff", &["-c:a", "pcm_s16be"]),
        ("a.caf", &["-c:a", "pcm_s24be"]),
        ("alac.caf", &["-c:a", "alac"]),
    ];

fn encode_one_of_each() -> Vec<(&'static str, Vec<u8>)> {
    FORMATS
        .into_iter()
        .map(|(name, args)| (name, encoded(name, args)))
        .collect()
}
