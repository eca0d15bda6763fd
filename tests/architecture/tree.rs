//! The repository's own files and manifests, as the suites of this folder see them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The workspace and its whole dependency graph, read once, without the network.
pub(crate) static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked".to_owned(), "--offline".to_owned()])
        .exec()
        .expect("cargo metadata reads the workspace")
});

/// The repository root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package of the suites is a folder of the root")
}

/// Our own packages, by name.
pub(crate) fn packages() -> Vec<&'static Package> {
    let mut packages = METADATA.workspace_packages();
    packages.sort_by_key(|package| package.name.to_string());
    packages
}

/// The text of a file named from the root.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("`{}` cannot be read: {error}", path.display()))
}

/// All files of the repository that git would not ignore, as paths from the root, sorted.
pub(crate) fn files() -> Vec<PathBuf> {
    let ignored: Vec<String> = read(".gitignore")
        .lines()
        .filter_map(|line| Some(line.strip_prefix('/')?.trim_end_matches('/').to_owned()))
        .collect();
    let mut found = Vec::new();
    walk(root(), &mut |path| {
        let inside = path
            .strip_prefix(root())
            .expect("the walk stays under the root")
            .to_owned();
        let skipped = inside.ends_with("__pycache__")
            || inside == Path::new(".git")
            || ignored.iter().any(|name| inside == Path::new(name));
        if path.is_file() && !skipped {
            found.push(inside);
        }
        !skipped
    });
    found.sort();
    found
}

/// The files whose names end in `.extension`.
pub(crate) fn files_ending(extension: &str) -> Vec<PathBuf> {
    files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

/// Calls `visit` with every path below `folder`; descends where it answers true.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path) -> bool) {
    for entry in fs::read_dir(folder).expect("a folder of the repository can be listed") {
        let path = entry
            .expect("an entry of the repository can be read")
            .path();
        if visit(&path) && path.is_dir() && !path.is_symlink() {
            walk(&path, visit);
        }
    }
}
