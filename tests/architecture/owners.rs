//! One owner per library that others must not reach past: the table *Sole owners* against the manifests and `deny.toml`.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{self, names};
use crate::tree::{packages, read};

type Owners = BTreeMap<String, BTreeSet<String>>;

#[test]
fn nobody_but_the_owner_depends_on_an_owned_library() {
    for (library, owners) in written() {
        let users: BTreeSet<String> = packages()
            .iter()
            .filter(|package| package.dependencies.iter().any(|used| used.name == library))
            .map(|package| package.name.to_string())
            .collect();
        assert_eq!(
            owners, users,
            "`{library}`: owners in docs/ARCHITECTURE.md left, packages that use it right"
        );
    }
}

#[test]
fn the_document_and_deny_toml_name_the_same_owners() {
    let ours: BTreeSet<String> = packages()
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    let denied: Owners = denied()
        .into_iter()
        .filter(|(_, wrappers)| wrappers.iter().any(|name| ours.contains(name)))
        .collect();
    assert_eq!(
        written(),
        denied,
        "docs/ARCHITECTURE.md left, deny.toml right"
    );
}

fn written() -> Owners {
    document::table("Sole owners")
        .into_iter()
        .map(|row| (row[0].clone(), names(&row[1]).into_iter().collect()))
        .collect()
}

/// The crates that `deny.toml` bans for all but their wrappers.
fn denied() -> Owners {
    let config: toml::Table = read("deny.toml").parse().expect("deny.toml is TOML");
    let bans = config["bans"]["deny"]
        .as_array()
        .expect("deny.toml bans a list");
    bans.iter()
        .map(|ban| (text(&ban["crate"]), wrappers(ban)))
        .collect()
}

fn wrappers(ban: &toml::Value) -> BTreeSet<String> {
    ban.get("wrappers")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .map(text)
        .collect()
}

fn text(value: &toml::Value) -> String {
    value
        .as_str()
        .expect("names in deny.toml are text")
        .to_owned()
}
