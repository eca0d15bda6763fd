//! Opening a bundle: the checks, in the order in which nothing is believed before it is proved. The folder's names,
//! then the signature over the manifest's exact bytes, then the manifest, then every file against its digest; the
//! bytes that were hashed are the bytes that are parsed.

use crate::canary::Clip;
use crate::error::BundleError;
use crate::features::RESIDUAL_VERSION;
use crate::manifest::{Architecture, FORMAT_RESIDUAL, FileEntry, Fusion, Manifest, Separator};
use crate::separator::Shapes;
use crate::sign::{Signature, Trust};
use crate::tensors::Tensors;
use crate::weights;
use crate::window::WindowSpec;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use types::Digest;

/// The manifest's name in the folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The signature's name in the folder.
pub const SIGNATURE_FILE: &str = "manifest.sig";
/// Longest manifest: a hundred times what one needs.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Largest file of a bundle, and largest sum: the largest weights known here (four HTDemucs) have 333 MB.
pub const BUNDLE_BYTES_MAX: u64 = 1 << 30;
/// Most files in a folder; a bundle has about six.
pub const FILES_MAX: usize = 32;
/// A signature file is one line of about 200 bytes.
const SIGNATURE_BYTES_MAX: u64 = 1_024;
/// Suffixes under which pickles travel.
const PICKLE_SUFFIXES: [&str; 7] = ["th", "pt", "pth", "pkl", "pickle", "ckpt", "bin"];

/// A bundle that passed every check.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Where it lies.
    pub dir: PathBuf,
    /// Its name: the digest of the manifest's bytes, which hold the digest of every other file.
    pub digest: Digest,
    /// What it says about itself; all rules checked.
    pub manifest: Manifest,
    /// The screen's weights.
    pub screen: Tensors,
    /// The canary clip.
    pub clip: Clip,
    /// Names and shapes of the residual's weights; none where it has no residual. Whether they are those of its network is asked by
    /// [`Bundle::check_fit`].
    pub residual_shapes: Shapes,
}

impl Bundle {
    /// Opens a folder and checks everything in it.
    ///
    /// # Errors
    /// The first [`BundleError`]; nothing of a refused bundle is returned.
    pub fn open(dir: &Path, trust: &Trust) -> Result<Self, BundleError> {
        let names = list(dir)?;
        let bytes = read_small(dir, MANIFEST_FILE, MANIFEST_BYTES_MAX, &names)?;
        if !names.contains(SIGNATURE_FILE) {
            return Err(BundleError::Unsigned {
                file: SIGNATURE_FILE,
            });
        }
        let signature = read_small(dir, SIGNATURE_FILE, SIGNATURE_BYTES_MAX, &names)?;
        let signature =
            std::str::from_utf8(&signature).map_err(|_| BundleError::SignatureFormat)?;
        signature.parse::<Signature>()?.verify(&bytes, trust)?;
        let manifest = Manifest::parse(&bytes)?;
        refuse_rollback(&manifest, trust)?;
        Self::read_files(dir, &names, Digest::of(&bytes), manifest)
    }

    /// The digest by which the bundle in a folder is known, if its manifest is what it was signed as. Checks nothing.
    ///
    /// # Errors
    /// When there is no manifest, or one too large.
    pub fn digest_in(dir: &Path) -> Result<Digest, BundleError> {
        let names = list(dir)?;
        let bytes = read_small(dir, MANIFEST_FILE, MANIFEST_BYTES_MAX, &names)?;
        Ok(Digest::of(&bytes))
    }

    /// Opens a folder whose digest is already trusted: for a worker, whose agent has checked the signature. Everything
    /// else is checked as by [`Bundle::open`].
    ///
    /// # Errors
    /// [`BundleError::Digest`] when the manifest is another, and as [`Bundle::open`].
    pub fn open_pinned(dir: &Path, digest: Digest) -> Result<Self, BundleError> {
        let names = list(dir)?;
        let bytes = read_small(dir, MANIFEST_FILE, MANIFEST_BYTES_MAX, &names)?;
        let found = Digest::of(&bytes);
        if found != digest {
            let file = MANIFEST_FILE.to_owned();
            return Err(BundleError::Digest {
                file,
                listed: digest,
                found,
            });
        }
        Self::read_files(dir, &names, digest, Manifest::parse(&bytes)?)
    }

    fn read_files(
        dir: &Path,
        names: &BTreeSet<String>,
        digest: Digest,
        manifest: Manifest,
    ) -> Result<Self, BundleError> {
        check_names(dir, names, &manifest)?;
        let (mut weights, mut clip) = (Vec::new(), Vec::new());
        let mut residual_shapes = Shapes::new();
        for entry in &manifest.files {
            if is_residual(&manifest, entry) {
                residual_shapes = look_at(dir, entry)?;
                continue;
            }
            let is_clip = entry.name == manifest.canary.clip;
            let bytes = read_listed(dir, entry, is_clip)?;
            if entry.name == manifest.screen.weights {
                weights = bytes;
            } else if is_clip {
                clip = bytes;
            }
        }
        let screen = read_weights("screen.weights", &manifest.screen.weights, &weights)?;
        let clip = read_clip(&manifest, &clip)?;
        Ok(Self {
            dir: dir.to_owned(),
            digest,
            manifest,
            screen,
            clip,
            residual_shapes,
        })
    }

    /// The residual's weights, where the bundle has a residual: read again, since they may be larger than all else together, and
    /// checked again, since the file may have changed since.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn residual_weights(&self) -> Result<Option<Tensors>, BundleError> {
        let Some(entry) = self
            .manifest
            .files
            .iter()
            .find(|entry| is_residual(&self.manifest, entry))
        else {
            return Ok(None);
        };
        let bytes = read_listed(&self.dir, entry, false)?;
        read_weights("residual.weights", &entry.name, &bytes).map(Some)
    }

    /// The geometry of the screen's windows.
    #[must_use]
    pub fn window(&self) -> WindowSpec {
        WindowSpec::of(&self.manifest.screen)
    }

    /// The windows of the canary clip, one after the other, as the screen takes them.
    #[must_use]
    pub fn canary_windows(&self) -> Vec<Vec<f32>> {
        let spec = self.window();
        spec.starts(self.clip.0.len() as u64)
            .map(|start| spec.cut(&self.clip.0, start))
            .collect()
    }
}

impl Manifest {
    /// Reads and checks a manifest's bytes.
    ///
    /// # Errors
    /// When they are no manifest of the known format, or a value breaks its rule.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let refuse = |error: serde_json::Error| BundleError::Manifest {
            detail: error.to_string(),
        };
        refuse_unknown(&serde_json::from_slice(bytes).map_err(refuse)?)?;
        let manifest: Self = serde_json::from_slice(bytes).map_err(refuse)?;
        manifest.check()?;
        Ok(manifest)
    }
}

/// The parts of a manifest that say whether this version can read the rest.
#[derive(serde::Deserialize)]
struct Outline {
    format: u64,
    #[serde(default)]
    screen: OutlineStage,
    residual: Option<OutlineResidual>,
}

#[derive(serde::Deserialize)]
struct OutlineResidual {
    #[serde(default)]
    architecture: OutlineName,
    calibration: Option<OutlineCalibration>,
}

#[derive(serde::Deserialize)]
struct OutlineCalibration {
    #[serde(default)]
    features: String,
    #[serde(default)]
    fusion: OutlineRule,
}

#[derive(serde::Deserialize, Default)]
struct OutlineRule {
    #[serde(default)]
    rule: String,
}

#[derive(serde::Deserialize, Default)]
struct OutlineStage {
    #[serde(default)]
    architecture: OutlineName,
}

#[derive(serde::Deserialize, Default)]
struct OutlineName {
    #[serde(default)]
    name: String,
}

fn refuse_unknown(outline: &Outline) -> Result<(), BundleError> {
    if !(1..=u64::from(FORMAT_RESIDUAL)).contains(&outline.format) {
        return Err(BundleError::Format {
            found: outline.format,
            known: FORMAT_RESIDUAL,
        });
    }
    let screen = &outline.screen.architecture.name;
    refuse_other("architecture", screen, &Architecture::NAMES)?;
    let Some(residual) = &outline.residual else {
        return Ok(());
    };
    let separator = &residual.architecture.name;
    refuse_other("architecture", separator, &Separator::NAMES)?;
    let Some(calibration) = &residual.calibration else {
        return Ok(());
    };
    refuse_other("feature vector", &calibration.features, &[RESIDUAL_VERSION])?;
    refuse_other("fusion", &calibration.fusion.rule, &Fusion::NAMES)
}

fn refuse_other(what: &'static str, name: &str, known: &[&str]) -> Result<(), BundleError> {
    if known.contains(&name) {
        return Ok(());
    }
    let name = name.chars().take(64).collect();
    Err(BundleError::Unsupported { what, name })
}

fn refuse_rollback(manifest: &Manifest, trust: &Trust) -> Result<(), BundleError> {
    let lowest = trust.lowest(&manifest.name);
    if manifest.version >= lowest {
        return Ok(());
    }
    Err(BundleError::Rollback {
        name: manifest.name.clone(),
        version: manifest.version,
        lowest,
    })
}

fn read_error(file: &str) -> impl FnOnce(std::io::Error) -> BundleError {
    let file = file.to_owned();
    move |source| BundleError::Read { file, source }
}

/// The names in the folder. A single file in its place is refused by what it is.
fn list(dir: &Path) -> Result<BTreeSet<String>, BundleError> {
    let shown = dir.display().to_string();
    if fs::metadata(dir).map_err(read_error(&shown))?.is_file() {
        refuse_program(dir, &shown)?;
        return Err(BundleError::NotPlain { file: shown });
    }
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir)
        .map_err(read_error(&shown))?
        .take(FILES_MAX + 3)
    {
        let entry = entry.map_err(read_error(&shown))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type().map_err(read_error(&name))?.is_file() {
            return Err(BundleError::NotPlain { file: name });
        }
        refuse_suffix(&name)?;
        names.insert(name);
    }
    if names.len() > FILES_MAX + 2 {
        return Err(BundleError::Value {
            field: "files",
            rule: format!("has at most {FILES_MAX} entries"),
        });
    }
    Ok(names)
}

fn check_names(
    dir: &Path,
    names: &BTreeSet<String>,
    manifest: &Manifest,
) -> Result<(), BundleError> {
    let own = [MANIFEST_FILE, SIGNATURE_FILE];
    for name in names.iter().filter(|name| !own.contains(&name.as_str())) {
        if !manifest.files.iter().any(|entry| &entry.name == name) {
            refuse_program(&dir.join(name), name)?;
            return Err(BundleError::Unlisted { file: name.clone() });
        }
    }
    let total: u64 = manifest
        .files
        .iter()
        .fold(0, |sum, entry| sum.saturating_add(entry.bytes));
    if total > BUNDLE_BYTES_MAX {
        return Err(BundleError::TooLarge {
            file: "all files".to_owned(),
            max: BUNDLE_BYTES_MAX,
        });
    }
    let missing = manifest
        .files
        .iter()
        .find(|entry| !names.contains(&entry.name));
    missing.map_or(Ok(()), |entry| {
        Err(BundleError::Missing {
            file: entry.name.clone(),
        })
    })
}

fn read_small(
    dir: &Path,
    name: &str,
    max: u64,
    names: &BTreeSet<String>,
) -> Result<Vec<u8>, BundleError> {
    if !names.contains(name) {
        return Err(BundleError::Missing {
            file: name.to_owned(),
        });
    }
    read_bounded(dir, name, max)
}

fn read_bounded(dir: &Path, name: &str, max: u64) -> Result<Vec<u8>, BundleError> {
    let file = fs::File::open(dir.join(name)).map_err(read_error(name))?;
    let mut bytes = Vec::new();
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(read_error(name))?;
    if bytes.len() as u64 > max {
        return Err(BundleError::TooLarge {
            file: name.to_owned(),
            max,
        });
    }
    Ok(bytes)
}

/// Reads a listed file and checks it. A clip is samples, which may have any values at its start; nothing else may begin as a
/// program does.
fn read_listed(dir: &Path, entry: &FileEntry, is_clip: bool) -> Result<Vec<u8>, BundleError> {
    let bytes = read_bounded(dir, &entry.name, BUNDLE_BYTES_MAX)?;
    if !is_clip {
        refuse_magic(&entry.name, &bytes)?;
    }
    let found = Digest::of(&bytes);
    if found == entry.sha256 && bytes.len() as u64 == entry.bytes {
        return Ok(bytes);
    }
    Err(BundleError::Digest {
        file: entry.name.clone(),
        listed: entry.sha256,
        found,
    })
}

fn is_residual(manifest: &Manifest, entry: &FileEntry) -> bool {
    let residual = manifest.residual.as_ref();
    residual.is_some_and(|residual| residual.weights == entry.name)
}

/// Checks a listed file of weights without holding it, and gives their names and shapes.
fn look_at(dir: &Path, entry: &FileEntry) -> Result<Shapes, BundleError> {
    check_suffix("residual.weights", &entry.name)?;
    let path = dir.join(&entry.name);
    refuse_program(&path, &entry.name)?;
    let file = fs::File::open(&path).map_err(read_error(&entry.name))?;
    let looked = weights::look(file).map_err(read_error(&entry.name))?;
    if looked.sha256 != entry.sha256 || looked.bytes != entry.bytes {
        return Err(BundleError::Digest {
            file: entry.name.clone(),
            listed: entry.sha256,
            found: looked.sha256,
        });
    }
    looked.weights.map_err(|source| BundleError::Tensors {
        file: entry.name.clone(),
        source,
    })
}

fn read_weights(field: &'static str, name: &str, bytes: &[u8]) -> Result<Tensors, BundleError> {
    check_suffix(field, name)?;
    Tensors::parse(bytes).map_err(|source| BundleError::Tensors {
        file: name.to_owned(),
        source,
    })
}

fn check_suffix(field: &'static str, name: &str) -> Result<(), BundleError> {
    if name.ends_with(".safetensors") {
        return Ok(());
    }
    Err(BundleError::Value {
        field,
        rule: "ends in .safetensors".to_owned(),
    })
}

fn read_clip(manifest: &Manifest, bytes: &[u8]) -> Result<Clip, BundleError> {
    let rule = |error: crate::canary::ClipError| BundleError::Value {
        field: "canary.clip",
        rule: format!("holds samples: {error}"),
    };
    let clip = Clip::parse(bytes).map_err(rule)?;
    let found = WindowSpec::of(&manifest.screen).count(clip.0.len() as u64);
    let listed = manifest.canary.scores.len() as u64;
    if found == listed {
        Ok(clip)
    } else {
        Err(BundleError::CanaryLength { found, listed })
    }
}

fn refuse_suffix(name: &str) -> Result<(), BundleError> {
    let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    if PICKLE_SUFFIXES
        .iter()
        .any(|known| suffix.eq_ignore_ascii_case(known))
    {
        return Err(BundleError::Pickle {
            file: name.to_owned(),
        });
    }
    Ok(())
}

fn refuse_program(path: &Path, name: &str) -> Result<(), BundleError> {
    let mut start = Vec::new();
    let file = fs::File::open(path).map_err(read_error(name))?;
    file.take(8)
        .read_to_end(&mut start)
        .map_err(read_error(name))?;
    refuse_magic(name, &start)?;
    refuse_suffix(name)
}

/// Refuses pickles (protocol 2 to 5) and zip archives by their first bytes. A safetensors header of 640 bytes also
/// begins with `80 02`, but continues with zeros, which no pickle does.
fn refuse_magic(name: &str, bytes: &[u8]) -> Result<(), BundleError> {
    let length_of_a_header = bytes.get(3..8).is_some_and(|rest| rest == [0; 5]);
    match bytes {
        [0x80, 2..=5, ..] if !length_of_a_header => Err(BundleError::Pickle {
            file: name.to_owned(),
        }),
        [b'P', b'K', 3, 4, ..] => Err(BundleError::TorchArchive {
            file: name.to_owned(),
        }),
        _ => Ok(()),
    }
}
