//! Two builds of the product laid out side by side in the run's folder, each as an installation has it: the stub engine stands where an agent
//! looks for its worker. A rolling restart goes from one to the other.

use crate::wishes::Wishes;
use anyhow::{Context, Result};
use cluster::product;
use std::path::{Path, PathBuf};

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
        .with_context(|| format!("place `{}`: build it with `make build`", built.display()))
}
