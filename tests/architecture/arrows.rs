//! Which crate may use which: the table *Crates and arrows* against the manifests.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Package};

use crate::document::{self, names};
use crate::tree::{METADATA, files_ending, packages, read, root};

/// The layers, lowest first. An arrow points to a lower layer, or to the same one where `SAME_LAYER` says so.
const LAYERS: [&str; 6] = [
    "vocabulary",
    "pure",
    "simulation",
    "effects",
    "process",
    "suites",
];
/// Effects build on each other (models on audio); the pure crates stand alone and processes meet only on the wire.
const SAME_LAYER: &str = "effects";

/// Layers without effects: the simulation stands on the pure crates and is as pure as they are.
const PURE: [&str; 2] = ["pure", "simulation"];

/// What a pure crate may not reach, however far down: a runtime, sockets, storage, randomness, wire types, the GPU.
const IMPURE: [&str; 10] = [
    "getrandom",
    "mio",
    "object_store",
    "prost",
    "rand",
    "redb",
    "socket2",
    "tokio",
    "tonic",
    "torch-sys",
];

/// What begins the part of a file that no binary carries: tests, and bugs that the simulator plants.
const NOT_SHIPPED: [&str; 2] = ["#[cfg(test)]", "#[cfg(feature = \"mutants\")]"];

/// What the source of a pure crate may not name outside its tests. A hash map iterates in another order in each process.
const IMPURE_WORDS: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::",
    "HashMap",
    "HashSet",
    "thread_rng",
];

struct Entry {
    folder: String,
    layer: usize,
    uses: BTreeSet<String>,
}

#[test]
fn every_package_stands_in_the_table_with_its_folder() {
    let written: BTreeMap<String, String> = entries()
        .into_iter()
        .map(|(name, entry)| (name, entry.folder))
        .collect();
    let real: BTreeMap<String, String> = packages()
        .iter()
        .map(|package| (package.name.to_string(), folder(package)))
        .collect();
    assert_eq!(
        written, real,
        "docs/ARCHITECTURE.md (left) and the workspace (right) name other packages"
    );
}

#[test]
fn the_manifests_hold_exactly_the_arrows_of_the_table() {
    let entries = entries();
    let mut turned = Vec::new();
    for package in packages() {
        let written = &entries[package.name.as_str()].uses;
        let real = ours(package, |kind| kind != DependencyKind::Development);
        if *written != real {
            turned.push(format!(
                "`{}`: the table says {written:?}, its manifest {real:?}",
                package.name
            ));
        }
    }
    assert!(turned.is_empty(), "{}", turned.join("\n"));
}

#[test]
fn arrows_point_down_in_tests_too() {
    let entries = entries();
    for package in packages() {
        let from = &entries[package.name.as_str()];
        for used in ours(package, |_| true) {
            let to = entries[used.as_str()].layer;
            let allowed = to < from.layer || (to == from.layer && LAYERS[to] == SAME_LAYER);
            assert!(
                allowed,
                "`{}` ({}) uses `{used}` ({})",
                package.name, LAYERS[from.layer], LAYERS[to]
            );
        }
    }
}

#[test]
fn pure_crates_reach_no_runtime_no_storage_and_no_randomness() {
    for (name, _) in pure() {
        let reached = reach(&name);
        let found: Vec<_> = IMPURE
            .iter()
            .filter(|impure| reached.contains(**impure))
            .collect();
        assert!(found.is_empty(), "`{name}` is pure but reaches {found:?}");
    }
}

#[test]
fn pure_sources_name_no_clock_no_files_and_no_hash_maps() {
    for (name, entry) in pure() {
        for path in files_ending("rs")
            .iter()
            .filter(|path| path.starts_with(format!("{}/src", entry.folder)))
        {
            let text = read(path);
            let shipped = NOT_SHIPPED.iter().fold(text.as_str(), |text, mark| {
                text.split(mark).next().unwrap_or_default()
            });
            let found: Vec<_> = IMPURE_WORDS
                .iter()
                .filter(|word| code(shipped).any(|line| line.contains(*word)))
                .collect();
            assert!(
                found.is_empty(),
                "`{name}` is pure but `{}` names {found:?}",
                path.display()
            );
        }
    }
}

#[test]
fn only_models_and_the_worker_need_libtorch() {
    let needing: Vec<String> = packages()
        .iter()
        .filter(|package| reach(&package.name).contains("torch-sys"))
        .map(|package| package.name.to_string())
        .collect();
    assert_eq!(needing, ["models", "worker"]);
}

/// The table's rows by package name.
fn entries() -> BTreeMap<String, Entry> {
    document::table("Crates and arrows")
        .into_iter()
        .map(|row| (row[0].clone(), entry(&row)))
        .collect()
}

fn entry(row: &[String]) -> Entry {
    let layer = LAYERS
        .iter()
        .position(|layer| *layer == row[2])
        .unwrap_or_else(|| panic!("`{}` is no layer", row[2]));
    Entry {
        folder: row[1].clone(),
        layer,
        uses: names(&row[3]).into_iter().collect(),
    }
}

fn pure() -> impl Iterator<Item = (String, Entry)> {
    entries()
        .into_iter()
        .filter(|(_, entry)| PURE.contains(&LAYERS[entry.layer]))
}

fn folder(package: &Package) -> String {
    let folder = package
        .manifest_path
        .parent()
        .expect("a manifest lies in a folder");
    folder
        .strip_prefix(root().to_str().expect("the root's path is text"))
        .expect("a member lies under the root")
        .to_string()
}

/// The workspace packages that `package` depends on, of the wanted kinds.
fn ours(package: &Package, wanted: impl Fn(DependencyKind) -> bool) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .filter(|used| used.path.is_some() && wanted(used.kind))
        .map(|used| used.name.clone())
        .collect()
}

/// Every package that ends up in `name`'s build by way of normal dependencies, itself included.
fn reach(name: &str) -> BTreeSet<String> {
    let resolve = METADATA
        .resolve
        .as_ref()
        .expect("cargo metadata resolves the graph");
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let start = packages()
        .into_iter()
        .find(|package| package.name == name)
        .expect("the package is a member");
    let mut open = vec![&start.id];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let normal = nodes[id].deps.iter().filter(|used| {
                used.dep_kinds
                    .iter()
                    .any(|info| info.kind == DependencyKind::Normal)
            });
            open.extend(normal.map(|used| &used.pkg));
        }
    }
    seen.iter()
        .map(|id| METADATA[*id].name.to_string())
        .collect()
}

/// Lines that are not comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}
