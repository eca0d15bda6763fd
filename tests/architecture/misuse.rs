//! `docs/operations/misuse.md`: each row names what shows it, and that is there.

use crate::tree::{read, root};

/// The page.
const PAGE: &str = "docs/operations/misuse.md";

/// The last cell of each row of the page's tables.
fn shown_by() -> Vec<String> {
    let page = read(PAGE);
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(['|', ' ']).rsplit('|').next());
    let cells = cells.map(str::trim).filter(|cell| *cell != "shown by");
    cells.map(str::to_owned).collect()
}

#[test]
fn every_misuse_names_what_shows_it_and_that_exists() {
    let cells = shown_by();
    assert!(cells.len() > 10, "{PAGE} has lost its tables");
    for cell in cells {
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{PAGE}: `{cell}` names nothing");
        for name in names {
            let (path, test) = name.split_once("::").unwrap_or((name, ""));
            assert!(root().join(path).is_file(), "{PAGE}: `{path}` is not there");
            assert!(
                test.is_empty() || read(path).contains(&format!("fn {test}(")),
                "{PAGE}: `{path}` has no test `{test}`"
            );
        }
    }
}
