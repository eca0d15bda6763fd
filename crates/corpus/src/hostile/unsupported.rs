//! Formats that no codec here decodes, each as a file of its own kind.

use super::headers::aac_mp4;
use super::shapes::{Mp4, mp4_aac, mp4_box, mp4_entry};
use super::{Hostile, Sound};

/// Family 56.
pub fn files(sound: &Sound) -> Vec<Hostile> {
    let made = |name: &str| Hostile::new(56, name, sound.of(name).to_vec());
    vec![
        made("opus.opus"),
        made("opus.mka"),
        made("opus.mp4"),
        made("wavpack.wv"),
        made("video.mp4"),
        Hostile::new(56, "he-aac.m4a", aac_mp4(&[0x2b, 0x92, 0x08, 0x00])),
        Hostile::new(56, "he-aac-unsignalled.m4a", aac_mp4(&[0x13, 0x90])),
        Hostile::new(56, "he-aac.aac", he_aac_adts()),
        Hostile::new(56, "dsd.dsf", dsf()),
        Hostile::new(56, "drm.m4p", protected()),
        Hostile::new(
            56,
            "song.mid",
            b"MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk\0\0\0\x04\0\xff\x2f\0".to_vec(),
        ),
    ]
}

/// ADTS frames of 22.05 kHz: the core of HE-AAC, whose other half nothing announces.
fn he_aac_adts() -> Vec<u8> {
    let frame = [&[0xff, 0xf1, 0x5c, 0x80, 0x02, 0xff, 0xfc][..], &[0; 16]].concat();
    frame.repeat(40)
}

/// A second of DSD: headers, a format chunk, samples.
fn dsf() -> Vec<u8> {
    let samples = vec![0x69; 8192];
    let mut file = b"DSD \x1c\0\0\0\0\0\0\0".to_vec();
    file.extend((92 + samples.len() as u64).to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.extend(b"fmt \x34\0\0\0\0\0\0\0");
    for word in [1u32, 0, 2, 2, 2_822_400, 1, 32_768, 0, 4096, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(b"data");
    file.extend((12 + samples.len() as u64).to_le_bytes());
    file.extend(samples);
    file
}

/// An AAC stream under protection: its sample entry says so and names what it was.
fn protected() -> Vec<u8> {
    let scheme = [
        mp4_box(b"frma", b"mp4a"),
        mp4_box(b"schm", b"\0\0\0\0itun\0\0\0\0"),
        mp4_box(b"schi", &mp4_box(b"user", &[0; 4])),
    ];
    let boxes = [mp4_aac(&[0x12, 0x10]), mp4_box(b"sinf", &scheme.concat())].concat();
    Mp4::of(mp4_entry(b"drms", &boxes), 64, 1024, &[0x5a; 6400]).file()
}
