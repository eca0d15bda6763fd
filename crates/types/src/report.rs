//! What a process of Trackscan says of itself to whoever started it: one JSON line on stdout when it is ready, one when
//! it ends by a fault or because an operator drained it. `runtime` writes it, `scanctl up` reads it; logs are not of this kind and go to stderr.

use crate::Problem;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

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
        check(
            &Report::Failed(Problem::new(Code::DataLocked, "lock\nfolder `x`")),
            r#"{"failed":{"code":"DATA_LOCKED","message":"lock\nfolder `x`"}}"#,
        );
    }
}
