//! Headers that lie: lengths, counts, rates, channels, offsets and nestings that are not so or cannot be.

use super::shapes::{Mp4, Wav, aiff, caf, mp4_aac, mp4_box, mp4_entry, mp4_pcm, numbers};
use super::{Hostile, Sound};

/// 44.1 kHz as an 80-bit float, less its exponent.
const RATE_80: [u8; 10] = [0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0];
/// How deep nested boxes and elements go.
const DEPTH: usize = 10_000;

/// Families 11 to 29.
pub fn files(sound: &Sound) -> Vec<Hostile> {
    let data = tone();
    let wav = Wav::of_i16(2, 44_100, &data);
    let of = |change: fn(&mut Wav<'_>)| {
        let mut changed = wav.clone();
        change(&mut changed);
        changed.file()
    };
    let body = Wav {
        stated: 0xffff_fffe,
        ..Wav::of_i16(2, 44_100, &data[..4096])
    };
    vec![
        Hostile::new(11, "wav-claims-4gib.wav", body.file()),
        Hostile::new(12, "rf64-claims-2e63.wav", rf64(&data)),
        Hostile::new(13, "mp3-xing-claims-100h.mp3", xing(sound.of("mp3"))),
        Hostile::new(
            14,
            "flac-claims-2e36-samples.flac",
            long_flac(sound.of("flac")),
        ),
        Hostile::new(
            15,
            "caf-packet-table-2e60.caf",
            caf(1, &packet_table(1 << 60), &data),
        ),
        Hostile::new(
            15,
            "caf-packet-table-2e60-alac.caf",
            alac_caf(1 << 60, 4096),
        ),
        Hostile::new(
            16,
            "caf-frames-per-packet.caf",
            caf(0x4000_0001, &[], &data),
        ),
        Hostile::new(
            16,
            "caf-frames-per-packet-alac.caf",
            alac_caf(1, 0x4000_0001),
        ),
        Hostile::new(
            17,
            "mp4-stsz-2e32.m4a",
            pcm_mp4(&data, |mp4| mp4.count = u32::MAX),
        ),
        Hostile::new(
            18,
            "mp4-stco-past-eof.m4a",
            pcm_mp4(&data, |mp4| mp4.chunk_at = Some(0x7fff_0000)),
        ),
        Hostile::new(
            19,
            "mp4-elst-negative.m4a",
            pcm_mp4(&data, |mp4| mp4.track_boxes = negative_edit()),
        ),
        Hostile::new(
            20,
            "aiff-rate-nan.aiff",
            aiff([0x7f, 0xff, 0xc0, 0, 0, 0, 0, 0, 0, 0], &data),
        ),
        Hostile::new(
            20,
            "aiff-rate-inf.aiff",
            aiff([0x7f, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], &data),
        ),
        Hostile::new(20, "aiff-rate-0.aiff", aiff([0; 10], &data)),
        Hostile::new(
            20,
            "aiff-rate-negative.aiff",
            aiff([0xc0, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0], &data),
        ),
        Hostile::new(20, "aiff-rate-sound.aiff", aiff(RATE_80, &data)),
        Hostile::new(21, "wav-rate-0.wav", of(|wav| wav.rate = 0)),
        Hostile::new(22, "wav-rate-2e32.wav", of(|wav| wav.rate = u32::MAX)),
        Hostile::new(23, "wav-0-channels.wav", of(|wav| wav.channels = 0)),
        Hostile::new(
            24,
            "wav-65535-channels.wav",
            of(|wav| wav.channels = u16::MAX),
        ),
        Hostile::new(25, "wav-align-3.wav", of(|wav| wav.align = 3)),
        Hostile::new(25, "wav-align-0.wav", of(|wav| wav.align = 0)),
        Hostile::new(25, "wav-bits-0.wav", of(|wav| wav.bits = 0)),
        Hostile::new(26, "mkv-lacing-negative.mka", negative_lacing()),
        Hostile::new(27, "mkv-unknown-size-nesting.mka", nested_elements()),
        Hostile::new(
            28,
            "mp4-nested-boxes.m4a",
            nested_boxes(&[b"moov", b"trak", b"mdia", b"minf"]),
        ),
        Hostile::new(28, "mp4-nested-moov.m4a", nested_boxes(&[b"moov"])),
        Hostile::new(
            28,
            "mp4-nested-meta.m4a",
            nested_boxes(&[b"moov", b"udta", b"meta", b"ilst"]),
        ),
        Hostile::new(29, "alac-cookie-2e32.m4a", alac_mp4(u32::MAX)),
        Hostile::new(29, "alac-cookie-2e32.caf", alac_cookie_caf(u32::MAX)),
    ]
}

/// A second and a half of a sawtooth, stereo, 16 bits, little-endian.
fn tone() -> Vec<u8> {
    let sample = |i: u32| ((i * 331 % 20_000) as i16 - 10_000).to_le_bytes();
    (0..66_150)
        .flat_map(|i| [sample(i), sample(i * 2)].concat())
        .collect()
}

fn rf64(data: &[u8]) -> Vec<u8> {
    let mut file = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
    for _ in 0..3 {
        file.extend((1u64 << 63).to_le_bytes());
    }
    file.extend([0; 4]);
    file.extend(Wav::of_i16(2, 44_100, &[]).format());
    file.extend(b"data\xff\xff\xff\xff");
    file.extend(data);
    file
}

/// An MP3 whose first frame says how many follow: a hundred hours of them.
fn xing(mp3: &[u8]) -> Vec<u8> {
    let mut file = mp3.to_vec();
    let at = find(mp3, b"Info")
        .or_else(|| find(mp3, b"Xing"))
        .expect("ffmpeg writes an info frame");
    let frames = (100 * 3600 * 44_100u64 / 1152) as u32;
    file[at + 8..at + 12].copy_from_slice(&frames.to_be_bytes());
    file
}

fn long_flac(flac: &[u8]) -> Vec<u8> {
    let mut file = flac.to_vec();
    file[21] |= 15;
    file[22..26].fill(0xff);
    file
}

/// A packet table that claims so many packets.
fn packet_table(packets: u64) -> Vec<u8> {
    let mut chunk = b"pakt".to_vec();
    chunk.extend(24u64.to_be_bytes());
    chunk.extend(packets.to_be_bytes());
    chunk.extend((packets as i64).saturating_mul(4).to_be_bytes());
    chunk.extend([0; 8]);
    chunk
}

/// An ALAC stream in CAF without a single packet that decodes.
fn alac_caf(packets: u64, frames_per_packet: u32) -> Vec<u8> {
    alac_caf_with(packets, frames_per_packet, 4096)
}

fn alac_cookie_caf(frames: u32) -> Vec<u8> {
    alac_caf_with(1, 4096, frames)
}

fn alac_caf_with(packets: u64, frames_per_packet: u32, cookie_frames: u32) -> Vec<u8> {
    let mut file = b"caff\0\x01\0\0desc".to_vec();
    file.extend(32u64.to_be_bytes());
    file.extend(44_100f64.to_be_bytes());
    file.extend(b"alac");
    file.extend(numbers(&[1, 0, frames_per_packet, 2, 0]));
    file.extend(b"kuki");
    file.extend(24u64.to_be_bytes());
    file.extend(alac_cookie(cookie_frames));
    file.extend(packet_table(packets));
    file.extend(b"data");
    file.extend(68u64.to_be_bytes());
    file.extend([0; 68]);
    file
}

/// ALAC's description of a stereo stream of 16 bits with so many frames a packet.
fn alac_cookie(frames: u32) -> Vec<u8> {
    let fields = [0, 16, 40, 10, 14, 2, 0, 255];
    [
        &frames.to_be_bytes()[..],
        &fields,
        &numbers(&[0, 0, 44_100]),
    ]
    .concat()
}

fn alac_mp4(frames: u32) -> Vec<u8> {
    let cookie = [&[0; 4][..], &alac_cookie(frames)].concat();
    let entry = mp4_entry(b"alac", &mp4_box(b"alac", &cookie));
    Mp4::of(entry, 64, 4096, &[0; 640]).file()
}

fn pcm_mp4(data: &[u8], change: fn(&mut Mp4<'_>)) -> Vec<u8> {
    let mut mp4 = Mp4::of(mp4_pcm(), 4, 1, data);
    change(&mut mp4);
    mp4.file()
}

/// An edit list that begins before the beginning and lasts less than nothing.
fn negative_edit() -> Vec<u8> {
    let edits = numbers(&[
        0,
        2,
        0xffff_0000,
        0x8000_0000,
        0x1_0000,
        44_100,
        0xffff_fff0,
        0x1_0000,
    ]);
    mp4_box(b"edts", &mp4_box(b"elst", &edits))
}

/// Boxes in boxes, each the only content of the one around it, in turn of these kinds.
fn nested_boxes(kinds: &[&[u8; 4]]) -> Vec<u8> {
    let mut file = mp4_box(b"ftyp", b"M4A \0\0\0\0isommp42");
    for depth in 0..DEPTH {
        file.extend(((DEPTH - depth) as u32 * 8).to_be_bytes());
        file.extend(kinds[depth % kinds.len()]);
    }
    file
}

/// The head of a Matroska file, then a segment of unknown size.
fn matroska() -> Vec<u8> {
    let head = b"\x1a\x45\xdf\xa3\x8b\x42\x82\x88matroska";
    let segment = b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff";
    [head.as_slice(), segment].concat()
}

/// A block whose EBML lacing subtracts more than there is.
fn negative_lacing() -> Vec<u8> {
    let block = b"\xa3\x8a\x81\0\0\x06\x03\x81\x20\0\xff\xff";
    let cluster = b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff\xe7\x81\0";
    [&matroska()[..], cluster, block].concat()
}

/// Clusters of unknown size in one another.
fn nested_elements() -> Vec<u8> {
    let mut file = matroska();
    for _ in 0..DEPTH {
        file.extend(b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff");
    }
    file
}

fn find(file: &[u8], what: &[u8]) -> Option<usize> {
    file.windows(what.len()).position(|window| window == what)
}

/// An AAC stream with a configuration of one's own.
pub(super) fn aac_mp4(config: &[u8]) -> Vec<u8> {
    Mp4::of(mp4_entry(b"mp4a", &mp4_aac(config)), 6, 1024, &[0; 600]).file()
}
