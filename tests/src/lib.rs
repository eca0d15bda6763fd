//! What the suites share: where the built binaries are, a cluster of one machine made of the real processes, a bundle of both engines, a browser, music to
//! scan, an S3 server, and a look at living processes. Only suites call it; the product never does.

pub mod both;
pub mod browser;
pub mod cluster;
pub mod music;
pub mod process;
pub mod s3;

use std::path::PathBuf;

/// The folder of the release binaries: the one above this test's own.
///
/// # Panics
/// When the test does not stand where cargo puts tests.
#[must_use]
pub fn binaries() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows where it stands");
    let folder = own
        .ancestors()
        .find(|folder| folder.join("scanctl").is_file());
    folder
        .expect("the binaries are built before the suites: run `make build`")
        .to_owned()
}

/// The root of the source tree.
#[must_use]
pub fn tree() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("the suites stand in the tree")
        .to_owned()
}
