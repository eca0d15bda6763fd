//! Which file is converted: the one that is named, or the one that the bag in a folder names. Its bytes are read once, and
//! those that are hashed are those that are parsed.

use super::parent::{self, AskError};
use super::reader::What;
use checkpoint::{Bag, INPUT_BYTES_MAX};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use types::Digest;

/// Most entries of a folder that are looked at; a bag's folder has a handful.
const ENTRIES_MAX: usize = 1_000;
/// Longest bag in bytes, and one more: what is longer is refused for it.
const BAG_BYTES_MAX: u64 = (1 << 16) + 1;
/// Longest signature of a model; the package's have eight digits.
const SIGNATURE_BYTES_MAX: usize = 64;
/// Fewest digits of a digest in a file's name that are taken for one; the package writes eight.
const DIGITS_MIN: usize = 8;

/// Why no file is converted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// It could not be read.
    #[error("reading `{path}`")]
    Read {
        /// What.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A device, a pipe or a link to nothing.
    #[error("`{0}` is neither a file nor a folder")]
    NotFile(String),
    /// Larger than any separator.
    #[error("`{path}` has more than {INPUT_BYTES_MAX} bytes")]
    TooLarge {
        /// Which.
        path: String,
    },
    /// Nothing in the folder, or more than one thing, could be meant.
    #[error("`{folder}` holds {bags} bags and {models} checkpoints; name the file that is meant")]
    Ambiguous {
        /// Which.
        folder: String,
        /// Files that end in `.yaml`.
        bags: usize,
        /// Files that end in `.safetensors` or `.th`.
        models: usize,
    },
    /// The bag is refused.
    #[error("reading the bag `{path}`")]
    Bag {
        /// Which.
        path: String,
        /// Why.
        source: AskError,
    },
    /// The bag's model has no name of a file.
    #[error("the bag names the model `{0}`, which is no signature")]
    Signature(String),
    /// The bag's model is not there, or there are several files of its name.
    #[error("`{folder}` holds {found} files of the model `{signature}`; one is needed")]
    Model {
        /// Where.
        folder: String,
        /// Which.
        signature: String,
        /// How many.
        found: usize,
    },
    /// The file's name begins its digest, and it has another.
    #[error("`{path}` has digest {found}, which does not begin with the digits of its name")]
    Checksum {
        /// Which.
        path: String,
        /// Its digest.
        found: Digest,
    },
}

/// A file that is to be converted.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What it holds.
    pub(crate) bytes: Vec<u8>,
    /// Of its bytes.
    pub(crate) sha256: Digest,
}

impl Source {
    /// Finds and reads the file that is meant by a file or a folder.
    ///
    /// # Errors
    /// [`SourceError`].
    pub(crate) fn find(from: &Path) -> Result<Self, SourceError> {
        let path = model(from)?;
        let bytes = read(&path, INPUT_BYTES_MAX + 1)?;
        if bytes.len() as u64 > INPUT_BYTES_MAX {
            return Err(SourceError::TooLarge { path: shown(&path) });
        }
        let sha256 = Digest::of(&bytes);
        check_name(&path, sha256)?;
        Ok(Self {
            path,
            bytes,
            sha256,
        })
    }
}

fn model(from: &Path) -> Result<PathBuf, SourceError> {
    let kind = fs::metadata(from).map_err(failed(from))?.file_type();
    if kind.is_dir() {
        in_folder(from)
    } else if !kind.is_file() {
        Err(SourceError::NotFile(shown(from)))
    } else if ends(from, "yaml") {
        of_bag(from)
    } else {
        Ok(from.to_owned())
    }
}

/// The bag's model, or the only checkpoint of a folder without a bag.
fn in_folder(folder: &Path) -> Result<PathBuf, SourceError> {
    let files = files(folder)?;
    let bags: Vec<_> = files.iter().filter(|path| ends(path, "yaml")).collect();
    let models: Vec<_> = files.iter().filter(|path| is_model(path)).collect();
    match (bags.as_slice(), models.as_slice()) {
        ([bag], _) => of_bag(bag),
        ([], [model]) => Ok((*model).clone()),
        (bags, models) => Err(SourceError::Ambiguous {
            folder: shown(folder),
            bags: bags.len(),
            models: models.len(),
        }),
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let entries = fs::read_dir(folder).map_err(failed(folder))?;
    let mut files = Vec::new();
    for entry in entries.take(ENTRIES_MAX) {
        let path = entry.map_err(failed(folder))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The file of the one model that a bag names: safetensors where there is one, else the only archive.
fn of_bag(path: &Path) -> Result<PathBuf, SourceError> {
    let text = read(path, BAG_BYTES_MAX)?;
    let refused = |source| SourceError::Bag {
        path: shown(path),
        source,
    };
    let answer = parent::ask(What::Bag, &text).map_err(refused)?;
    let bag: Bag = serde_json::from_slice(&answer)
        .map_err(|error| refused(AskError::Talk(io::Error::other(error))))?;
    let signature = bag.model;
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !(1..=SIGNATURE_BYTES_MAX).contains(&signature.len()) || !signature.bytes().all(digit) {
        return Err(SourceError::Signature(
            signature.escape_default().to_string(),
        ));
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let found: Vec<PathBuf> = files(folder)?
        .into_iter()
        .filter(|path| is_model(path) && signature_of(path) == Some(signature.as_str()))
        .collect();
    let newer = found.iter().find(|path| ends(path, "safetensors"));
    match (newer, found.as_slice()) {
        (Some(path), _) | (None, [path]) => Ok(path.clone()),
        (None, several) => Err(SourceError::Model {
            folder: shown(folder),
            signature,
            found: several.len(),
        }),
    }
}

fn is_model(path: &Path) -> bool {
    ends(path, "safetensors") || ends(path, "th")
}

fn ends(path: &Path, suffix: &str) -> bool {
    path.extension().is_some_and(|found| found == suffix)
}

/// `955717e8` of `955717e8.safetensors` and `955717e8-8726e21a.th`.
fn signature_of(path: &Path) -> Option<&str> {
    let stem = path.file_stem()?.to_str()?;
    Some(
        stem.split_once('-')
            .map_or(stem, |(signature, _)| signature),
    )
}

/// An archive's name ends with the first digits of its digest, as the package itself checks.
fn check_name(path: &Path, found: Digest) -> Result<(), SourceError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let digits = stem
        .and_then(|stem| stem.rsplit_once('-'))
        .map(|(_, digits)| digits);
    let is_digest = |digits: &&str| {
        digits.len() >= DIGITS_MIN && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match digits.filter(is_digest).filter(|_| ends(path, "th")) {
        Some(digits) if !found.to_string().starts_with(&digits.to_ascii_lowercase()) => {
            Err(SourceError::Checksum {
                path: shown(path),
                found,
            })
        }
        Some(_) | None => Ok(()),
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max).read_to_end(&mut bytes))
        .map_err(failed(path))?;
    Ok(bytes)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = shown(path);
    move |source| SourceError::Read { path, source }
}
