//! The course of a run: the cluster comes up, works undisturbed, works under faults, and comes to rest while it is judged.

use crate::books::Books;
use crate::judge::{self, Judgement, Judges};
use crate::scene::{self, OPERATOR, Scene, Standing};
use crate::tail::Tail;
use crate::watch::Watch;
use crate::wishes::Wishes;
use crate::witness::Witness;
use crate::work::{Jobs, Work};
use crate::{measure, plan, work};
use anyhow::{Context, Result};
use cluster::report::{Course, Report};
use cluster::{Hands, Operator, Record, Stage};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The undisturbed work is a sixth of the disturbed, within these bounds: enough to tell a rate, and a run of an hour is not ten minutes longer.
const UNDISTURBED: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(120));

/// Between two looks at processes that have ended by themselves, and at whether work and judges are done.
const TEND_EVERY: Duration = Duration::from_millis(50);

/// When the parts of a run ended, in the suite's own time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    /// The cluster stood and its catalogue was imported.
    pub(crate) up_ms: u64,
    /// The first job was published and its rows were read.
    pub(crate) first_ms: u64,
    pub(crate) undisturbed_ms: u64,
    pub(crate) faults_ms: u64,
    /// The last job was published.
    pub(crate) work_ms: u64,
    pub(crate) judged_ms: u64,
}

impl Spans {
    /// How long each part took.
    pub(crate) fn course(&self) -> Course {
        Course {
            bring_up_ms: self.up_ms,
            first_job_ms: self.first_ms - self.up_ms,
            undisturbed_ms: self.undisturbed_ms - self.first_ms,
            faults_ms: self.faults_ms - self.undisturbed_ms,
            last_jobs_ms: self.work_ms - self.faults_ms,
            judging_ms: self.judged_ms - self.work_ms,
        }
    }
}

/// All that a run left to be reported.
pub(crate) struct Run {
    pub(crate) spans: Spans,
    pub(crate) records: Vec<Record>,
    pub(crate) revived: usize,
    pub(crate) jobs: Jobs,
    pub(crate) judgement: Judgement,
    pub(crate) builds: Vec<String>,
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
    let setting = Setting {
        operator: &operator,
        books: &books,
        wishes,
        folder,
        zero,
    };
    let run = setting.carry_out(&mut stage)?;
    tail.end();
    let report = report(wishes, run, &books, &watch);
    write(
        wishes.json.as_deref(),
        &serde_json::to_string_pretty(&report)?,
    )?;
    drop(watch);
    stage.end().context("end the world")?;
    Ok(report)
}

fn report(wishes: &Wishes, run: Run, books: &Mutex<Books>, watch: &Watch) -> Report {
    let books = books
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let seen = watch
        .seen
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    measure::report(wishes, run, &books, &seen)
}

/// What a run is carried out with.
struct Setting<'a> {
    operator: &'a Operator,
    books: &'a Arc<Mutex<Books>>,
    wishes: &'a Wishes,
    folder: &'a Path,
    zero: Instant,
}

impl Setting<'_> {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Everything from the import to the last judgement.
    fn carry_out(&self, stage: &mut Stage<Scene>) -> Result<Run> {
        scene::wait_for("every node to be ready", || all_ready(self.operator))?;
        let tracks = self.wishes.tracks;
        work::import(self.operator, tracks)?;
        let up_ms = self.now_ms();
        let work = Work::begin(self.operator, self.books);
        let first = scene::wait_for("the first job", || work.first())?;
        let right = judge::undisturbed(self.operator, &first, self.folder, tracks)?;
        let first_ms = self.now_ms();
        std::thread::sleep((self.wishes.lasts / 6).clamp(UNDISTURBED.0, UNDISTURBED.1));
        let undisturbed_ms = self.now_ms();
        let records = self.disturb(stage)?;
        let faults_ms = self.now_ms();
        work.stop();
        let judges = Judges::begin(self.operator, work.jobs(), right, self.folder);
        tend_until(stage, || work.is_over());
        let work_ms = self.now_ms();
        judges.all_are_there();
        tend_until(stage, || judges.is_over());
        Ok(Run {
            spans: Spans {
                up_ms,
                first_ms,
                undisturbed_ms,
                faults_ms,
                work_ms,
                judged_ms: self.now_ms(),
            },
            records,
            revived: stage.revived(),
            jobs: work.end(),
            judgement: judges.end(),
            builds: stage.builds(),
        })
    }

    /// Carries the plan of faults out and keeps its record.
    fn disturb(&self, stage: &mut Stage<Scene>) -> Result<Vec<Record>> {
        let record = self.folder.join("faults.jsonl");
        let mut out = File::create(&record).context("make the record of the faults")?;
        let mut hands = Witness {
            stage,
            books: Arc::clone(self.books),
            zero: self.zero,
        };
        let plan = plan::plan(self.wishes);
        let records = cluster::run(&plan, &mut hands, &AtomicBool::new(false), &mut out)?;
        keep(&record, self.wishes.record.as_deref())?;
        Ok(records)
    }
}

/// Does what a service manager does until something is so.
fn tend_until(stage: &mut Stage<Scene>, is_so: impl Fn() -> bool) {
    while !is_so() {
        stage.tend();
        std::thread::sleep(TEND_EVERY);
    }
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
