//! The event log: one line for all that happens, in order. Its digest is what two runs of a seed are compared by; the lines
//! themselves are kept only where somebody will read them.

use std::fmt::Write;

use types::Millis;

/// The log of one run.
#[derive(Debug, Default)]
pub(crate) struct Log {
    digest: u64,
    keep: bool,
    line: String,
    lines: Vec<String>,
}

/// FNV-1a's first value and factor: any mixing that is the same everywhere will do, for nobody forges a log.
const FIRST: u64 = 0xcbf2_9ce4_8422_2325;
const FACTOR: u64 = 0x0000_0100_0000_01b3;

impl Log {
    pub(crate) fn new(keep: bool) -> Self {
        Self {
            digest: FIRST,
            keep,
            ..Self::default()
        }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, now: Millis, what: std::fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a string does not fail.
        let _ = write!(self.line, "{} {what}", now.0);
        for byte in self.line.as_bytes() {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(FACTOR);
        }
        if self.keep {
            self.lines.push(self.line.clone());
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}
