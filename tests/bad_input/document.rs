//! Holds `docs/reference/bad-input.md` against the expectations.

use crate::expected::CASES;
use std::fs;

#[test]
fn the_reference_page_lists_each_case_with_its_outcome_and_limits() {
    let page = fs::read_to_string(tests::tree().join("docs/reference/bad-input.md")).unwrap();
    let listed: Vec<&str> = page.lines().filter(|line| is_case(line)).collect();
    let expected: Vec<String> = CASES
        .iter()
        .map(|case| {
            format!(
                "| {} | `{}` | {} | {} | {} |",
                case.family, case.name, case.ending, case.seconds, case.mib
            )
        })
        .collect();
    for (line, case) in listed.iter().zip(&expected) {
        assert_eq!(line, case);
    }
    assert_eq!(
        listed.len(),
        expected.len(),
        "the page should have\n{}",
        expected.join("\n")
    );
}

/// Rows of cases begin with the number of a family.
fn is_case(line: &str) -> bool {
    line.strip_prefix("| ")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
