//! The picture of a track's mel-spectrogram as a PNG in a `data:` address, on one colour scale for all reports: from paper to
//! ink, darker the louder, so that it prints in grey too. Written by hand: a palette and rows that are stored as they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proto::v1;
use types::Thumbnail;

/// The scale, from level 0 to 255, as red, green, blue: each is darker than the one before. It is linear between these.
pub(crate) const SCALE: [[u8; 3]; 6] = [
    [255, 255, 255],
    [214, 228, 239],
    [138, 180, 211],
    [59, 116, 168],
    [25, 58, 107],
    [8, 14, 35],
];

/// Bytes of a stored block at most, by the format.
const STORED_BYTES_MAX: usize = 65_535;

/// A sound picture of the wire as an address; none where it is not what a picture is.
pub(crate) fn address(picture: &v1::Thumbnail) -> Option<String> {
    let (bands, columns) = (
        usize::try_from(picture.bands).ok()?,
        usize::try_from(picture.columns).ok()?,
    );
    let cells = bands.checked_mul(columns)?;
    let sound = cells > 0 && cells == picture.levels.len() && cells <= Thumbnail::MAX_BYTES;
    sound.then(|| {
        let png = png(bands, columns, &picture.levels);
        format!("data:image/png;base64,{}", STANDARD.encode(png))
    })
}

/// The colour of a level.
fn colour(level: u8) -> [u8; 3] {
    let steps = SCALE.len() - 1;
    let place = f64::from(level) / 255.0 * steps as f64;
    let below = (place as usize).min(steps - 1);
    let share = place - below as f64;
    let mix = |at: usize| {
        let (from, to) = (f64::from(SCALE[below][at]), f64::from(SCALE[below + 1][at]));
        (from + (to - from) * share).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

/// Levels row by row from the lowest band, as a picture whose lowest row is the lowest band.
fn png(bands: usize, columns: usize, levels: &[u8]) -> Vec<u8> {
    let palette: Vec<u8> = (0..=255).flat_map(colour).collect();
    let rows = levels.chunks_exact(columns).rev();
    // Each row begins with the number of its filter: none.
    let raw: Vec<u8> = rows.flat_map(|row| [&[0], row].concat()).collect();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, b"IHDR", &header(bands, columns));
    chunk(&mut png, b"PLTE", &palette);
    chunk(&mut png, b"IDAT", &stored(&raw));
    chunk(&mut png, b"IEND", &[]);
    png
}

/// Width, height, eight bits a pixel, by palette, and nothing else out of the ordinary.
fn header(bands: usize, columns: usize) -> Vec<u8> {
    let side = |cells: usize| u32::try_from(cells).unwrap_or(u32::MAX).to_be_bytes();
    [&side(columns)[..], &side(bands), &[8, 3, 0, 0, 0]].concat()
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    png.extend(length.to_be_bytes());
    let named = [name, data].concat();
    png.extend(&named);
    png.extend(crc32fast::hash(&named).to_be_bytes());
}

/// A zlib stream of stored blocks: 4 KiB are not worth a compressor.
fn stored(raw: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let blocks = raw.len().div_ceil(STORED_BYTES_MAX);
    for (at, block) in raw.chunks(STORED_BYTES_MAX).enumerate() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(at + 1 == blocks));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler32(raw).to_be_bytes());
    stream
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1u32, 0u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(bands: u32, columns: u32, levels: usize) -> v1::Thumbnail {
        v1::Thumbnail {
            bands,
            columns,
            levels: vec![7; levels],
        }
    }

    #[test]
    fn a_picture_whose_size_is_not_that_of_its_levels_is_none() {
        assert!(address(&picture(2, 3, 6)).is_some());
        for (bands, columns, levels) in [
            (2, 3, 5),
            (0, 0, 0),
            (u32::MAX, u32::MAX, 1),
            (64, 65, 4_160),
        ] {
            assert_eq!(address(&picture(bands, columns, levels)), None);
        }
    }

    #[test]
    fn the_checksum_is_adler_s() {
        assert_eq!(adler32(b""), 1);
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }

    #[test]
    fn the_scale_darkens_from_level_to_level() {
        let light = |level: u8| {
            let [red, green, blue] = colour(level).map(u32::from);
            2_126 * red + 7_152 * green + 722 * blue
        };
        assert_eq!(colour(0), SCALE[0]);
        assert_eq!(colour(255), SCALE[5]);
        assert!((0..255).all(|level| light(level) >= light(level + 1)));
        assert!((0..251).all(|level| light(level) > light(level + 4)));
    }

    #[test]
    fn the_lowest_band_is_the_lowest_row() {
        let png = png(2, 3, &[1, 2, 3, 4, 5, 6]);
        let rows: &[u8] = &[0, 4, 5, 6, 0, 1, 2, 3];
        assert!(png.windows(rows.len()).any(|bytes| bytes == rows));
    }
}
