//! `bundle convert`: from a separator's published file to a bundle with a residual. Off-line, by hand, once for each file.
//!
//! The file is parsed by a child of this process that can do nothing else ([`reader`]); what comes back is parsed again and
//! must fit the network exactly. The screen and all else come from another bundle. Nothing here runs what a file says, fetches
//! anything or calibrates: what it writes is for demonstration until it is calibrated, and nobody loads it unsigned.

mod card;
mod parent;
pub(crate) mod reader;
mod source;

use crate::args;
use crate::bundles::{say, secret_key};
use anyhow::{Context, ensure};
use bundle::{
    Bundle, Clip, Contents, Epsilon, FORMAT_RESIDUAL, Manifest, Origin, OriginFormat, Overlap,
    Residual, ResidualCanary, Separator, Tensors, Trust,
};
use checkpoint::Format;
use models::htdemucs::{self, Checkpoint};
use source::Source;
use std::fs;
use std::path::Path;
use types::{Digest, Dtype, Purpose};

/// The weights' file in the bundle.
const WEIGHTS: &str = "separator.safetensors";
/// Largest difference of a stem from the package's in single precision, over the largest value: the tolerance of the golden
/// vectors, fifty times what is measured.
const EPSILON_F32: f64 = 1e-4;
/// How much further features may differ than stems, in shares of their spans: a residual forty decibels below the mix moves by 0.9 dB
/// of a span of 100 where stems move by a thousandth.
const FEATURES_OVER_STEMS: f64 = 10.0;
/// Beyond its span no feature tells anything.
const CANARY_EPSILON_MAX: f64 = 1.0;

/// Converts.
///
/// # Errors
/// When the base is refused, the file is none that is read, or the folder cannot be written.
pub(crate) fn run(flags: &args::Convert) -> anyhow::Result<()> {
    let trust = Trust::new(flags.trusted_key.iter().cloned());
    let base = Bundle::open(&flags.base, &trust)
        .map_err(|error| anyhow::Error::new(error.problem()))
        .context("opening the bundle that the screen comes from")?;
    check_free(&flags.out)?;
    let key = flags.key.as_deref().map(secret_key).transpose()?;
    let source = Source::find(&flags.from)?;
    let origin = origin(&source)?;
    let checkpoint = checkpoint_of(source)?;
    let tensors = &checkpoint.tensors;
    fits(&checkpoint)?;
    let residual = with_canary(residual(flags, &checkpoint, origin), tensors, &base.clip)?;
    let manifest = manifest(flags, &base, residual);
    let contents = contents(&base, &manifest, tensors)?;
    let digest = match &key {
        Some(key) => bundle::write(&flags.out, manifest.clone(), &contents, key)?,
        None => bundle::write_unsigned(&flags.out, manifest.clone(), &contents)?,
    };
    Bundle::open_pinned(&flags.out, digest).context("checking what was written")?;
    report(&manifest, digest, &contents, tensors, key.is_some())
}

/// The folder is not there, or empty: two bundles in one folder are none.
fn check_free(out: &Path) -> anyhow::Result<()> {
    let taken = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("listing `{}`", out.display())),
    };
    ensure!(!taken, "`{}` is not empty", out.display());
    Ok(())
}

fn origin(source: &Source) -> anyhow::Result<Origin> {
    let format = match Format::of(&source.bytes)? {
        Format::Safetensors => OriginFormat::Safetensors,
        Format::TorchArchive => OriginFormat::TorchArchive,
    };
    Ok(Origin {
        format,
        bytes: source.bytes.len() as u64,
        sha256: source.sha256,
    })
}

fn checkpoint_of(source: Source) -> anyhow::Result<Checkpoint> {
    let reading = || format!("reading `{}`", source.path.display());
    let read = parent::ask(reader::What::Checkpoint, &source.bytes).with_context(reading)?;
    Checkpoint::parse(&read).with_context(reading)
}

/// Whether the network that the file describes can be built, and takes its tensors.
fn fits(checkpoint: &Checkpoint) -> anyhow::Result<()> {
    htdemucs::check_fit(&checkpoint.config, &checkpoint.tensors)
        .context("fitting the checkpoint's tensors into its network")
}

fn residual(flags: &args::Convert, checkpoint: &Checkpoint, origin: Origin) -> Residual {
    let epsilon = |dtype: Dtype| {
        let stated = flags.epsilon.iter().find(|stated| stated.dtype == dtype);
        stated.map(|stated| stated.epsilon)
    };
    Residual {
        architecture: Separator::HtDemucs(checkpoint.config.clone()),
        weights: WEIGHTS.to_owned(),
        origin: Some(origin),
        epsilon: Epsilon {
            f32: epsilon(Dtype::F32).unwrap_or(EPSILON_F32),
            tf32: epsilon(Dtype::Tf32),
            bf16: epsilon(Dtype::Bf16),
            f16: epsilon(Dtype::F16),
        },
        segments: flags.segments,
        overlap: Overlap {
            share: flags.overlap,
            ..Overlap::default()
        },
        canary: None,
        calibration: None,
    }
}

/// The same with the known features of the base's clip, as this processor computes them; without any where no worker could
/// serve such a separator, which no manifest may have.
fn with_canary(residual: Residual, tensors: &Tensors, clip: &Clip) -> anyhow::Result<Residual> {
    let features = models::residual::known_features(&residual, tensors, clip)
        .context("separating the canary clip")?;
    let wider = |epsilon: f64| (epsilon * FEATURES_OVER_STEMS).min(CANARY_EPSILON_MAX);
    let stems = residual.epsilon;
    let epsilon = Epsilon {
        f32: wider(stems.f32),
        tf32: stems.tf32.map(wider),
        bf16: stems.bf16.map(wider),
        f16: stems.f16.map(wider),
    };
    Ok(Residual {
        canary: features.map(|features| ResidualCanary { features, epsilon }),
        ..residual
    })
}

/// The base's manifest with the residual. Whatever the base was for, this is for demonstration: what the residual says is
/// not calibrated.
fn manifest(flags: &args::Convert, base: &Bundle, residual: Residual) -> Manifest {
    let base = base.manifest.clone();
    Manifest {
        format: FORMAT_RESIDUAL,
        name: flags.name.clone().unwrap_or_else(|| base.name.clone()),
        version: flags
            .bundle_version
            .unwrap_or(base.version.saturating_add(1)),
        purpose: Purpose::Demonstration,
        residual: Some(residual),
        ..base
    }
}

/// The base's files, its residual's weights replaced and its model card continued.
fn contents(base: &Bundle, manifest: &Manifest, tensors: &Tensors) -> anyhow::Result<Contents> {
    let replaced = base
        .manifest
        .residual
        .as_ref()
        .map(|old| old.weights.as_str());
    let mut contents = Contents::new();
    for entry in &base.manifest.files {
        if Some(entry.name.as_str()) == replaced {
            continue;
        }
        ensure!(
            entry.name != WEIGHTS,
            "the bundle that the screen comes from has a file `{WEIGHTS}` of another meaning"
        );
        let path = base.dir.join(&entry.name);
        let mut bytes = fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
        let unchanged = Digest::of(&bytes) == entry.sha256;
        ensure!(
            unchanged,
            "`{}` has changed since it was checked",
            path.display()
        );
        if entry.name == manifest.model_card {
            bytes.extend_from_slice(card::of(manifest).as_bytes());
        }
        contents.insert(entry.name.clone(), bytes);
    }
    contents.insert(WEIGHTS.to_owned(), tensors.to_bytes());
    Ok(contents)
}

fn report(
    manifest: &Manifest,
    digest: Digest,
    contents: &Contents,
    tensors: &Tensors,
    signed: bool,
) -> anyhow::Result<()> {
    let weights = contents.get(WEIGHTS).map(|bytes| Digest::of(bytes));
    let values: usize = tensors.0.iter().map(|tensor| tensor.values.len()).sum();
    say(&format!(
        "{} version {} ({})\ndigest {digest}",
        manifest.name, manifest.version, manifest.purpose
    ))?;
    if let Some(residual) = &manifest.residual {
        say(&residual_line(residual, tensors.0.len(), values))?;
    }
    if let Some(weights) = weights {
        say(&format!("{WEIGHTS} sha256 {weights}"))?;
    }
    if !signed {
        say("not signed: nobody loads it before `trackscan-worker bundle sign DIR --key KEY`")?;
    }
    say("not calibrated: no verdict rests on the residual, and the bundle is for demonstration")
}

/// One line on a bundle's residual, for `convert` and `verify`.
pub(crate) fn residual_line(residual: &Residual, tensors: usize, values: usize) -> String {
    let origin = match &residual.origin {
        Some(origin) => format!(", from a file of sha256 {}", origin.sha256),
        None => String::new(),
    };
    format!(
        "residual htdemucs, stems {}, {tensors} tensors of {values} values{origin}",
        residual.architecture.sources().join(", "),
    )
}
