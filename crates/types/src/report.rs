//! What a process of Trackscan says of itself to whoever started it: one JSON line on stdout when it is ready, one when
//! it ends by a fault, because an operator drained it, or because it has done what it was run for alone. `runtime` writes it, scanctl reads it; logs are not of this kind and go to stderr.

use crate::Problem;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line of a process about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It has all that it needs and does its work from now on.
    Ready {
        /// The address it listens on, where it serves one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listening: Option<SocketAddr>,
    },
    /// It ends, and this is why.
    Failed(Problem),
    /// It ends because an operator drained it: it is not to be started again.
    Drained,
    /// It has made the records of a store anew, and ends.
    Rebuilt(Rebuilt),
    /// It has asked a storage what it can promise, and ends.
    Probed(Probed),
}

/// What a storage can promise and what not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probed {
    /// Where it lies; never with credentials.
    pub place: String,
    /// What was found out, in the order in which it was asked.
    pub findings: Vec<ProbeFinding>,
    /// Nothing was found for which Trackscan cannot work with it.
    pub usable: bool,
}

/// What was found out about one question to a storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeFinding {
    /// Such as `one-winner`.
    pub question: String,
    /// `yes`, `no` or `unknown`.
    pub answer: String,
    /// What was seen, in a sentence.
    pub seen: String,
    /// What a no means, in a sentence.
    pub without_it: String,
    /// Trackscan cannot work where the answer is no.
    pub needed: bool,
    /// The code of what kept it from being found out; empty where nothing did.
    pub trouble: String,
}

/// What a restore or rebuild of a store came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rebuilt {
    /// The generation whose objects were read.
    pub replaced: u32,
    /// The generation that was made.
    pub generation: u32,
    /// Jobs with a published result.
    pub published: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Jobs that go on.
    pub open: u64,
    /// Closed jobs beyond `jobs-kept`: their results stay, without a record.
    pub unlisted: u64,
    /// Jobs that an earlier run of the same restore had done; the numbers below are without theirs.
    pub done_before: u64,
    /// Parts of open jobs that count.
    pub parts_taken: u64,
    /// Tracks of open jobs with a row that counts, or with a screen that does.
    pub tracks_taken: u64,
    /// Tracks of open jobs that are scanned again.
    pub tracks_queued: u64,
    /// Parts of open jobs that were left, by why.
    pub parts_skipped: BTreeMap<String, u64>,
    /// Catalogs.
    pub catalogs: u64,
    /// Bundles.
    pub bundles: u64,
    /// Folders that imports had registered.
    pub folders: u64,
    /// Revocations.
    pub revocations: u64,
    /// Jobs that have their lane, rank, deadline, pause or requirements from the backup or the store.
    pub ranked: u64,
    /// What could not be taken over, a sentence each; no more than a screen of them.
    pub warnings: Vec<String>,
}

impl Rebuilt {
    /// Warnings that are kept.
    pub const WARNINGS_MAX: usize = 50;

    /// Adds a warning, as long as there is room for it.
    pub fn warn(&mut self, text: impl Into<String>) {
        if self.warnings.len() < Self::WARNINGS_MAX {
            self.warnings.push(text.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[track_caller]
    fn check(report: &Report, expected: &str) {
        let line = serde_json::to_string(report).unwrap();
        assert_eq!(line, expected);
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), *report);
    }

    #[test]
    fn a_report_is_one_line_of_json_and_reads_back() {
        let listening = Some(([127, 0, 0, 1], 7700).into());
        check(
            &Report::Ready { listening },
            r#"{"ready":{"listening":"127.0.0.1:7700"}}"#,
        );
        check(&Report::Ready { listening: None }, r#"{"ready":{}}"#);
        check(&Report::Drained, r#""drained""#);
        for whole in [
            Report::Rebuilt(Rebuilt::default()),
            Report::Probed(Probed::default()),
        ] {
            let line = serde_json::to_string(&whole).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), whole);
        }
        check(
            &Report::Failed(Problem::new(Code::DataLocked, "lock\nfolder `x`")),
            r#"{"failed":{"code":"DATA_LOCKED","message":"lock\nfolder `x`"}}"#,
        );
    }
}
