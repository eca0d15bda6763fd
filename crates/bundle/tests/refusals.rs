//! What a bundle folder is refused for, by code: the model family of the bad-input corpus, and everything beside it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use bundle::{
    Bundle, BundleError, Contents, MANIFEST_FILE, Manifest, SIGNATURE_FILE, SecretKey, TensorData,
    Tensors, Trust, sample,
};
use std::fs;
use std::path::Path;
use types::{Code, Digest};

const WEIGHTS: &str = "screen.safetensors";

fn trust() -> Trust {
    Trust::new([sample::key().public()])
}

/// A folder with the sample bundle, changed by `spoil` after it was signed.
fn folder(spoil: impl FnOnce(&Path)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    bundle::write(
        dir.path(),
        sample::manifest(),
        &sample::contents(),
        &sample::key(),
    )
    .unwrap();
    spoil(dir.path());
    dir
}

/// A folder whose weights are these bytes, rightly listed and signed.
fn signed_weights(bytes: &[u8]) -> tempfile::TempDir {
    let mut contents: Contents = sample::contents();
    contents.insert(WEIGHTS.to_owned(), bytes.to_vec());
    let dir = tempfile::tempdir().unwrap();
    bundle::write(dir.path(), sample::manifest(), &contents, &sample::key()).unwrap();
    dir
}

fn refused(dir: &tempfile::TempDir, trust: &Trust, case: &str) -> BundleError {
    Bundle::open(dir.path(), trust)
        .err()
        .unwrap_or_else(|| panic!("{case}: was opened"))
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &vec![0; data],
    ]
    .concat()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_bundle_opens_and_is_named_by_its_manifest() {
    let dir = folder(|_| ());
    let opened = Bundle::open(dir.path(), &trust()).unwrap();
    assert_eq!(
        opened.digest,
        Digest::of(&fs::read(dir.path().join(MANIFEST_FILE)).unwrap())
    );
    assert_eq!(opened.manifest.name, "sample");
    assert_eq!(opened.canary_windows().len(), 2);
    assert!(
        opened
            .canary_windows()
            .iter()
            .all(|window| window.len() == opened.window().samples())
    );
    let pinned = Bundle::open_pinned(dir.path(), opened.digest).unwrap();
    assert_eq!(pinned.manifest, opened.manifest);
}

#[test]
fn weights_that_can_run_code_are_refused_as_such() {
    let pickle =
        b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.";
    let archive = b"PK\x03\x04\x00\x00archive/code/__torch__.py aten::save";
    for bytes in [&pickle[..], archive] {
        let mut contents: Contents = sample::contents();
        contents.insert("notes.dat".to_owned(), bytes.to_vec());
        let listed = tempfile::tempdir().unwrap();
        bundle::write(listed.path(), sample::manifest(), &contents, &sample::key()).unwrap();
        assert_eq!(
            refused(&listed, &trust(), "code in a listed file").code(),
            Code::BundleForbiddenFormat
        );
        let refusal = refused(
            &signed_weights(bytes),
            &trust(),
            "code in the weights' place",
        );
        assert_eq!(refusal.code(), Code::BundleForbiddenFormat, "{refusal}");
        let beside = folder(|dir| fs::write(dir.join("extra.dat"), bytes).unwrap());
        assert_eq!(
            refused(&beside, &trust(), "code beside the weights").code(),
            Code::BundleForbiddenFormat
        );
    }
    let named = folder(|dir| fs::write(dir.join("955717e8.th"), b"anything").unwrap());
    assert!(matches!(
        refused(&named, &trust(), ".th"),
        BundleError::Pickle { .. }
    ));
    let alone = tempfile::NamedTempFile::with_suffix(".th").unwrap();
    fs::write(alone.path(), pickle).unwrap();
    assert!(matches!(
        Bundle::open(alone.path(), &trust()),
        Err(BundleError::Pickle { .. })
    ));
}

#[test]
fn hostile_safetensors_are_refused_before_they_are_believed() {
    let two = |a: &str, b: &str| {
        format!(
            r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{a}}},"b":{{"dtype":"F32","shape":[2],"data_offsets":{b}}}}}"#
        )
    };
    let cases = [
        (
            "a header of 100 MB",
            [&100_000_000u64.to_le_bytes()[..], &[b' '; 64]].concat(),
        ),
        (
            "a header of 16 EiB",
            [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
        ),
        (
            "overlapping offsets",
            safetensors(&two("[0,8]", "[4,12]"), 16),
        ),
        (
            "offsets beyond the file",
            safetensors(&two("[0,8]", "[8,16]"), 8),
        ),
        ("nothing", Vec::new()),
    ];
    for (case, bytes) in cases {
        let refusal = refused(&signed_weights(&bytes), &trust(), case);
        assert!(
            matches!(refusal, BundleError::Tensors { .. }),
            "{case}: {refusal:?}"
        );
        assert_eq!(refusal.code(), Code::BundleInvalid, "{case}");
    }
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    for name in sample::contents().keys() {
        let dir = folder(|dir| flip(&dir.join(name), 20));
        assert_eq!(
            refused(&dir, &trust(), name).code(),
            Code::BundleDigestMismatch,
            "{name}"
        );
    }
    let manifest = folder(|dir| flip(&dir.join(MANIFEST_FILE), 20));
    assert!(matches!(
        refused(&manifest, &trust(), "manifest"),
        BundleError::BadSignature
    ));
    let signature = folder(|dir| flip(&dir.join(SIGNATURE_FILE), 150));
    assert_eq!(
        refused(&signature, &trust(), "signature").code(),
        Code::BundleUntrusted
    );
}

#[test]
fn a_bundle_without_the_right_signature_is_refused() {
    let check = |dir: &tempfile::TempDir, trust: &Trust, code: Code| {
        assert_eq!(refused(dir, trust, code.as_str()).code(), code);
    };
    let bare = folder(|dir| fs::remove_file(dir.join(SIGNATURE_FILE)).unwrap());
    check(&bare, &trust(), Code::BundleUnsigned);
    let foreign = Trust::new([SecretKey::from_seed(&[1; 32]).public()]);
    check(&folder(|_| ()), &foreign, Code::BundleUntrusted);
    check(&folder(|_| ()), &Trust::default(), Code::BundleUntrusted);
    let noise = folder(|dir| fs::write(dir.join(SIGNATURE_FILE), [0xff; 40]).unwrap());
    check(&noise, &trust(), Code::BundleUntrusted);
}

#[test]
fn an_old_version_is_refused_where_a_newer_one_is_demanded() {
    let dir = folder(|_| ());
    assert!(Bundle::open(dir.path(), &trust().with_lowest("sample", 3)).is_ok());
    assert!(Bundle::open(dir.path(), &trust().with_lowest("other", 9)).is_ok());
    let refusal = refused(&dir, &trust().with_lowest("sample", 4), "old");
    assert!(
        matches!(
            refusal,
            BundleError::Rollback {
                version: 3,
                lowest: 4,
                ..
            }
        ),
        "{refusal:?}"
    );
    assert_eq!(refusal.code(), Code::BundleRollback);
}

#[test]
fn a_folder_with_more_or_less_than_its_manifest_lists_is_refused() {
    let check = |spoil: &dyn Fn(&Path), expected: fn(&BundleError) -> bool, case: &str| {
        let refusal = refused(&folder(|dir| spoil(dir)), &trust(), case);
        assert!(expected(&refusal), "{case}: {refusal:?}");
    };
    let missing: fn(&BundleError) -> bool = |e| matches!(e, BundleError::Missing { .. });
    let unlisted: fn(&BundleError) -> bool = |e| matches!(e, BundleError::Unlisted { .. });
    let not_plain: fn(&BundleError) -> bool = |e| matches!(e, BundleError::NotPlain { .. });
    check(
        &|dir| fs::remove_file(dir.join(WEIGHTS)).unwrap(),
        missing,
        "no weights",
    );
    check(
        &|dir| fs::remove_file(dir.join(MANIFEST_FILE)).unwrap(),
        missing,
        "no manifest",
    );
    check(
        &|dir| fs::write(dir.join("notes.txt"), "x").unwrap(),
        unlisted,
        "a file too many",
    );
    check(
        &|dir| fs::create_dir(dir.join("sub")).unwrap(),
        not_plain,
        "a folder",
    );
    let link = |dir: &Path| {
        fs::remove_file(dir.join(WEIGHTS)).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.join(WEIGHTS)).unwrap();
    };
    check(&link, not_plain, "a link");
    let many =
        |dir: &Path| (0..100).for_each(|n| fs::write(dir.join(format!("{n}.txt")), "x").unwrap());
    check(
        &many,
        |e| matches!(e, BundleError::Value { field: "files", .. }),
        "a hundred files",
    );
}

/// Signs whatever text and puts it in the manifest's place.
fn resigned(text: &str) -> tempfile::TempDir {
    folder(|dir| {
        fs::write(dir.join(MANIFEST_FILE), text).unwrap();
        fs::write(
            dir.join(SIGNATURE_FILE),
            sample::key().sign(text.as_bytes()).to_string(),
        )
        .unwrap();
    })
}

#[test]
fn a_signed_manifest_that_is_wrong_is_still_refused() {
    let text = String::from_utf8({
        let dir = folder(|_| ());
        fs::read(dir.path().join(MANIFEST_FILE)).unwrap()
    })
    .unwrap();
    let check = |from: &str, to: &str, code: Code| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "`{from}` does not stand in the manifest");
        let refusal = refused(&resigned(&changed), &trust(), to);
        assert_eq!(refusal.code(), code, "{to}: {refusal}");
    };
    check(r#""format": 1"#, r#""format": 3"#, Code::BundleUnsupported);
    check(r#""cnn_v1""#, r#""cnn_v9""#, Code::BundleUnsupported);
    check(
        r#""format": 1"#,
        r#""format": 1, "surprise": 1"#,
        Code::BundleInvalid,
    );
    check(
        r#""dropout": 0.1"#,
        r#""dropout": 0.1, "surprise": 1"#,
        Code::BundleInvalid,
    );
    check(
        r#""name": "sample""#,
        r#""name": "../sample""#,
        Code::BundleInvalid,
    );
    check(r#""slope": 1.5"#, r#""slope": 0.0"#, Code::BundleInvalid);
    // Windows so close that the scores of four hours would not fit a worker's message.
    check(r#""stride": 32"#, r#""stride": 22"#, Code::BundleInvalid);
    check(r#""prior": 0.5"#, r#""prior": 1.0"#, Code::BundleInvalid);
    check(r#""n_fft": 512"#, r#""n_fft": 511"#, Code::BundleInvalid);
    check(
        r#""n_fft": 512"#,
        r#""n_fft": 4294967295"#,
        Code::BundleInvalid,
    );
    check(
        r#""frames": 32"#,
        r#""frames": 4000000000"#,
        Code::BundleInvalid,
    );
    check(r#""columns": 4"#, r#""columns": 5"#, Code::BundleInvalid);
    check(
        r#""likely_ai_tier": "fpr_1e-2""#,
        r#""likely_ai_tier": "fpr_0""#,
        Code::BundleInvalid,
    );
    check(
        r#""false_positives": 10,"#,
        r#""false_positives": 101,"#,
        Code::BundleInvalid,
    );
    check(r#""f32": 0.001"#, r#""f32": 0.0"#, Code::BundleInvalid);
    let scores = &text[text.find(r#""scores": ["#).unwrap()..];
    let one_more = scores.replacen("[", "[0.0,", 1);
    check(scores, &one_more, Code::BundleInvalid);
    assert_eq!(
        refused(&resigned("{"), &trust(), "broken").code(),
        Code::BundleInvalid
    );
    assert_eq!(
        refused(&resigned(&"[".repeat(100_000)), &trust(), "deep").code(),
        Code::BundleInvalid
    );
    let long = format!("{text}{}", " ".repeat(1 << 20));
    assert!(matches!(
        refused(&resigned(&long), &trust(), "long"),
        BundleError::TooLarge { .. }
    ));
}

#[test]
fn a_pinned_bundle_must_have_the_pinned_digest() {
    let dir = folder(|_| ());
    let refusal = Bundle::open_pinned(dir.path(), Digest::of(b"another")).unwrap_err();
    assert_eq!(refusal.code(), Code::BundleDigestMismatch);
}

#[test]
fn a_bundle_that_would_be_refused_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Manifest {
        version: 0,
        ..sample::manifest()
    };
    assert!(bundle::write(dir.path(), broken, &sample::contents(), &sample::key()).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_screen_s_weights_that_are_not_those_of_its_network_are_told_by_name_before_one_is_built() {
    let sound = Tensors::parse(&sample::contents()[WEIGHTS]).unwrap();
    let found = |change: &dyn Fn(&mut Vec<TensorData>)| {
        let mut tensors = sound.clone();
        change(&mut tensors.0);
        let dir = signed_weights(&tensors.to_bytes());
        let opened = Bundle::open(dir.path(), &trust()).unwrap();
        opened.check_fit().map_err(|error| error.problem())
    };
    assert!(found(&|_| ()).is_ok());
    let check = |change: &dyn Fn(&mut Vec<TensorData>), words: &str| {
        let refused = found(change).expect_err(words);
        assert_eq!(refused.code, Code::BundleInvalid, "{words}");
        assert!(refused.message.contains(WEIGHTS), "{refused}");
        assert!(refused.message.contains(words), "{refused}");
    };
    check(
        &|tensors| drop(tensors.pop()),
        "have no tensor `hidden.weight`",
    );
    check(
        &|tensors| tensors[0].shape.swap(0, 1),
        "tensor `blocks.0.conv.weight` has shape [1, 2, 3, 3]",
    );
    let more = || TensorData {
        name: "more".to_owned(),
        shape: vec![1],
        values: vec![0.0],
    };
    check(
        &|tensors| tensors.push(more()),
        "a tensor `more` that the network does not know",
    );
}
