//! Tags that claim where a recording comes from, out of each container that may carry them, through the real sandboxed decoder.

use crate::common::{MONO_22K, decode, encoded, host};
use audio::host::Outcome;

/// What a tag says, and the same as a kept claim.
const CLAIM: &str = "made with suno";

/// The claims of a file that decodes, as place and name, and text.
fn claims(name: &str, file: &[u8]) -> Vec<(String, String)> {
    let outcome = decode(&mut host(), file, name, MONO_22K).0;
    let Outcome::Done(summary) = outcome else {
        panic!("{name}: {outcome:?}")
    };
    let kept = summary.provenance.into_iter();
    kept.map(|claim| (claim.tag, claim.value)).collect()
}

/// A file's claims by an encoder of ours are left out: what is looked for is what was put in.
#[track_caller]
fn check(name: &str, file: &[u8], expected: &[(&str, &str)]) {
    let mut found = claims(name, file);
    found.retain(|(_, value)| value.contains("suno") || value.contains("AI"));
    let expected: Vec<(String, String)> = expected
        .iter()
        .map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(found, expected, "{name}");
}

/// A chunk of a RIFF or IFF file with its padding.
fn chunk(name: &[u8; 4], content: &[u8], size: fn(u32) -> [u8; 4]) -> Vec<u8> {
    let mut chunk = name.to_vec();
    chunk.extend(size(content.len() as u32));
    chunk.extend(content);
    chunk.extend(vec![0; content.len() % 2]);
    chunk
}

/// The file with more chunks at its end.
fn with(mut file: Vec<u8>, chunks: &[Vec<u8>], size: fn(u32) -> [u8; 4]) -> Vec<u8> {
    file.extend(chunks.concat());
    let whole = file.len() as u32 - 8;
    file[4..8].copy_from_slice(&size(whole));
    file
}

/// An ID3v2.3 tag with one comment-like text frame.
fn id3(name: &[u8; 4], text: &str) -> Vec<u8> {
    let mut frame = name.to_vec();
    frame.extend((text.len() as u32 + 1).to_be_bytes());
    frame.extend([0, 0, 3]);
    frame.extend(text.as_bytes());
    let mut tag = b"ID3\x03\0\0\0\0\0".to_vec();
    tag.push(frame.len() as u8);
    tag.extend(frame);
    tag
}

#[test]
fn claims_of_a_wav_are_found_in_its_info_list_its_broadcast_chunk_and_its_id3_tag() {
    let (le, wav) = (
        u32::to_le_bytes as fn(u32) -> [u8; 4],
        encoded("a.wav", &["-c:a", "pcm_s16le", "-t", "0.5"]),
    );
    let info = [b"INFO".to_vec(), chunk(b"ICMT", b"made with suno\0", le)].concat();
    let list = chunk(b"LIST", &info, le);
    check(
        "info.wav",
        &with(wav.clone(), std::slice::from_ref(&list), le),
        &[("RIFF ICMT", CLAIM)],
    );
    let bext = chunk(b"bext", b"made with suno\0and more\0", le);
    check(
        "bext.wav",
        &with(wav.clone(), &[bext], le),
        &[("RIFF bext", CLAIM)],
    );
    let tag = chunk(b"id3 ", &id3(b"TCOM", CLAIM), le);
    check(
        "id3.wav",
        &with(wav.clone(), &[tag, list], le),
        &[("ID3 TCOM", CLAIM), ("RIFF ICMT", CLAIM)],
    );
    // A text that is no claim, a list of another kind, and an entry that is longer than its list.
    let plain = [b"INFO".to_vec(), chunk(b"IART", b"Studio Band\0", le)].concat();
    let other = [b"adtl".to_vec(), chunk(b"labl", b"made with suno\0", le)].concat();
    let torn = [&b"INFOICMT\xff\0\0\0"[..], b"made with suno"].concat();
    let chunks = [plain, other, torn].map(|content| chunk(b"LIST", &content, le));
    check("none.wav", &with(wav, &chunks, le), &[]);
}

#[test]
fn claims_of_an_aiff_are_found_in_its_text_chunks() {
    let (be, aiff) = (
        u32::to_be_bytes as fn(u32) -> [u8; 4],
        encoded("a.aiff", &["-c:a", "pcm_s16be", "-t", "0.5"]),
    );
    let chunks = [
        chunk(b"ANNO", b"AI-generated", be),
        chunk(b"NAME", b"A name", be),
    ];
    check(
        "a.aiff",
        &with(aiff, &chunks, be),
        &[("IFF ANNO", "AI-generated")],
    );
}

#[test]
fn claims_of_vorbis_comments_are_found_in_ogg_and_in_flac() {
    let tags = ["-metadata", "comment=made with suno", "-t", "0.5"];
    let ogg = [&["-c:a", "libvorbis", "-q:a", "3"][..], &tags].concat();
    let flac = [&["-c:a", "flac"][..], &tags].concat();
    for (name, args) in [("a.ogg", ogg), ("a.flac", flac)] {
        let found = claims(name, &encoded(name, &args));
        let [(tag, _)] = &found
            .iter()
            .filter(|(_, value)| value == CLAIM)
            .collect::<Vec<_>>()[..]
        else {
            panic!("{name}: {found:?}")
        };
        assert!(tag.starts_with("Vorbis "), "{name}: {tag}");
    }
    let plain = encoded("b.ogg", &["-c:a", "libvorbis", "-t", "0.5"]);
    assert!(
        !claims("b.ogg", &plain)
            .iter()
            .any(|(_, value)| value == CLAIM)
    );
}
