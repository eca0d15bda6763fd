//! ID3v2 tags: where they end, and which of their text frames claim a provenance. No parser of ours or others sees a
//! tag above the limit; pictures and everything that is no text are passed over.

use std::io;

use types::Warning;

use crate::limits::Limits;
use crate::source::{Blocks, ReadAt};
use crate::tags::Claims;

/// Tags one after another at the start of a file: broken tools have been seen to stack a few.
const TAGS_MAX: usize = 16;
/// Frames looked at in one tag: music has dozens; hostile tags have a hundred thousand.
const FRAMES_MAX: usize = 4096;
/// Longest text frame looked at, bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;
const HEADER_BYTES: usize = 10;

/// The offset behind the leading tags. A tag that claims to pass the end of the file ends at its end.
pub(super) fn skip_leading<R: ReadAt>(
    blocks: &mut Blocks<R>,
    limits: &Limits,
    claims: &mut Claims,
    warnings: &mut Vec<Warning>,
) -> io::Result<u64> {
    let mut start = 0;
    for _ in 0..TAGS_MAX {
        let Some(header) = blocks.array::<HEADER_BYTES>(start)? else {
            break;
        };
        let Some(body) = body_bytes(header) else {
            break;
        };
        if start + HEADER_BYTES as u64 + body > blocks.bytes() {
            // A length beyond the file is a lie; whatever follows the header may still be audio.
            warnings.push(Warning::TagsSkipped);
            return Ok(start + HEADER_BYTES as u64);
        }
        if body > limits.tag_bytes {
            warnings.push(Warning::TagsSkipped);
        } else {
            let body = blocks.vec(start + HEADER_BYTES as u64, body as usize)?;
            if !look_at(header, &body, claims) {
                warnings.push(Warning::TagsSkipped);
            }
        }
        let whole = HEADER_BYTES as u64 + body + footer_bytes(header);
        start = (start + whole).min(blocks.bytes());
    }
    Ok(start)
}

/// Looks for claims in a whole tag that stands inside another container. False when it has more frames than are looked at.
pub(super) fn look_at_embedded(tag: &[u8], claims: &mut Claims) -> bool {
    let Some((header, body)) = tag.split_first_chunk::<HEADER_BYTES>() else {
        return true;
    };
    let Some(length) = body_bytes(*header) else {
        return true;
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    look_at(*header, &body[..body.len().min(length)], claims)
}

/// The length of a whole tag, if this is the header of one.
pub(super) fn whole_bytes(header: [u8; HEADER_BYTES]) -> Option<u64> {
    Some(HEADER_BYTES as u64 + body_bytes(header)? + footer_bytes(header))
}

/// The length behind the header, if it is one.
fn body_bytes(header: [u8; HEADER_BYTES]) -> Option<u64> {
    let [b'I', b'D', b'3', major, minor, _, size @ ..] = header else {
        return None;
    };
    let plausible =
        (2..=4).contains(&major) && minor < 0xff && size.iter().all(|byte| byte & 0x80 == 0);
    plausible.then(|| seven_bits(size))
}

/// The header's copy behind the body, which a flag announces.
fn footer_bytes(header: [u8; HEADER_BYTES]) -> u64 {
    if header[5] & 0x10 != 0 {
        HEADER_BYTES as u64
    } else {
        0
    }
}

fn seven_bits(bytes: [u8; 4]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
}

/// False when there are more frames than are looked at.
fn look_at(header: [u8; HEADER_BYTES], body: &[u8], claims: &mut Claims) -> bool {
    let version = header[3];
    let unsynchronised = header[5] & 0x80 != 0;
    let undone;
    let body = if unsynchronised && version < 4 {
        undone = undo_unsynchronisation(body);
        &undone
    } else {
        body
    };
    let mut rest = &body[extended_header_bytes(version, header[5], body).min(body.len())..];
    for _ in 0..FRAMES_MAX {
        let Some((name, content, after)) = frame(version, rest) else {
            return true;
        };
        if let Some((name, text)) = text_of(name, content) {
            claims.look_at("ID3", &name, &text);
        }
        rest = after;
    }
    frame(version, rest).is_none()
}

fn extended_header_bytes(version: u8, flags: u8, body: &[u8]) -> usize {
    let Some(size) = body.first_chunk::<4>().filter(|_| flags & 0x40 != 0) else {
        return 0;
    };
    match version {
        3 => 4usize.saturating_add(u32::from_be_bytes(*size) as usize),
        4 => seven_bits(*size) as usize,
        _ => 0,
    }
}

fn undo_unsynchronisation(bytes: &[u8]) -> Vec<u8> {
    let mut previous = 0;
    let kept = bytes.iter().filter(|byte| {
        let stuffed = previous == 0xff && **byte == 0;
        previous = **byte;
        !stuffed
    });
    kept.copied().collect()
}

/// The next frame: name, content, rest.
fn frame(version: u8, bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name_bytes, header_bytes) = if version == 2 { (3, 6) } else { (4, 10) };
    let header = bytes.get(..header_bytes)?;
    let name = &header[..name_bytes];
    if !name.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let size = match (version, header) {
        (2, [.., a, b, c]) => u64::from(u32::from_be_bytes([0, *a, *b, *c])),
        (3, _) => u64::from(u32::from_be_bytes([
            header[4], header[5], header[6], header[7],
        ])),
        _ => seven_bits([header[4], header[5], header[6], header[7]]),
    };
    let content = bytes[header_bytes..].get(..usize::try_from(size).ok()?)?;
    Some((name, content, &bytes[header_bytes + content.len()..]))
}

/// Name and text of a frame that holds text.
fn text_of(name: &[u8], content: &[u8]) -> Option<(String, String)> {
    let content = &content[..content.len().min(TEXT_BYTES_MAX)];
    let name = String::from_utf8_lossy(name).into_owned();
    let (encoding, rest) = content.split_first()?;
    match name.as_str() {
        "TXXX" | "TXX" | "WXXX" | "WXX" => {
            let (description, value) = split_at_nul(*encoding, rest);
            // The address of a WXXX frame is always Latin-1.
            let value = if name.starts_with('W') {
                decoded(0, value)
            } else {
                decoded(*encoding, value)
            };
            Some((format!("{name}:{}", decoded(*encoding, description)), value))
        }
        "COMM" | "COM" | "USLT" | "ULT" => {
            let (description, value) = split_at_nul(*encoding, rest.get(3..)?);
            let description = decoded(*encoding, description);
            let name = if description.is_empty() {
                name
            } else {
                format!("{name}:{description}")
            };
            Some((name, decoded(*encoding, value)))
        }
        "PRIV" => None,
        _ if name.starts_with('T') => Some((name, decoded(*encoding, rest))),
        _ if name.starts_with('W') => Some((name, decoded(0, content))),
        _ => None,
    }
}

fn split_at_nul(encoding: u8, bytes: &[u8]) -> (&[u8], &[u8]) {
    let wide = matches!(encoding, 1 | 2);
    let step = if wide { 2 } else { 1 };
    let nul = bytes
        .chunks_exact(step)
        .position(|unit| unit.iter().all(|byte| *byte == 0));
    match nul {
        Some(units) => (&bytes[..units * step], &bytes[(units + 1) * step..]),
        None => (&[], bytes),
    }
}

fn decoded(encoding: u8, bytes: &[u8]) -> String {
    let text = match (encoding, bytes) {
        (1, [0xff, 0xfe, rest @ ..]) => utf16(rest, u16::from_le_bytes),
        (1, [0xfe, 0xff, rest @ ..]) | (2, rest) => utf16(rest, u16::from_be_bytes),
        (1, rest) => utf16(rest, u16::from_le_bytes),
        (3, rest) => String::from_utf8_lossy(rest).into_owned(),
        (_, rest) => rest.iter().map(|byte| char::from(*byte)).collect(),
    };
    text.trim_end_matches('\0').to_owned()
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(version: u8, frames: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, content) in frames {
            let size = content.len() as u32;
            body.extend_from_slice(name);
            body.extend_from_slice(&if version == 4 {
                spread(size)
            } else {
                size.to_be_bytes()
            });
            body.extend_from_slice(&[0, 0]);
            body.extend_from_slice(content);
        }
        let mut tag = vec![b'I', b'D', b'3', version, 0, 0];
        tag.extend_from_slice(&spread(body.len() as u32));
        tag.extend(body);
        tag
    }

    fn spread(size: u32) -> [u8; 4] {
        [size >> 21, size >> 14, size >> 7, size].map(|part| (part & 0x7f) as u8)
    }

    fn claims_of(tag: &[u8]) -> Vec<(String, String)> {
        let mut claims = Claims::default();
        look_at_embedded(tag, &mut claims);
        claims
            .into_kept()
            .into_iter()
            .map(|claim| (claim.tag, claim.value))
            .collect()
    }

    #[test]
    fn text_frames_of_every_encoding_are_read() {
        let utf16 = [
            &[1u8, 0xff, 0xfe][..],
            &"via\0"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<_>>(),
            &[0xff, 0xfe],
            &"made with Suno"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<_>>(),
        ]
        .concat();
        for version in [3, 4] {
            let tag = tag(
                version,
                &[
                    (b"APIC", &[0; 300]),
                    (b"TSSE", b"\x03Lavf60"),
                    (b"TXXX", &utf16),
                    (b"COMM", b"\x00engnote\0AI-generated"),
                ],
            );
            let claims = claims_of(&tag);
            let expected = [
                ("ID3 TSSE", "Lavf60"),
                ("ID3 TXXX:via", "made with Suno"),
                ("ID3 COMM:note", "AI-generated"),
            ];
            assert_eq!(
                claims,
                expected.map(|(tag, value)| (tag.to_owned(), value.to_owned()))
            );
        }
    }

    #[test]
    fn leading_tags_are_passed_over_and_large_or_lying_ones_warned_of() {
        let small = tag(3, &[(b"TSSE", b"\x00x")]);
        let large = tag(3, &[(b"APIC", &vec![0; 5000])]);
        let lying = [b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f".as_slice(), b"audio"].concat();
        let limits = Limits {
            tag_bytes: 4000,
            ..Limits::default()
        };
        #[rustfmt::skip]
        let rows = [
            ([small.clone(), b"audio".to_vec()].concat(), small.len(), false),
            ([small.clone(), small.clone(), b"audio".to_vec()].concat(), 2 * small.len(), false),
            ([large.clone(), b"audio".to_vec()].concat(), large.len(), true),
            (lying, 10, true),
            (b"no tag at all".to_vec(), 0, false),
        ];
        for (file, start, warned) in rows {
            let mut warnings = Vec::new();
            let found = skip_leading(
                &mut Blocks::new(file.as_slice()),
                &limits,
                &mut Claims::default(),
                &mut warnings,
            )
            .unwrap();
            assert_eq!((found, !warnings.is_empty()), (start as u64, warned));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_tag_reader_panic(version in 0u8..6, flags: u8, body in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut tag = vec![b'I', b'D', b'3', version, 0, flags];
            tag.extend(spread(body.len() as u32));
            tag.extend(body);
            claims_of(&tag);
        }

        #[test]
        fn no_text_frame_makes_the_tag_reader_panic(content in prop::collection::vec(any::<u8>(), 0..200), version in 3u8..5) {
            claims_of(&tag(version, &[(b"TXXX", &content), (b"COMM", &content), (b"TENC", &content), (b"WXXX", &content)]));
        }
    }
}
