//! What the suites of this crate share: a test signal, and the system's ffmpeg as encoder and as reference decoder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder of its own for one test.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// Interleaved music-like samples: a few partials that move, and noise from a fixed seed, at half of full scale.
pub(crate) fn signal(rate: u32, channels: usize, seconds: f64) -> Vec<f32> {
    let frames = (seconds * f64::from(rate)) as usize;
    let mut noise = 0x2545_f491_4f6c_dd1du64;
    let mut out = Vec::with_capacity(frames * channels);
    for i in 0..frames {
        let t = i as f64 / f64::from(rate);
        for channel in 0..channels {
            let detune = 1.0 + channel as f64 * 0.01;
            let partials = [220.0, 554.4, 1318.5, 3520.0]
                .iter()
                .map(|hz| (hz * detune * t * std::f64::consts::TAU).sin());
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let hiss = (noise >> 40) as f64 / f64::from(1 << 24) - 0.5;
            let swell = 0.6 + 0.4 * (t * 3.0).sin();
            out.push((swell * 0.1 * partials.sum::<f64>() + 0.02 * hiss) as f32);
        }
    }
    out
}

/// A WAV file of 32-bit floats.
pub(crate) fn wav_f32(rate: u32, channels: usize, samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
    wav(3, rate, channels, 32, &data)
}

/// A WAV file of the given format tag and bits, around raw sample bytes.
pub(crate) fn wav(tag: u16, rate: u32, channels: usize, bits: u16, data: &[u8]) -> Vec<u8> {
    let frame = channels as u32 * u32::from(bits) / 8;
    let mut file = b"RIFF".to_vec();
    file.extend_from_slice(&(36 + data.len() as u32).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0");
    file.extend_from_slice(&tag.to_le_bytes());
    file.extend_from_slice(&(channels as u16).to_le_bytes());
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&rate.wrapping_mul(frame).to_le_bytes());
    file.extend_from_slice(&(frame as u16).to_le_bytes());
    file.extend_from_slice(&bits.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&(data.len() as u32).to_le_bytes());
    file.extend_from_slice(data);
    file
}

/// Encodes a file with ffmpeg.
pub(crate) fn encode(folder: &Path, source: &[u8], name: &str, args: &[&str]) -> Vec<u8> {
    let (input, output) = (folder.join(format!("{name}.source.wav")), folder.join(name));
    std::fs::write(&input, source).expect("the temporary folder can be written");
    ffmpeg(
        &[
            &["-i".into(), input],
            &args.iter().map(PathBuf::from).collect::<Vec<_>>()[..],
            std::slice::from_ref(&output),
        ]
        .concat(),
    );
    std::fs::read(&output).expect("ffmpeg wrote its output")
}

/// What ffmpeg decodes: interleaved samples at the file's own rate and channels.
pub(crate) fn reference(folder: &Path, file: &[u8], name: &str, args: &[&str]) -> Vec<f32> {
    let (input, output) = (
        folder.join(format!("reference.{name}")),
        folder.join(format!("{name}.f32")),
    );
    std::fs::write(&input, file).expect("the temporary folder can be written");
    let args: Vec<PathBuf> = args.iter().map(PathBuf::from).collect();
    ffmpeg(
        &[
            &["-i".into(), input],
            &args[..],
            &["-f".into(), "f32le".into(), output.clone()],
        ]
        .concat(),
    );
    let bytes = std::fs::read(&output).expect("ffmpeg wrote its output");
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|four| f32::from_le_bytes(*four))
        .collect()
}

fn ffmpeg(args: &[PathBuf]) {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-nostdin", "-y", "-bitexact"])
        .args(args)
        .stdin(Stdio::null());
    let output = command.output().expect("ffmpeg is installed");
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
