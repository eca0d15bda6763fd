//! The table *Invariants*: numbered once each, in order, and each names at least one test that exists.

use crate::document::{self, names};
use crate::tree::{read, root};

#[test]
fn invariants_are_numbered_once_each_and_in_order() {
    let ids: Vec<(char, u32)> = document::table("Invariants")
        .iter()
        .map(|row| id(&row[0]))
        .collect();
    let order = |(letter, number): &(char, u32)| ("IH".find(*letter), *number);
    assert!(ids.is_sorted_by(|a, b| order(a) < order(b)), "{ids:?}");
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    for row in document::table("Invariants") {
        let (id, tests) = (&row[0], names(&row[3]));
        assert!(!tests.is_empty(), "{id} names no test");
        for test in tests {
            let (path, name) = test
                .split_once("::")
                .unwrap_or_else(|| panic!("{id}: `{test}` is not path::test"));
            assert!(root().join(path).is_file(), "{id}: `{path}` is not there");
            assert!(
                read(path).contains(&format!("fn {name}(")),
                "{id}: `{path}` has no test `{name}`"
            );
        }
    }
}

/// `I13` as its letter, which says whether the protocol's or the house's, and its number.
fn id(text: &str) -> (char, u32) {
    let letter = text.chars().next().filter(|letter| "IH".contains(*letter));
    let number = text.get(1..).and_then(|number| number.parse().ok());
    letter
        .zip(number)
        .unwrap_or_else(|| panic!("`{text}` is no invariant's id"))
}
