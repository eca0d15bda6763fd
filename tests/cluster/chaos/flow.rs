//! The course of a run: the cluster comes up, works undisturbed, works under faults, comes to rest, and is judged.

use crate::books::Books;
use crate::scene::{self, OPERATOR, Scene, Standing};
use crate::tail::Tail;
use crate::watch::Watch;
use crate::wishes::Wishes;
use crate::witness::Witness;
use crate::work::{Jobs, Work};
use crate::{judge, measure, plan, work};
use anyhow::{Context, Result, ensure};
use cluster::oracle::Row;
use cluster::report::Report;
use cluster::{Hands, Operator, Record, Stage};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The undisturbed work is a sixth of the disturbed, within these bounds: enough to tell a rate, and a run of an hour is not ten minutes longer.
const UNDISTURBED: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(120));

/// Between two looks at processes that have ended by themselves.
const TEND_EVERY: Duration = Duration::from_millis(50);

/// When the parts of a run were, in the suite's own time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    pub(crate) undisturbed_ms: (u64, u64),
    pub(crate) faults_ms: (u64, u64),
}

/// All that a run left to be reported.
pub(crate) struct Run {
    pub(crate) spans: Spans,
    pub(crate) records: Vec<Record>,
    pub(crate) revived: usize,
    pub(crate) jobs: Jobs,
}

/// Carries a run out in a folder.
pub(crate) fn run(wishes: &Wishes, folder: &Path) -> Result<Report> {
    let zero = Instant::now();
    let Standing {
        mut stage,
        watch,
        addresses,
    } = scene::bring_up(folder, wishes, zero)?;
    let books = Arc::<Mutex<Books>>::default();
    let mut tail = Tail::begin(logs(folder), zero, Arc::clone(&books));
    let shell = stage.world().host(OPERATOR)?.shell();
    let operator = Operator::new(shell, &wishes.build.join("scanctl"), &addresses);
    let (run, right) = disturbed(&mut stage, &operator, &books, wishes, folder, zero)?;
    tail.end();
    let judgement = judge::judge(&operator, &run.jobs.published, &right, folder);
    let report = report(wishes, &run, &books, &watch, judgement);
    write(
        wishes.json.as_deref(),
        &serde_json::to_string_pretty(&report)?,
    )?;
    drop(watch);
    stage.end().context("end the world")?;
    Ok(report)
}

fn report(
    wishes: &Wishes,
    run: &Run,
    books: &Mutex<Books>,
    watch: &Watch,
    judgement: judge::Judgement,
) -> Report {
    let books = books
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let seen = watch
        .seen
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    measure::report(wishes, run, &books, &seen, judgement)
}

/// Everything from the import to the end of the last job, and the rows that nothing disturbed.
fn disturbed(
    stage: &mut Stage<Scene>,
    operator: &Operator,
    books: &Arc<Mutex<Books>>,
    wishes: &Wishes,
    folder: &Path,
    zero: Instant,
) -> Result<(Run, Vec<Row>)> {
    scene::wait_for("every node to be ready", || all_ready(operator))?;
    work::import(operator, wishes.tracks)?;
    let work = Work::begin(operator, books);
    scene::wait_for("the first job", || (work.published() > 0).then_some(()))?;
    let now_ms = || u64::try_from(zero.elapsed().as_millis()).unwrap_or(u64::MAX);
    let begun_ms = now_ms();
    std::thread::sleep((wishes.lasts / 6).clamp(UNDISTURBED.0, UNDISTURBED.1));
    let faults_ms = now_ms();
    let record = folder.join("faults.jsonl");
    let mut out = File::create(&record).context("make the record of the faults")?;
    let mut hands = Witness {
        stage,
        books: Arc::clone(books),
        zero,
    };
    let records = cluster::run(
        &plan::plan(wishes),
        &mut hands,
        &AtomicBool::new(false),
        &mut out,
    )?;
    let ended_ms = now_ms();
    keep(&record, wishes.record.as_deref())?;
    work.stop();
    while !work.is_over() {
        hands.tend();
        std::thread::sleep(TEND_EVERY);
    }
    let run = Run {
        spans: Spans {
            undisturbed_ms: (begun_ms, faults_ms),
            faults_ms: (faults_ms, ended_ms),
        },
        records,
        revived: stage.revived(),
        jobs: work.end(),
    };
    let first = run.jobs.published.first().context("find the first job")?;
    let right = judge::rows(operator, first, folder)?;
    ensure!(right.len() == wishes.tracks, "the first job has all tracks");
    Ok((run, right))
}

fn all_ready(operator: &Operator) -> Option<()> {
    let nodes = operator.ask(&["node", "ls"]).ok()?;
    let ready = nodes["nodes"].as_array()?.iter();
    let ready = ready.filter(|node| node["state"] == "ready").count();
    (ready == scene::NODES.len()).then_some(())
}

/// The logs that the books are kept from.
fn logs(folder: &Path) -> Vec<(String, PathBuf)> {
    let names = scene::COORDINATORS.iter().chain(&scene::NODES);
    names
        .map(|name| {
            let log = folder.join("logs").join(format!("{name}-{name}.log"));
            ((*name).to_owned(), log)
        })
        .collect()
}

fn write(path: Option<&Path>, text: &str) -> Result<()> {
    path.map_or(Ok(()), |path| {
        std::fs::write(path, text).with_context(|| format!("write `{}`", path.display()))
    })
}

fn keep(record: &Path, to: Option<&Path>) -> Result<()> {
    to.map_or(Ok(()), |to| {
        let copied = std::fs::copy(record, to).map(drop);
        copied.with_context(|| format!("write the record `{}`", to.display()))
    })
}
