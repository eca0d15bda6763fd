//! The table of docs/reference/storage.md: what each store of the suite answers. `UPDATE_STORES=1 cargo test --release -p storage table` writes it
//! anew; otherwise the page is held against what the stores answer.

use std::path::{Path, PathBuf};

use super::{Answer, Depth, Finding, Question, Report};
use crate::conformance::{Kind, Store};

/// What stands before and after the table in the page.
const BEGIN: &str = "<!-- what the stores answer: begin -->\n";
const END: &str = "<!-- what the stores answer: end -->\n";
/// Questions whose answer is another one now and then: how writers meet in a race, and how busy the machine is. Written as it was
/// answered, and not held against the next answer.
const BY_CHANCE: [Question; 2] = [Question::OneWinner, Question::Prompt];

const STORES: [(Kind, &str); 3] = [
    (Kind::Local, "local folder"),
    (Kind::S3sFs, "`s3s-fs`"),
    (Kind::Moto, "`moto`"),
];

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/storage.md")
}

/// What each store found out about a question.
fn of(reports: &[Report], question: Question) -> Vec<&Finding> {
    let of = |report: &'_ Report| {
        let at = report
            .findings
            .iter()
            .position(|found| found.question == question);
        at.unwrap()
    };
    let found = reports.iter().map(|report| &report.findings[of(report)]);
    found.collect()
}

fn row(reports: &[Report], question: Question) -> String {
    let found = of(reports, question);
    let answers: Vec<&str> = found.iter().map(|found| found.answer.as_str()).collect();
    let needed = if question.is_needed() { ", needed" } else { "" };
    format!(
        "| `{question}`{needed} | {} | {} |\n",
        answers.join(" | "),
        question.without_it()
    )
}

/// What was seen where the answer was no yes, a line for each store.
fn seen(reports: &[Report], question: Question) -> String {
    let found = of(reports, question).into_iter().zip(STORES);
    let others = found.filter(|(found, _)| found.answer != Answer::Yes);
    let line = |(found, (_, name)): (&Finding, (Kind, &str))| {
        format!("- `{question}` on {name}: {}\n", found.seen)
    };
    others.map(line).collect()
}

fn table(reports: &[Report], asked: &[Question]) -> String {
    let names = STORES.map(|(_, name)| name).join(" | ");
    let rows: String = asked.iter().map(|asked| row(reports, *asked)).collect();
    let seen: String = asked.iter().map(|asked| seen(reports, *asked)).collect();
    format!(
        "| question | {names} | where the answer is no |\n|---|---|---|---|---|\n{rows}\nSeen where it is not yes:\n\n{seen}"
    )
}

/// The lines of a text that name none of the questions which are answered by chance.
fn steady(text: &str) -> Vec<&str> {
    let by_chance = |line: &&str| {
        let names = |question: &Question| line.contains(&format!("`{question}`"));
        BY_CHANCE.iter().any(names)
    };
    text.lines().filter(|line| !by_chance(line)).collect()
}

#[tokio::test]
async fn the_reference_page_says_what_each_store_answers() {
    let mut reports = Vec::new();
    for (kind, _) in STORES {
        reports.push(Store::start(kind).open().probe(Depth::Whole).await);
    }
    let text = std::fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has its table");
    let (written, after) = rest.split_once(END).expect("the table ends");
    let found = table(&reports, Question::ALL);
    if std::env::var_os("UPDATE_STORES").is_some() {
        std::fs::write(page(), format!("{before}{BEGIN}{found}{END}{after}")).unwrap();
        return;
    }
    let unsaid = |asked: &&Question| !written.contains(&format!("\n| `{asked}`"));
    let unsaid: Vec<_> = Question::ALL.iter().filter(unsaid).collect();
    assert!(
        unsaid.is_empty() && !written.contains("| – |"),
        "the page does not say what each store answers ({unsaid:?}): run UPDATE_STORES=1 cargo test --release -p storage table"
    );
    assert_eq!(
        steady(written),
        steady(&found),
        "run UPDATE_STORES=1 cargo test --release -p storage table, and review the change"
    );
}
