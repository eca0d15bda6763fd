//! Views that need no coordinator: codes, versions, the doctor's checks.

use crate::output::{Paint, Records, View};
use schemars::JsonSchema;
use serde::Serialize;

/// A code with its meaning.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CodeView {
    /// Stable.
    code: String,
    /// What happened.
    cause: String,
    /// What to do.
    fix: String,
}

/// `explain`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CodeList {
    /// All, or those of one text.
    codes: Vec<CodeView>,
}

impl CodeList {
    /// Every code that scanctl prints: errors, why a verdict is inconclusive, warnings of rows, why work does not run,
    /// and what a verification finds. One text may stand in two of these.
    pub(crate) fn all() -> Self {
        macro_rules! told {
            ($set:ident) => {
                types::$set::ALL.iter().map(|code| CodeView {
                    code: code.to_string(),
                    cause: code.cause().to_owned(),
                    fix: code.fix().to_owned(),
                })
            };
        }
        let codes = told!(Code)
            .chain(told!(InconclusiveReason))
            .chain(told!(Warning))
            .chain(told!(Blocking))
            .chain(told!(FindingCode));
        Self {
            codes: codes.collect(),
        }
    }

    /// Those of one text.
    pub(crate) fn named(self, text: &str) -> Option<Self> {
        let mut codes = self.codes;
        codes.retain(|code| code.code == text);
        (!codes.is_empty()).then_some(Self { codes })
    }
}

impl View for CodeList {
    fn names(&self) -> Vec<String> {
        self.codes.iter().map(|c| c.code.clone()).collect()
    }

    fn records(&self) -> Records {
        let row = |c: &CodeView| vec![c.code.clone(), c.cause.clone(), c.fix.clone()];
        Records {
            header: vec!["CODE", "CAUSE", "FIX"],
            rows: self.codes.iter().map(row).collect(),
        }
    }

    fn table(&self, _: Paint) -> String {
        let text = |c: &CodeView| format!("{}\n  cause: {}\n  fix: {}", c.code, c.cause, c.fix);
        self.codes.iter().map(text).collect::<Vec<_>>().join("\n")
    }
}

/// `version`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Versions {
    /// Version of scanctl.
    pub(crate) scanctl: String,
    /// Versions of the sibling binaries by name; a sentence where one does not answer.
    pub(crate) siblings: std::collections::BTreeMap<String, String>,
}

impl View for Versions {
    fn names(&self) -> Vec<String> {
        vec![self.scanctl.clone()]
    }

    fn records(&self) -> Records {
        let own = std::iter::once(vec!["scanctl".to_owned(), self.scanctl.clone()]);
        let rows = own.chain(
            self.siblings
                .iter()
                .map(|(name, version)| vec![name.clone(), version.clone()]),
        );
        Records {
            header: vec!["BINARY", "VERSION"],
            rows: rows.collect(),
        }
    }
}

/// One check of the doctor.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CheckView {
    /// What was checked.
    pub(crate) check: String,
    /// Whether all is well.
    pub(crate) ok: bool,
    /// What was found.
    pub(crate) found: String,
    /// What to do; empty where all is well.
    pub(crate) fix: String,
}

/// `doctor`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Checks {
    /// In the order they were made.
    pub(crate) checks: Vec<CheckView>,
}

impl View for Checks {
    fn names(&self) -> Vec<String> {
        self.checks
            .iter()
            .filter(|c| !c.ok)
            .map(|c| c.check.clone())
            .collect()
    }

    fn records(&self) -> Records {
        let word = |ok: bool| if ok { "ok" } else { "fault" };
        let row = |c: &CheckView| {
            vec![
                c.check.clone(),
                word(c.ok).to_owned(),
                c.found.clone(),
                c.fix.clone(),
            ]
        };
        Records {
            header: vec!["CHECK", "STATE", "FOUND", "FIX"],
            rows: self.checks.iter().map(row).collect(),
        }
    }

    fn table(&self, paint: Paint) -> String {
        let line = |c: &CheckView| {
            let mark = if c.ok {
                paint.colour("32", "ok   ")
            } else {
                paint.colour("31", "fault")
            };
            let fix = if c.fix.is_empty() {
                String::new()
            } else {
                format!("\n        fix: {}", c.fix)
            };
            format!("{mark}  {}: {}{fix}", c.check, c.found)
        };
        self.checks.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
