//! What the stores of the suite answer, and that a store which lies is found out.

use super::*;
use crate::conformance::{Kind, Store};
use crate::faults::Faults;

async fn probed(store: &Store) -> Report {
    let storage = store.open();
    let report = storage.probe(Depth::Whole).await;
    let asked: Vec<_> = report
        .findings
        .iter()
        .map(|finding| finding.question)
        .collect();
    assert_eq!(asked, Question::ALL);
    for finding in &report.findings {
        println!(
            "{:?} {:16} {:8} {}",
            store.kind,
            finding.question,
            finding.answer.as_str(),
            finding.seen
        );
        assert!(finding.seen.ends_with('.'), "{finding:?}");
    }
    let left = futures::StreamExt::count(storage.object_store().list(None)).await;
    assert_eq!(left, 0, "a probe leaves nothing behind");
    report
}

/// Questions that a store answers otherwise than yes. How quick it is depends on what else the machine does.
fn others(report: &Report) -> Vec<(Question, Answer)> {
    let steady = report
        .findings
        .iter()
        .filter(|finding| finding.question != Question::Prompt);
    let others = steady.filter(|finding| finding.answer != Answer::Yes);
    others
        .map(|finding| (finding.question, finding.answer.clone()))
        .collect()
}

#[tokio::test]
async fn a_folder_promises_all_but_replacing_a_version() {
    let report = probed(&Store::start(Kind::Local)).await;
    assert!(report.is_usable());
    assert_eq!(others(&report), [(Question::ReplaceVersion, Answer::No)]);
}

#[tokio::test]
async fn s3s_fs_ignores_the_version_of_a_read_and_cannot_be_asked_for_its_sync() {
    let report = probed(&Store::start(Kind::S3sFs)).await;
    assert!(report.is_usable());
    let mut found = others(&report);
    // It looks before it writes, so that two writers win whenever they meet in between.
    found.retain(|(question, _)| *question != Question::OneWinner);
    assert_eq!(
        found,
        [
            (Question::Synced, Answer::Unknown),
            (Question::ReadVersion, Answer::No)
        ]
    );
}

#[tokio::test]
async fn moto_cannot_be_asked_for_its_sync() {
    let report = probed(&Store::start(Kind::Moto)).await;
    assert!(report.is_usable());
    let mut found = others(&report);
    found.retain(|(question, _)| *question != Question::OneWinner);
    assert_eq!(found, [(Question::Synced, Answer::Unknown)]);
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_found_out() {
    let mut store = Store::start(Kind::S3sFs);
    store.settings.faults = Some(Faults::parse("condition-ignored:1").unwrap());
    let report = probed(&store).await;
    for question in [
        Question::CreateOnce,
        Question::OneWinner,
        Question::ReplaceVersion,
    ] {
        assert_eq!(report.answer(question), Some(&Answer::No), "{question}");
    }
    assert!(report.is_usable(), "no name has two writers");
}

#[tokio::test]
async fn a_start_asks_little_and_a_store_that_denies_everything_is_said_to() {
    let mut store = Store::start(Kind::S3sFs);
    let report = store.open().probe(Depth::Start).await;
    assert!(report.findings.len() < Question::ALL.len() && report.is_usable());
    store.settings.faults = Some(Faults::parse("denied:1").unwrap());
    let report = store.open().probe(Depth::Start).await;
    assert_eq!(report.trouble(), Some(Code::StorageDenied), "{report:?}");
    let unasked = report
        .findings
        .iter()
        .filter(|finding| finding.seen == "It was not asked: STORAGE_DENIED.");
    assert_eq!(
        unasked.count(),
        report.findings.len() - 1,
        "one refusal is enough"
    );
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.answer != Answer::Yes)
    );
}

#[test]
fn every_question_is_asked_once_and_a_no_is_explained_in_a_sentence() {
    let names: std::collections::BTreeSet<_> = Question::ALL
        .iter()
        .map(|question| question.as_str())
        .collect();
    assert_eq!(names.len(), Question::ALL.len());
    for question in Question::ALL {
        let text = question.without_it();
        assert!(
            text.ends_with('.') && text.starts_with(char::is_uppercase),
            "{question}"
        );
    }
}

#[test]
fn a_quick_answer_is_not_said_to_take_no_time() {
    let said = |micros| ask::millis(std::time::Duration::from_micros(micros));
    assert_eq!([said(100), said(1_240), said(12_600)], ["0.1", "1.2", "13"]);
}
