//! Two builds of the product laid out side by side in the run's folder, each as an installation has it: the stub engine stands where an agent
//! looks for its worker. A rolling restart goes from one to the other.

use crate::wishes::Wishes;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
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

/// Both of them.
#[derive(Debug, Clone)]
pub(crate) struct Builds {
    pub(crate) first: Build,
    second: Build,
    pub(crate) s3_server: PathBuf,
}

impl Builds {
    /// Lays them out below a folder.
    pub(crate) fn lay_out(folder: &Path, wishes: &Wishes) -> Result<Self> {
        Ok(Self {
            first: build(&wishes.build, &folder.join("first"))?,
            second: build(&wishes.other_build, &folder.join("second"))?,
            s3_server: s3_server(&wishes.build),
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

/// The server that cargo builds among the examples; a folder of binaries may hold it beside them.
fn s3_server(build: &Path) -> PathBuf {
    let beside = build.join("s3_server");
    match beside.is_file() {
        true => beside,
        false => build.join("examples/s3_server"),
    }
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

/// Puts the committed bundle where a coordinator would put it in a bucket. The server keeps notes of an upload in pieces in a file that it names
/// after the whole key, and a bundle's keys are too long for that; a coordinator that finds a file of a bundle leaves it.
pub(crate) fn shelve(bundle: &Path, root: &Path) -> Result<()> {
    let manifest = read(&bundle.join("manifest.json"))?;
    let shelf = root
        .join("default/bundles")
        .join(Digest::of(&manifest).to_string());
    std::fs::create_dir_all(&shelf)
        .with_context(|| format!("make the folder `{}`", shelf.display()))?;
    let listed = std::fs::read_dir(bundle);
    let listed = listed.with_context(|| format!("list `{}`", bundle.display()))?;
    for entry in listed {
        let bytes = read(&entry.context("list the bundle")?.path())?;
        let file = shelf.join(Digest::of(&bytes).to_string());
        std::fs::write(&file, bytes).with_context(|| format!("write `{}`", file.display()))?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("read `{}`", file.display()))
}

/// As a second name where the file system allows it, else as a copy: an agent looks for its worker where its own file is, so that a
/// symbolic link would lead it back.
fn place(built: &Path, installed: &Path) -> Result<()> {
    let linked = std::fs::hard_link(built, installed);
    linked
        .or_else(|_| std::fs::copy(built, installed).map(drop))
        .with_context(|| format!("place `{}`: build it with `make build`", built.display()))
}
