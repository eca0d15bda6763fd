//! MP4 files of a million packets, whose tables make a parser that searches them from the start for each packet take hours.

use audio::limits::Limits;
use types::Code;

use crate::common::{MONO_22K, decode_within, host};

/// Packets, each of one frame of 16-bit stereo.
const PACKETS: u32 = 1_000_000;

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

/// A box around its parts.
fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&numbers(&[8 + content.len() as u32]), &kind[..], &content].concat()
}

/// The head of a file and its index around these tables and boxes of the movie.
fn head(tables: &[&[u8]], movie: &[u8]) -> Vec<u8> {
    const FORMAT: &[u8] = b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x02\0\x10\0\0\0\0\xac\x44\0\0";
    let entry = [&numbers(&[0, 1])[..], &boxed(b"sowt", &[FORMAT])].concat();
    let tables = [&boxed(b"stsd", &[&entry])[..], &tables.concat()].concat();
    let information = boxed(
        b"minf",
        &[&boxed(b"smhd", &[&[0; 8]]), &boxed(b"stbl", &[&tables])],
    );
    let clock = numbers(&[0, 0, 0, 44_100, 0]);
    let media = [
        boxed(b"mdhd", &[&clock, &[0x55, 0xc4, 0, 0]]),
        boxed(b"hdlr", &[&[0; 8], b"soun", &[0; 13]]),
        information,
    ];
    let track = boxed(b"tkhd", &[&numbers(&[7, 0, 0, 1]), &[0; 68]]);
    let track = boxed(b"trak", &[&track, &boxed(b"mdia", &[&media.concat()])]);
    let header = boxed(b"mvhd", &[&clock, &[0; 80]]);
    let start = boxed(b"ftyp", &[b"M4A \0\0\0\0isommp42"]);
    [start, boxed(b"moov", &[&header, &track, movie])].concat()
}

fn samples() -> Vec<u8> {
    let frames = (0..PACKETS).flat_map(|i| [0, (i % 50) as u8, 0, (i % 70) as u8]);
    boxed(b"mdat", &[&frames.collect::<Vec<u8>>()])
}

/// Each packet has an entry of its own in the table of durations, and no two neighbours are alike.
fn in_one_table() -> Vec<u8> {
    let durations = (0..PACKETS).flat_map(|i| [1, 1 + i % 2]);
    let durations = numbers(
        &[0, PACKETS]
            .into_iter()
            .chain(durations)
            .collect::<Vec<u32>>(),
    );
    let index = |at| {
        let tables = [
            boxed(b"stts", &[&durations]),
            boxed(b"stsc", &[&numbers(&[0, 1, 1, PACKETS, 1])]),
            boxed(b"stsz", &[&numbers(&[0, 4, PACKETS])]),
            boxed(b"stco", &[&numbers(&[0, 1, at])]),
        ];
        head(&[&tables.concat()], &[])
    };
    let at = index(0).len() as u32 + 8;
    [index(at), samples()].concat()
}

/// The same in a fragment.
fn in_one_fragment() -> Vec<u8> {
    let none = numbers(&[0, 0]);
    let tables = [
        boxed(b"stts", &[&none]),
        boxed(b"stsc", &[&none]),
        boxed(b"stsz", &[&none, &[0; 4]]),
        boxed(b"stco", &[&none]),
    ];
    let extends = boxed(
        b"mvex",
        &[&boxed(b"trex", &[&numbers(&[0, 1, 1, 1, 4, 0])])],
    );
    let packets: Vec<u32> = (0..PACKETS).flat_map(|i| [1 + i % 2, 4]).collect();
    let packets = numbers(&packets);
    let fragment = |at| {
        // An offset of the samples, then a duration and a length for each packet.
        let run = boxed(b"trun", &[&numbers(&[0x301, PACKETS, at]), &packets]);
        let stream = boxed(b"tfhd", &[&numbers(&[0x2_0000, 1])]);
        let number = boxed(b"mfhd", &[&numbers(&[0, 1])]);
        boxed(b"moof", &[&number, &boxed(b"traf", &[&stream, &run])])
    };
    let at = fragment(0).len() as u32 + 8;
    [head(&[&tables.concat()], &extends), fragment(at), samples()].concat()
}

#[test]
fn a_million_packets_of_own_durations_decode_in_seconds_or_end_at_the_processor_limit() {
    let mut host = host();
    let pid = host.pid();
    for (what, file, cpu_s, expected) in [
        ("one table", in_one_table(), 10, None),
        (
            "one fragment",
            in_one_fragment(),
            2,
            Some(Code::DecodeCpuLimit),
        ),
    ] {
        let limits = Limits {
            cpu_s,
            ..Limits::default()
        };
        let (outcome, _) = decode_within(&mut host, &file, "a.m4a", MONO_22K, limits);
        assert_eq!(outcome.code(), expected, "{what}: {outcome:?}");
    }
    assert_eq!(host.pid(), pid);
}
