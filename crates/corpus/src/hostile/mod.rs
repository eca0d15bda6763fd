//! Hostile files, made from bytes: bombs, headers that lie, tags, damage, strange signals, formats without a decoder.
//!
//! Called by the bad-input suite and by tests that need one such file. A builder knows how a file is broken and nothing of
//! what the product makes of it: expectations stand in the suite. Files are numbered by family, as `docs/reference/bad-input.md`
//! lists them. What the `ffmpeg` of the operating system can encode is encoded by it; the rest is built here, byte by byte.

pub mod blob;
pub mod bombs;
pub mod damage;
pub mod headers;
pub mod metadata;
pub mod shapes;
pub mod signal;
pub mod sound;
pub mod unsupported;

pub use blob::{Blob, Piece};
pub use sound::Sound;

/// One hostile file.
#[derive(Clone, Debug, PartialEq)]
pub struct Hostile {
    /// The family it belongs to.
    pub family: u8,
    /// Its file name; unique, and its extension is part of the case.
    pub name: String,
    /// What is in it.
    pub blob: Blob,
}

impl Hostile {
    fn new(family: u8, name: impl Into<String>, blob: impl Into<Blob>) -> Self {
        Self {
            family,
            name: name.into(),
            blob: blob.into(),
        }
    }
}

/// Every hostile file, by family. `sound` is what damage is done to.
pub fn all(sound: &Sound) -> Vec<Hostile> {
    let groups = [
        bombs::files(sound),
        headers::files(sound),
        metadata::files(sound),
        damage::files(sound),
        signal::files(),
        unsupported::files(sound),
    ];
    let mut files: Vec<Hostile> = groups.into_iter().flatten().collect();
    files.sort_by_key(|file| file.family);
    files
}
