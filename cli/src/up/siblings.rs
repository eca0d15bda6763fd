//! The binaries that ship beside scanctl: where they stand and which version they are. `up`, `doctor` and `version`
//! ask; nothing is started for longer than `--version` takes.

use crate::failure::{Failure, problem};
use std::path::{Path, PathBuf};
use std::process::Command;
use types::Code;

/// The other binaries of an installation.
pub(crate) const NAMES: [&str; 4] = [
    "coordinator",
    "node-agent",
    "trackscan-worker",
    "trackscan-decoder",
];

/// The folder scanctl itself stands in.
pub(crate) fn folder() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().and_then(std::fs::canonicalize);
    let own = own.map_err(|why| {
        problem(
            Code::BinaryMissing,
            format!("could not find scanctl's own folder: {why}"),
        )
    })?;
    Ok(own.parent().unwrap_or(Path::new("/")).to_owned())
}

/// Each sibling with its version, or why it gave none.
pub(crate) fn versions() -> Vec<(&'static str, Result<String, String>)> {
    let folder = folder().map_err(|_| "scanctl's own folder is unknown".to_owned());
    NAMES
        .iter()
        .map(|name| {
            (
                *name,
                folder
                    .clone()
                    .and_then(|folder| version(&folder.join(name))),
            )
        })
        .collect()
}

/// What `BINARY --version` prints after the name.
fn version(binary: &Path) -> Result<String, String> {
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .map_err(|why| format!("{}: {why}", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .split_whitespace()
        .nth(1)
        .filter(|_| output.status.success());
    version.map(str::to_owned).ok_or_else(|| {
        format!(
            "{} --version did not answer: {}",
            binary.display(),
            output.status
        )
    })
}

/// Refuses to run beside binaries of another version.
pub(crate) fn require_same_version() -> Result<PathBuf, Failure> {
    for (name, found) in versions() {
        match found {
            Ok(version) if version == env!("CARGO_PKG_VERSION") => {}
            Ok(version) => {
                let own = env!("CARGO_PKG_VERSION");
                return Err(problem(
                    Code::VersionMismatch,
                    format!("`{name}` is version {version}, scanctl is {own}"),
                ));
            }
            Err(why) => return Err(problem(Code::BinaryMissing, why)),
        }
    }
    folder()
}

/// The demonstration bundle that ships with the binaries, and the public key it is signed with: beside an installation
/// under `share/trackscan`, or in the source tree the binaries were built in.
pub(crate) fn demonstration(binaries: &Path) -> Option<(PathBuf, String)> {
    let places = [
        binaries.join("../share/trackscan/bundles"),
        binaries.join("../../bundles"),
    ];
    places.iter().find_map(|bundles| {
        let key = std::fs::read_to_string(bundles.join("demo.pub")).ok()?;
        let bundle = bundles.join("demo").canonicalize().ok()?;
        Some((bundle, key.trim().to_owned()))
    })
}
