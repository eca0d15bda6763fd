//! Printing: one view, five formats. stdout is for data, stderr for talk; nothing else writes to either.

use crate::args::{Color, Format, Global};
use crate::failure::{Failure, problem};
use comfy_table::{Table, presets};
use serde::Serialize;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use types::Code;

/// Rows under a header, as tables and CSV print them.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Column titles: upper case, no spaces.
    pub(crate) header: Vec<&'static str>,
    /// Cells, as many as titles.
    pub(crate) rows: Vec<Vec<String>>,
}

/// What a command prints.
pub(crate) trait View: Serialize {
    /// The names of the things shown, for scripts.
    fn names(&self) -> Vec<String>;
    /// The things as rows.
    fn records(&self) -> Records;
    /// For people; the records as a table unless a view has more to say.
    fn table(&self, paint: Paint) -> String {
        let _ = paint;
        table(self.records())
    }
}

/// Whether to colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Decides by flag, terminal and NO_COLOR.
    pub(crate) fn of(global: &Global) -> Self {
        let terminal = || std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self(match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal(),
        })
    }

    /// No colours, as inside table cells, whose width must be what is seen.
    pub(crate) const fn plain() -> Self {
        Self(false)
    }

    /// The text in an SGR colour where colours are on.
    pub(crate) fn colour(self, sgr: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{sgr}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Prints a view as the operator asked.
pub(crate) fn print(global: &Global, view: &impl View) -> Result<(), Failure> {
    write_line(&text(global, view)?)
}

/// A view as the operator asked for it.
pub(crate) fn text(global: &Global, view: &impl View) -> Result<String, Failure> {
    Ok(match global.output {
        Format::Table => view.table(Paint::of(global)),
        Format::Json => to_json(view)?,
        Format::Yaml => to_yaml(view)?,
        Format::Csv => to_csv(&view.records()),
        Format::Name => view.names().join("\n"),
    })
}

/// Says a line to whoever sits there, on stderr. Where nobody reads it the command goes on: talk is no part of its outcome.
pub(crate) fn say(line: impl Display) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{line}").and_then(|()| err.flush());
}

/// Writes text and one line end to stdout.
pub(crate) fn write_line(text: &str) -> Result<(), Failure> {
    let text = text.trim_end_matches('\n');
    if text.is_empty() {
        return Ok(());
    }
    write_bytes(format!("{text}\n").as_bytes())
}

/// Writes bytes to stdout as they are.
pub(crate) fn write_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    Ok(out.write_all(bytes).and_then(|()| out.flush())?)
}

fn to_json(view: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(view)
        .map_err(|why| problem(Code::Internal, format!("could not write JSON: {why}")))
}

fn to_yaml(view: &impl Serialize) -> Result<String, Failure> {
    serde_saphyr::to_string(view)
        .map_err(|why| problem(Code::Internal, format!("could not write YAML: {why}")))
}

/// A text from outside as a terminal may show it: what would move its cursor or change its title is written as an escape.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// The same of a text of several lines, which keeps its lines.
pub(crate) fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// Records as aligned columns without borders, as kubectl prints them.
pub(crate) fn table(records: Records) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(records.header);
    for row in records.rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

fn to_csv(records: &Records) -> String {
    let header = records
        .header
        .iter()
        .map(|title| title.to_lowercase())
        .collect::<Vec<_>>();
    let lines = std::iter::once(&header).chain(&records.rows);
    lines
        .map(|cells| {
            cells
                .iter()
                .map(|cell| csv_cell(cell))
                .collect::<Vec<_>>()
                .join(",")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// A CSV cell: quoted where needed, and never something that a spreadsheet would run.
fn csv_cell(cell: &str) -> String {
    let formula =
        cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    let cell = if formula {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::CodeList;
    use serde_json::Value;

    #[test]
    fn yaml_says_what_json_says_whatever_the_texts_are() {
        let hostile = serde_json::json!({
            "texts": ["no", "null", "1e3", "012", "- x", "a: b", "#", "", "  ", "tab\tend", "two\nlines\n", "quote\"'", "ü", "\u{1f3b5}", "~", "=1+1"],
            "numbers": [0, -1, u64::MAX, 0.1, 1.5e300],
            "none": null, "empty": [], "nothing": {}, "yes": true,
        });
        let codes = serde_json::to_value(CodeList::all()).expect("codes are JSON");
        for view in [hostile, codes] {
            let yaml = to_yaml(&view).unwrap_or_else(|why| panic!("{why}"));
            let read: Value = serde_saphyr::from_str(&yaml).expect("YAML reads back");
            assert_eq!(read, view, "{yaml}");
        }
    }

    #[test]
    fn a_text_from_outside_cannot_speak_to_the_terminal() {
        let hostile = "\u{1b}]0;x\u{7}\u{1b}[2Jü\u{9b}1m";
        let records = Records {
            header: vec!["A"],
            rows: vec![vec![hostile.to_owned()]],
        };
        let text = |text: &str| plain_lines(&format!("{text}\n")).trim_end().to_owned();
        for shown in [
            plain(hostile),
            text(hostile),
            table(records).replacen("A\n", "", 1),
        ] {
            assert_eq!(shown, "\\u{1b}]0;x\\u{7}\\u{1b}[2Jü\\u{9b}1m");
        }
    }

    #[test]
    fn cells_that_a_spreadsheet_would_run_are_made_harmless_and_numbers_stay_numbers() {
        for (cell, printed) in [
            ("plain", "plain"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("-1.5", "-1.5"),
            ("@x", "'@x"),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
        ] {
            assert_eq!(csv_cell(cell), printed);
        }
    }
}
