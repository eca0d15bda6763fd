//! Codec and bitrate as one name: tracks that came through the same sieve.

/// The bitrates that encoders are set to, in kilobits per second. What lies between belongs to the nearest by its ratio.
const KBPS: [u64; 10] = [32, 48, 64, 96, 128, 160, 192, 224, 256, 320];

/// The bucket of a track by its codec and what it takes: a lossless codec alone, a lossy one with the nearest usual bitrate.
#[must_use]
pub fn bucket(codec: &str, bytes: Option<u64>, duration_ms: Option<u64>) -> String {
    if codec.is_empty() {
        return "unknown".to_owned();
    }
    if is_lossless(codec) {
        return codec.to_owned();
    }
    let rate = bytes
        .zip(duration_ms.filter(|ms| *ms > 0))
        .map(|(bytes, ms)| bytes as f64 * 8.0 / ms as f64);
    match rate {
        None => codec.to_owned(),
        Some(kbps) => format!("{codec} {}", nearest(kbps)),
    }
}

fn is_lossless(codec: &str) -> bool {
    codec.starts_with("pcm") || matches!(codec, "flac" | "alac" | "wav" | "aiff")
}

fn nearest(kbps: f64) -> u64 {
    let away = |usual: &u64| (kbps.max(1.0) / *usual as f64).ln().abs();
    let nearest = KBPS.iter().min_by(|a, b| away(a).total_cmp(&away(b)));
    *nearest.expect("there are usual bitrates")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_the_codec_with_the_nearest_usual_bitrate() {
        for (codec, bytes, ms, expected) in [
            ("mp3", Some(960_000), Some(60_000), "mp3 128"),
            ("mp3", Some(990_000), Some(60_000), "mp3 128"),
            ("aac", Some(480_000), Some(60_000), "aac 64"),
            ("vorbis", Some(9), Some(60_000), "vorbis 32"),
            ("mp3", Some(99_960_000), Some(60_000), "mp3 320"),
            ("flac", Some(5_000_000), Some(60_000), "flac"),
            ("pcm_s16le", Some(5_000_000), Some(60_000), "pcm_s16le"),
            ("mp3", None, Some(60_000), "mp3"),
            ("mp3", Some(1), Some(0), "mp3"),
            ("", Some(1), Some(1), "unknown"),
        ] {
            assert_eq!(bucket(codec, bytes, ms), expected);
        }
    }
}
