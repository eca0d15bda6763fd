//! Bundles by hand: a key, a signature, a check that runs the canary.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use bundle::{MANIFEST_FILE, SIGNATURE_FILE, Tensors, sample};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

fn worker(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trackscan-worker"))
        .args(args)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .trim()
        .to_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder with the sample's bundle and a path for a key.
fn folder() -> (tempfile::TempDir, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    bundle::write(
        &bundle,
        sample::manifest(),
        &sample::contents(),
        &sample::key(),
    )
    .unwrap();
    let key = dir.path().join("signer.key");
    (dir, bundle.display().to_string(), key.display().to_string())
}

#[test]
fn a_bundle_signed_by_a_new_key_is_verified_by_its_public_half_alone() {
    let (_dir, bundle, key) = folder();
    let made = worker(&["bundle", "key", &key]);
    let public = stdout(&made);
    assert_eq!(public.len(), 64, "{}", stderr(&made));
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let old = sample::key().public().to_string();
    let trusted = |key: &str| worker(&["bundle", "verify", &bundle, "--trusted-key", key]);
    assert!(trusted(&old).status.success());
    assert!(
        worker(&["bundle", "sign", &bundle, "--key", &key])
            .status
            .success()
    );
    let verified = trusted(&public);
    assert!(verified.status.success(), "{}", stderr(&verified));
    assert!(stdout(&verified).starts_with("sample version 3 (production)"));
    let refused = trusted(&old);
    assert!(!refused.status.success() && stderr(&refused).contains("BUNDLE_UNTRUSTED"));
}

#[test]
fn a_key_is_never_written_over_another() {
    let (_dir, _, key) = folder();
    assert!(worker(&["bundle", "key", &key]).status.success());
    let before = fs::read(&key).unwrap();
    assert!(!worker(&["bundle", "key", &key]).status.success());
    assert_eq!(fs::read(&key).unwrap(), before);
}

#[test]
fn what_is_amiss_with_a_folder_is_said_by_code() {
    let public = sample::key().public().to_string();
    let check = |spoil: &dyn Fn(&str), bounds: &[&str], code: &str| {
        let (_dir, bundle, _) = folder();
        spoil(&bundle);
        let output = worker(
            &[
                &["bundle", "verify", &bundle, "--trusted-key", &public],
                bounds,
            ]
            .concat(),
        );
        assert!(!output.status.success(), "{code}: was accepted");
        assert!(
            stderr(&output).contains(code),
            "{code}: {}",
            stderr(&output)
        );
    };
    check(
        &|dir| fs::remove_file(format!("{dir}/{SIGNATURE_FILE}")).unwrap(),
        &[],
        "BUNDLE_UNSIGNED",
    );
    check(
        &|dir| fs::write(format!("{dir}/model-card.md"), "other").unwrap(),
        &[],
        "BUNDLE_DIGEST_MISMATCH",
    );
    check(
        &|dir| fs::write(format!("{dir}/{MANIFEST_FILE}"), "{}").unwrap(),
        &[],
        "BUNDLE_UNTRUSTED",
    );
    check(
        &|dir| fs::write(format!("{dir}/weights.th"), "x").unwrap(),
        &[],
        "BUNDLE_FORBIDDEN_FORMAT",
    );
    check(&|_| (), &["--min-bundle", "sample=4"], "BUNDLE_ROLLBACK");
}

#[test]
fn a_screen_whose_tensor_has_another_shape_is_refused_by_code_and_by_its_name() {
    let (_dir, bundle, _) = folder();
    let mut contents = sample::contents();
    let weights = contents.get_mut("screen.safetensors").unwrap();
    let mut tensors = Tensors::parse(weights).unwrap();
    tensors.0[0].shape.swap(0, 1);
    *weights = tensors.to_bytes();
    fs::remove_dir_all(&bundle).unwrap();
    bundle::write(
        bundle.as_ref(),
        sample::manifest(),
        &contents,
        &sample::key(),
    )
    .unwrap();
    let public = sample::key().public().to_string();
    let refused = worker(&["bundle", "verify", &bundle, "--trusted-key", &public]);
    assert!(!refused.status.success());
    let (said, of_shape) = (
        stderr(&refused),
        format!("tensor `{}` has shape", tensors.0[0].name),
    );
    assert!(said.contains("BUNDLE_INVALID"), "{said}");
    assert!(said.contains(&of_shape), "{said}");
}

#[test]
fn the_processor_is_among_the_devices() {
    let devices: serde_json::Value = serde_json::from_str(&stdout(&worker(&["devices"]))).unwrap();
    let kinds: Vec<_> = devices
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["kind"].clone())
        .collect();
    assert_eq!(kinds.last().unwrap(), "cpu");
}
