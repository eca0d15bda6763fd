//! Judges a run: each job's result is verified by the product and read by the judge, track by track, against the undisturbed one. Judges sit beside each
//! other and begin once nothing fails any more, while the last jobs are still under way.

use crate::baseline;
use crate::work::{Jobs, lock};
use anyhow::{Context, Result};
use cluster::oracle::{self, Findings, Row};
use cluster::{Ended, Operator};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Wrong results that are told in full; a run that has more is as bad.
const WRONG_MAX: usize = 20;

/// Judges at once, each with the rows of one job: a job is mostly waited for, and two processors have no more to give.
const JUDGES: usize = 2;

/// Between two looks for another published job.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often a command is given that has no answer: a leader that was killed at the very end is followed by another within seconds.
const TRIES_MAX: usize = 5;

/// Between two of them.
const TRY_EVERY: Duration = Duration::from_secs(2);

/// What scanctl ends with where a result does not stand: an answer, which is not asked for again.
const DOES_NOT_STAND: i32 = 9;

/// What was found over all jobs.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) findings: Findings,
    /// Results that do not verify, with what was said.
    pub(crate) wrong: Vec<String>,
    /// Jobs that were judged.
    judged: usize,
}

/// The rows of the job that nothing disturbed, which must say what a job over this catalogue must say.
pub(crate) fn undisturbed(
    operator: &Operator,
    job: &str,
    folder: &Path,
    tracks: usize,
) -> Result<Vec<Row>> {
    let file = folder.join("undisturbed.jsonl");
    let right = rows(operator, job, &file)?;
    baseline::check(&file, tracks)?;
    Ok(right)
}

fn rows(operator: &Operator, job: &str, file: &Path) -> Result<Vec<Row>> {
    let path = file.display().to_string();
    operator.run(&["result", "export", job, "--format", "jsonl", "--to", &path])?;
    let open = File::open(file).with_context(|| format!("open `{path}`"))?;
    oracle::read(BufReader::new(open))
}

/// The judges at work.
pub(crate) struct Judges {
    bench: Arc<Bench>,
    threads: Vec<JoinHandle<()>>,
}

impl Judges {
    /// Judges the jobs that are published, and those that will be, against the rows of an undisturbed one.
    pub(crate) fn begin(
        operator: &Operator,
        jobs: Arc<Mutex<Jobs>>,
        right: Vec<Row>,
        folder: &Path,
    ) -> Self {
        let bench = Arc::new(Bench {
            operator: operator.clone(),
            jobs,
            right,
            folder: folder.to_owned(),
            next: AtomicUsize::new(0),
            all_there: AtomicBool::new(false),
            judgement: Mutex::default(),
        });
        let threads = (0..JUDGES).map(|judge| {
            let bench = Arc::clone(&bench);
            std::thread::spawn(move || bench.sit(judge))
        });
        Self {
            threads: threads.collect(),
            bench,
        }
    }

    /// No further job will be published.
    pub(crate) fn all_are_there(&self) {
        self.bench.all_there.store(true, Ordering::SeqCst);
    }

    /// Whether every job is judged.
    pub(crate) fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// What was found, once all is judged.
    pub(crate) fn end(self) -> Judgement {
        self.all_are_there();
        for thread in self.threads {
            let _ = thread.join();
        }
        let published = lock(&self.bench.jobs).published.len();
        let mut judgement = std::mem::take(&mut *self.bench.judgement());
        if judgement.judged != published {
            let judged = judgement.judged;
            judgement.complain(format!("{judged} of {published} jobs were judged"));
        }
        judgement
    }
}

/// What judges share.
struct Bench {
    operator: Operator,
    jobs: Arc<Mutex<Jobs>>,
    right: Vec<Row>,
    folder: PathBuf,
    /// The next job to be judged, by its place among those that are published.
    next: AtomicUsize,
    all_there: AtomicBool,
    judgement: Mutex<Judgement>,
}

impl Bench {
    fn sit(&self, judge: usize) {
        let file = self.folder.join(format!("rows-{judge}.jsonl"));
        while let Some(job) = self.next_job() {
            let found = self.judge(&job, &file);
            self.judgement().add(&job, found);
        }
    }

    fn next_job(&self) -> Option<String> {
        let place = self.next.fetch_add(1, Ordering::SeqCst);
        loop {
            // Asked before the jobs, so that none is missed that is published in between.
            let all_there = self.all_there.load(Ordering::SeqCst);
            let job = lock(&self.jobs).published.get(place).cloned();
            if job.is_some() || all_there {
                return job;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn judge(&self, job: &str, file: &Path) -> Result<Found> {
        let verified = answered(TRY_EVERY, || self.operator.ask(&["result", "verify", job]))?;
        let stands = verified["ok"] == true && verified["rows_found"] == self.right.len();
        let rows = answered(TRY_EVERY, || rows(&self.operator, job, file))?;
        Ok(Found {
            findings: oracle::judge(&rows, &self.right),
            complaint: (!stands).then(|| verified.to_string()),
        })
    }

    fn judgement(&self) -> MutexGuard<'_, Judgement> {
        self.judgement
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was found of one job.
struct Found {
    findings: Findings,
    /// What the product says of its own result, where that is not that it stands.
    complaint: Option<String>,
}

impl Judgement {
    fn add(&mut self, job: &str, found: Result<Found>) {
        self.judged += 1;
        match found {
            Ok(found) => {
                self.findings.add(found.findings);
                let complaint = found.complaint.into_iter();
                complaint.for_each(|said| self.complain(format!("{job}: {said}")));
            }
            Err(why) => self.complain(format!("{job}: {why:#}")),
        }
    }

    fn complain(&mut self, what: String) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(what);
        }
    }
}

/// Gives a command again that had no answer. One that was answered, be the answer welcome or not, is not asked again.
fn answered<T>(every: Duration, mut command: impl FnMut() -> Result<T>) -> Result<T> {
    let is_answer = |said: &Result<T>| {
        let refused = said.as_ref().err();
        let ended = refused.and_then(|why| why.downcast_ref::<Ended>());
        said.is_ok() || ended.is_some_and(|ended| ended.code == Some(DOES_NOT_STAND))
    };
    for _ in 1..TRIES_MAX {
        let said = command();
        if is_answer(&said) {
            return said;
        }
        std::thread::sleep(every);
    }
    command()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a command is given that ends with these codes one after the other, the last for ever, and whether it was answered well in the end.
    fn given(codes: &[i32]) -> (usize, bool) {
        let mut times = 0;
        let said = answered(Duration::ZERO, || {
            let code = codes[times.min(codes.len() - 1)];
            times += 1;
            let said = String::new();
            match code {
                0 => Ok(()),
                code => Err(Ended {
                    code: Some(code),
                    said,
                }
                .into()),
            }
        });
        (times, said.is_ok())
    }

    #[test]
    fn a_command_without_an_answer_is_given_again_a_few_times_and_a_refused_result_is_an_answer() {
        assert_eq!(given(&[0]), (1, true));
        assert_eq!(given(&[7, 7, 0]), (3, true));
        assert_eq!(given(&[7]), (TRIES_MAX, false));
        assert_eq!(given(&[DOES_NOT_STAND, 0]), (1, false));
    }

    #[test]
    fn a_result_that_does_not_stand_and_one_without_an_answer_are_wrong_and_both_are_counted() {
        let mut judgement = Judgement::default();
        let found = |complaint: Option<&str>| Found {
            findings: Findings {
                rows: 64,
                ..Findings::default()
            },
            complaint: complaint.map(str::to_owned),
        };
        judgement.add("a", Ok(found(None)));
        judgement.add("b", Ok(found(Some("a part is gone"))));
        judgement.add("c", Err(anyhow::anyhow!("nobody answers")));
        assert_eq!((judgement.judged, judgement.findings.rows), (3, 128));
        assert_eq!(judgement.wrong, ["b: a part is gone", "c: nobody answers"]);
    }
}
