//! Archives and safetensors files that lie about what they hold, or hide it.

use crate::make::{STORED, archive, check, checkpoint, zip};
use checkpoint::Refusal;
use rawzip::CompressionMethod;

#[test]
fn archives_that_lie_or_hide_are_refused() {
    let sound = checkpoint(&[]);
    let name = |e: &Refusal| matches!(e, Refusal::EntryName(_));
    for evil in [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../data/1",
        "a//data/1",
        "a\\data\\1",
        "c:/data",
        "a/./x",
        "a/x\n",
        "a/\u{1b}[2J",
        "a/",
    ] {
        let file = zip(&[
            ("a/data.pkl", STORED, &sound),
            ("a/data/0", STORED, &[0; 16]),
            (evil, STORED, b""),
        ]);
        check(evil, &file, name);
    }
    let double = zip(&[
        ("a/data.pkl", STORED, &sound),
        ("a/data.pkl", STORED, &sound),
    ]);
    check("a name twice", &double, name);
    let two = zip(&[
        ("a/data.pkl", STORED, &sound),
        ("b/data.pkl", STORED, &sound),
    ]);
    check("two pickles", &two, |e| matches!(e, Refusal::Archive(_)));
    let none = zip(&[("a/other", STORED, b"x")]);
    check("no pickle", &none, |e| {
        matches!(e, Refusal::EntryMissing(_))
    });
    for packed in [CompressionMethod::DEFLATE, CompressionMethod::ZSTD] {
        let bomb = zip(&[
            ("a/data.pkl", STORED, &sound),
            ("a/data/0", packed, &[0; 16]),
        ]);
        check("a bomb", &bomb, |e| matches!(e, Refusal::Compressed(_)));
    }
    let other = zip(&[
        ("a/data.pkl", STORED, &sound),
        ("a/data/0", STORED, &[0; 16]),
        ("a/byteorder", STORED, b"big"),
    ]);
    check("the other byte order", &other, |e| *e == Refusal::ByteOrder);
    let many: Vec<String> = (0..10_001).map(|at| format!("a/data/{at}")).collect();
    let many: Vec<_> = many
        .iter()
        .map(|name| (name.as_str(), STORED, &b""[..]))
        .collect();
    check("ten thousand entries", &zip(&many), |e| {
        matches!(e, Refusal::Entries(_))
    });
    let storage = b"sixteen bytes...";
    let good = zip(&[
        ("a/data.pkl", STORED, &sound),
        ("a/data/0", STORED, storage),
    ]);
    let mut windows = good.windows(storage.len());
    let at = windows.position(|window| window == storage).unwrap();
    let mut spoiled = good.clone();
    spoiled[at] = 1;
    check("a changed byte", &spoiled, |e| {
        matches!(e, Refusal::Checksum(_))
    });
    let archive = |e: &Refusal| matches!(e, Refusal::Archive(_));
    check("an empty archive", b"PK\x03\x04", archive);
    check("half an archive", &good[..good.len() / 2], archive);
    check(
        "a bare pickle",
        b"\x80\x02ccollections\nOrderedDict\n)R.",
        |e| *e == Refusal::BarePickle,
    );
}

#[test]
fn an_archive_whose_directory_claims_more_than_is_there_is_refused() {
    let good = archive(&checkpoint(&[]));
    let directory = good
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
        .unwrap();
    // Both lengths of the first entry, in the directory.
    for claimed in [0xffff_fff0u32, 1 << 30] {
        let mut spoiled = good.clone();
        for field in [20, 24] {
            spoiled[directory + field..][..4].copy_from_slice(&claimed.to_le_bytes());
        }
        check("a huge entry", &spoiled, |e| {
            matches!(
                e,
                Refusal::Archive(_) | Refusal::Checksum(_) | Refusal::EntryName(_)
            )
        });
    }
}

#[test]
fn safetensors_that_lie_are_refused() {
    let file = |header: &str, data: usize| {
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), &vec![0; data]].concat()
    };
    let unknown = |e: &Refusal| matches!(e, Refusal::Unknown(_));
    let huge = [&100_000_000u64.to_le_bytes()[..], &[b' '; 64]].concat();
    check("a header of 100 MB", &huge, unknown);
    check("broken JSON", &file("{", 0), unknown);
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    check("overlapping offsets", &file(overlap, 12), unknown);
    let wide = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}}"#;
    check("a shape beyond all memory", &file(wide, 8), unknown);
    check("no metadata", &file("{}", 0), |e| {
        matches!(e, Refusal::Missing(_))
    });
    let doubles = r#"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#;
    check("doubles", &file(doubles, 8), |e| {
        matches!(e, Refusal::Dtype(..))
    });
    let packed = r#"{"__metadata__":{"structure":"{}"}}"#;
    check("quantised", &file(packed, 0), |e| *e == Refusal::Quantised);
}
