//! Making a bundle folder: the files, their digests into the manifest, the manifest's bytes, the signature. Used by
//! the worker's `calibrate` and by tests; whoever opens the folder believes none of it.

use crate::error::BundleError;
use crate::manifest::{FileEntry, Manifest};
use crate::open::{MANIFEST_FILE, SIGNATURE_FILE};
use crate::sign::SecretKey;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use types::Digest;

/// The content of a bundle's files, by name.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// Why a bundle could not be made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The manifest would be refused when opened.
    #[error("the bundle would be refused")]
    Refused(#[from] BundleError),
    /// A file could not be written.
    #[error("writing `{file}` of the bundle")]
    Io {
        /// Its name.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Writes a bundle: lists `contents` in the manifest, checks it, signs it, and writes the folder, signature last.
/// Returns the bundle's digest.
///
/// # Errors
/// When the manifest breaks a rule, or the folder cannot be written. Files that the folder already holds under
/// other names are left alone, and opening it will refuse them.
pub fn write(
    dir: &Path,
    manifest: Manifest,
    contents: &Contents,
    key: &SecretKey,
) -> Result<Digest, WriteError> {
    let bytes = lay_out(dir, manifest, contents)?;
    put(dir, SIGNATURE_FILE, key.sign(&bytes).to_string().as_bytes())?;
    Ok(Digest::of(&bytes))
}

/// As [`write()`], without the signature: nobody opens the folder before it is signed.
///
/// # Errors
/// As there.
pub fn write_unsigned(
    dir: &Path,
    manifest: Manifest,
    contents: &Contents,
) -> Result<Digest, WriteError> {
    lay_out(dir, manifest, contents).map(|bytes| Digest::of(&bytes))
}

/// Everything but the signature; gives the manifest's bytes.
fn lay_out(dir: &Path, mut manifest: Manifest, contents: &Contents) -> Result<Vec<u8>, WriteError> {
    manifest.files = contents
        .iter()
        .map(|(name, bytes)| entry(name, bytes))
        .collect();
    manifest.check()?;
    let bytes = manifest.to_bytes();
    Manifest::parse(&bytes)?;
    fs::create_dir_all(dir).map_err(|source| WriteError::Io {
        file: dir.display().to_string(),
        source,
    })?;
    for (name, content) in contents {
        put(dir, name, content)?;
    }
    put(dir, MANIFEST_FILE, &bytes)?;
    Ok(bytes)
}

fn entry(name: &str, bytes: &[u8]) -> FileEntry {
    FileEntry {
        name: name.to_owned(),
        bytes: bytes.len() as u64,
        sha256: Digest::of(bytes),
    }
}

fn put(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
    fs::write(dir.join(name), bytes).map_err(|source| WriteError::Io {
        file: name.to_owned(),
        source,
    })
}
