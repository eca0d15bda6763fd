//! Reads the tables of `docs/ARCHITECTURE.md` by the heading they stand under.

use crate::tree;

/// One table row: its cells, without backticks and outer blanks.
pub(crate) type Row = Vec<String>;

/// The rows of the first table under `## heading`, without its title rows.
pub(crate) fn table(heading: &str) -> Vec<Row> {
    let text = tree::read("docs/ARCHITECTURE.md");
    let section = section(&text, heading);
    let rows: Vec<Row> = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(cells)
        .collect();
    assert!(
        !rows.is_empty(),
        "docs/ARCHITECTURE.md has no table under `## {heading}`"
    );
    rows
}

/// The words of a cell that lists names: `` `types`, `bundle` `` gives two, a dash gives none.
pub(crate) fn names(cell: &str) -> Vec<String> {
    cell.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "–")
        .map(str::to_owned)
        .collect()
}

fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let title = format!("\n## {heading}\n");
    let start = text
        .find(&title)
        .unwrap_or_else(|| panic!("docs/ARCHITECTURE.md lacks `## {heading}`"));
    let body = &text[start + title.len()..];
    body.find("\n## ").map_or(body, |end| &body[..end])
}

fn cells(line: &str) -> Row {
    line.trim_matches('|')
        .split('|')
        .map(|cell| cell.replace('`', "").trim().to_owned())
        .collect()
}
