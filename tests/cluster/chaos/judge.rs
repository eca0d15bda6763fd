//! Judges a run: each job's result is verified by the product and read by the judge, track by track, against the undisturbed one.

use anyhow::{Context, Result};
use cluster::Operator;
use cluster::oracle::{self, Findings, Row};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Wrong results that are told in full; a run that has more is as bad.
const WRONG_MAX: usize = 20;

/// What was found over all jobs.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) findings: Findings,
    /// Results that do not verify, with what was said.
    pub(crate) wrong: Vec<String>,
}

/// The rows of a job that nothing disturbed.
pub(crate) fn rows(operator: &Operator, job: &str, folder: &Path) -> Result<Vec<Row>> {
    let file = folder.join("rows.jsonl");
    let path = file.display().to_string();
    operator.run(&["result", "export", job, "--format", "jsonl", "--to", &path])?;
    let open = File::open(&file).with_context(|| format!("open `{path}`"))?;
    oracle::read(BufReader::new(open))
}

/// Judges jobs one after another, so that one job's rows are in memory at a time.
pub(crate) fn judge(
    operator: &Operator,
    jobs: &[String],
    undisturbed: &[Row],
    folder: &Path,
) -> Judgement {
    let mut judgement = Judgement::default();
    for job in jobs {
        if let Err(why) = judgement.add(operator, job, undisturbed, folder) {
            judgement.complain(format!("{job}: {why:#}"));
        }
    }
    judgement
}

impl Judgement {
    fn add(&mut self, operator: &Operator, job: &str, right: &[Row], folder: &Path) -> Result<()> {
        let verified = operator.ask(&["result", "verify", job])?;
        if verified["ok"] != true || verified["rows_found"] != right.len() {
            self.complain(format!("{job}: {verified}"));
        }
        let rows = rows(operator, job, folder)?;
        self.findings.add(oracle::judge(&rows, right));
        Ok(())
    }

    fn complain(&mut self, what: String) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(what);
        }
    }
}
