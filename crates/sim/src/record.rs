//! A run as a file: where it came from, every draw, how it ended and each line of its log. Written for failures, read by
//! `replay`, which runs the draws again and compares line by line.

use crate::report::Report;

/// What a record begins with; another version is refused.
const HEAD: &str = "trackscan-sim 1";

/// A run's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The seed it came from, for people.
    pub seed: u64,
    /// The digest of its log.
    pub digest: u64,
    /// What did not hold, for people.
    pub violation: String,
    /// Every draw.
    pub tape: Vec<u32>,
    /// Every line.
    pub lines: Vec<String>,
}

/// The text is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError(pub &'static str);

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the record of a run lacks {}", self.0)
    }
}

impl std::error::Error for RecordError {}

impl Record {
    /// The record of a run that kept its lines.
    #[must_use]
    pub fn of(seed: u64, report: &Report) -> Self {
        let violation = report.violation.as_ref();
        Self {
            seed,
            digest: report.digest,
            violation: violation.map_or_else(String::new, |v| format!("{} {}", v.id, v.what)),
            tape: report.tape.clone(),
            lines: report.lines.clone(),
        }
    }

    /// As text: five lines of head, then the log.
    #[must_use]
    pub fn to_text(&self) -> String {
        let tape: Vec<String> = self.tape.iter().map(u32::to_string).collect();
        let violation = self.violation.replace('\n', " ");
        let mut text = format!(
            "{HEAD}\nseed {}\ndigest {:016x}\nviolation {violation}\ntape {}\n",
            self.seed,
            self.digest,
            tape.join(" ")
        );
        for line in &self.lines {
            text.push_str(&line.replace('\n', " "));
            text.push('\n');
        }
        text
    }

    /// Reads the text.
    ///
    /// # Errors
    /// Names what is missing.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err(RecordError("its first line"));
        }
        let mut field = |name: &'static str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            line.map(|line| line.trim_start().to_owned())
                .ok_or(RecordError(name))
        };
        let seed = field("seed")?.parse().map_err(|_| RecordError("seed"))?;
        let digest = u64::from_str_radix(&field("digest")?, 16);
        let violation = field("violation")?;
        let tape = field("tape")?;
        let tape: Result<Vec<u32>, _> = tape.split_whitespace().map(str::parse).collect();
        Ok(Self {
            seed,
            digest: digest.map_err(|_| RecordError("digest"))?,
            violation,
            tape: tape.map_err(|_| RecordError("tape"))?,
            lines: lines.map(str::to_owned).collect(),
        })
    }
}
