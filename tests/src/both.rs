//! A bundle of both engines whose separator costs nothing: the demonstration's screen, and a small checkpoint of the published kind,
//! converted by the product's own command. It is not calibrated, so verdicts rest on the screen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A bundle with the demonstration's screen and a separator of a few thousand weights, and the key that it is signed with.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn bundle(folder: &Path) -> (PathBuf, String) {
    bundle_with(folder, &[])
}

/// The same, converted with more arguments: of its segments, say.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn bundle_with(folder: &Path, more: &[&str]) -> (PathBuf, String) {
    let (out, signer) = (folder.join("both"), folder.join("signer.key"));
    fs::write(&signer, "2a".repeat(32)).expect("the folder can be written");
    let base = crate::tree().join("bundles/demo");
    let trusted =
        fs::read_to_string(crate::tree().join("bundles/demo.pub")).expect("the key is there");
    let from = crate::tree().join("crates/checkpoint/golden/newer/7e57da7a.safetensors");
    let made = Command::new(crate::binaries().join("trackscan-worker"))
        .args(["bundle", "convert", "--from", text(&from)])
        .args(["--out", text(&out), "--base", text(&base)])
        .args(["--trusted-key", trusted.trim(), "--key", text(&signer)])
        .args(more)
        .output()
        .expect("the worker can be run");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    (out, bundle::sample::key().public().to_string())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
