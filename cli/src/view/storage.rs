//! View of what a storage can promise.

use super::fields;
use crate::output::{Paint, Records, View, plain, table};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;
use types::{Code, ProbeFinding, Probed};

/// `doctor storage`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StorageReport {
    /// Where it lies; never with credentials.
    place: String,
    /// Nothing was found for which Trackscan cannot work with it.
    usable: bool,
    /// Why it could not be asked, as a code; empty where it could.
    trouble: String,
    /// What was found out, in the order in which it was asked.
    findings: Vec<StorageFindingView>,
}

/// What was found out about one question.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StorageFindingView {
    /// Such as `one-winner`.
    question: String,
    /// `yes`, `no` or `unknown`.
    answer: String,
    /// Trackscan cannot work where the answer is no.
    needed: bool,
    /// What was seen.
    seen: String,
    /// What a no means, and what Trackscan then does; empty where the answer is yes.
    without_it: String,
}

impl From<Probed> for StorageReport {
    fn from(probed: Probed) -> Self {
        let troubles = probed.findings.iter().map(|found| &found.trouble);
        let trouble = troubles.clone().find(|trouble| !trouble.is_empty());
        Self {
            place: probed.place,
            usable: probed.usable,
            trouble: trouble.cloned().unwrap_or_default(),
            findings: probed.findings.into_iter().map(finding).collect(),
        }
    }
}

impl From<v1::ProbeStorageResponse> for StorageReport {
    fn from(answer: v1::ProbeStorageResponse) -> Self {
        let findings = answer.findings.into_iter().map(|found| ProbeFinding {
            question: found.question,
            answer: found.answer,
            seen: found.seen,
            without_it: found.without_it,
            needed: found.needed,
            trouble: found.trouble,
        });
        Self::from(Probed {
            place: answer.place,
            findings: findings.collect(),
            usable: answer.usable,
        })
    }
}

fn finding(found: ProbeFinding) -> StorageFindingView {
    let without_it = match found.answer.as_str() {
        "yes" => String::new(),
        _ => found.without_it,
    };
    StorageFindingView {
        question: found.question,
        answer: found.answer,
        needed: found.needed,
        seen: found.seen,
        without_it,
    }
}

impl StorageReport {
    /// Whether Trackscan works with it as it is at the moment.
    pub(crate) fn is_sound(&self) -> bool {
        self.usable && self.trouble.is_empty()
    }

    /// What each answer that is no yes means, a line each.
    fn lacks(&self) -> Vec<String> {
        let lacks = self.findings.iter().filter(|found| found.answer != "yes");
        lacks
            .map(|found| {
                let maybe = if found.answer == "no" { "" } else { "If not: " };
                format!("{}: {maybe}{}", found.question, plain(&found.without_it))
            })
            .collect()
    }

    fn outcome(&self, paint: Paint) -> String {
        if !self.trouble.is_empty() {
            let said = paint.colour("31", "could not be asked");
            // Another version of the coordinator may say what this one has no word for.
            let fix = self.trouble.parse::<Code>();
            let fix = fix.map_or("see the coordinator's log", Code::fix);
            return format!("{said}: {}\n  fix: {fix}", plain(&self.trouble));
        }
        match self.usable {
            true => format!("{}: Trackscan works with it", paint.colour("32", "usable")),
            false => format!(
                "{}: Trackscan cannot work with it",
                paint.colour("31", "not usable")
            ),
        }
    }
}

impl View for StorageReport {
    fn names(&self) -> Vec<String> {
        let lacks = self.findings.iter().filter(|found| found.answer != "yes");
        lacks.map(|found| found.question.clone()).collect()
    }

    fn records(&self) -> Records {
        let row = |found: &StorageFindingView| {
            let cells = [&found.question, &found.answer, &found.seen];
            cells.map(String::clone).to_vec()
        };
        Records {
            header: vec!["QUESTION", "ANSWER", "SEEN"],
            rows: self.findings.iter().map(row).collect(),
        }
    }

    fn table(&self, paint: Paint) -> String {
        let (place, listed) = (
            fields(&[("storage", self.place.clone())]),
            table(self.records()),
        );
        let (lacks, outcome) = (self.lacks().join("\n"), self.outcome(paint));
        match lacks.is_empty() {
            true => format!("{place}\n\n{listed}\n\n{outcome}"),
            false => format!("{place}\n\n{listed}\n\n{lacks}\n\n{outcome}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(answer: &str, trouble: &str) -> StorageReport {
        let found = ProbeFinding {
            question: "create-once".to_owned(),
            answer: answer.to_owned(),
            seen: "It was seen.".to_owned(),
            without_it: "Nothing is lost.".to_owned(),
            needed: false,
            trouble: trouble.to_owned(),
        };
        StorageReport::from(Probed {
            place: "s3://b".to_owned(),
            findings: vec![found],
            usable: true,
        })
    }

    #[test]
    fn each_lack_has_its_sentence_and_a_yes_has_none() {
        let shown = |answer| report(answer, "").table(Paint::plain());
        assert!(!shown("yes").contains("Nothing is lost."));
        assert!(shown("no").contains("create-once: Nothing is lost."));
        assert!(shown("unknown").contains("create-once: If not: Nothing is lost."));
        assert!(
            report("no", "").is_sound(),
            "what is not needed is no fault"
        );
    }

    #[test]
    fn a_storage_that_could_not_be_asked_says_why_and_what_to_do() {
        let report = report("unknown", "STORAGE_DENIED");
        assert!(!report.is_sound());
        let shown = report.table(Paint::plain());
        assert!(shown.contains("STORAGE_DENIED") && shown.contains(Code::StorageDenied.fix()));
        let shown = self::report("unknown", "OF_A_LATER_VERSION").table(Paint::plain());
        assert!(shown.contains("could not be asked: OF_A_LATER_VERSION"));
        assert!(!shown.contains("Trackscan works with it"), "{shown}");
    }
}
