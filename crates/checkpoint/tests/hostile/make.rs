//! Files by hand: pickles operation by operation, archives entry by entry, and a sound checkpoint whose parts may be replaced.

use checkpoint::{Refusal, Stated};
use rawzip::path::EntryPath;
use rawzip::{CompressionMethod, ZipArchiveWriter};
use std::collections::BTreeMap;
use std::io::Write as _;

pub(crate) type Bytes = Vec<u8>;

/// A pickle of these operations.
pub(crate) fn pickle(operations: &[&[u8]]) -> Bytes {
    [b"\x80\x02", operations.concat().as_slice(), b"."].concat()
}

pub(crate) fn text(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    [b"X", &length[..], text.as_bytes()].concat()
}

pub(crate) fn number(number: i32) -> Bytes {
    [b"J", &number.to_le_bytes()[..]].concat()
}

pub(crate) fn global(module: &str, name: &str) -> Bytes {
    format!("c{module}\n{name}\n").into_bytes()
}

pub(crate) fn dict(entries: &[(&str, Bytes)]) -> Bytes {
    let pairs: Vec<Bytes> = entries
        .iter()
        .map(|(key, value)| [text(key), value.clone()].concat())
        .collect();
    [b"}(", pairs.concat().as_slice(), b"u"].concat()
}

pub(crate) fn numbers(all: &[i32]) -> Bytes {
    let all: Vec<Bytes> = all.iter().map(|one| number(*one)).collect();
    [b"(", all.concat().as_slice(), b"t"].concat()
}

/// A tensor over the storage `0` of four values.
pub(crate) fn tensor(
    storage: &str,
    values: i32,
    offset: i32,
    shape: &[i32],
    strides: &[i32],
) -> Bytes {
    let name = [
        b"(".to_vec(),
        text("storage"),
        global("torch", storage),
        text("0"),
        text("cpu"),
        number(values),
        b"tQ".to_vec(),
    ];
    [
        global("torch._utils", "_rebuild_tensor_v2"),
        b"(".to_vec(),
        name.concat(),
        number(offset),
        numbers(shape),
        numbers(strides),
        b"\x89".to_vec(),
        global("collections", "OrderedDict"),
        b")RtR".to_vec(),
    ]
    .concat()
}

/// A sound checkpoint whose parts may be replaced.
pub(crate) fn checkpoint(changes: &[(&str, Bytes)]) -> Bytes {
    let mut parts: BTreeMap<&str, Bytes> = BTreeMap::from([
        ("klass", global("demucs.htdemucs", "HTDemucs")),
        ("args", b")".to_vec()),
        ("kwargs", dict(&[("channels", number(4))])),
        (
            "state",
            dict(&[("w", tensor("FloatStorage", 4, 0, &[2, 2], &[2, 1]))]),
        ),
    ]);
    parts.extend(changes.iter().cloned());
    let parts: Vec<(&str, Bytes)> = parts.into_iter().collect();
    pickle(&[&dict(&parts)])
}

/// Entries under these exact names, each with how it says to be packed and its bytes.
pub(crate) fn zip(entries: &[(&str, CompressionMethod, &[u8])]) -> Bytes {
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for (name, method, bytes) in entries {
        let (mut entry, config) = archive
            .new_file(EntryPath::verbatim(name.as_bytes()))
            .compression_method(*method)
            .start()
            .unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(bytes).unwrap();
        let (_, output) = writer.finish().unwrap();
        entry.finish(output).unwrap();
    }
    archive.finish().unwrap()
}

pub(crate) const STORED: CompressionMethod = CompressionMethod::STORE;

pub(crate) fn archive(pickle: &[u8]) -> Bytes {
    zip(&[
        ("a/data.pkl", STORED, pickle),
        ("a/data/0", STORED, &[0; 16]),
    ])
}

pub(crate) fn check(case: &str, file: &[u8], expected: fn(&Refusal) -> bool) {
    match Stated::read(file) {
        Ok(_) => panic!("{case}: was read"),
        Err(refusal) => assert!(expected(&refusal), "{case}: {refusal:?}"),
    }
}
