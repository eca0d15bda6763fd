//! Keys, signatures and checks of bundles, by hand. Converting has a module of its own.

use crate::{args, convert};
use anyhow::{Context, ensure};
use bundle::features::RESIDUAL_V1;
use bundle::{
    Bundle, Contents, MANIFEST_BYTES_MAX, MANIFEST_FILE, Manifest, PublicKey, Residual,
    SIGNATURE_FILE, SecretKey, Separator, Tensors, Trust,
};
use engine::{Engine as _, Load};
use models::TorchEngine;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use types::{DeviceKind, Digest};

/// Does what was asked with a bundle.
///
/// # Errors
/// When it is refused, or a file cannot be read or written.
pub(crate) fn run(command: args::Bundle) -> anyhow::Result<()> {
    match command {
        args::Bundle::Key { file } => say(&make_key(&file)?.to_string()),
        args::Bundle::Sign { dir, key } => say(&sign(&dir, &key)?.to_string()),
        args::Bundle::Verify {
            dir,
            trusted_key,
            min_bundle,
        } => verify(&dir, trusted_key, &min_bundle),
        args::Bundle::Convert(flags) => convert::run(&flags),
    }
}

/// One line on standard output.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{line}").context("printing the answer")
}

fn make_key(file: &Path) -> anyhow::Result<PublicKey> {
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut seed))
        .context("drawing a key")?;
    let text: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("creating `{}`", file.display()))?;
    writeln!(out, "{text}").with_context(|| format!("writing `{}`", file.display()))?;
    Ok(SecretKey::from_seed(&seed).public())
}

/// Signs a folder anew: its files are listed as they are now.
fn sign(dir: &Path, key: &Path) -> anyhow::Result<Digest> {
    let key = secret_key(key)?;
    let path = dir.join(MANIFEST_FILE);
    let size = fs::metadata(&path)
        .with_context(|| format!("reading `{}`", path.display()))?
        .len();
    ensure!(
        size <= MANIFEST_BYTES_MAX,
        "`{}` is larger than {MANIFEST_BYTES_MAX} bytes",
        path.display()
    );
    let bytes = fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).with_context(|| format!("reading `{}`", path.display()))?;
    let digest = bundle::write(dir, manifest, &contents(dir)?, &key)?;
    let trust = Trust::new([key.public()]);
    Bundle::open(dir, &trust).context("checking what was signed")?;
    Ok(digest)
}

/// The secret half of a key, from its file.
pub(crate) fn secret_key(file: &Path) -> anyhow::Result<SecretKey> {
    let reading = || format!("reading the key `{}`", file.display());
    let text = fs::read_to_string(file).with_context(reading)?;
    text.parse().with_context(reading)
}

fn contents(dir: &Path) -> anyhow::Result<Contents> {
    let mut contents = Contents::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing `{}`", dir.display()))? {
        let entry = entry.with_context(|| format!("listing `{}`", dir.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != MANIFEST_FILE && name != SIGNATURE_FILE {
            let bytes = fs::read(entry.path()).with_context(|| format!("reading `{name}`"))?;
            contents.insert(name, bytes);
        }
    }
    Ok(contents)
}

fn verify(dir: &Path, keys: Vec<PublicKey>, bounds: &[String]) -> anyhow::Result<()> {
    let trust = Trust::new(keys).with_bounds(bounds)?;
    let opened = Bundle::open(dir, &trust)
        .and_then(|bundle| bundle.check_fit().map(|()| bundle))
        .map_err(|error| anyhow::Error::new(error.problem()))?;
    let worst = canary(&opened)?;
    let manifest = &opened.manifest;
    say(&format!(
        "{} version {} ({})",
        manifest.name, manifest.version, manifest.purpose
    ))?;
    say(&format!("digest {}", opened.digest))?;
    say(&format!(
        "canary off by {worst:e} at most, epsilon {:e}",
        manifest.epsilon.f32
    ))?;
    ensure!(
        f64::from(worst) <= manifest.epsilon.f32,
        "the canary's scores are not those of the manifest"
    );
    verify_residual(&opened)
}

/// Whether the residual's weights fit its network and give the features that the manifest knows; says what rests on it.
fn verify_residual(opened: &Bundle) -> anyhow::Result<()> {
    let weights = opened
        .residual_weights()
        .map_err(|error| anyhow::Error::new(error.problem()))?;
    let (Some(residual), Some(weights)) = (&opened.manifest.residual, weights) else {
        return Ok(());
    };
    let Separator::HtDemucs(config) = &residual.architecture;
    models::htdemucs::check_fit(config, &weights)
        .context("fitting the residual's weights into its network")?;
    let values = weights.0.iter().map(|tensor| tensor.values.len()).sum();
    say(&convert::residual_line(residual, weights.0.len(), values))?;
    verify_residual_canary(opened, residual, &weights)?;
    match residual.calibration {
        Some(_) => say("residual calibrated: verdicts of separated tracks rest on both engines"),
        None => say("residual not calibrated: no verdict rests on it"),
    }
}

fn verify_residual_canary(
    opened: &Bundle,
    residual: &Residual,
    weights: &Tensors,
) -> anyhow::Result<()> {
    let Some(canary) = &residual.canary else {
        return say("residual without a canary: no worker is asked for it");
    };
    let found = models::residual::known_features(residual, weights, &opened.clip)
        .context("separating the canary clip")?
        .context("no worker serves this separator, and yet it has a canary")?;
    let pairs = found.iter().zip(&canary.features).zip(RESIDUAL_V1);
    let worst = pairs
        .map(|((found, known), feature)| (found - known).abs() / feature.span)
        .fold(0.0, f64::max);
    let epsilon = canary.epsilon.f32;
    say(&format!(
        "residual's canary off by {worst:e} of a feature's span at most, epsilon {epsilon:e}"
    ))?;
    ensure!(
        worst <= epsilon,
        "the residual's features are not those of the manifest"
    );
    Ok(())
}

/// The largest difference of the canary's scores on this processor.
fn canary(opened: &Bundle) -> anyhow::Result<f32> {
    let wanted = Load {
        bundle_dir: opened.dir.display().to_string(),
        bundle: opened.digest,
        device: DeviceKind::Cpu,
        index: 0,
        dtype: None,
        slots: 0,
        max_batch: None,
    };
    let mut engine = TorchEngine::load(&wanted, None)?;
    let known = engine.canary().logits.clone();
    let mut worst = 0.0f32;
    for (window, known) in opened.canary_windows().iter().zip(known) {
        let found = engine.screen(window, 1)?;
        let difference = found
            .first()
            .map_or(f32::INFINITY, |score| (score.logit - known).abs());
        worst = if difference.is_nan() {
            f32::INFINITY
        } else {
            worst.max(difference)
        };
    }
    Ok(worst)
}
