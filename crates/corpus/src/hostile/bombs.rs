//! Bombs: little to read, much to decode.

use super::shapes::{
    Mp4, OGG_FIRST, OGG_LAST, SilentFlac, Wav, mp4_aac, mp4_entry, mp4_pcm, ogg_packets, ogg_page,
};
use super::{Blob, Hostile, Piece, Sound};

/// Ten hours in seconds.
const TEN_HOURS: u32 = 10 * 3600;
/// Chained streams of one Ogg file.
const STREAMS: u32 = 100_000;
/// Samples of the finely cut M4A.
const TINY_SAMPLES: usize = 1_000_000;

/// Families 1 to 10 without those that need a server.
pub fn files(sound: &Sound) -> Vec<Hostile> {
    vec![
        Hostile::new(1, "flac-10h-stereo.flac", flac(44_100, 2, 16, TEN_HOURS)),
        Hostile::new(2, "flac-1h-8ch-192khz.flac", flac(192_000, 8, 24, 3600)),
        Hostile::new(3, "flac-655350hz-8ch.flac", flac(655_350, 8, 16, 60)),
        Hostile::new(4, "mp3-10h-8kbps.mp3", mp3_silence()),
        Hostile::new(5, "vorbis-10h.ogg", vorbis_silence(sound.of("silence.ogg"))),
        Hostile::new(7, "ogg-100k-chained.ogg", chained(sound.of("ogg"))),
        Hostile::new(7, "ogg-100k-at-once.ogg", at_once(sound.of("ogg"))),
        Hostile::new(8, "wav-26ch-768khz.wav", wide_wav()),
        Hostile::new(10, "m4a-1m-tiny-samples.m4a", tiny_samples(None)),
        Hostile::new(10, "m4a-1m-durations.m4a", tiny_samples(Some(durations()))),
        Hostile::new(10, "m4a-1m-tiny-packets.m4a", tiny_packets()),
    ]
}

fn flac(rate: u32, channels: u8, bits: u8, seconds: u32) -> Vec<u8> {
    let shape = SilentFlac {
        rate,
        channels,
        bits,
        seconds,
    };
    shape.file()
}

/// MPEG-2 layer III, 8 kbit/s, mono, 22,050 Hz: 26 bytes a frame, no side information, 576 samples of silence.
fn mp3_silence() -> Blob {
    let mut frame = vec![0; 26];
    frame[..4].copy_from_slice(&[0xff, 0xf3, 0x10, 0xc0]);
    let frames = u64::from(TEN_HOURS) * 22_050 / 576;
    Blob::of(vec![Piece::Repeat(frame, frames)])
}

/// The headers of a silent file, then its shortest block over and over.
fn vorbis_silence(short: &[u8]) -> Vec<u8> {
    /// Samples that a long block of libvorbis adds behind another at 44.1 kHz.
    const BLOCK: u64 = 1024;
    let packets = ogg_packets(short);
    let (headers, blocks) = packets.split_at(3);
    let block = &blocks[blocks.len() / 2];
    let per_page = (255 / (block.len() / 255 + 1)).min(255);
    let pages = u64::from(TEN_HOURS) * 44_100 / BLOCK / per_page as u64;
    let mut file = ogg_page(1, 0, OGG_FIRST, 0, &[&headers[0]]);
    file.extend(ogg_page(1, 1, 0, 0, &[&headers[1], &headers[2]]));
    let full: Vec<&[u8]> = vec![block; per_page];
    for page in 0..pages {
        let granule = (page + 1) * per_page as u64 * BLOCK;
        let flags = if page + 1 == pages { OGG_LAST } else { 0 };
        file.extend(ogg_page(1, page as u32 + 2, flags, granule, &full));
    }
    file
}

/// One sound stream, then a hundred thousand of two pages each, one after the other.
fn chained(sound: &[u8]) -> Vec<u8> {
    let mut file = sound.to_vec();
    for stream in 0..STREAMS {
        file.extend(flac_in_ogg(stream + 1000, OGG_FIRST));
        file.extend(ogg_page(stream + 1000, 1, OGG_LAST, 0, &[&[]]));
    }
    file
}

/// A hundred thousand streams that all begin before the sound.
fn at_once(sound: &[u8]) -> Vec<u8> {
    let starts = (0..STREAMS).flat_map(|stream| flac_in_ogg(stream + 1000, OGG_FIRST));
    starts.chain(sound.iter().copied()).collect()
}

/// The first page of a FLAC stream in Ogg.
fn flac_in_ogg(serial: u32, flags: u8) -> Vec<u8> {
    let mut packet = b"\x7fFLAC\x01\0\0\x01fLaC\0\0\0\x22".to_vec();
    packet.extend([0x10, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0xc4, 0x42, 0xf0]);
    packet.resize(packet.len() + 20, 0);
    ogg_page(serial, 0, flags, 0, &[&packet])
}

fn wide_wav() -> Vec<u8> {
    let wav = Wav {
        bits: 32,
        align: 26 * 4,
        ..Wav::of_i16(26, 768_000, &[0; 26 * 4 * 1000])
    };
    wav.file()
}

/// A million samples of PCM, each of one frame.
fn tiny_samples(durations: Option<Vec<u32>>) -> Vec<u8> {
    let frames: Vec<u8> = (0..TINY_SAMPLES)
        .flat_map(|i| [0, (i % 50) as u8, 0, (i % 70) as u8])
        .collect();
    let shape = Mp4 {
        durations,
        ..Mp4::of(mp4_pcm(), 4, 1, &frames)
    };
    shape.file()
}

/// An entry for each sample, none like its neighbours.
fn durations() -> Vec<u32> {
    (0..TINY_SAMPLES as u32)
        .flat_map(|i| [1, 1 + i % 2])
        .collect()
}

/// AAC packets of one byte, none of which decodes.
fn tiny_packets() -> Vec<u8> {
    let entry = mp4_entry(b"mp4a", &mp4_aac(&[0x12, 0x10]));
    Mp4::of(entry, 1, 1024, &vec![0x55; TINY_SAMPLES]).file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bombs_are_small_where_they_should_be() {
        let megabytes =
            |rate, channels, bits, seconds| flac(rate, channels, bits, seconds).len() as f64 / 1e6;
        assert!(megabytes(44_100, 2, 16, TEN_HOURS) < 0.5);
        assert!(megabytes(192_000, 8, 24, 3600) < 0.6);
    }
}
