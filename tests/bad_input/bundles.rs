//! Family 62, end to end: a coordinator refuses to register a bundle that is not what was signed, can run code or is older
//! than allowed, and says why by code. What else a bundle is refused for stands in `crates/bundle/tests/refusals.rs`.

use bundle::{Contents, sample};
use std::fs;
use std::path::Path;
use tests::cluster::{Cluster, Options};

/// What a pickle that ran would leave beside the bundle.
const MARK: &str = "a-pickle-ran";

/// What is wrong, who makes it, further arguments of `up`, the code.
type Row = (
    &'static str,
    fn(&Path),
    &'static [&'static str],
    &'static str,
);

#[test]
fn a_coordinator_registers_no_bundle_that_was_changed_can_run_code_or_is_too_old() {
    #[rustfmt::skip]
    let rows: [Row; 3] = [
        ("one flipped bit", flipped, &[], "BUNDLE_DIGEST_MISMATCH"),
        ("a pickle for weights", pickled, &[], "BUNDLE_FORBIDDEN_FORMAT"),
        ("an old version", sound, &["--min-bundle", "sample=4"], "BUNDLE_ROLLBACK"),
    ];
    for (what, make, more, code) in rows {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle");
        make(&bundle);
        let key = sample::key().public().to_string();
        let arguments = [
            "--device",
            "cpu",
            "--default-bundle",
            bundle.to_str().unwrap(),
            "--trusted-key",
            &key,
        ];
        let arguments = arguments
            .iter()
            .chain(more)
            .map(|argument| (*argument).to_owned())
            .collect();
        let mut cluster = Cluster::launch(
            &folder.path().join("data"),
            &Options {
                arguments,
                ..Options::default()
            },
        );
        assert_ne!(cluster.ended(), Some(0), "{what}");
        assert!(cluster.log().contains(code), "{what}: {}", cluster.log());
        assert!(!folder.path().join(MARK).exists(), "{what}: it ran");
        println!("    62 | {what} | {code}");
    }
}

fn sound(folder: &Path) {
    write(folder, sample::contents());
}

fn write(folder: &Path, contents: Contents) {
    bundle::write(folder, sample::manifest(), &contents, &sample::key()).unwrap();
}

fn flipped(folder: &Path) {
    sound(folder);
    let weights = folder.join("screen.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
}

/// A pickle that would make the mark, rightly listed and signed as the weights.
fn pickled(folder: &Path) {
    let mut contents = sample::contents();
    let payload = payload(&folder.with_file_name(MARK));
    contents.insert("screen.safetensors".to_owned(), payload);
    write(folder, contents);
}

/// A call of `posix.system` with one text: what it makes, any Python that unpickles it would make.
fn payload(mark: &Path) -> Vec<u8> {
    let command = format!("touch '{}'", mark.display());
    let length = u32::try_from(command.len()).unwrap().to_le_bytes();
    [
        &b"\x80\x04cposix\nsystem\nX"[..],
        &length,
        command.as_bytes(),
        b"\x85R.",
    ]
    .concat()
}
