//! Two builds of the product laid out side by side in the run's folder, each as an installation has it: the stub engine stands where an agent
//! looks for its worker. A rolling restart goes from one to the other, and the report and the record say which they were.

use crate::wishes::Wishes;
use anyhow::{Context, Result, ensure};
use cluster::product;
use std::path::{Path, PathBuf};
use std::process::Command;
use types::Digest;

/// One build's programs.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    pub(crate) coordinator: PathBuf,
    pub(crate) agent: PathBuf,
}

/// What was built, and the names under which an installation has it.
const INSTALLED: [(&str, &str); 4] = [
    ("coordinator", "coordinator"),
    ("node-agent", "node-agent"),
    ("trackscan-decoder", "trackscan-decoder"),
    ("stub-worker", "trackscan-worker"),
];

/// The file beside a build's programs that says of which commit they are, where `scripts/another-build.sh` made them.
const COMMIT: &str = "COMMIT";

/// Both of them.
#[derive(Debug, Clone)]
pub(crate) struct Builds {
    pub(crate) first: Build,
    second: Build,
    pub(crate) s3_server: PathBuf,
    /// What each is, for whoever reads the report or the record.
    pub(crate) told: Vec<String>,
}

impl Builds {
    /// Lays them out below a folder. Where another build is given it must be another one: else nothing is rolled to.
    pub(crate) fn lay_out(folder: &Path, wishes: &Wishes) -> Result<Self> {
        let [first, second] = [&wishes.build, &wishes.other_build];
        ensure!(
            first == second || digest(first)? != digest(second)?,
            "roll to another build: `{}` holds the coordinator of `{}`; make another with `scripts/another-build.sh COMMIT`",
            second.display(),
            first.display()
        );
        Ok(Self {
            first: build(&wishes.build, &folder.join("first"))?,
            second: build(&wishes.other_build, &folder.join("second"))?,
            told: vec![
                told("first", &wishes.build)?,
                told("second", &wishes.other_build)?,
            ],
            s3_server: product::s3_server(&wishes.build),
        })
    }

    /// The same program of the build that `current` is not of.
    pub(crate) fn other(&self, current: &Path) -> Result<PathBuf> {
        let pairs = [
            (&self.first.coordinator, &self.second.coordinator),
            (&self.first.agent, &self.second.agent),
        ];
        let found = pairs.into_iter().find_map(|(first, second)| {
            let other = [(first, second), (second, first)];
            let of = other.into_iter().find(|(one, _)| one.as_path() == current);
            of.map(|(_, other)| other.clone())
        });
        found.with_context(|| format!("find another build of `{}`", current.display()))
    }
}

/// A build by its version, its commit where that is known, and the digest of its coordinator, by which two of one version are told apart.
fn told(name: &str, build: &Path) -> Result<String> {
    let coordinator = build.join("coordinator");
    let what = || format!("ask `{}` which build it is", coordinator.display());
    let said = Command::new(&coordinator).arg("--version").output();
    let said = said.with_context(what)?;
    ensure!(said.status.success(), "{}: {}", what(), said.status);
    let version = String::from_utf8_lossy(&said.stdout);
    let commit = std::fs::read_to_string(build.join(COMMIT)).ok();
    let commit = commit.map(|commit| format!(" of {}", commit.trim()));
    Ok(format!(
        "{name}: {}{}, sha256 {}",
        version.trim(),
        commit.unwrap_or_default(),
        digest(build)?
    ))
}

/// That of a build's coordinator.
fn digest(build: &Path) -> Result<Digest> {
    let coordinator = build.join("coordinator");
    let bytes = std::fs::read(&coordinator);
    bytes
        .map(|bytes| Digest::of(&bytes))
        .with_context(|| format!("read `{}`", coordinator.display()))
}

fn build(from: &Path, to: &Path) -> Result<Build> {
    std::fs::create_dir_all(to).with_context(|| format!("make the folder `{}`", to.display()))?;
    for (built, installed) in INSTALLED {
        place(&from.join(built), &to.join(installed))?;
    }
    Ok(Build {
        coordinator: to.join("coordinator"),
        agent: to.join("node-agent"),
    })
}

/// As a second name where the file system allows it, else as a copy: an agent looks for its worker where its own file is, so that a
/// symbolic link would lead it back.
fn place(built: &Path, installed: &Path) -> Result<()> {
    let linked = std::fs::hard_link(built, installed);
    linked
        .or_else(|_| std::fs::copy(built, installed).map(drop))
        .with_context(|| {
            let built = built.display();
            format!("place `{built}`: build it with `make build`, or for OTHER with `scripts/another-build.sh`")
        })
}
