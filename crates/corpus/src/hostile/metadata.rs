//! Tags that lie about their size, are huge, many, or hold text that should do harm where it is shown.

use super::shapes::{comments, id3, id3_frame, id3_header};
use super::{Blob, Hostile, Piece, Sound};

/// The most that a tag can declare: one byte less than 256 MiB.
const DECLARED_BYTES: u32 = (256 << 20) - 1;
/// Bytes of the picture that is really there.
const PICTURE_BYTES: u64 = 200 << 20;
/// Text frames of the crowded tag.
const TEXTS: usize = 100_000;
/// Text that turns direction, moves the cursor, rings and joins what a terminal may not show.
pub const CONTROL_TEXT: &str =
    "made with suno \u{202e}\u{1b}[2J\u{7}\u{200b}\u{1f469}\u{200d}\u{1f3a4}\u{feff}\r\nx";
/// Text that a careless page would run.
pub const SCRIPT_TEXT: &str = "suno <script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

/// Families 30 to 37 without 34.
pub fn files(sound: &Sound) -> Vec<Hostile> {
    let (mp3, flac) = (sound.of("mp3"), sound.of("flac"));
    let before = |tag: Vec<u8>| [&tag, mp3].concat();
    let declared = [&id3_header(3, 0, DECLARED_BYTES)[..], &[0; 1000]].concat();
    vec![
        Hostile::new(30, "id3-claims-256mib.mp3", before(declared.clone())),
        Hostile::new(30, "id3-claims-256mib-alone.mp3", declared),
        Hostile::new(31, "id3-200mb-picture.mp3", picture(mp3)),
        Hostile::new(32, "id3-33-bytes.mp3", small_tag()),
        Hostile::new(32, "id3-33-bytes-and-sound.mp3", before(small_tag())),
        Hostile::new(33, "id3-100k-texts.mp3", before(crowded())),
        Hostile::new(
            35,
            "comments-4g.flac",
            commented(flac, &comments(0xffff_fff0, &[])),
        ),
        Hostile::new(35, "comments-4g.ogg", commented_ogg(sound.of("ogg"))),
        Hostile::new(
            36,
            "tags-control-rtl-emoji.mp3",
            before(titled(CONTROL_TEXT)),
        ),
        Hostile::new(
            36,
            "tags-control-rtl-emoji.flac",
            commented(flac, &comments(1, &[&format!("ENCODER={CONTROL_TEXT}")])),
        ),
        Hostile::new(37, "tags-script.mp3", before(titled(SCRIPT_TEXT))),
        Hostile::new(
            37,
            "tags-script.flac",
            commented(flac, &comments(1, &[&format!("ENCODER={SCRIPT_TEXT}")])),
        ),
    ]
}

fn picture(mp3: &[u8]) -> Blob {
    // Seven bits of each byte of a tag's length count: 256 MiB is the most that can be said.
    let frame = PICTURE_BYTES as u32;
    let head = [
        &id3_header(3, 0, frame + 10)[..],
        b"APIC",
        &frame.to_be_bytes(),
        &[0, 0],
    ]
    .concat();
    Blob::of(vec![
        Piece::Bytes(head),
        Piece::Zeros(PICTURE_BYTES),
        Piece::Bytes(mp3.to_vec()),
    ])
}

/// A version 2.4 tag of 33 bytes: unsynchronised, with a text frame whose data-length field lies.
fn small_tag() -> Vec<u8> {
    let frame = b"TIT2\0\0\0\x0d\0\x0f\xff\xff\xff\xff\x03\0\xff\xe0\0\xff\0\0\0";
    id3(4, 0xc0, frame)
}

fn crowded() -> Vec<u8> {
    let frames = (0..TEXTS).flat_map(|i| id3_frame(b"TXXX", format!("\0k{i}\0v").as_bytes()));
    id3(3, 0, &frames.collect::<Vec<u8>>())
}

/// A tag whose encoder says this, in UTF-16 with a byte order mark.
fn titled(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    let content: Vec<u8> = [1, 0xff, 0xfe].into_iter().chain(units).collect();
    id3(
        3,
        0,
        &[id3_frame(b"TIT2", &content), id3_frame(b"TSSE", &content)].concat(),
    )
}

/// A FLAC file with this block of comments behind its description.
fn commented(flac: &[u8], block: &[u8]) -> Vec<u8> {
    let mut file = flac.to_vec();
    file[4] &= 0x7f;
    let length = (block.len() as u32).to_be_bytes();
    let header = [4, length[1], length[2], length[3]];
    file.splice(42..42, [&header, block].concat());
    file
}

/// An Ogg Vorbis file whose comment header claims four billion comments.
fn commented_ogg(ogg: &[u8]) -> Vec<u8> {
    use super::shapes::{OGG_FIRST, OGG_LAST, ogg_packets, ogg_page};
    let packets = ogg_packets(ogg);
    let lying = [b"\x03vorbis".as_slice(), &comments(0xffff_fff0, &[]), &[1]].concat();
    let mut file = ogg_page(1, 0, OGG_FIRST, 0, &[&packets[0]]);
    file.extend(ogg_page(1, 1, 0, 0, &[&lying, &packets[2]]));
    let sound = &packets[3..];
    for (i, packet) in sound.iter().enumerate() {
        let flags = if i + 1 == sound.len() { OGG_LAST } else { 0 };
        let granule = i as u64 * 1024;
        file.extend(ogg_page(1, i as u32 + 2, flags, granule, &[packet]));
    }
    file
}
