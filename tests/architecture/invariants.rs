//! The table *Invariants*: numbered without gaps, and each names at least one test that exists.

use crate::document::{self, names};
use crate::tree::{read, root};

#[test]
fn invariants_are_numbered_without_gaps() {
    let ids: Vec<String> = document::table("Invariants")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    let expected: Vec<String> = (1..=ids.len()).map(|number| format!("I{number}")).collect();
    assert_eq!(ids, expected);
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
